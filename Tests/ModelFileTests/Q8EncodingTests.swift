// Q8_0 blocks, read back by the decoder that is held against ggml's own (GGUFFileTests).

import Diagnostics
import Testing

@testable import ModelFile

@Suite("Q8_0 encoding")
struct Q8EncodingTests {
    private func decoded(_ bytes: [UInt8]) -> [Float] {
        var values = [Float](repeating: .nan, count: bytes.count / 34 * 32)
        var span = values.mutableSpan
        ElementDecoding.decode(.q8_0, RawSpan(_elements: bytes.span), into: &span)
        return values
    }

    @Test("integers stay, their scale is rounded to binary16")
    func integers() throws {
        let values = (0..<64).map { Int8($0 * 4 - 127) }
        var bytes: [UInt8] = []
        try Q8Encoding.append(values[...], scale: 0.001_234_5, to: &bytes, name: "t")
        #expect(bytes.count == 68)
        #expect(decoded(bytes) == values.map { Float($0) * Float(Float16(0.001_234_5)) })
    }

    @Test("floats are within half a step of their block, and encoding the result changes nothing")
    func floats() throws {
        var random = SeededGenerator(state: 3)
        for size in [1e-3, 1, 1e4] as [Float] {
            let values = (0..<320).map { _ in Float.random(in: -size...size, using: &random) }
            var bytes: [UInt8] = []
            try Q8Encoding.append(values[...], to: &bytes, name: "t")
            let result = decoded(bytes)
            for block in 0..<10 {
                let range = block * 32..<block * 32 + 32
                let step = values[range].reduce(0) { max($0, abs($1)) } / 127
                for index in range { #expect(abs(result[index] - values[index]) <= 0.5 * step * 1.07) }
            }
            var again: [UInt8] = []
            try Q8Encoding.append(result[...], to: &again, name: "t")
            #expect(again == bytes)
        }
    }

    @Test("zeros stay zeros; what binary16 cannot scale is refused by name")
    func edges() throws {
        var bytes: [UInt8] = []
        try Q8Encoding.append([Float](repeating: 0, count: 32)[...], to: &bytes, name: "t")
        #expect(bytes == [UInt8](repeating: 0, count: 34))
        expectFailure(.modelUnsupported, "tensor t") {
            try Q8Encoding.append([Float](repeating: 1e8, count: 32)[...], to: &bytes, name: "t")
        }
        expectFailure(.modelUnsupported, "tensor t") {
            try Q8Encoding.append([Int8](repeating: 1, count: 32)[...], scale: 1e6, to: &bytes, name: "t")
        }
    }
}
