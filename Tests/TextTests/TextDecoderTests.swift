import ModelFile
import Testing

@testable import Text

@Suite struct TextDecoderTests {
    /// A byte-level tokenizer whose token n is the byte n.
    static func bytes() throws -> ByteLevelBPETokenizer {
        var next: UInt32 = 0x100
        let alphabet = (UInt32(0)..<256).map { byte -> String in
            var character = byte
            if !(0x21...0x7E).contains(byte) && !(0xA1...0xAC).contains(byte) && byte < 0xAE {
                character = next
                next += 1
            }
            return String(String.UnicodeScalarView(Unicode.Scalar(character).map { [$0] } ?? []))
        }
        return try ByteLevelBPETokenizer(
            pieces: ByteStrings(alphabet.map(\.utf8)), types: Array(repeating: 1, count: 256),
            merges: ByteStrings([String]().map(\.utf8)), preTokenizer: "smollm",
            specialTokens: SpecialTokens(beginning: nil, end: nil, addsBeginning: false))
    }

    @Test func everyByteIsItsOwnToken() throws {
        let tokenizer = try Self.bytes()
        for text in ["é", "日本", "🚀 \u{0}\u{7F}\u{A0}\u{AD}"] {
            #expect(tokenizer.encode(text) == text.utf8.map { Int32($0) })
        }
    }

    /// Random bytes, many of them near UTF-8: the repair is the standard library's (maximal subparts), whatever the
    /// pieces the bytes came in, and no character is handed out before it is whole.
    @Test func streamingRepairsAsTheWhole() throws {
        let tokenizer = try Self.bytes()
        let chunks: [[UInt8]] = [
            Array("aé".utf8), Array("日".utf8), Array("🚀".utf8), [0xC3], [0xE2, 0x82], [0xF0, 0x9F], [0xF0, 0x9F, 0x9A],
            [0x80], [0xFF], [0xC0, 0xAF], [0xED, 0xA0, 0x80], [0xE0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xF5],
            [0xF0, 0x80],
            [0xEF, 0xBF, 0xBD],
        ]
        var random = SplitMix(state: 7)
        for _ in 0..<2000 {
            let bytes = (0..<Int.random(in: 1...5, using: &random)).flatMap { _ in
                chunks[Int.random(in: 0..<chunks.count, using: &random)]
            }
            var decoder = TextDecoder(tokenizer)
            var streamed: [UInt8] = []
            for byte in bytes {
                let piece = decoder.append(Int32(byte))
                streamed += piece.utf8
            }
            streamed += decoder.finish().utf8
            #expect(streamed == Array(String(decoding: bytes, as: UTF8.self).utf8), "\(bytes)")
        }
    }

    @Test func charactersComeWhole() throws {
        var decoder = TextDecoder(try Self.bytes())
        #expect([0xF0, 0x9F, 0x9A].map { decoder.append($0) } == ["", "", ""])
        #expect(decoder.append(0x80) == "\u{1F680}")
        #expect(decoder.append(0xE2) == "")
        #expect(decoder.append(0x41) == "\u{FFFD}A")
        #expect(decoder.append(0xC3) == "")
        #expect(decoder.finish() == "\u{FFFD}")
        #expect(decoder.finish() == "")
    }

    @Test func sequenceTable() {
        #expect(UTF8Sequence(in: [0x41]) == .valid(1))
        #expect(UTF8Sequence(in: [0xC1, 0x80]) == .invalid(1))
        #expect(UTF8Sequence(in: [0xE0, 0x9F, 0x80]) == .invalid(1))
        #expect(UTF8Sequence(in: [0xF4, 0x8F, 0xBF, 0xBF]) == .valid(4))
        #expect(UTF8Sequence(in: [0xF4, 0x90]) == .invalid(1))
        #expect(UTF8Sequence(in: [0xE2, 0x82, 0x41]) == .invalid(2))
        #expect(UTF8Sequence(in: [0xE2, 0x82]) == .unfinished(2))
    }
}

/// A seeded generator (Steele et al. 2014): tests must see the same numbers every time.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
