// The tensors of a bundle's language.gguf, in order, from wherever the parts come: GGUF, a LLaMA release, Hugging Face.

internal import Diagnostics
internal import Language
internal import Tensor

/// What language.gguf holds.
enum LlamaPlan {
    /// Reads one part, row-major; made by a source that has checked name and shape.
    typealias Values = () throws(Failure) -> [Float]

    /// The tensors of a decoder, fused and in the order of the file (docs/FORMAT.md).
    ///
    /// - Parameters:
    ///   - hasOutput: whether the output matrix is one of its own; otherwise the embedding serves.
    ///   - part: finds a part by GGUF's name for it, such as `blk.0.attn_q.weight`, and checks its shape.
    static func tensors(
        _ c: LlamaConfiguration, hasOutput: Bool, part: (_ name: String, _ shape: [Int]) throws(Failure) -> Values
    ) throws(Failure) -> [TensorPlan] {
        func vector(_ name: String) throws(Failure) -> TensorPlan {
            TensorPlan(name, .vector(count: c.width), values: try part(name, [c.width]))
        }
        func matrix(_ name: String, _ rows: Int, _ columns: Int) throws(Failure) -> TensorPlan {
            TensorPlan(
                name, .matrix(rows: rows, columns: columns), values: try part("\(name).weight", [rows, columns]))
        }
        var plan = [try matrix("token_embd", c.vocabulary, c.width)]
        for layer in 0..<c.layers {
            let name = "blk.\(layer)"
            plan.append(try vector("\(name).attn_norm.weight"))
            let query = try part("\(name).attn_q.weight", [c.attention.queryWidth, c.width])
            let key = try part("\(name).attn_k.weight", [c.attention.keyValueWidth, c.width])
            let value = try part("\(name).attn_v.weight", [c.attention.keyValueWidth, c.width])
            plan.append(
                TensorPlan("\(name).attn_qkv", .matrix(rows: c.attention.totalWidth, columns: c.width)) {
                    () throws(Failure) -> [Float] in try query() + key() + value()
                })
            plan.append(try matrix("\(name).attn_output", c.width, c.attention.queryWidth))
            plan.append(try vector("\(name).ffn_norm.weight"))
            let gate = try part("\(name).ffn_gate.weight", [c.hidden, c.width])
            let up = try part("\(name).ffn_up.weight", [c.hidden, c.width])
            plan.append(
                TensorPlan("\(name).ffn_gate_up", .matrix(rows: 2 * c.hidden, columns: c.width)) {
                    () throws(Failure) -> [Float] in
                    interleave(try gate(), try up(), panel: 16 * c.width)
                })
            plan.append(try matrix("\(name).ffn_down", c.width, c.hidden))
        }
        plan.append(try vector("output_norm.weight"))
        if hasOutput { plan.append(try matrix("output", c.vocabulary, c.width)) }
        return plan
    }

    /// Alternates panels of two matrices: SwiGLU then finds gate and up side by side.
    private static func interleave(_ gate: [Float], _ up: [Float], panel: Int) -> [Float] {
        var result: [Float] = []
        result.reserveCapacity(gate.count + up.count)
        for start in stride(from: 0, to: gate.count, by: panel) {
            result += gate[start..<min(start + panel, gate.count)]
            result += up[start..<min(start + panel, up.count)]
        }
        return result
    }
}
