// A `llama`-architecture GGUF from elsewhere becomes a bundle's language.gguf: weights dequantised, requantised to one
// int8 scale a row (or kept in float32), fused and packed for the kernels.

internal import Diagnostics
internal import Language
internal import ModelFile
internal import Tensor

/// Converts the language model.
enum LlamaConversion {
    /// Keys of the source that the bundle keeps as they are: the shape and the tokenizer.
    static let keptPrefixes = ["llama.", "tokenizer."]

    /// Writes `target` from `source`.
    ///
    /// - Throws: `model_unsupported` for another architecture; `model_invalid` for more tokens than the embedding has
    ///   rows; the reader's and the writer's failures.
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
        // What the bundle would not open with must not come into it.
        try ModelBundle.checkVocabulary(
            source.strings("tokenizer.ggml.tokens").count, rows: configuration.vocabulary, of: source.path)
        try refuseUnknown(source, configuration)
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

    /// Refuses what would change the model's arithmetic and is not done here: skipped in silence it would give answers of
    /// another model.
    private static func refuseUnknown(_ source: GGUFFile, _ c: LlamaConfiguration) throws(Failure) {
        var known: Set<String> = ["token_embd.weight", "output_norm.weight", "output.weight"]
        let names = [
            "attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down",
        ]
        for layer in 0..<c.layers { known.formUnion(names.map { "blk.\(layer).\($0).weight" }) }
        for name in source.tensors.names where !known.contains(name) {
            throw Failure(
                .modelUnsupported, "\(source.path): tensor \(name)", "is not part of a plain llama decoder",
                hint: "Biases, experts and scaled rotary embeddings are not supported.")
        }
        let harmless: [(key: String, values: [GGUFValue])] = [
            ("llama.rope.scaling.type", [.string("none")]), ("llama.rope.scale_linear", [.float32(1)]),
            ("llama.expert_count", [.uint32(0)]), ("llama.attention.sliding_window", [.uint32(0)]),
            ("llama.rope.dimension_count", [.uint32(UInt32(c.attention.headSize))]),
            ("llama.attention.value_length", [.uint32(UInt32(c.attention.headSize))]),
            ("llama.logit_scale", [.float32(1)]), ("llama.embedding_scale", [.float32(1)]),
            ("llama.residual_scale", [.float32(1)]), ("llama.attention.scale", []),
        ]
        for (key, values) in harmless {
            guard let value = source.metadata[key], !values.contains(value) else { continue }
            throw Failure(
                .modelUnsupported, "\(source.path): \(key)", "asks for what this decoder does not do",
                hint: "Use a model without it.")
        }
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
                let values = try source.floats(of: tensor)
                guard values.allSatisfy(\.isFinite) else {
                    throw Failure(
                        .modelInvalid, "\(source.path): tensor \(name)", "holds a value that is not finite",
                        hint: "Copy the file again, or get it from where it was made.")
                }
                return values
            }
        }
        return try LlamaPlan.tensors(
            c, hasOutput: source.tensors["output.weight"] != nil,
            part: { name, shape throws(Failure) in rows(name, shape) })
    }
}
