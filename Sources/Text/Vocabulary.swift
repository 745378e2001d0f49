// The pieces of a vocabulary with their types, checked once, and the two ways of finding a piece: by exact bytes
// (PieceTable) and as the longest of some literals at a place in a text (LiteralMatcher).
//
// Failure modes: counts that differ, types that do not exist and literals that are not UTF-8 are `model_invalid`.

import Diagnostics
import ModelFile

/// What a token is for; the numbers are those of SentencePiece and of GGUF's `tokenizer.ggml.token_type`.
enum TokenType: Int32, Sendable {
    case normal = 1
    case unknown = 2
    case control = 3
    case userDefined = 4
    case unused = 5
    case byte = 6
}

/// Pieces and types of the same count, ids fitting Int32.
struct Vocabulary: Sendable {
    let pieces: ByteStrings
    let types: [TokenType]

    var count: Int { types.count }

    init(pieces: ByteStrings, types rawTypes: [Int32]) throws(Failure) {
        guard pieces.count > 0, pieces.count < Int(Int32.max) else {
            throw Failure(.modelInvalid, "vocabulary", "it has \(pieces.count) tokens")
        }
        guard pieces.count == rawTypes.count else {
            throw Failure(
                .modelInvalid, "vocabulary", "it has \(pieces.count) tokens but \(rawTypes.count) token types")
        }
        self.pieces = pieces
        types = try rawTypes.enumerated().map { index, raw throws(Failure) in
            guard let type = TokenType(rawValue: raw) else {
                throw Failure(.modelInvalid, "vocabulary", "token \(index) has the type \(raw), which does not exist")
            }
            return type
        }
        // Literals are looked for byte by byte: one that is part of a character would cut a text inside it.
        for (index, type) in types.enumerated() where type == .control || type == .userDefined {
            guard String(validating: pieces[index], as: UTF8.self) != nil else {
                throw Failure(.modelInvalid, "vocabulary", "token \(index) stands for itself in texts but is not UTF-8")
            }
        }
    }

    /// The ids of all tokens of one type, ascending.
    func tokens(of type: TokenType) -> [Int32] {
        types.indices.filter { types[$0] == type }.map { Int32($0) }
    }

    /// Checks the declared special tokens and adds the end tokens that are known by their names: vocabularies declare
    /// one end token, but chat models end a turn with one and a text with another.
    func completed(_ declared: SpecialTokens, controlTokens: LiteralMatcher) throws(Failure) -> SpecialTokens {
        for token in declared.endsOfText + (declared.beginning.map { [$0] } ?? []) {
            guard token >= 0, Int(token) < count else {
                throw Failure(
                    .modelInvalid, "vocabulary", "special token \(token) is not among its \(count) tokens")
            }
        }
        guard !declared.addsBeginning || declared.beginning != nil else {
            throw Failure(.modelInvalid, "vocabulary", "a beginning token is to be added but none is declared")
        }
        let named = Self.endNames.compactMap { controlTokens.token(exactly: Array($0.utf8)) }
        return SpecialTokens(
            beginning: declared.beginning, end: declared.end, alsoEnding: declared.endsOfText + named,
            addsBeginning: declared.addsBeginning)
    }

    private static let endNames = [
        "<|endoftext|>", "<|im_end|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<end_of_turn>",
        "</s>", "<eos>", "<EOT>",
    ]
}

/// Finds a token by its exact bytes: open addressing over ids, since a dictionary of 49,152 `String`s takes longer to
/// build than the whole model does to map. Hashes are seeded at random, so that no file can aim at collisions.
struct PieceTable: Sendable {
    private let bytes: [UInt8]
    private let ends: [Int]
    /// Ids, -1 where free; the count is a power of two and at least twice that of the pieces.
    private var slots: [Int32]
    private let seed = UInt64.random(in: .min ... .max)

    /// A table of no tokens over `pieces`.
    init(over pieces: ByteStrings) {
        bytes = pieces.bytes
        ends = pieces.ends
        var capacity = 16
        while capacity < 2 * pieces.count { capacity *= 2 }
        slots = Array(repeating: -1, count: capacity)
    }

    /// Adds a token; an earlier one of the same bytes stays in its place and is returned.
    mutating func insert(_ token: Int32) -> Int32? {
        let index = Int(token)
        let slot = slot(of: bytes, (index == 0 ? 0 : ends[index - 1])..<ends[index])
        guard slots[slot] < 0 else { return slots[slot] }
        slots[slot] = token
        return nil
    }

    /// The token whose bytes are `text[range]`, or nil.
    func token(_ text: [UInt8], _ range: Range<Int>) -> Int32? {
        let token = slots[slot(of: text, range)]
        return token < 0 ? nil : token
    }

    /// The slot that holds the token of these bytes, or the free one where it belongs.
    private func slot(of text: [UInt8], _ range: Range<Int>) -> Int {
        var slot = hash(text, range) & (slots.count - 1)
        while slots[slot] >= 0, !isEqual(Int(slots[slot]), text, range) { slot = (slot + 1) & (slots.count - 1) }
        return slot
    }

    private func isEqual(_ index: Int, _ text: [UInt8], _ range: Range<Int>) -> Bool {
        let start = index == 0 ? 0 : ends[index - 1]
        guard ends[index] - start == range.count else { return false }
        for offset in 0..<range.count where bytes[start + offset] != text[range.lowerBound + offset] { return false }
        return true
    }

    /// Eight bytes at a time, each folded in by a full multiplication.
    private func hash(_ text: [UInt8], _ range: Range<Int>) -> Int {
        var state = seed ^ UInt64(range.count)
        var index = range.lowerBound
        while index < range.upperBound {
            let end = min(index + 8, range.upperBound)
            var word: UInt64 = 0
            while index < end {
                word = word << 8 | UInt64(text[index])
                index += 1
            }
            let product = (state ^ word).multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15)
            state = product.high ^ product.low
        }
        return Int(truncatingIfNeeded: state ^ state >> 32)
    }
}

/// Finds literals in text: at each place the longest, of equal ones the lowest id.
struct LiteralMatcher: Sendable {
    private struct Literal: Sendable {
        let token: Int32
        let bytes: [UInt8]
    }

    /// By first byte; each list by falling length, then rising id.
    private var literals: [[Literal]] = Array(repeating: [], count: 256)
    let isEmpty: Bool

    init(_ tokens: [Int32], of pieces: ByteStrings) {
        isEmpty = tokens.isEmpty
        for token in tokens {
            let bytes = Array(pieces[Int(token)])
            guard let first = bytes.first else { continue }  // an empty literal would match everywhere
            literals[Int(first)].append(Literal(token: token, bytes: bytes))
        }
        for index in literals.indices {
            literals[index].sort { ($1.bytes.count, $0.token) < ($0.bytes.count, $1.token) }
        }
    }

    /// The longest literal that `text` goes on with at `position`.
    func match(_ text: [UInt8], at position: Int) -> (token: Int32, length: Int)? {
        for literal in literals[Int(text[position])] where text[position...].starts(with: literal.bytes) {
            return (literal.token, literal.bytes.count)
        }
        return nil
    }

    /// The token of the literal that is just these bytes.
    func token(exactly bytes: [UInt8]) -> Int32? {
        guard !bytes.isEmpty, let found = match(bytes, at: 0), found.length == bytes.count else { return nil }
        return found.token
    }

    /// Cuts a prompt at the literals of its trusted parts: calls `text` with all that lies between two of them, whatever
    /// parts it came from (never empty), and `literal` with each.
    func partition(_ parts: [TextPart], text: ([UInt8]) -> Void, literal: (Int32) -> Void) {
        var gathered: [UInt8] = []
        for part in parts {
            let bytes = Array(part.text.utf8)
            guard part.parsesControlTokens else {
                gathered += bytes
                continue
            }
            partition(bytes) { plain in
                gathered += bytes[plain]
            } literal: { token in
                if !gathered.isEmpty { text(gathered) }
                gathered.removeAll(keepingCapacity: true)
                literal(token)
            }
        }
        if !gathered.isEmpty { text(gathered) }
    }

    /// Cuts `text` at its literals: calls `plain` with each stretch between them (never empty) and `literal` with each.
    func partition(_ text: [UInt8], plain: (Range<Int>) -> Void, literal: (Int32) -> Void) {
        guard !isEmpty else {
            if !text.isEmpty { plain(0..<text.count) }
            return
        }
        var (start, position) = (0, 0)
        while position < text.count {
            guard let found = match(text, at: position) else {
                position += 1
                continue
            }
            if start < position { plain(start..<position) }
            literal(found.token)
            position += found.length
            start = position
        }
        if start < text.count { plain(start..<text.count) }
    }
}
