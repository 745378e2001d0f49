import Diagnostics
import ModelFile
import Testing

@testable import Text

/// A vocabulary small enough to work its merges out by hand.
@Suite struct ByteLevelBPETests {
    static let letters = (0x21...0x7E).map { String(Unicode.Scalar(UInt8($0))) }
    /// Ids: 0 and 1 control, 2 user-defined, then the ASCII characters from "!", "Ġ" and merged pieces.
    static let pieces = ["<|end|>", "<|start|>", "<b> "] + letters + ["Ġ", "Ċ", "Ã", "©"] + merged
    static let merged = ["ll", "he", "hell", "hello", "Ġhello", "Ġ:", "Ã©", "aa", "aaaa"]
    static let merges = ["l l", "h e", "he ll", "hell o", "Ġ hello", "Ġ :", "Ã ©", "a a", "aa aa"]
    static let types: [Int32] = [3, 3, 4] + Array(repeating: 1, count: pieces.count - 3)

    static func make(
        pieces: [String] = pieces, types: [Int32] = types, merges: [String] = merges, pre: String = "smollm",
        special: SpecialTokens = SpecialTokens(beginning: 1, end: 0, addsBeginning: false)
    ) throws -> ByteLevelBPETokenizer {
        try ByteLevelBPETokenizer(
            pieces: ByteStrings(pieces.map(\.utf8)), types: types, merges: ByteStrings(merges.map(\.utf8)),
            preTokenizer: pre, specialTokens: special)
    }

    let tokenizer: ByteLevelBPETokenizer

    init() throws { tokenizer = try Self.make() }

    /// The tokens' names rather than their ids.
    func names(_ parts: [TextPart]) -> [String] {
        tokenizer.encode(parts, continuing: false).map { Self.pieces[Int($0)] }
    }

    @Test(
        arguments: [
            ("hello hello", ["hello", "Ġhello"]),
            ("hell", ["hell"]),
            ("helo", ["he", "l", "o"]),
            ("lll", ["ll", "l"]),
            ("llll", ["ll", "ll"]),
            ("aaaaaaa", ["aaaa", "aa", "a"]),
            ("hel lo", ["he", "l", "Ġ", "l", "o"]),
            ("é", ["Ã©"]),
            ("\n", ["Ċ"]),
            ("", []),
            ("a\u{1}b", ["a", "b"]),  // a byte without a token is left out
        ] as [(String, [String])])
    func mergesByRankThenLeftmost(_ text: String, _ expected: [String]) {
        #expect(names([.value(text)]) == expected)
    }

    @Test func controlTokensComeFromTemplatesOnly() {
        #expect(names([.template("<|start|>hello<|end|>")]) == ["<|start|>", "hello", "<|end|>"])
        #expect(names([.value("<|end|>")]) == ["<", "|", "e", "n", "d", "|", ">"])
        for split in 1..<7 {
            let (head, tail) = (String("<|end|>".prefix(split)), String("<|end|>".dropFirst(split)))
            #expect(!names([.template(head), .value(tail)]).contains("<|end|>"))
            #expect(!names([.value(head), .template(tail)]).contains("<|end|>"))
            #expect(!names([.template(head), .template(tail)]).contains("<|end|>"))
        }
    }

    @Test func partsAreOneTextUpToAControlToken() {
        #expect(names([.template("hel"), .value("lo "), .template("hello")]) == ["hello", "Ġhello"])
        #expect(names([.value("hel"), .template("<|end|>lo")]) == ["he", "l", "<|end|>", "l", "o"])
    }

    @Test func longestControlTokenFirst() throws {
        let longer = try Self.make(
            pieces: Self.pieces + ["<|end|>>", "<|"], types: Self.types + [3, 3])
        let count = Int32(Self.pieces.count)
        #expect(longer.encode("<|end|>>", parsingControlTokens: true) == [count])
        #expect(longer.encode("<|end|><|", parsingControlTokens: true) == [0, count + 1])
    }

    @Test func userDefinedTokensAreTextInBothKinds() {
        #expect(names([.value("a<b> a")]) == ["a", "<b> ", "a"])
        #expect(names([.template("a<b> a")]) == ["a", "<b> ", "a"])
        #expect(tokenizer.decode([2]) == "<b> ")
    }

    @Test func decoding() {
        let ids = tokenizer.encode("<|start|> hello: é", parsingControlTokens: true)
        #expect(tokenizer.decode(ids) == " hello: é")
        #expect(tokenizer.decode(ids, showingControlTokens: true) == "<|start|> hello: é")
        #expect(tokenizer.decode([Int32(tokenizer.vocabularySize), -1]) == "\u{FFFD}\u{FFFD}")
    }

    @Test func endTokensAreFoundByNameToo() throws {
        #expect(tokenizer.specialTokens.endsOfText == [0])
        let undeclared = try Self.make(special: SpecialTokens(beginning: nil, end: nil, addsBeginning: false))
        #expect(undeclared.specialTokens.endsOfText == [0])
    }

    @Test(arguments: [1, 2]) func literalsThatAreNotUTF8AreRefused(_ token: Int) throws {
        var pieces = Self.pieces.map { Array($0.utf8) }
        pieces[token] = [UInt8(ascii: "<"), 0xC3]
        let failure = try #require(throws: Failure.self) {
            _ = try ByteLevelBPETokenizer(
                pieces: ByteStrings(pieces), types: Self.types, merges: ByteStrings(Self.merges.map(\.utf8)),
                preTokenizer: "smollm", specialTokens: SpecialTokens(beginning: nil, end: 0, addsBeginning: false))
        }
        #expect(failure.code == .modelInvalid)
        #expect(failure.cause.contains("token \(token) ") && failure.cause.contains("UTF-8"), "\(failure)")
    }

    /// A maker of a vocabulary that must be refused, with what the error must say.
    struct Refusal: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let code: FailureCode
        let cause: String
        let make: @Sendable () throws -> ByteLevelBPETokenizer

        init(
            _ description: String, _ code: FailureCode, _ cause: String,
            _ make: @escaping @Sendable () throws -> ByteLevelBPETokenizer
        ) {
            (testDescription, self.code, self.cause, self.make) = (description, code, cause, make)
        }
    }

    static let refusals = [
        Refusal("pre-tokenizer", .modelUnsupported, "'qwen2'") { try make(pre: "qwen2") },
        Refusal("no tokens", .modelInvalid, "0 tokens") { try make(pieces: [], types: [], merges: []) },
        Refusal("types missing", .modelInvalid, "token types") { try make(types: [1]) },
        Refusal("type unknown", .modelInvalid, "type 9") { try make(types: types.dropLast() + [9]) },
        Refusal("byte type", .modelUnsupported, "byte token") { try make(types: types.dropLast() + [6]) },
        Refusal("not in the alphabet", .modelInvalid, "alphabet") { try make(pieces: pieces.dropLast() + ["a b"]) },
        Refusal("beyond the alphabet", .modelInvalid, "alphabet") { try make(pieces: pieces.dropLast() + ["日"]) },
        Refusal("token twice", .modelInvalid, "the same as token") { try make(pieces: pieces.dropLast() + ["he"]) },
        Refusal("merge without a space", .modelInvalid, "merge 9 has no space") { try make(merges: merges + ["ab"]) },
        Refusal("merge of nothing", .modelInvalid, "merge 9 names") { try make(merges: merges + [" a"]) },
        Refusal("merge of no token", .modelInvalid, "merge 9 names") { try make(merges: merges + ["a qq"]) },
        Refusal("merge to no token", .modelInvalid, "merge 9 names") { try make(merges: merges + ["a b"]) },
        Refusal("merge to a control token", .modelInvalid, "merge 10 names") {
            try make(
                pieces: pieces + ["<|", "end|>", "<|x"], types: types + [1, 1, 3], merges: merges + ["< |", "<| x"])
        },
        Refusal("merge twice", .modelInvalid, "merge 9 repeats") { try make(merges: merges + ["a a"]) },
        Refusal("end beyond the vocabulary", .modelInvalid, "special token 999") {
            try make(special: SpecialTokens(beginning: nil, end: 999, addsBeginning: false))
        },
        Refusal("negative end", .modelInvalid, "special token -1") {
            try make(special: SpecialTokens(beginning: nil, end: -1, addsBeginning: false))
        },
        Refusal("beginning to add, none there", .modelInvalid, "none is declared") {
            try make(special: SpecialTokens(beginning: nil, end: 0, addsBeginning: true))
        },
    ]

    @Test(arguments: refusals) func refuses(_ refusal: Refusal) throws {
        let failure = try #require(throws: Failure.self) { _ = try refusal.make() }
        #expect(failure.code == refusal.code)
        #expect(failure.cause.contains(refusal.cause), "\(failure)")
    }
}
