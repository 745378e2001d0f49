// Reads a CLIP vision transformer from a bundle's vision.gguf, whose tensors stand packed for the kernels (docs/FORMAT.md).

public import Diagnostics
public import ModelFile
internal import Tensor

extension CLIPConfiguration {
    /// The architecture name of our own vision files.
    public static let architecture = "memvpd-clip-vision"
    /// Prefix of the configuration's keys.
    public static let keys = "clip.vision"

    /// Reads the configuration's keys.
    ///
    /// - Throws: `model_invalid` naming what is missing or out of range.
    init(_ file: GGUFFile) throws(Failure) {
        let keys = CLIPConfiguration.keys
        let (side, patch) = (try file.integer("\(keys).image_size"), try file.integer("\(keys).patch_size"))
        let width = try file.integer("\(keys).embedding_length")
        let hidden = try file.integer("\(keys).feed_forward_length")
        let layers = try file.integer("\(keys).block_count")
        let heads = try file.integer("\(keys).attention.head_count")
        let precision = try file.precision()
        // What the file throws names it; the checks know numbers alone.
        do {
            try self.init(
                side: side, patch: patch, width: width, hidden: hidden, layers: layers, heads: heads,
                precision: precision)
        } catch { throw error.about(file.path) }
    }
}

extension CLIPVisionTransformer {
    /// Maps the encoder in `file`.
    ///
    /// - Throws: `model_unsupported` for another architecture, `model_invalid` for missing or misshapen tensors.
    public convenience init(file: GGUFFile) throws(Failure) {
        try file.requireArchitecture(CLIPConfiguration.architecture)
        let c = try CLIPConfiguration(file)
        func norm(_ name: String) throws(Failure) -> CLIPWeights.Norm {
            CLIPWeights.Norm(
                weight: try file.vector("\(name).weight", count: c.width),
                bias: try file.vector("\(name).bias", count: c.width))
        }
        func linear(_ name: String, _ rows: Int, _ columns: Int) throws(Failure) -> CLIPWeights.Linear {
            CLIPWeights.Linear(
                weight: try file.packedMatrix(name, precision: c.precision, rows: rows, columns: columns),
                bias: try file.vector("\(name).bias", count: rows))
        }
        var blocks: [CLIPWeights.Block] = []
        for index in 0..<c.layers {
            let name = "blk.\(index)"
            blocks.append(
                CLIPWeights.Block(
                    attentionNorm: try norm("\(name).ln1"), query: try linear("\(name).attn_q", c.width, c.width),
                    key: try linear("\(name).attn_k", c.width, c.width),
                    value: try linear("\(name).attn_v", c.width, c.width),
                    attentionOutput: try linear("\(name).attn_out", c.width, c.width),
                    feedForwardNorm: try norm("\(name).ln2"), up: try linear("\(name).ffn_up", c.hidden, c.width),
                    down: try linear("\(name).ffn_down", c.width, c.hidden)))
        }
        self.init(
            configuration: c,
            weights: CLIPWeights(
                patchEmbedding: try file.exactMatrix("patch_embd", rows: c.width, columns: 3 * c.patch * c.patch),
                classToken: try file.finiteFloats("class_embd", count: c.width),
                positions: try file.finiteFloats("position_embd", count: c.tokens * c.width),
                normBefore: try norm("pre_ln"), blocks: blocks, normAfter: try norm("post_ln")))
    }
}
