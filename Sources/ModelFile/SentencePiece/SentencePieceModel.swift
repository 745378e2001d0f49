// SentencePiece's `tokenizer.model` (google/sentencepiece, sentencepiece_model.proto): the pieces with scores and types, and
// those settings of trainer and normalizer that decide how text is encoded.
//
// Failure modes: `model_invalid` for damage. What the settings mean, and which are supported, is the tokenizer's matter.

public import Diagnostics
import Tensor

/// A SentencePiece model as stored.
public struct SentencePieceModel: Sendable, Equatable {
    /// How text is segmented (`TrainerSpec.ModelType`).
    public enum Algorithm: Int, Sendable {
        /// Unigram language model.
        case unigram = 1
        /// Byte-pair encoding by scores.
        case bpe = 2
        /// White-space separated words.
        case word = 3
        /// Single characters.
        case character = 4
    }

    /// What a piece is for (`SentencePiece.Type`); GGUF's `tokenizer.ggml.token_type` uses the same numbers.
    public enum PieceType: Int32, Sendable {
        /// Text.
        case normal = 1
        /// The unknown token.
        case unknown = 2
        /// A control token, which stands for no text.
        case control = 3
        /// Text that is always one piece.
        case userDefined = 4
        /// Reserved.
        case unused = 5
        /// A single byte, spelled `<0xNN>`.
        case byte = 6
    }

    /// The pieces, by token id.
    public var pieces: ByteStrings
    /// Each piece's score; BPE merges the highest first.
    public var scores: [Float] = []
    /// Each piece's type.
    public var types: [PieceType] = []

    /// `TrainerSpec.model_type`.
    public var algorithm = Algorithm.unigram
    /// `TrainerSpec.byte_fallback`: characters without a piece become byte pieces.
    public var byteFallback = false
    /// `TrainerSpec.split_digits`: digits never merge. Only training used it; kept for inspection.
    public var splitDigits = false
    /// `TrainerSpec.treat_whitespace_as_suffix`: the escaped space ends a word instead of beginning it.
    public var whitespaceIsSuffix = false
    /// `TrainerSpec.unk_id`.
    public var unknownID = 0
    /// `TrainerSpec.bos_id`; −1 when there is none.
    public var beginID = 1
    /// `TrainerSpec.eos_id`; −1 when there is none.
    public var endID = 2
    /// `TrainerSpec.pad_id`; −1 when there is none.
    public var paddingID = -1

    /// `NormalizerSpec.name`, such as `identity` or `nmt_nfkc`.
    public var normalizer = ""
    /// `NormalizerSpec.precompiled_charsmap` holds rules, so the normaliser changes characters.
    public var hasCharacterMap = false
    /// `NormalizerSpec.add_dummy_prefix`: a space is put before the text.
    public var addsDummyPrefix = true
    /// `NormalizerSpec.remove_extra_whitespaces`: runs of spaces and spaces at the ends are dropped.
    public var removesExtraWhitespace = true
    /// `NormalizerSpec.escape_whitespaces`: spaces are spelled U+2581.
    public var escapesWhitespace = true

    /// Reads a model file.
    ///
    /// - Throws: `model_missing`, `permission_denied` or `input_output` when it cannot be opened; `model_invalid` when it
    ///   is damaged or has no pieces; `model_unsupported` for an unknown kind of model or piece.
    public init(path: String) throws(Failure) {
        let mapping = try MappedFile(path: path)
        try self.init(parsing: mapping.bytes, path: path)
    }
}
