import Diagnostics
import Foundation
import ModelFile
import Testing

@testable import Text

/// Against the `sentencepiece` library on three vocabularies: the tiny one of the official oracle, one with user-defined
/// and unused pieces, and one without byte fallback and dummy prefix in which many scores tie.
@Suite struct SentencePieceTests {
    struct Pieces: Decodable {
        var pieces: [String]
        var scores: [Float]
        var types: [Int32]
        let dummy_prefix: Bool

        init(_ name: String) throws {
            self = try JSONDecoder().decode(Pieces.self, from: Fixture.data("sentencepiece-\(name).json"))
        }

        func tokenizer(
            special: SpecialTokens = SpecialTokens(beginning: 1, end: 2, addsBeginning: true)
        ) throws -> SentencePieceTokenizer {
            try SentencePieceTokenizer(
                pieces: ByteStrings(pieces.map(\.utf8)), scores: scores, types: types, specialTokens: special,
                addsDummyPrefix: dummy_prefix)
        }
    }

    struct Golden: Decodable {
        let prompts: [String]
        let token_ids: [[Int32]]
        let generated_ids: [[Int32]]
        let generated: [String]
    }

    @Test func goldenRows() throws {
        let tokenizer = try Pieces("tiny").tokenizer()
        let golden = try JSONDecoder().decode(Golden.self, from: Fixture.data("sentencepiece-golden.json"))
        #expect(golden.prompts.count == 3)
        for (prompt, ids) in zip(golden.prompts, golden.token_ids) {
            #expect(tokenizer.prompt([.value(prompt)]) == ids)
            #expect(tokenizer.decode(ids) == prompt)
        }
        for (text, ids) in zip(golden.generated, golden.generated_ids) { #expect(tokenizer.decode(ids) == text) }
    }

    @Test(arguments: ["tiny", "symbols", "plain"]) func oddStringsAsSentencePiece(_ name: String) throws {
        let tokenizer = try Pieces(name).tokenizer()
        let rows = try Fixture.rows("sentencepiece.tsv", columns: 4).filter { $0[0] == name }
        #expect(rows.count == 400)
        for row in rows {
            let ids = try Fixture.ids(row[2])
            #expect(tokenizer.encode(try Fixture.text(row[1])) == ids, "\(row[1])")
            #expect(Array(tokenizer.decode(ids).utf8) == Array(try Fixture.text(row[3]).utf8), "\(row[1])")
        }
    }

    @Test(arguments: ["tiny", "symbols", "plain"]) func randomIDsDecodeAsSentencePiece(_ name: String) throws {
        let tokenizer = try Pieces(name).tokenizer()
        let rows = try Fixture.rows("sentencepiece-decode.tsv", columns: 3).filter { $0[0] == name }
        #expect(rows.count == 200)
        for row in rows {
            let text = tokenizer.decode(try Fixture.ids(row[1]))
            #expect(Array(text.utf8) == Array(try Fixture.text(row[2]).utf8), "\(row[1])")
        }
    }

    @Test func controlPiecesComeFromTemplatesOnly() throws {
        let tokenizer = try Pieces("tiny").tokenizer()
        let text = tokenizer.encode("Caption:")
        #expect(tokenizer.encode("<s>Caption:</s>", parsingControlTokens: true) == [1] + text + [2])
        let untrusted = tokenizer.encode("<s>Caption:</s><unk><0x41>")
        #expect(!untrusted.contains { [0, 1, 2, 0x41 + 3].contains($0) })
    }

    @Test func continuationHasNoDummyPrefix() throws {
        let tokenizer = try Pieces("tiny").tokenizer()
        let prompt = [TextPart.template("Response:")]
        let joined = tokenizer.encode("Response:The answer is A.")
        let answer = tokenizer.encode([.value("The answer is A.")], after: prompt)
        #expect(tokenizer.encode(prompt, continuing: false) + answer == joined)
        #expect(tokenizer.decode(answer) == "The answer is A.")
    }

    /// "run" + "ning" is one piece in the joined text, yet the model has been fed "run".
    @Test func continuationWithinAPieceIsEncodedByItself() throws {
        let tokenizer = try Pieces("tiny").tokenizer()
        let prompt = [TextPart.template("a dog runn")]
        let whole = tokenizer.encode("a dog running")
        let before = tokenizer.encode(prompt, continuing: false)
        #expect(!whole.starts(with: before))
        let answer = tokenizer.encode([.value("ing")], after: prompt)
        #expect(answer.map { tokenizer.surface(of: $0).bytes }.joined().elementsEqual("ing".utf8))
    }

    @Test func fromGGUFMetadata() throws {
        let pieces = try Pieces("tiny")
        var metadata = GGUFMetadata()
        metadata["tokenizer.ggml.model"] = .string("llama")
        metadata["tokenizer.ggml.tokens"] = .strings(pieces.pieces)
        metadata["tokenizer.ggml.scores"] = .float32s(pieces.scores)
        metadata["tokenizer.ggml.token_type"] = .int32s(pieces.types)
        metadata["tokenizer.ggml.bos_token_id"] = .uint32(1)
        metadata["tokenizer.ggml.eos_token_id"] = .uint32(2)
        let tokenizer = try metadata.tokenizer()
        #expect(tokenizer.specialTokens == SpecialTokens(beginning: 1, end: 2, addsBeginning: true))
        #expect(tokenizer.encode("A dog.") == (try pieces.tokenizer().encode("A dog.")))

        metadata["tokenizer.ggml.add_bos_token"] = .bool(false)
        metadata["tokenizer.ggml.add_space_prefix"] = .bool(false)
        #expect(try !metadata.tokenizer().specialTokens.addsBeginning)
        #expect(try metadata.tokenizer().encode("dog") != tokenizer.encode("dog"))

        for (key, value) in [
            ("tokenizer.ggml.precompiled_charsmap", GGUFValue.uint8s([1])),
            ("tokenizer.ggml.remove_extra_whitespaces", .bool(true)), ("tokenizer.ggml.model", .string("t5")),
        ] {
            var other = metadata
            other[key] = value
            let failure = try #require(throws: Failure.self) { _ = try other.tokenizer() }
            #expect(failure.code == .modelUnsupported)
            #expect(failure.object == key)
        }
        for key in metadata.map({ key, _ in key }) where !key.contains("add_") && !key.hasSuffix("os_token_id") {
            var other = metadata
            other[key] = nil
            let failure = try #require(throws: Failure.self) { _ = try other.tokenizer() }
            #expect(failure.code == .modelMissing, "\(failure)")
        }
        metadata["tokenizer.ggml.eos_token_id"] = .uint64(UInt64(1) << 40)
        #expect(try #require(throws: Failure.self) { _ = try metadata.tokenizer() }.code == .modelInvalid)
    }

    @Test(arguments: [
        "scores missing", "score not a number", "no unknown piece", "two unknown pieces", "byte piece misnamed",
        "byte piece twice", "byte piece missing", "piece twice",
    ]) func refuses(_ what: String) throws {
        var pieces = try Pieces("tiny")
        switch what {
        case "scores missing": pieces.scores.removeLast()
        case "score not a number": pieces.scores[300] = .nan
        case "no unknown piece": pieces.types[0] = 3
        case "two unknown pieces": pieces.types[1] = 2
        case "byte piece misnamed": pieces.pieces[10] = "<0xZZ>"
        case "byte piece twice": pieces.pieces[10] = "<0x00>"
        case "byte piece missing": pieces.types[10] = 3
        default: pieces.pieces[300] = pieces.pieces[301]
        }
        #expect(try #require(throws: Failure.self) { _ = try pieces.tokenizer() }.code == .modelInvalid)
    }

    @Test(arguments: [Int32(3), 4]) func literalsThatAreNotUTF8AreRefused(_ type: Int32) throws {
        let source = try Pieces("symbols")
        let token = try #require(source.types.firstIndex(of: type))
        var pieces = source.pieces.map { Array($0.utf8) }
        // The first two bytes of U+2581: a text would be read on from within a character.
        pieces[token] = [0xE2, 0x96]
        let failure = try #require(throws: Failure.self) {
            _ = try SentencePieceTokenizer(
                pieces: ByteStrings(pieces), scores: source.scores, types: source.types,
                specialTokens: SpecialTokens(beginning: 1, end: 2, addsBeginning: true),
                addsDummyPrefix: source.dummy_prefix)
        }
        #expect(failure.code == .modelInvalid)
        #expect(failure.cause.contains("token \(token) ") && failure.cause.contains("UTF-8"), "\(failure)")
    }

    @Test func aLongTextIsEncodedWhole() throws {
        let tokenizer = try Pieces("tiny").tokenizer()
        let text = String(repeating: "a", count: 65_536)
        #expect(tokenizer.decode(tokenizer.encode(text)) == text)
    }
}
