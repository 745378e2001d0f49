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
        let qWidth = c.attention.queryWidth
        let kvWidth = c.attention.keyValueWidth
        var plan: [TensorPlan] = [
            TensorPlan(
                "token_embd", .matrix(rows: c.vocabulary, columns: c.width),
                values: rows("token_embd.weight", [c.vocabulary, c.width]))
        ]
        for layer in 0..<c.layers {
            let name = "blk.\(layer)"
            plan.append(
                TensorPlan(
                    "\(name).attn_norm.weight", .vector(count: c.width),
                    values: rows("\(name).attn_norm.weight", [c.width])))
            plan.append(
                TensorPlan("\(name).attn_qkv", .matrix(rows: c.attention.totalWidth, columns: c.width)) {
                    () throws(Failure) -> [Float] in
                    try rows("\(name).attn_q.weight", [qWidth, c.width])()
                        + rows("\(name).attn_k.weight", [kvWidth, c.width])()
                        + rows("\(name).attn_v.weight", [kvWidth, c.width])()
                })
            plan.append(
                TensorPlan(
                    "\(name).attn_output", .matrix(rows: c.width, columns: qWidth),
                    values: rows("\(name).attn_output.weight", [c.width, qWidth])))
            plan.append(
                TensorPlan(
                    "\(name).ffn_norm.weight", .vector(count: c.width),
                    values: rows("\(name).ffn_norm.weight", [c.width])))
            plan.append(
                TensorPlan("\(name).ffn_gate_up", .matrix(rows: 2 * c.hidden, columns: c.width)) {
                    () throws(Failure) -> [Float] in
                    interleave(
                        try rows("\(name).ffn_gate.weight", [c.hidden, c.width])(),
                        try rows("\(name).ffn_up.weight", [c.hidden, c.width])(), panel: 16 * c.width)
                })
            plan.append(
                TensorPlan(
                    "\(name).ffn_down", .matrix(rows: c.width, columns: c.hidden),
                    values: rows("\(name).ffn_down.weight", [c.width, c.hidden])))
        }
        plan.append(
            TensorPlan("output_norm.weight", .vector(count: c.width), values: rows("output_norm.weight", [c.width])))
        if source.tensors["output.weight"] != nil {
            plan.append(
                TensorPlan(
                    "output", .matrix(rows: c.vocabulary, columns: c.width),
                    values: rows("output.weight", [c.vocabulary, c.width])))
        }
        return plan
    }

    /// Alternates panels of two matrices: SwiGLU then finds gate and up side by side.
    static func interleave(_ gate: [Float], _ up: [Float], panel: Int) -> [Float] {
        var result: [Float] = []
        result.reserveCapacity(gate.count + up.count)
        for start in stride(from: 0, to: gate.count, by: panel) {
            result += gate[start..<min(start + panel, gate.count)]
            result += up[start..<min(start + panel, up.count)]
        }
        return result
    }
}
