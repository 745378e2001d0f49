// Reads a decoder from a bundle's language.gguf, whose tensors stand packed for the kernels (docs/FORMAT.md).

public import Diagnostics
public import ModelFile
public import Tensor

extension LlamaConfiguration {
    /// The architecture name of our own language files.
    public static let architecture = "memvpd-llama"

    /// Reads the `llama.*` keys.
    ///
    /// - Parameter precision: how the weights stand in the file.
    /// - Throws: `model_invalid` naming a key that is missing or out of range.
    public init(_ file: GGUFFile, vocabulary: Int, precision: Precision) throws(Failure) {
        let heads = try file.integer("llama.attention.head_count")
        let width = try file.integer("llama.embedding_length")
        let (hidden, layers) = (try file.integer("llama.feed_forward_length"), try file.integer("llama.block_count"))
        let keyValueHeads = try file.optionalInteger("llama.attention.head_count_kv") ?? heads
        let headSize = try file.optionalInteger("llama.attention.key_length") ?? width / max(1, heads)
        let normEpsilon = try file.float("llama.attention.layer_norm_rms_epsilon")
        let ropeTheta = Double(try file.optionalFloat("llama.rope.freq_base") ?? 10_000)
        let contextLength = try file.integer("llama.context_length")
        // What the file throws names it; the checks know numbers alone.
        do {
            try self.init(
                width: width, hidden: hidden, layers: layers, heads: heads, keyValueHeads: keyValueHeads,
                headSize: headSize, vocabulary: vocabulary, normEpsilon: normEpsilon, ropeTheta: ropeTheta,
                contextLength: contextLength, precision: precision)
        } catch { throw error.about(file.path) }
    }
}

extension LlamaModel {
    /// Maps the decoder in `file`.
    ///
    /// - Parameter positions: the longest context that will be asked for.
    /// - Throws: `model_unsupported` for another architecture, `model_invalid` for missing or misshapen tensors.
    public convenience init(file: GGUFFile, positions: Int) throws(Failure) {
        try file.requireArchitecture(LlamaConfiguration.architecture)
        let precision = try file.precision()
        let configuration = try LlamaConfiguration(
            file, vocabulary: file.integer("llama.vocab_size"), precision: precision)
        let c = configuration
        let embedding = try file.packedMatrix(
            "token_embd", precision: precision, rows: c.vocabulary, columns: c.width)
        var blocks: [LlamaWeights.Block] = []
        for layer in 0..<c.layers {
            let name = "blk.\(layer)"
            blocks.append(
                LlamaWeights.Block(
                    attentionNorm: try file.vector("\(name).attn_norm.weight", count: c.width),
                    queryKeyValue: try file.packedMatrix(
                        "\(name).attn_qkv", precision: precision, rows: c.attention.totalWidth, columns: c.width),
                    attentionOutput: try file.packedMatrix(
                        "\(name).attn_output", precision: precision, rows: c.width, columns: c.attention.queryWidth),
                    feedForwardNorm: try file.vector("\(name).ffn_norm.weight", count: c.width),
                    gateUp: try file.packedMatrix(
                        "\(name).ffn_gate_up", precision: precision, rows: 2 * c.hidden, columns: c.width),
                    down: try file.packedMatrix(
                        "\(name).ffn_down", precision: precision, rows: c.width, columns: c.hidden)))
        }
        let output =
            file.tensors["output.weight"] != nil
            ? try file.packedMatrix("output", precision: precision, rows: c.vocabulary, columns: c.width) : embedding
        self.init(
            configuration: configuration,
            weights: LlamaWeights(
                embedding: embedding, blocks: blocks,
                outputNorm: try file.vector("output_norm.weight", count: c.width), output: output),
            positions: min(positions, c.contextLength))
    }
}
