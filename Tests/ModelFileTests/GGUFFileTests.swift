import Diagnostics
import Tensor
import Testing

@testable import ModelFile

@Suite("GGUF reader")
struct GGUFFileTests {
    @Test("tensors of every type equal gguf's own dequantisation, bit for bit")
    func tensors() throws {
        let file = try GGUFFile(path: fixture("types.gguf"))
        let lines = try goldenLines("types.gguf.golden")
        try expectGolden(file, lines)
        #expect(file.tensors.names == lines.map { $0[0] } + ["i8", "i32"])
        #expect(try file.integers(of: file.tensor(named: "i8")) == [-128, 127, 0, -1])
        #expect(try file.integers(of: file.tensor(named: "i32")) == [-2_147_483_648, 2_147_483_647, 7])
    }

    @Test("metadata of every type")
    func metadata() throws {
        let file = try GGUFFile(path: fixture("types.gguf"))
        #expect(file.version == 3)
        #expect(file.metadata["a.u8"] == .uint8(200))
        #expect(file.metadata["a.i8"] == .int8(-100))
        #expect(file.metadata["a.u16"] == .uint16(60000))
        #expect(file.metadata["a.i16"] == .int16(-30000))
        #expect(file.metadata["a.u32"] == .uint32(4_000_000_000))
        #expect(file.metadata["a.i32"] == .int32(-2_000_000_000))
        #expect(file.metadata["a.f32"] == .float32(1.5e-5))
        #expect(file.metadata["a.u64"] == .uint64(.max))
        #expect(file.metadata["a.i64"] == .int64(.min))
        #expect(file.metadata["a.f64"] == .float64(0.1))
        #expect(try file.bool("a.bool"))
        #expect(try file.string("a.string") == "naïve 日本")
        #expect(try file.float("a.f64") == 0.1)
        #expect(try file.integers("l.i32") == [1, -2, 3])
        #expect(file.metadata["l.f32"] == .float32s([0.5, -1.25]))
        #expect(file.metadata["l.bool"] == .bools([true, false, true]))
        #expect(try file.strings("l.strings") == ByteStrings(["", "a", "日本"].map(\.utf8)))
        #expect(file.metadata.keys.prefix(3) == ["general.architecture", "a.u8", "a.i8"])
    }

    @Test("accessors name file and key when a value is missing, of another type or too large")
    func accessors() throws {
        let file = try GGUFFile(path: fixture("types.gguf"))
        expectFailure(.modelMissing, "types.gguf", "a.none") { _ = try file.string("a.none") }
        expectFailure(.modelInvalid, "types.gguf", "a.u8", "UINT8") { _ = try file.string("a.u8") }
        expectFailure(.modelInvalid, "a.u64", "UINT64") { _ = try file.integer("a.u64") }
        expectFailure(.modelInvalid, "l.strings", "[STRING]") { _ = try file.integers("l.strings") }
        #expect(try file.optionalInteger("a.none") == nil)
        expectFailure(.modelInvalid, "a.string") { _ = try file.optionalInteger("a.string") }
        expectFailure(.modelMissing, "types.gguf", "tensor none") { _ = try file.floats(named: "none") }
        expectFailure(.modelUnsupported, "tensor i8", "I8") { _ = try file.floats(named: "i8") }
        expectFailure(.modelUnsupported, "tensor f32", "F32") { _ = try file.integers(of: file.tensor(named: "f32")) }
        expectFailure(.modelMissing, "nowhere.gguf") { _ = try GGUFFile(path: fixture("nowhere.gguf")) }
    }

    @Test("rows are read one range at a time, and raw bytes stand where the entry says", arguments: ["cube", "q4_1"])
    func rows(name: String) throws {
        let file = try GGUFFile(path: fixture("types.gguf"))
        let entry = try file.tensor(named: name)
        let all = try file.floats(of: entry)
        let pieces = try (0..<entry.rows).flatMap { try file.floats(of: entry, rows: $0..<$0 + 1) }
        #expect(pieces.map(\.bitPattern) == all.map(\.bitPattern))
        let raw = try file.bytes(of: entry)
        #expect(raw.byteCount == entry.byteRange.count)
        let whole = try fixtureBytes("types.gguf")
        #expect(raw.copy(0..<raw.byteCount) == Array(whole[entry.byteRange]))
        expectFailure(.internalError, name) { _ = try file.floats(of: entry, rows: 0..<entry.rows + 1) }
        let other = try GGUFFile(path: fixture("tiny.gguf"))
        expectFailure(.internalError, name) { _ = try other.floats(of: entry) }
    }

    @Test("binary16 converts exactly, every one of its 65,536 values")
    func halves() {
        for bits in UInt16.min ... .max {
            let expected = Float(Float16(bitPattern: bits))
            let found = ElementDecoding.float(half: bits)
            if expected.isNaN {
                #expect(found.isNaN)
            } else if found.bitPattern != expected.bitPattern {
                Issue.record("\(bits): \(found) instead of \(expected)")
            }
        }
    }

    @Test("version 2 has the same layout; other versions and byte orders are refused by name")
    func versions() throws {
        let directory = try TemporaryDirectory()
        let bytes = try fixtureBytes("tiny.gguf")
        let second = try GGUFFile(path: directory.file(patched(bytes, 4, [2])))
        #expect(try second.floats(named: "w") == [1, 2, 3, 4, 5, 6])
        expectFailure(.modelUnsupported, "version 1") {
            _ = try GGUFFile(path: directory.file(patched(bytes, 4, [1])))
        }
        expectFailure(.modelUnsupported, "big-endian") {
            _ = try GGUFFile(path: directory.file(patched(bytes, 4, [0, 0, 0, 3])))
        }
        expectFailure(.modelInvalid, "GGUF") { _ = try GGUFFile(path: directory.file(patched(bytes, 0, [0]))) }
    }

    @Test("types that are not read are refused by name")
    func refusedTypes() throws {
        expectFailure(.modelUnsupported, "q6k.gguf", "tensor w", "Q6_K") {
            _ = try GGUFFile(path: fixture("q6k.gguf"))
        }
        #expect(GGUFTensorType.name(99) == "number 99")
    }
}

@Suite("GGUF faults")
struct GGUFFaultTests {
    /// A header with these metadata and tensors, followed by `data` zero bytes.
    private func header(
        _ metadata: [(String, GGUFValue)],
        _ tensors: [(name: String, shape: [UInt64], type: UInt32, offset: UInt64)], data: Int
    ) -> [UInt8] {
        var encoder = GGUFEncoder()
        encoder.append(0x4655_4747 as UInt32)
        encoder.append(3 as UInt32)
        encoder.append(UInt64(tensors.count))
        encoder.append(UInt64(metadata.count))
        for (key, value) in metadata {
            encoder.append(text: key)
            encoder.append(value)
        }
        for tensor in tensors {
            encoder.append(text: tensor.name)
            encoder.append(UInt32(tensor.shape.count))
            for dimension in tensor.shape { encoder.append(dimension) }
            encoder.append(tensor.type)
            encoder.append(tensor.offset)
        }
        let padding = (32 - encoder.bytes.count % 32) % 32
        return encoder.bytes + [UInt8](repeating: 0, count: padding + data)
    }

    private func open(_ bytes: [UInt8]) throws -> GGUFFile {
        let directory = try TemporaryDirectory()
        return try GGUFFile(path: directory.file(bytes))
    }

    @Test("shapes whose product overflows, is not whole blocks or has a zero are refused")
    func shapes() throws {
        let large: UInt64 = 1 << 62
        for shape in [[large, 4], [.max], [UInt64(Int.max)], [large, large, large, large], [0], [4, 0]] {
            expectFailure(.modelInvalid, "tensor w") { _ = try open(header([], [("w", shape, 0, 0)], data: 64)) }
        }
        expectFailure(.modelInvalid, "tensor w", "Q8_0") { _ = try open(header([], [("w", [33], 8, 0)], data: 64)) }
        expectFailure(.modelInvalid, "tensor w", "5 dimensions") {
            _ = try open(header([], [("w", [1, 1, 1, 1, 1], 0, 0)], data: 64))
        }
        #expect(try open(header([], [("w", [2, 3], 0, 0)], data: 24)).tensor(named: "w").shape == [3, 2])
        #expect(try open(header([], [("w", [], 0, 0)], data: 4)).floats(named: "w") == [0])
    }

    @Test("offsets outside the file, unaligned or inside another tensor are refused")
    func offsets() throws {
        for offset: UInt64 in [64, 1 << 63, .max - 31, UInt64(Int.max) - 31] {
            expectFailure(.modelInvalid, "tensor w") { _ = try open(header([], [("w", [8], 0, offset)], data: 64)) }
        }
        expectFailure(.modelInvalid, "tensor w", "aligned") { _ = try open(header([], [("w", [1], 0, 8)], data: 64)) }
        expectFailure(.modelInvalid, "tensor b", "inside tensor a") {
            _ = try open(header([], [("b", [8], 0, 32), ("a", [16], 0, 0)], data: 64))
        }
        expectFailure(.modelInvalid, "tensor w") { _ = try open(header([], [("w", [17], 0, 0)], data: 64)) }
        _ = try open(header([], [("b", [8], 0, 32), ("a", [8], 0, 0)], data: 64))
    }

    @Test("names that occur twice are refused, tensors' and keys'")
    func duplicates() throws {
        expectFailure(.modelInvalid, "tensor w", "twice") {
            _ = try open(header([], [("w", [1], 0, 0), ("w", [1], 0, 32)], data: 64))
        }
        expectFailure(.modelInvalid, "metadata k", "twice") {
            _ = try open(header([("k", .bool(true)), ("k", .bool(true))], [], data: 0))
        }
    }

    @Test("the alignment is a power of two from 8 up, and offsets honour it")
    func alignment() throws {
        for value: GGUFValue in [.uint32(0), .uint32(4), .uint32(48), .uint64(64)] {
            expectFailure(.modelInvalid, "general.alignment") {
                _ = try open(header([("general.alignment", value)], [], data: 0))
            }
        }
        expectFailure(.modelInvalid, "tensor w", "64") {
            _ = try open(header([("general.alignment", .uint32(64))], [("w", [1], 0, 32)], data: 256))
        }
        _ = try open(header([("general.alignment", .uint32(1 << 31))], [], data: 0))
        expectFailure(.modelInvalid, "tensor w") {
            _ = try open(header([("general.alignment", .uint32(1 << 31))], [("w", [1], 0, 0)], data: 256))
        }
    }

    @Test("truth values other than 0 and 1, broken UTF-8 and arrays of arrays are refused with their key")
    func values() throws {
        let bool = header([("k", .bool(true))], [], data: 0)
        let place = try firstOffset(of: [7, 0, 0, 0, 1], in: bool)
        expectFailure(.modelInvalid, "metadata k") { _ = try open(patched(bool, place + 4, [2])) }
        let text = header([("k", .string("ab"))], [], data: 0)
        expectFailure(.modelInvalid, "metadata k", "UTF-8") {
            _ = try open(patched(text, try firstOffset(of: Array("ab".utf8), in: text), [0xff]))
        }
        let nested = header([("k", .uint8s([1]))], [], data: 0)
        expectFailure(.modelUnsupported, "metadata k", "array of arrays") {
            _ = try open(patched(nested, try firstOffset(of: [9, 0, 0, 0], in: nested) + 4, [9]))
        }
        expectFailure(.modelInvalid, "metadata k", "value type 13") { _ = try open(patched(bool, place, [13])) }
    }
}
