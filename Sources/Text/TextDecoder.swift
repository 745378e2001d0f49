// Token ids to text, one id at a time, as generation yields them.
//
// Invariant: the pieces returned by `append` and `finish`, joined, are the text of all ids at once; each is whole
// characters. Bytes that cannot become a character are replaced by U+FFFD, and only when that is certain.

/// Decodes a stream of token ids.
public struct TextDecoder: Sendable {
    private let tokenizer: any Tokenizer
    private let rules: DecodingRules
    private let showsControlTokens: Bool
    /// Bytes of a character that is not complete yet.
    private var pending: [UInt8] = []
    /// Whether a leading space would still be the tokenizer's own.
    private var expectsMark: Bool

    /// A decoder at the start of a text.
    public init(_ tokenizer: some Tokenizer, showingControlTokens: Bool = false) {
        self.tokenizer = tokenizer
        rules = tokenizer.decodingRules
        showsControlTokens = showingControlTokens
        expectsMark = tokenizer.decodingRules.dropsLeadingSpace
    }

    /// The characters that `token` completes; may be empty.
    public mutating func append(_ token: Int32) -> String {
        let surface = tokenizer.surface(of: token)
        switch surface.kind {
        case .bytes:
            pending.append(contentsOf: surface.bytes)
            let text = takeCharacters(atEnd: false)
            if !pending.isEmpty || !text.isEmpty { expectsMark = false }
            return text
        case .text:
            return appendText(surface.bytes, mayBeginWithMark: true)
        case .verbatim:
            return appendText(surface.bytes, mayBeginWithMark: false)
        case .control:
            // A control token also ends a run of bytes, so what is pending cannot be completed any more.
            guard showsControlTokens else { return takeCharacters(atEnd: true) }
            return appendText(surface.bytes, mayBeginWithMark: false)
        }
    }

    /// What is left at the end of the text: U+FFFD for an unfinished character, or nothing.
    public mutating func finish() -> String { takeCharacters(atEnd: true) }

    private mutating func appendText(_ bytes: ArraySlice<UInt8>, mayBeginWithMark: Bool) -> String {
        let before = takeCharacters(atEnd: true)
        let begins = expectsMark && mayBeginWithMark && bytes.first == UInt8(ascii: " ")
        if !bytes.isEmpty { expectsMark = false }
        return before + String(decoding: begins ? bytes.dropFirst() : bytes, as: UTF8.self)
    }

    /// Removes from `pending` all that is decided and returns it, repaired.
    private mutating func takeCharacters(atEnd: Bool) -> String {
        var repaired: [UInt8] = []
        var position = 0
        scan: while position < pending.count {
            switch UTF8Sequence(in: pending[position...]) {
            case .valid(let length):
                repaired.append(contentsOf: pending[position..<(position + length)])
                position += length
            case .unfinished where !atEnd:
                break scan
            case .invalid(let length), .unfinished(let length):
                repaired.append(contentsOf: TokenSurface.replacement.bytes)
                position += rules.repair == .eachByte ? 1 : length
            }
        }
        pending.removeFirst(position)
        return String(decoding: repaired, as: UTF8.self)
    }
}

/// The first sequence of some bytes, judged by Unicode's table 3-7 of well-formed UTF-8.
enum UTF8Sequence: Equatable {
    /// A character of so many bytes.
    case valid(Int)
    /// The longest start of a character that these bytes go on to spoil; at least one byte.
    case invalid(Int)
    /// A start of a character where the bytes end.
    case unfinished(Int)

    /// Judges the start of `bytes`, which must not be empty.
    init(in bytes: ArraySlice<UInt8>) {
        let lead = bytes[bytes.startIndex]
        var second: ClosedRange<UInt8> = 0x80...0xBF
        let length: Int
        switch lead {
        case 0x00...0x7F: length = 1
        case 0xC2...0xDF: length = 2
        case 0xE0...0xEF:
            length = 3
            if lead == 0xE0 { second = 0xA0...0xBF }
            if lead == 0xED { second = 0x80...0x9F }
        case 0xF0...0xF4:
            length = 4
            if lead == 0xF0 { second = 0x90...0xBF }
            if lead == 0xF4 { second = 0x80...0x8F }
        default:
            self = .invalid(1)
            return
        }
        for offset in 1..<max(length, 1) {
            guard offset < bytes.count else {
                self = .unfinished(offset)
                return
            }
            guard (offset == 1 ? second : 0x80...0xBF).contains(bytes[bytes.startIndex + offset]) else {
                self = .invalid(offset)
                return
            }
        }
        self = .valid(length)
    }
}
