// A `llama`-architecture GGUF from elsewhere becomes a bundle's language.gguf: weights dequantised, requantised to one
// int8 scale a row (or kept in float32), fused and packed for the kernels.

internal import Diagnostics
internal import Language
internal import ModelFile
internal import Tensor

/// Converts the language model.
enum LlamaConversion {
    /// Keys of the source that the bundle keeps as they are: the shape and the tokenizer.
    private static let keptPrefixes = ["llama.", "tokenizer."]

    /// Writes `target` from `source`.
    ///
    /// - Throws: `model_unsupported` for another architecture; the reader's and the writer's failures.
    static func convert(
        _ source: GGUFFile, sourceHash: String, to target: String, precision: Precision,
        progress: (Double) -> Void
    ) throws(Failure) {
        let architecture = try source.string("general.architecture")
        guard architecture == "llama" else {
            throw Failure(
                .modelUnsupported, source.path, "has the architecture \(architecture)",
                hint: "Language models of the architecture llama are supported.")
        }
        let embedding = try source.tensor(named: "token_embd.weight")
        let configuration = try LlamaConfiguration(source, vocabulary: embedding.shape.first ?? 0, precision: precision)
        let plan = try plan(source, configuration)
        var metadata: [(String, GGUFValue)] = [
            ("general.architecture", .string(LlamaConfiguration.architecture)),
            ("general.name", .string(try source.optionalString("general.name") ?? "language model")),
            ("memvpd.precision", .string(precision.rawValue)),
            ("memvpd.source.sha256", .string(sourceHash)),
        ]
        for key in source.metadata.keys where keptPrefixes.contains(where: key.hasPrefix) && key != "llama.vocab_size" {
            if let value = source.metadata[key] { metadata.append((key, value)) }
        }
        metadata.append(("llama.vocab_size", .uint32(UInt32(configuration.vocabulary))))
        let writer = try GGUFWriter(
            path: target, metadata: metadata, tensors: plan.flatMap { $0.declarations(precision) }, alignment: 64)
        for (index, tensor) in plan.enumerated() {
            try tensor.write(to: writer, precision: precision)
            progress(Double(index + 1) / Double(plan.count))
        }
        try writer.finish()
    }

    private static func plan(_ source: GGUFFile, _ c: LlamaConfiguration) throws(Failure) -> [TensorPlan] {
        func rows(_ name: String, _ shape: [Int]) -> () throws(Failure) -> [Float] {
            { () throws(Failure) -> [Float] in
                let tensor = try source.tensor(named: name)
                guard tensor.shape == shape else {
                    throw Failure(
                        .modelInvalid, "\(source.path): tensor \(name)",
                        "has the shape \(tensor.shape) where \(shape) is needed")
                }
                return try source.floats(of: tensor)
            }
        }
        return try LlamaPlan.tensors(
            c, hasOutput: source.tensors["output.weight"] != nil,
            part: { name, shape throws(Failure) in rows(name, shape) })
    }
}
