// LLaMA as Meta released it: `params.json` and `consolidated.NN.pth`, one file or several that each hold a share of every
// matrix (model parallelism of fairscale).
//
// Column-parallel matrices (wq, wk, wv, w1, w3, output) are cut along their outputs, row-parallel ones (wo, w2) along
// their inputs, the embedding along its width; norms stand whole in every file. Failure modes: `model_invalid`.

internal import Diagnostics
internal import FoundationEssentials
internal import Language
internal import ModelFile
internal import Tensor

/// A released checkpoint.
struct ReleasedLlama: LlamaCheckpoint {
    /// What params.json says.
    private struct Parameters: Decodable {
        var dim: Int
        var n_heads: Int
        var n_kv_heads: Int?
        var n_layers: Int
        var norm_eps: Float
        var rope_theta: Double?
        var vocab_size: Int?
        var use_scaled_rope: Bool?
    }

    let configuration: LlamaConfiguration
    let hasOutput = true
    private let shards: [CheckpointTensors]

    var paths: [String] { shards.map(\.file.path) }

    /// Opens the checkpoint in the directory `path`.
    ///
    /// - Parameter vocabulary: tokens of the tokenizer that belongs to it.
    init(path: String, vocabulary: Int, precision: Precision) throws(Failure) {
        let parameters = try CheckpointFolder.json(Parameters.self, at: "\(path)/params.json")
        let names = CheckpointFolder.names(in: path).filter { $0.hasPrefix("consolidated.") && $0.hasSuffix(".pth") }
        guard !names.isEmpty else {
            throw Failure(.modelMissing, path, "has no consolidated.*.pth", hint: "Check the directory.")
        }
        for (index, name) in names.enumerated() {
            let expected = "consolidated.\(index < 10 ? "0" : "")\(index).pth"
            guard name == expected else {
                throw Failure(
                    .modelInvalid, "\(path)/\(expected)", "is not there, but \(name) is", hint: "Copy all parts.")
            }
        }
        if parameters.use_scaled_rope == true {
            throw Failure(.modelUnsupported, "\(path)/params.json", "asks for scaled rotary embeddings")
        }
        var shards: [CheckpointTensors] = []
        for name in names { shards.append(CheckpointTensors(file: try PyTorchFile(path: "\(path)/\(name)"))) }
        self.shards = shards
        let gate = try shards[0].entry("layers.0.feed_forward.w1.weight")
        // Bounded before it is multiplied: a tensor without elements may have any shape.
        guard gate.shape.count == 2, (1...65_536).contains(gate.shape[0]), parameters.n_heads > 0 else {
            throw Failure(.modelInvalid, "\(path)/params.json", "does not describe consolidated.00.pth")
        }
        do {
            configuration = try LlamaConfiguration(
                width: parameters.dim, hidden: gate.shape[0] * shards.count, layers: parameters.n_layers,
                heads: parameters.n_heads, keyValueHeads: parameters.n_kv_heads ?? parameters.n_heads,
                headSize: parameters.dim / parameters.n_heads, vocabulary: vocabulary, normEpsilon: parameters.norm_eps,
                ropeTheta: parameters.rope_theta ?? 10_000, contextLength: 2_048, precision: precision)
        } catch { throw error.about("\(path)/params.json") }
        try refuseUnknown(layers: parameters.n_layers)
        try CheckpointFolder.checkVocabulary(
            embedding: shards[0].entry("tok_embeddings.weight"), of: shards[0].file.path, vocabulary: vocabulary)
    }

    func part(_ name: String, _ shape: [Int]) throws(Failure) -> LlamaPlan.Values {
        let (source, cut) = Self.source(of: name)
        var expected = shape
        if let cut {
            guard shape[cut] % shards.count == 0 else {
                throw Failure(
                    .modelInvalid, "\(shards[0].file.path): tensor \(source)",
                    "of \(shape) cannot be cut into \(shards.count) parts")
            }
            expected[cut] /= shards.count
        }
        let entries = try shards.map { shard throws(Failure) in try shard.entry(source, expected) }
        let shards = shards
        guard let cut, shards.count > 1 else {
            return { () throws(Failure) -> [Float] in
                let values = try shards[0].values(entries[0])
                for (shard, entry) in zip(shards, entries).dropFirst() where try shard.values(entry) != values {
                    throw Failure(
                        .modelInvalid, "\(shard.file.path): tensor \(source)", "differs from that of the first file",
                        hint: "Check that the files belong together.")
                }
                return values
            }
        }
        return { () throws(Failure) -> [Float] in
            var parts: [[Float]] = []
            for (shard, entry) in zip(shards, entries) { parts.append(try shard.values(entry)) }
            return Self.sideBySide(parts, rows: cut == 0 ? 1 : shape[0])
        }
    }

    /// Matrices of as many rows, joined along their columns; with one row, simply one after the other.
    private static func sideBySide(_ parts: [[Float]], rows: Int) -> [Float] {
        var joined: [Float] = []
        joined.reserveCapacity(parts.reduce(0) { $0 + $1.count })
        for row in 0..<rows {
            for part in parts {
                let columns = part.count / rows
                joined += part[row * columns..<(row + 1) * columns]
            }
        }
        return joined
    }

    /// The release's name of a GGUF tensor, and the dimension that it is cut along; nil where every file has all of it.
    private static func source(of name: String) -> (name: String, cut: Int?) {
        switch name {
        case "token_embd.weight": return ("tok_embeddings.weight", 1)
        case "output_norm.weight": return ("norm.weight", nil)
        case "output.weight": return ("output.weight", 0)
        default:
            let parts = name.split(separator: ".")
            let layer = "layers.\(parts[1])"
            switch parts[2] {
            case "attn_norm": return ("\(layer).attention_norm.weight", nil)
            case "attn_q": return ("\(layer).attention.wq.weight", 0)
            case "attn_k": return ("\(layer).attention.wk.weight", 0)
            case "attn_v": return ("\(layer).attention.wv.weight", 0)
            case "attn_output": return ("\(layer).attention.wo.weight", 1)
            case "ffn_norm": return ("\(layer).ffn_norm.weight", nil)
            case "ffn_gate": return ("\(layer).feed_forward.w1.weight", 0)
            case "ffn_down": return ("\(layer).feed_forward.w2.weight", 1)
            default: return ("\(layer).feed_forward.w3.weight", 0)
            }
        }
    }

    private func refuseUnknown(layers: Int) throws(Failure) {
        var known: Set<String> = ["tok_embeddings.weight", "norm.weight", "output.weight", "rope.freqs"]
        let names = [
            "attention_norm", "attention.wq", "attention.wk", "attention.wv", "attention.wo", "ffn_norm",
            "feed_forward.w1", "feed_forward.w2", "feed_forward.w3",
        ]
        for layer in 0..<layers {
            known.formUnion(names.map { "layers.\(layer).\($0).weight" })
            known.insert("layers.\(layer).attention.inner_attention.rope.freqs")
        }
        for shard in shards { try shard.refuse { known.contains($0) } }
    }
}
