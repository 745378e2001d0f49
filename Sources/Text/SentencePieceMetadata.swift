// A SentencePiece model in GGUF's keys (ggml-org/ggml, docs/gguf.md, `tokenizer.ggml.*`), as llama.cpp's converter writes
// them: what `GGUFMetadata.tokenizer()` reads back.
//
// Failure modes: `model_unsupported` for what the BPE tokenizer here does not do: another algorithm or normalisation.

public import Diagnostics
public import ModelFile

extension SentencePieceModel {
    /// The vocabulary and its settings, in the order to write them.
    ///
    /// - Throws: `model_unsupported` naming the setting.
    public func ggufMetadata() throws(Failure) -> [(String, GGUFValue)] {
        func require(_ holds: Bool, _ setting: String, _ what: String) throws(Failure) {
            guard !holds else { return }
            throw Failure(
                .modelUnsupported, setting, what,
                hint: "BPE with identity normalisation, as LLaMA has it, is supported.")
        }
        try require(algorithm == .bpe, "model_type", "is \(algorithm)")
        try require(!hasCharacterMap, "precompiled_charsmap", "holds rules")
        try require(!removesExtraWhitespace, "remove_extra_whitespaces", "is on")
        try require(escapesWhitespace, "escape_whitespaces", "is off")
        try require(!whitespaceIsSuffix, "treat_whitespace_as_suffix", "is on")
        var metadata: [(String, GGUFValue)] = [
            ("tokenizer.ggml.model", .string("llama")),
            ("tokenizer.ggml.pre", .string("default")),
            ("tokenizer.ggml.tokens", .strings(pieces)),
            ("tokenizer.ggml.scores", .float32s(scores)),
            ("tokenizer.ggml.token_type", .int32s(types.map(\.rawValue))),
        ]
        for (key, id) in [
            ("bos_token_id", beginID), ("eos_token_id", endID), ("unknown_token_id", unknownID),
            ("padding_token_id", paddingID),
        ] where id >= 0 {
            metadata.append(("tokenizer.ggml.\(key)", .uint32(UInt32(id))))
        }
        return metadata + [
            ("tokenizer.ggml.add_bos_token", .bool(beginID >= 0)),
            ("tokenizer.ggml.add_eos_token", .bool(false)),
            ("tokenizer.ggml.add_space_prefix", .bool(addsDummyPrefix)),
            ("tokenizer.ggml.remove_extra_whitespaces", .bool(false)),
        ]
    }
}
