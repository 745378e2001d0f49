// Byte-level byte-pair encoding (GPT-2, Radford et al. 2019), as GGUF's `tokenizer.ggml.model = gpt2` stores it.
//
// Invariants: every merge joins two normal tokens into a third, by ids; control tokens come only from control tokens
// spelled out in template text. A byte without a token of its own (SmolLM2 has none for 21 bytes, among them 0x04 and
// 0xF1) is left out, as other tokenizers of these files do. Failure modes: `model_invalid` and `model_unsupported`,
// naming the token or merge.

public import Diagnostics
public import ModelFile

/// A byte-level BPE tokenizer.
public struct ByteLevelBPETokenizer: Tokenizer {
    private let vocabulary: Vocabulary
    /// The bytes each token stands for; control tokens keep their names.
    private let surfaces: ByteStrings
    /// The token of each single byte, -1 where there is none. // [256]
    private let byteTokens: [Int32]
    /// Left and right token of a merge (high and low half) to its rank and the merged token (high and low half).
    private let merges: [UInt64: UInt64]
    private let preTokenizer: PreTokenizer
    private let controlTokens: LiteralMatcher
    private let userDefined: LiteralMatcher

    /// The ids with a role in the model; end tokens known by name are among them.
    public let specialTokens: SpecialTokens
    /// How surfaces become text: one U+FFFD a maximal subpart; no space is dropped.
    public let decodingRules = DecodingRules(repair: .maximalSubpart, dropsLeadingSpace: false)
    /// How many token ids there are.
    public var vocabularySize: Int { vocabulary.count }

    /// Builds the tokenizer from the arrays of a model file.
    ///
    /// - Parameters:
    ///   - pieces: the tokens; normal ones in GPT-2's byte alphabet, control and user-defined ones as they are.
    ///   - types: a `tokenizer.ggml.token_type` for each token.
    ///   - merges: "left right" in the byte alphabet, best first, none twice.
    ///   - preTokenizer: `tokenizer.ggml.pre`; only `smollm` is known.
    ///   - specialTokens: the ids that the file declares.
    /// - Throws: `Failure` of `model_invalid` or `model_unsupported`.
    public init(
        pieces: ByteStrings, types: [Int32], merges: ByteStrings, preTokenizer: String, specialTokens: SpecialTokens
    ) throws(Failure) {
        self.preTokenizer = try PreTokenizer(name: preTokenizer)
        vocabulary = try Vocabulary(pieces: pieces, types: types)
        if let byte = vocabulary.tokens(of: .byte).first {
            throw Failure(.modelUnsupported, "vocabulary", "token \(byte) is a byte token in a byte-level vocabulary")
        }
        controlTokens = LiteralMatcher(vocabulary.tokens(of: .control), of: pieces)
        userDefined = LiteralMatcher(vocabulary.tokens(of: .userDefined), of: pieces)
        self.specialTokens = try vocabulary.completed(specialTokens, controlTokens: controlTokens)
        surfaces = try Self.surfaces(of: vocabulary)
        byteTokens = Self.byteTokens(of: vocabulary, surfaces)
        let table = try Self.table(of: vocabulary)
        self.merges = try Self.read(merges, table)
    }

    /// The id of the control token that is written `literal`, or nil.
    public func controlToken(_ literal: String) -> Int32? { controlTokens.token(exactly: Array(literal.utf8)) }

    /// What a token stands for in text.
    public func surface(of token: Int32) -> TokenSurface {
        let index = Int(token)
        guard vocabulary.types.indices.contains(index) else { return .replacement }
        switch vocabulary.types[index] {
        case .normal, .userDefined, .byte: return TokenSurface(.bytes, surfaces[index])
        case .control, .unknown, .unused: return TokenSurface(.control, surfaces[index])
        }
    }

    /// The ids of the parts read as one text, as `Tokenizer` has it; `continuing` makes no difference here.
    public func encode(_ parts: [TextPart], continuing: Bool) -> [Int32] {
        var tokens: [Int32] = []
        var merger = PairMerger()
        controlTokens.partition(parts) { text in
            encode(text, &merger, into: &tokens)
        } literal: { token in
            tokens.append(token)
        }
        return tokens
    }

    /// Encodes text without control tokens.
    private func encode(_ text: [UInt8], _ merger: inout PairMerger, into tokens: inout [Int32]) {
        userDefined.partition(text) { plain in
            preTokenizer.split(text, plain) { encodeWord(text, $0, &merger, into: &tokens) }
        } literal: { token in
            tokens.append(token)
        }
    }

    private func encodeWord(
        _ text: [UInt8], _ word: Range<Int>, _ merger: inout PairMerger, into tokens: inout [Int32]
    ) {
        merger.removeAll()
        for index in word { merger.append(Symbol(start: index, length: 1, token: byteTokens[Int(text[index])])) }
        merger.run { left, right in
            guard left.token >= 0, right.token >= 0, let found = merges[Self.key(left.token, right.token)] else {
                return nil
            }
            return PairMerger.Merge(
                rank: UInt32(truncatingIfNeeded: found >> 32), token: Int32(truncatingIfNeeded: found))
        } each: { symbol in
            if symbol.token >= 0 { tokens.append(symbol.token) }
        }
    }

    private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    }
}

// MARK: - Reading the model file's arrays

extension ByteLevelBPETokenizer {
    /// Normal tokens out of the byte alphabet, others as they are.
    private static func surfaces(of vocabulary: Vocabulary) throws(Failure) -> ByteStrings {
        let (source, sourceEnds) = (vocabulary.pieces.bytes, vocabulary.pieces.ends)
        var bytes: [UInt8] = []
        var ends: [Int] = []
        bytes.reserveCapacity(source.count)
        ends.reserveCapacity(sourceEnds.count)
        var start = 0
        for (index, end) in sourceEnds.enumerated() {
            if vocabulary.types[index] != .normal {
                bytes += source[start..<end]
            } else if !ByteAlphabet.decode(source, start..<end, into: &bytes) {
                throw Failure(
                    .modelInvalid, "vocabulary", "token \(index) has a character outside the byte-level alphabet")
            }
            ends.append(bytes.count)
            start = end
        }
        guard let surfaces = ByteStrings(bytes: bytes, ends: ends) else {
            throw Failure(.internalError, "vocabulary", "token surfaces do not lie end to end")
        }
        return surfaces
    }

    private static func byteTokens(of vocabulary: Vocabulary, _ surfaces: ByteStrings) -> [Int32] {
        var byteTokens = [Int32](repeating: -1, count: 256)
        for token in vocabulary.tokens(of: .normal) {
            let bytes = surfaces[Int(token)]
            if bytes.count == 1, let byte = bytes.first { byteTokens[Int(byte)] = token }
        }
        return byteTokens
    }

    /// The normal tokens as the file writes them: no merge can make any other.
    private static func table(of vocabulary: Vocabulary) throws(Failure) -> PieceTable {
        var table = PieceTable(over: vocabulary.pieces)
        for token in vocabulary.tokens(of: .normal) {
            if let earlier = table.insert(token) {
                throw Failure(.modelInvalid, "vocabulary", "token \(token) is the same as token \(earlier)")
            }
        }
        return table
    }

    /// Looks the merges up in the byte alphabet, in which both they and the tokens are written.
    private static func read(_ merges: ByteStrings, _ table: PieceTable) throws(Failure) -> [UInt64: UInt64] {
        guard merges.count <= Int(UInt32.max) else {
            throw Failure(.modelInvalid, "merges", "there are \(merges.count) of them")
        }
        let (source, ends) = (merges.bytes, merges.ends)
        var found = [UInt64: UInt64](minimumCapacity: merges.count)
        var pair: [UInt8] = []
        var start = 0
        for (rank, end) in ends.enumerated() {
            // Neither side can hold a space, since the alphabet writes it as another character.
            guard let space = source[start..<end].firstIndex(of: UInt8(ascii: " ")) else {
                throw Failure(.modelInvalid, "merges", "merge \(rank) has no space between two tokens")
            }
            pair.removeAll(keepingCapacity: true)
            pair += source[start..<space]
            pair += source[(space + 1)..<end]
            guard let left = table.token(source, start..<space), let right = table.token(source, (space + 1)..<end),
                let joined = table.token(pair, 0..<pair.count)
            else {
                throw Failure(.modelInvalid, "merges", "merge \(rank) names or makes a token that does not exist")
            }
            let value = UInt64(rank) << 32 | UInt64(UInt32(bitPattern: joined))
            if found.updateValue(value, forKey: key(left, right)) != nil {
                throw Failure(.modelInvalid, "merges", "merge \(rank) repeats an earlier one")
            }
            start = end
        }
        return found
    }
}
