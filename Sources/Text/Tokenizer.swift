// What every tokenizer of a language model can do, and how trusted and untrusted text meet in one prompt.
//
// Invariants: text from users never becomes a control token, whatever it spells; parts with no control token between
// them are tokenized as the one text that a trainer would have seen. Encoding and decoding never fail.

/// A stretch of prompt text, with where it comes from.
public struct TextPart: Sendable, Equatable {
    /// The text.
    public let text: String
    /// Whether control tokens spelled out in the text stand for themselves (`<|im_end|>` becomes one id).
    public let parsesControlTokens: Bool

    /// Text of the prompt template, which the model's maker wrote: control tokens in it are meant.
    public static func template(_ text: String) -> TextPart { TextPart(text: text, parsesControlTokens: true) }

    /// Text from outside (a question, a choice, a caption): `<|im_end|>` in it is ten characters.
    public static func value(_ text: String) -> TextPart { TextPart(text: text, parsesControlTokens: false) }
}

/// Turns text into token ids and back. Ids are rows of the model's embedding table: 0 ..< `vocabularySize`.
public protocol Tokenizer: Sendable {
    /// How many token ids there are.
    var vocabularySize: Int { get }

    /// The ids with a role in the model: where text begins and ends.
    var specialTokens: SpecialTokens { get }

    /// The ids of the parts read as one text.
    ///
    /// Control tokens are looked for within each `template` part alone, so that none can be put together across a
    /// boundary; all that lies between two of them, whatever parts it came from, is tokenized as one text. No beginning
    /// token is added. `continuing` says that the text goes on from text already encoded, so that a tokenizer which
    /// marks the start of a text (SentencePiece's dummy prefix) does not.
    func encode(_ parts: [TextPart], continuing: Bool) -> [Int32]

    /// The id of the control token that is written `literal`, or nil.
    func controlToken(_ literal: String) -> Int32?

    /// What a token stands for in text; ids outside the vocabulary stand for U+FFFD.
    func surface(of token: Int32) -> TokenSurface

    /// How the surfaces of a sequence of tokens become text.
    var decodingRules: DecodingRules { get }
}

extension Tokenizer {
    /// The ids of one text; control tokens spelled out in it are parsed only on request, for text of our own making.
    public func encode(_ text: String, parsingControlTokens: Bool = false) -> [Int32] {
        encode([TextPart(text: text, parsesControlTokens: parsingControlTokens)], continuing: false)
    }

    /// The ids by which `continuation` goes on from `prompt`, as training on the joined text would have shown them.
    ///
    /// Where the joined text's ids begin with the prompt's own (the usual case: the continuation begins with a space
    /// after a letter or a mark), they are the rest of them. Where the last token of the prompt would have swallowed
    /// part of the continuation, the model is nevertheless fed the prompt's own ids, so the continuation is encoded by
    /// itself, without a mark of a text's start. Training uses this same function, so both sides agree.
    public func encode(_ continuation: [TextPart], after prompt: [TextPart]) -> [Int32] {
        let before = encode(prompt, continuing: false)
        let joined = encode(prompt + continuation, continuing: false)
        guard joined.starts(with: before) else { return encode(continuation, continuing: true) }
        return Array(joined.dropFirst(before.count))
    }

    /// The text of tokens; bytes that are not UTF-8 become U+FFFD, control tokens nothing unless they are to be shown.
    public func decode(_ tokens: some Sequence<Int32>, showingControlTokens: Bool = false) -> String {
        var decoder = TextDecoder(self, showingControlTokens: showingControlTokens)
        var text = ""
        for token in tokens { text += decoder.append(token) }
        return text + decoder.finish()
    }
}

/// The token ids with a role in the model.
public struct SpecialTokens: Sendable, Equatable {
    /// The token that stands at the start of a sequence, if the model has one.
    public let beginning: Int32?
    /// The end token that the vocabulary declares.
    public let end: Int32?
    /// Every token that ends a text when the model generates it, ascending: `end` and its kind.
    public let endsOfText: [Int32]
    /// Whether the model was trained with `beginning` before every sequence.
    public let addsBeginning: Bool

    /// Collects ids as a model file declares them; the tokenizer's initialiser checks that they exist.
    public init(beginning: Int32?, end: Int32?, alsoEnding: [Int32] = [], addsBeginning: Bool) {
        self.beginning = beginning
        self.end = end
        self.endsOfText = Set(alsoEnding + (end.map { [$0] } ?? [])).sorted()
        self.addsBeginning = addsBeginning
    }
}

/// What one token stands for.
public struct TokenSurface: Sendable, Equatable {
    /// What the bytes are.
    public enum Kind: Sendable, Equatable {
        /// Whole characters; a space they begin with may be the tokenizer's own mark.
        case text
        /// Whole characters with no mark of the tokenizer's own.
        case verbatim
        /// Bytes that may be part of a character.
        case bytes
        /// A control token's name, shown on request only.
        case control
    }

    /// What `bytes` are.
    public let kind: Kind
    /// The text in UTF-8, a part of it, or a control token's name.
    public let bytes: ArraySlice<UInt8>

    /// A token's surface.
    public init(_ kind: Kind, _ bytes: ArraySlice<UInt8>) {
        self.kind = kind
        self.bytes = bytes
    }

    /// U+FFFD: of ids outside the vocabulary.
    static let replacement = TokenSurface(.verbatim, [0xEF, 0xBF, 0xBD])
}

/// How a tokenizer's family turns surfaces into text.
public struct DecodingRules: Sendable, Equatable {
    /// What becomes of bytes that are not UTF-8.
    public enum Repair: Sendable, Equatable {
        /// One U+FFFD for each maximal subpart (Unicode 16, section 3.9), as byte-level BPE decoders do.
        case maximalSubpart
        /// One U+FFFD for each byte, as SentencePiece does.
        case eachByte
    }

    /// What becomes of bytes that are not UTF-8.
    public let repair: Repair
    /// Whether one space at the start of the text is the tokenizer's own mark and is taken off.
    public let dropsLeadingSpace: Bool
}
