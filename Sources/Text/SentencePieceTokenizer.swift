// SentencePiece's BPE (Kudo and Richardson 2018, arXiv 1808.06226) with identity normalisation, as LLaMA uses it.
//
// A space is written as U+2581, one stands before every text (the dummy prefix); neighbours whose joined text is a piece
// merge, best score first; characters without a piece fall back to byte pieces or the unknown piece. Exact against the
// `sentencepiece` library, encoder and decoder, but that a control piece never comes from a user's text. Failure modes:
// `model_invalid`, naming the piece.

public import Diagnostics
public import ModelFile

/// A SentencePiece tokenizer of the model type BPE.
public struct SentencePieceTokenizer: Tokenizer {
    private let vocabulary: Vocabulary
    /// What each token stands for in text: spaces are spaces, a byte piece is its byte.
    private let surfaces: ByteStrings
    /// Normal, user-defined and unused pieces.
    private let table: PieceTable
    /// The place of each piece in the order of merging: 0 for the highest score, equal for equal scores.
    private let ranks: [UInt32]
    /// The piece of each byte, empty without byte fallback. // [256]
    private let byteTokens: [Int32]
    private let unknown: Int32
    private let addsDummyPrefix: Bool
    private let controlTokens: LiteralMatcher
    private let userDefined: LiteralMatcher

    /// The ids with a role in the model; end tokens known by name are among them.
    public let specialTokens: SpecialTokens
    /// How surfaces become text: one U+FFFD a byte; the dummy prefix's space is dropped.
    public let decodingRules: DecodingRules
    /// How many token ids there are.
    public var vocabularySize: Int { vocabulary.count }

    /// Builds the tokenizer from the arrays of a model file.
    ///
    /// - Parameters:
    ///   - pieces: the pieces, with U+2581 for a space.
    ///   - scores: the score of each; higher merges first.
    ///   - types: the type of each, numbered as in `sentencepiece_model.proto`.
    ///   - specialTokens: the ids that the file declares.
    ///   - addsDummyPrefix: whether a space is put before every text.
    ///   - unknownSurface: what the unknown piece decodes to.
    /// - Throws: `Failure` of `model_invalid`.
    public init(
        pieces: ByteStrings, scores: [Float], types: [Int32], specialTokens: SpecialTokens,
        addsDummyPrefix: Bool = true, unknownSurface: String = " \u{2047} "
    ) throws(Failure) {
        vocabulary = try Vocabulary(pieces: pieces, types: types)
        guard scores.count == vocabulary.count else {
            throw Failure(
                .modelInvalid, "vocabulary", "it has \(vocabulary.count) pieces but \(scores.count) scores")
        }
        guard let unknown = vocabulary.tokens(of: .unknown).first, vocabulary.tokens(of: .unknown).count == 1 else {
            throw Failure(.modelInvalid, "vocabulary", "it must have just one unknown piece")
        }
        self.unknown = unknown
        self.addsDummyPrefix = addsDummyPrefix
        controlTokens = LiteralMatcher(vocabulary.tokens(of: .control), of: pieces)
        userDefined = LiteralMatcher(vocabulary.tokens(of: .userDefined), of: pieces)
        self.specialTokens = try vocabulary.completed(specialTokens, controlTokens: controlTokens)
        decodingRules = DecodingRules(repair: .eachByte, dropsLeadingSpace: addsDummyPrefix)
        byteTokens = try Self.byteTokens(of: vocabulary)
        table = try Self.table(of: vocabulary)
        ranks = try Self.ranks(scores)
        surfaces = Self.surfaces(of: vocabulary, byteTokens, unknownSurface)
    }

    /// The id of the control token that is written `literal`, or nil.
    public func controlToken(_ literal: String) -> Int32? { controlTokens.token(exactly: Array(literal.utf8)) }

    /// What a token stands for in text.
    public func surface(of token: Int32) -> TokenSurface {
        let index = Int(token)
        guard vocabulary.types.indices.contains(index) else { return .replacement }
        switch vocabulary.types[index] {
        case .normal, .userDefined, .unused:
            let isMarked = vocabulary.pieces[index].starts(with: Self.mark)
            return TokenSurface(isMarked ? .text : .verbatim, surfaces[index])
        case .unknown: return TokenSurface(.verbatim, surfaces[index])
        case .byte: return TokenSurface(.bytes, surfaces[index])
        case .control: return TokenSurface(.control, surfaces[index])
        }
    }

    /// The ids of the parts read as one text, as `Tokenizer` has it.
    ///
    /// Text after a control token starts anew, with a dummy prefix of its own: `<s>Caption:` in a template gives the
    /// ids of the beginning token and of the text "Caption:".
    public func encode(_ parts: [TextPart], continuing: Bool) -> [Int32] {
        var tokens: [Int32] = []
        var starts = !continuing
        controlTokens.partition(parts) { text in
            encode(text, atStart: starts, into: &tokens)
        } literal: { token in
            tokens.append(token)
            starts = true
        }
        return tokens
    }

    /// Encodes text without control tokens, which is not empty.
    private func encode(_ text: [UInt8], atStart: Bool, into tokens: inout [Int32]) {
        let normalized = Self.escapingSpaces(text, prefixed: atStart && addsDummyPrefix)
        var merger = PairMerger()
        var position = 0
        while position < normalized.count {
            let symbol = firstSymbol(normalized, position)
            merger.append(symbol)
            position += symbol.length
        }
        // How an unused piece came about: it takes part in merging but is taken apart again at the end.
        var leftLengths: [Int32: Int] = [:]
        merger.run { left, right in
            guard let token = table.token(normalized, left.start..<right.range.upperBound) else { return nil }
            if vocabulary.types[Int(token)] == .unused { leftLengths[token] = left.length }
            return PairMerger.Merge(rank: ranks[Int(token)], token: token)
        } each: { symbol in
            emit(normalized, symbol, leftLengths, into: &tokens)
        }
    }

    /// The user-defined symbol at `position`, which stays whole, or the character.
    private func firstSymbol(_ text: [UInt8], _ position: Int) -> Symbol {
        if let found = userDefined.match(text, at: position) {
            return Symbol(start: position, length: found.length, token: found.token, isFrozen: true)
        }
        let lead = text[position]
        let length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4
        return Symbol(
            start: position, length: length, token: table.token(text, position..<(position + length)) ?? -1)
    }

    /// Appends the ids of one symbol: its own, those of an unused piece's parts, or those that stand in for none.
    private func emit(
        _ text: [UInt8], _ symbol: Symbol, _ leftLengths: [Int32: Int], into tokens: inout [Int32]
    ) {
        var open = [symbol.range]
        while let range = open.popLast() {
            let token = table.token(text, range)
            if let token, vocabulary.types[Int(token)] == .unused, let left = leftLengths[token] {
                open.append((range.lowerBound + left)..<range.upperBound)
                open.append(range.lowerBound..<(range.lowerBound + left))
            } else if let token {
                tokens.append(token)
            } else if !byteTokens.isEmpty {
                for byte in text[range] { tokens.append(byteTokens[Int(byte)]) }
            } else if tokens.last != unknown {
                tokens.append(unknown)  // one for a run of them
            }
        }
    }

    /// U+2581, which stands for a space.
    private static let mark: [UInt8] = [0xE2, 0x96, 0x81]

    private static func escapingSpaces(_ text: [UInt8], prefixed: Bool) -> [UInt8] {
        var escaped = prefixed ? mark : []
        escaped.reserveCapacity(text.count + 3)
        for byte in text {
            if byte == UInt8(ascii: " ") { escaped += mark } else { escaped.append(byte) }
        }
        return escaped
    }
}

// MARK: - Reading the model file's arrays

extension SentencePieceTokenizer {
    /// The pieces that text can merge into.
    private static func table(of vocabulary: Vocabulary) throws(Failure) -> PieceTable {
        var table = PieceTable(over: vocabulary.pieces)
        for index in 0..<vocabulary.count {
            switch vocabulary.types[index] {
            case .control, .unknown, .byte: continue
            case .normal, .userDefined, .unused: break
            }
            if let earlier = table.insert(Int32(index)) {
                throw Failure(.modelInvalid, "vocabulary", "piece \(index) is the same as piece \(earlier)")
            }
        }
        return table
    }

    /// The byte pieces `<0x00>` … `<0xFF>` in order; none or all of them must be there.
    private static func byteTokens(of vocabulary: Vocabulary) throws(Failure) -> [Int32] {
        let tokens = vocabulary.tokens(of: .byte)
        guard !tokens.isEmpty else { return [] }
        var byteTokens = [Int32](repeating: -1, count: 256)
        for token in tokens {
            let name = String(decoding: vocabulary.pieces[Int(token)], as: UTF8.self)
            guard name.utf8.count == 6, name.hasPrefix("<0x"), name.hasSuffix(">"),
                let byte = UInt8(name.dropFirst(3).dropLast(), radix: 16), byteTokens[Int(byte)] < 0
            else {
                throw Failure(
                    .modelInvalid, "vocabulary", "byte piece \(token) is not one of <0x00> to <0xFF>, or twice there")
            }
            byteTokens[Int(byte)] = token
        }
        if let missing = byteTokens.firstIndex(of: -1) {
            throw Failure(.modelInvalid, "vocabulary", "there are byte pieces but none for the byte \(missing)")
        }
        return byteTokens
    }

    private static func ranks(_ scores: [Float]) throws(Failure) -> [UInt32] {
        if let bad = scores.firstIndex(where: \.isNaN) {
            throw Failure(.modelInvalid, "vocabulary", "the score of piece \(bad) is not a number")
        }
        var ranks = [UInt32](repeating: 0, count: scores.count)
        var (rank, previous) = (UInt32(0), Float.infinity)
        for index in scores.indices.sorted(by: { scores[$0] > scores[$1] }) {
            if scores[index] < previous { rank += 1 }
            ranks[index] = rank
            previous = scores[index]
        }
        return ranks
    }

    private static func surfaces(
        of vocabulary: Vocabulary, _ byteTokens: [Int32], _ unknownSurface: String
    ) -> ByteStrings {
        var byteOfToken: [Int32: UInt8] = [:]
        for (byte, token) in byteTokens.enumerated() { byteOfToken[token] = UInt8(byte) }
        return ByteStrings(
            (0..<vocabulary.count).map { index -> [UInt8] in
                if let byte = byteOfToken[Int32(index)] { return [byte] }
                switch vocabulary.types[index] {
                case .unknown: return Array(unknownSurface.utf8)
                case .control: return Array(vocabulary.pieces[index])
                default: return unescapingSpaces(vocabulary.pieces[index])
                }
            })
    }

    private static func unescapingSpaces(_ piece: ArraySlice<UInt8>) -> [UInt8] {
        var text: [UInt8] = []
        var rest = piece
        while let byte = rest.first {
            if rest.starts(with: mark) {
                text.append(UInt8(ascii: " "))
                rest = rest.dropFirst(mark.count)
            } else {
                text.append(byte)
                rest = rest.dropFirst()
            }
        }
        return text
    }
}
