// LLaMA in the layout of Hugging Face's transformers: `config.json` and safetensors or PyTorch files that each hold some of
// the tensors. Its rotary embedding pairs a head's first half with its second, for which rows of q and k were
// permuted; here they go back to neighbouring pairs. Failure modes: `model_invalid`, `model_unsupported`.

internal import Diagnostics
internal import FoundationEssentials
internal import Language
internal import ModelFile
internal import Tensor

/// A checkpoint of transformers' `LlamaForCausalLM`.
struct HuggingFaceLlama: LlamaCheckpoint {
    /// What config.json says.
    private struct Parameters: Decodable {
        /// Present where rotary embeddings are scaled, whatever it holds.
        struct Scaling: Decodable {}

        /// Where transformers 5 has θ and the scaling.
        struct Rotary: Decodable {
            var rope_theta: Double?
            var rope_type: String?
        }

        var model_type: String?
        var hidden_size: Int
        var intermediate_size: Int
        var num_hidden_layers: Int
        var num_attention_heads: Int
        var num_key_value_heads: Int?
        var head_dim: Int?
        var rms_norm_eps: Float
        var rope_theta: Double?
        var rope_scaling: Scaling?
        var rope_parameters: Rotary?
        var hidden_act: String?
        var max_position_embeddings: Int?
        var tie_word_embeddings: Bool?
    }

    let configuration: LlamaConfiguration
    let hasOutput: Bool
    private let files: [CheckpointTensors]
    private let fileOf: [String: Int]

    var paths: [String] { files.map(\.file.path) }

    /// Opens the checkpoint in the directory `path`.
    ///
    /// - Parameter vocabulary: tokens of the tokenizer that belongs to it.
    init(path: String, vocabulary: Int, precision: Precision) throws(Failure) {
        let config = "\(path)/config.json"
        let parameters = try CheckpointFolder.json(Parameters.self, at: config)
        try Self.checkKind(parameters, config)
        files = try Self.open(path)
        var fileOf: [String: Int] = [:]
        for (index, file) in files.enumerated() {
            for name in file.names {
                guard fileOf.updateValue(index, forKey: name) == nil else {
                    throw Failure(.modelInvalid, "\(file.file.path): tensor \(name)", "stands in another file too")
                }
            }
        }
        self.fileOf = fileOf
        hasOutput = !(parameters.tie_word_embeddings ?? false) || fileOf["lm_head.weight"] != nil
        let heads = parameters.num_attention_heads
        let theta = parameters.rope_parameters?.rope_theta ?? parameters.rope_theta ?? 10_000
        do {
            configuration = try LlamaConfiguration(
                width: parameters.hidden_size, hidden: parameters.intermediate_size,
                layers: parameters.num_hidden_layers, heads: heads,
                keyValueHeads: parameters.num_key_value_heads ?? heads,
                headSize: parameters.head_dim ?? parameters.hidden_size / max(1, heads), vocabulary: vocabulary,
                normEpsilon: parameters.rms_norm_eps, ropeTheta: theta,
                contextLength: parameters.max_position_embeddings ?? 2_048, precision: precision)
        } catch { throw error.about(config) }
        try refuseUnknown()
        let (file, embedding) = try find("model.embed_tokens.weight")
        try CheckpointFolder.checkVocabulary(
            embedding: embedding, of: file.file.path, vocabulary: vocabulary)
    }

    /// Refuses what only looks like a llama: it would be converted, and answer nonsense.
    private static func checkKind(_ parameters: Parameters, _ config: String) throws(Failure) {
        let rotary = parameters.rope_parameters?.rope_type ?? "default"
        for (key, isPlain) in [
            ("model_type", parameters.model_type ?? "llama" == "llama"),
            ("rope_scaling", parameters.rope_scaling == nil), ("rope_parameters.rope_type", rotary == "default"),
            ("hidden_act", ["silu", "swish"].contains(parameters.hidden_act ?? "silu")),
        ] where !isPlain {
            throw Failure(
                .modelUnsupported, config, "is not of a plain llama: \(key)", hint: "LLaMA 1 and 2 are supported.")
        }
    }

    func part(_ name: String, _ shape: [Int]) throws(Failure) -> LlamaPlan.Values {
        let source = Self.source(of: name)
        let file = try find(source).file
        let entry = try file.entry(source, shape)
        let isRotated = name.hasSuffix(".attn_q.weight") || name.hasSuffix(".attn_k.weight")
        let headSize = configuration.attention.headSize
        return { () throws(Failure) -> [Float] in
            let values = try file.values(entry)
            return isRotated ? Self.neighbouringPairs(values, columns: shape[1], headSize: headSize) : values
        }
    }

    /// Rows of each head from (0, 1, … | h/2, h/2 + 1, …) to (0, h/2, 1, h/2 + 1, …): pairs become neighbours.
    private static func neighbouringPairs(_ values: [Float], columns: Int, headSize: Int) -> [Float] {
        var result: [Float] = []
        result.reserveCapacity(values.count)
        for row in 0..<values.count / columns {
            let (head, inner) = (row / headSize * headSize, row % headSize)
            let from = head + inner / 2 + inner % 2 * (headSize / 2)
            result += values[from * columns..<(from + 1) * columns]
        }
        return result
    }

    private func find(_ name: String) throws(Failure) -> (file: CheckpointTensors, entry: TensorEntry) {
        // The first file's failure names a file and the tensor where no file has it.
        let file = files[fileOf[name] ?? 0]
        return (file, try file.entry(name))
    }

    private static func open(_ path: String) throws(Failure) -> [CheckpointTensors] {
        let names = CheckpointFolder.names(in: path)
        let tensors = names.filter { $0.hasSuffix(".safetensors") }
        var files: [CheckpointTensors] = []
        for name in tensors { files.append(CheckpointTensors(file: try SafetensorsFile(path: "\(path)/\(name)"))) }
        if files.isEmpty {
            for name in names where name.hasPrefix("pytorch_model") && name.hasSuffix(".bin") {
                files.append(CheckpointTensors(file: try PyTorchFile(path: "\(path)/\(name)")))
            }
        }
        guard !files.isEmpty else {
            throw Failure(
                .modelMissing, path, "has no *.safetensors and no pytorch_model*.bin", hint: "Check the directory.")
        }
        return files
    }

    private static func source(of name: String) -> String {
        switch name {
        case "token_embd.weight": return "model.embed_tokens.weight"
        case "output_norm.weight": return "model.norm.weight"
        case "output.weight": return "lm_head.weight"
        default:
            let parts = name.split(separator: ".")
            let layer = "model.layers.\(parts[1])"
            switch parts[2] {
            case "attn_norm": return "\(layer).input_layernorm.weight"
            case "attn_q": return "\(layer).self_attn.q_proj.weight"
            case "attn_k": return "\(layer).self_attn.k_proj.weight"
            case "attn_v": return "\(layer).self_attn.v_proj.weight"
            case "attn_output": return "\(layer).self_attn.o_proj.weight"
            case "ffn_norm": return "\(layer).post_attention_layernorm.weight"
            case "ffn_gate": return "\(layer).mlp.gate_proj.weight"
            case "ffn_up": return "\(layer).mlp.up_proj.weight"
            default: return "\(layer).mlp.down_proj.weight"
            }
        }
    }

    private func refuseUnknown() throws(Failure) {
        var known: Set<String> = ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"]
        let names = [
            "attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down",
        ]
        for layer in 0..<configuration.layers {
            known.formUnion(names.map { Self.source(of: "blk.\(layer).\($0).weight") })
            known.insert("model.layers.\(layer).self_attn.rotary_emb.inv_freq")
        }
        for file in files { try file.refuse { known.contains($0) } }
    }
}
