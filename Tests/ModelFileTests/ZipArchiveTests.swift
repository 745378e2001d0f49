import Diagnostics
import Tensor
import Testing

@testable import ModelFile

@Suite("PyTorch faults: zip")
struct ZipArchiveTests {
    private func open(_ bytes: [UInt8]) throws -> PyTorchFile {
        let directory = try TemporaryDirectory()
        return try PyTorchFile(path: directory.file(bytes))
    }

    /// The places of the parts of tiny-archive.pth.
    private struct Places {
        let bytes: [UInt8]
        let wideEnd: Int
        let end: Int

        init() throws {
            bytes = try fixtureBytes("tiny-archive.pth")
            wideEnd = try firstOffset(of: [0x50, 0x4b, 6, 6], in: bytes)
            end = try firstOffset(of: [0x50, 0x4b, 5, 6], in: bytes)
        }

        /// The central directory's record of an entry.
        func record(_ name: String) throws -> Int {
            let directory = try firstOffset(of: [0x50, 0x4b, 1, 2], in: bytes)
            return try firstOffset(of: Array(name.utf8), in: bytes, from: directory) - 46
        }
    }

    @Test("a wrong central directory is refused: place, size, count, signature, names")
    func directory() throws {
        let places = try Places()
        #expect(try open(places.bytes).floats(named: "w") == [1, 3, 2, 4])
        for value: UInt64 in [0, 1, UInt64(places.bytes.count), 1 << 40, 1 << 63, .max, UInt64(Int64.max)] {
            for field in [32, 40, 48] where field != 32 || value != 1 {
                expectFailure(.modelInvalid) {
                    _ = try open(patched(places.bytes, places.wideEnd + field, littleEndian(value)))
                }
            }
        }
        let locator = places.end - 20
        for value: UInt64 in [0, 1 << 63, .max, UInt64(locator)] {
            expectFailure(.modelInvalid, "zip64 end") {
                _ = try open(patched(places.bytes, locator + 8, littleEndian(value)))
            }
        }
        let record = try places.record("tiny-archive/data.pkl")
        expectFailure(.modelInvalid, "signature") { _ = try open(patched(places.bytes, record, [0])) }
        expectFailure(.modelInvalid, "UTF-8") { _ = try open(patched(places.bytes, record + 46, [0xff])) }
        expectFailure(.modelInvalid, "tiny-archive/data.pkl") {
            _ = try open(patched(places.bytes, record + 46 + 13, Array("duty.pkl".utf8)))
        }
        let data = try places.record("tiny-archive/data/0")
        expectFailure(.modelInvalid, "zip entry tiny-archive/data/0", "not there") {
            _ = try open(patched(places.bytes, data + 46, Array("tiny-archive/data/1".utf8)))
        }
    }

    @Test("an entry's own header must agree, and its bytes lie before the directory")
    func entries() throws {
        let places = try Places()
        let record = try places.record("tiny-archive/data/0")
        let name = "tiny-archive/data/0"
        expectFailure(.modelUnsupported, name, "method 8") { _ = try open(patched(places.bytes, record + 10, [8])) }
        expectFailure(.modelUnsupported, name, "encrypted") { _ = try open(patched(places.bytes, record + 8, [1])) }
        expectFailure(.modelInvalid, name, "two sizes") { _ = try open(patched(places.bytes, record + 20, [15])) }
        for size: UInt32 in [0, 15, 17, 1 << 31, .max - 1, .max] {
            expectFailure(.modelInvalid, name) {
                _ = try open(patched(places.bytes, record + 20, littleEndian(size) + littleEndian(size)))
            }
        }
        for header: UInt32 in [1, 1 << 31, .max - 1, .max, UInt32(places.wideEnd)] {
            expectFailure(.modelInvalid, name) {
                _ = try open(patched(places.bytes, record + 42, littleEndian(header)))
            }
        }
        let header = try firstOffset(of: Array(name.utf8), in: places.bytes)
        expectFailure(.modelInvalid, name, "another name") { _ = try open(patched(places.bytes, header, [0x54])) }
        expectFailure(.modelInvalid, name) { _ = try open(patched(places.bytes, header - 2, [0xff, 0xff])) }
    }

    @Test("64-bit fields of entries are read from their extra field")
    func wideFields() throws {
        // The record of data/0 again, its sizes and place moved into a zip64 extra field.
        let places = try Places()
        let name = Array("tiny-archive/data/0".utf8)
        let record = try places.record("tiny-archive/data/0")
        let header = places.bytes[record + 42..<record + 46].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        let extra = [1, 0, 24, 0] + littleEndian(UInt64(16)) + littleEndian(UInt64(16)) + littleEndian(header)
        var wide = Array(places.bytes[record..<record + 46])
        wide = patched(wide, 20, [UInt8](repeating: 0xff, count: 8))
        wide = patched(wide, 30, littleEndian(UInt16(extra.count)))
        wide = patched(wide, 42, [UInt8](repeating: 0xff, count: 4))
        let old = Int(places.bytes[record + 30]) + Int(places.bytes[record + 31]) << 8
        let end = record + 46 + name.count + old
        var bytes = Array(places.bytes[..<record]) + wide + name + extra + places.bytes[end...]
        let shift = extra.count - old
        let wideEnd = places.wideEnd + shift
        let size = try #require(
            bytes[wideEnd + 40..<wideEnd + 48].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) } as UInt64?)
        bytes = patched(bytes, wideEnd + 40, littleEndian(UInt64(Int(size) + shift)))
        // The narrow end repeats the size, and must agree with it.
        bytes = patched(bytes, places.end + shift + 12, littleEndian(UInt32(Int(size) + shift)))
        bytes = patched(bytes, places.end + shift - 12, littleEndian(UInt64(wideEnd)))
        #expect(try open(bytes).floats(named: "w") == [1, 3, 2, 4])
        for (field, value) in [(10, [9, 0]), (12, [9, 0, 0, 0]), (16, [9, 0, 0, 0])] as [(Int, [UInt8])] {
            expectFailure(.modelInvalid, "zip64 end", "differently") {
                _ = try open(patched(bytes, places.end + shift + field, value))
            }
        }
        for value: UInt64 in [1 << 40, 1 << 63, .max] {
            for field in [4, 12, 20] {
                expectFailure(.modelInvalid, "data/0") {
                    _ = try open(patched(bytes, record + 46 + name.count + field, littleEndian(value)))
                }
            }
        }
    }

    @Test("a comment behind the end is passed over; a truncated or lengthened file is not a zip file")
    func ends() throws {
        let bytes = try fixtureBytes("tiny-archive.pth")
        let commented = patched(bytes, bytes.count - 2, [3, 0]) + Array("abc".utf8)
        #expect(try open(commented).tensors.count == 1)
        expectFailure(.modelInvalid, "truncated") { _ = try open(bytes + [0]) }
        expectFailure(.modelInvalid, "truncated") { _ = try open(Array(bytes.dropLast())) }
    }

    @Test("big-endian archives are refused")
    func byteOrder() throws {
        let bytes = try fixtureBytes("tiny-archive.pth")
        let place = try firstOffset(of: Array("little".utf8), in: bytes)
        expectFailure(.modelUnsupported, "byteorder") { _ = try open(patched(bytes, place, Array("bigger".utf8))) }
    }
}
