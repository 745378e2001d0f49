import Diagnostics
import Tensor
import Testing

@testable import ModelFile

@Suite("SentencePiece reader")
struct SentencePieceTests {
    @Test("pieces, scores and types equal sentencepiece's own reading; settings are LLaMA's")
    func official() throws {
        let model = try SentencePieceModel(path: fixture("tokenizer.model"))
        let lines = try goldenLines("tokenizer.model.golden")
        #expect(model.pieces.count == lines.count)
        for (id, line) in lines.enumerated() {
            #expect(model.pieces[id].map(hexadecimal).joined() == line[0], "piece \(id)")
            #expect(hexadecimal(model.scores[id].bitPattern) == line[1], "piece \(id)")
            #expect(String(model.types[id].rawValue) == line[2], "piece \(id)")
        }
        #expect(model.algorithm == .bpe)
        #expect(model.byteFallback && model.splitDigits && !model.whitespaceIsSuffix)
        #expect([model.unknownID, model.beginID, model.endID, model.paddingID] == [0, 1, 2, -1])
        #expect(model.normalizer == "identity" && !model.hasCharacterMap)
        #expect(model.addsDummyPrefix && !model.removesExtraWhitespace && model.escapesWhitespace)
    }

    private func hexadecimal(_ byte: UInt8) -> String { (byte < 16 ? "0" : "") + String(byte, radix: 16) }
    private func hexadecimal(_ bits: UInt32) -> String { ModelFileTests.hexadecimal(bits) }

    private func open(_ bytes: [UInt8]) throws -> SentencePieceModel {
        let directory = try TemporaryDirectory()
        return try SentencePieceModel(path: directory.file(bytes))
    }

    /// A field of bytes.
    private func field(_ number: UInt8, _ bytes: [UInt8]) -> [UInt8] { [number << 3 | 2, UInt8(bytes.count)] + bytes }

    private var piece: [UInt8] { field(1, field(1, [0x61]) + [0x15, 0, 0, 0x80, 0x3f]) }

    @Test("defaults are the proto file's; unknown fields are passed over")
    func defaults() throws {
        let model = try open(piece + piece + piece + field(15, [1, 2]) + [0x78, 0x80, 0x01] + [0x7d, 1, 2, 3, 4])
        #expect(model.pieces == ByteStrings([[0x61], [0x61], [0x61]] as [[UInt8]]))
        #expect(model.scores == [1, 1, 1])
        #expect(model.types == [.normal, .normal, .normal])
        #expect(model.algorithm == .unigram && !model.byteFallback)
        #expect([model.unknownID, model.beginID, model.endID, model.paddingID] == [0, 1, 2, -1])
        #expect(model.addsDummyPrefix && model.removesExtraWhitespace && model.escapesWhitespace)
    }

    @Test("damage is refused with its part")
    func damage() throws {
        expectFailure(.modelInvalid, "no pieces") { _ = try open(field(15, [])) }
        expectFailure(.modelInvalid, "model") { _ = try open([0x0a, 5, 1]) }
        expectFailure(.modelInvalid, "64 bits") { _ = try open([0x0a] + [UInt8](repeating: 0xff, count: 11)) }
        expectFailure(.modelInvalid, "model") { _ = try open([0x0a] + [UInt8](repeating: 0xff, count: 9) + [1]) }
        expectFailure(.modelInvalid, "wire type 3") { _ = try open([0x0b]) }
        expectFailure(.modelInvalid, "field number 0") { _ = try open([0x02, 0]) }
        expectFailure(.modelInvalid, "piece 0", "no text") { _ = try open(field(1, [])) }
        expectFailure(.modelInvalid, "piece 0") { _ = try open(field(1, field(1, [0x61]) + [0x15, 0, 0, 0xc0, 0x7f])) }
        expectFailure(.modelInvalid, "another wire type") { _ = try open([0x08, 1]) }
        expectFailure(.modelUnsupported, "piece 0", "type 7") {
            _ = try open(field(1, field(1, [0x61]) + [0x18, 7]))
        }
        expectFailure(.modelUnsupported, "model type 9") { _ = try open(piece + field(2, [0x18, 9])) }
        expectFailure(.modelInvalid, "unk_id 5") { _ = try open(piece + field(2, [0xc0, 0x02, 5])) }
        expectFailure(.modelInvalid, "bos_id 1") { _ = try open(piece) }
        let minusOne = [UInt8](repeating: 0xff, count: 9) + [1]
        expectFailure(.modelInvalid, "unk_id -1") { _ = try open(piece + field(2, [0xc0, 0x02] + minusOne)) }
        let none = field(2, [0xc8, 0x02] + minusOne + [0xd0, 0x02] + minusOne)
        #expect(try open(piece + none).beginID == -1)
    }
}
