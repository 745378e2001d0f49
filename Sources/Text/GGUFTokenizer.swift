// Tokenizers from GGUF metadata in the field's usual keys (ggml-org/ggml, docs/gguf.md, `tokenizer.ggml.*`).
//
// Failure modes: missing keys are `model_missing`, damaged ones `model_invalid`; families, pre-tokenizers and
// normalisers that are not supported are `model_unsupported`, naming them.

public import Diagnostics
public import ModelFile

extension GGUFMetadata {
    /// The tokenizer that the metadata describes.
    ///
    /// - Throws: `model_missing`, `model_invalid` or `model_unsupported`, naming the key.
    public func tokenizer() throws(Failure) -> any Tokenizer {
        let family = try string("tokenizer.ggml.model")
        switch family {
        case "gpt2": return try ByteLevelBPETokenizer(metadata: self)
        case "llama": return try SentencePieceTokenizer(metadata: self)
        default:
            throw Failure(
                .modelUnsupported, "tokenizer.ggml.model", "the tokenizer family '\(family)' is not supported",
                hint: "the families gpt2 (byte-level BPE) and llama (SentencePiece BPE) are")
        }
    }

    /// The special tokens; `addsBeginning` holds where the file does not say whether a beginning token is added.
    fileprivate func specialTokens(addsBeginning: Bool) throws(Failure) -> SpecialTokens {
        let beginning = try token("tokenizer.ggml.bos_token_id")
        var ending: [Int32] = []
        for key in ["tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"] {
            if let token = try token(key) { ending.append(token) }
        }
        return SpecialTokens(
            beginning: beginning, end: try token("tokenizer.ggml.eos_token_id"), alsoEnding: ending,
            addsBeginning: try optionalBool("tokenizer.ggml.add_bos_token") ?? (addsBeginning && beginning != nil))
    }

    private func token(_ key: String) throws(Failure) -> Int32? {
        guard let value = try optionalInteger(key) else { return nil }
        guard let token = Int32(exactly: value) else {
            throw Failure(.modelInvalid, key, "\(value) is not a token id")
        }
        return token
    }

    fileprivate func tokenTypes() throws(Failure) -> [Int32] {
        let key = "tokenizer.ggml.token_type"
        return try integers(key).map { (value) throws(Failure) in
            guard let type = Int32(exactly: value) else {
                throw Failure(.modelInvalid, key, "there is no token type \(value)")
            }
            return type
        }
    }
}

extension ByteLevelBPETokenizer {
    /// The tokenizer of a GGUF file with `tokenizer.ggml.model = gpt2`.
    ///
    /// - Throws: `model_missing`, `model_invalid` or `model_unsupported`, naming the key or token.
    public init(metadata: GGUFMetadata) throws(Failure) {
        try self.init(
            pieces: try metadata.strings("tokenizer.ggml.tokens"), types: try metadata.tokenTypes(),
            merges: try metadata.strings("tokenizer.ggml.merges"),
            preTokenizer: try metadata.string("tokenizer.ggml.pre"),
            specialTokens: try metadata.specialTokens(addsBeginning: false))
    }
}

extension SentencePieceTokenizer {
    /// The tokenizer of a GGUF file with `tokenizer.ggml.model = llama`.
    ///
    /// - Throws: `model_missing`, `model_invalid` or `model_unsupported`, naming the key or piece.
    public init(metadata: GGUFMetadata) throws(Failure) {
        let charactersMap = "tokenizer.ggml.precompiled_charsmap"
        if let value = metadata[charactersMap], value != .uint8s([]), value != .int8s([]) {
            throw Self.unsupportedNormaliser(charactersMap, "a normaliser with a character map")
        }
        let extraSpace = "tokenizer.ggml.remove_extra_whitespaces"
        if try metadata.optionalBool(extraSpace) == true {
            throw Self.unsupportedNormaliser(extraSpace, "a normaliser that removes white space")
        }
        try self.init(
            pieces: try metadata.strings("tokenizer.ggml.tokens"),
            scores: try metadata.floats("tokenizer.ggml.scores"), types: try metadata.tokenTypes(),
            specialTokens: try metadata.specialTokens(addsBeginning: true),
            addsDummyPrefix: try metadata.optionalBool("tokenizer.ggml.add_space_prefix") ?? true)
    }

    private static func unsupportedNormaliser(_ key: String, _ what: String) -> Failure {
        Failure(.modelUnsupported, key, "\(what) is not supported", hint: "identity normalisation is")
    }
}
