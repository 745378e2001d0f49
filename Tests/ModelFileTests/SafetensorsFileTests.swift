import Diagnostics
import Tensor
import Testing

@testable import ModelFile

@Suite("safetensors reader")
struct SafetensorsFileTests {
    @Test("tensors of every type equal torch's values, and metadata is read")
    func types() throws {
        let file = try SafetensorsFile(path: fixture("types.safetensors"))
        try expectGolden(file, try goldenLines("types.torch.golden"))
        #expect(file.tensors.count == 17)
        #expect(file.metadata == ["made by": "fixture \"ü\"\n"])
    }

    /// A file of this header and so many zero bytes.
    private func open(_ header: String, data: Int = 8, length: UInt64? = nil) throws -> SafetensorsFile {
        let directory = try TemporaryDirectory()
        let text = Array(header.utf8)
        return try SafetensorsFile(
            path: directory.file(
                littleEndian(length ?? UInt64(text.count)) + text + [UInt8](repeating: 0, count: data)))
    }

    private func tensor(_ name: String, _ type: String, _ shape: String, _ begin: String, _ end: String) -> String {
        "\"\(name)\":{\"dtype\":\"\(type)\",\"shape\":\(shape),\"data_offsets\":[\(begin),\(end)]}"
    }

    @Test("what the format allows is read: spaces, escapes, unknown members, empty tensors, members in any order")
    func allowed() throws {
        let file = try open(
            """
            {"a\\u0062\\ud83d\\ude00\\n":{"extra":{"x":[1,-2.5e3,null,"}"]},"data_offsets":[0,4],"shape":[1],"dtype":"F32"} ,
            "none":{"dtype":"F32","shape":[0,5],"data_offsets":[4,4]}, \(tensor("b", "U8", "[4]", "4", "8"))}   \n
            """)
        #expect(file.tensors.names == ["ab😀\n", "none", "b"])
        #expect(try file.floats(named: "none") == [])
        #expect(try file.integers(of: file.tensor(named: "b")) == [0, 0, 0, 0])
        #expect(try open("{}", data: 0).tensors.count == 0)
    }

    @Test("offsets that overlap, leave a hole or a rest, or do not fit the shape are refused")
    func offsets() throws {
        let first = tensor("a", "U8", "[4]", "0", "4")
        expectFailure(.modelInvalid, "tensor b", "overlaps") {
            _ = try open("{\(first),\(tensor("b", "U8", "[5]", "3", "8"))}")
        }
        expectFailure(.modelInvalid, "tensor b", "hole") {
            _ = try open("{\(first),\(tensor("b", "U8", "[3]", "5", "8"))}")
        }
        expectFailure(.modelInvalid, "4 bytes that belong to no tensor") { _ = try open("{\(first)}") }
        expectFailure(.modelInvalid, "tensor a", "ends at byte 9") {
            _ = try open("{\(tensor("a", "U8", "[9]", "0", "9"))}")
        }
        expectFailure(.modelInvalid, "tensor a", "do not fit") {
            _ = try open("{\(tensor("a", "F32", "[1]", "0", "8"))}")
        }
        for shape in ["[9223372036854775807,2]", "[4611686018427387904,4]"] {
            expectFailure(.modelInvalid, "tensor a") { _ = try open("{\(tensor("a", "F32", shape, "0", "8"))}") }
        }
        for (begin, end) in [("8", "0"), ("-8", "0"), ("18446744073709551616", "18446744073709551624"), ("0.0", "8")] {
            expectFailure(.modelInvalid) { _ = try open("{\(tensor("a", "U8", "[8]", begin, end))}") }
        }
    }

    @Test("types that are not read are refused by name")
    func refusedTypes() throws {
        expectFailure(.modelUnsupported, "tensor a", "F8_E4M3") {
            _ = try open("{\(tensor("a", "F8_E4M3", "[8]", "0", "8"))}")
        }
    }

    @Test("names that occur twice are refused: tensors, members, metadata")
    func duplicates() throws {
        let tensor = tensor("a", "U8", "[0]", "0", "0")
        expectFailure(.modelInvalid, "key a twice") { _ = try open("{\(tensor),\(tensor)}", data: 0) }
        expectFailure(.modelInvalid, "key m twice") {
            _ = try open("{\"__metadata__\":{\"m\":\"1\",\"m\":\"2\"}}", data: 0)
        }
        expectFailure(.modelInvalid, "key dtype twice") { _ = try open("{\"a\":{\"dtype\":\"U8\",\"dtype\":\"I8\"}}") }
    }

    @Test(
        "header lengths beyond the file or the format's limit are refused",
        arguments: [0, 1, 100, 100_000_001, 1 << 32, UInt64(Int64.max), 1 << 63, .max, .max - 7])
    func lengths(length: UInt64) throws {
        expectFailure(.modelInvalid, "header") { _ = try open("{}", length: length) }
    }

    @Test(
        "broken JSON is refused with its place",
        arguments: [
            " {}", "{", "{\"a\"", "{\"a\":}", "{\"a\":1}", "{\"a\":{}}", "{} x", "{\"a\":{\"x\":[[[[[[[[[[[[[[[[[1]]",
            "{\"a\\ud800\":{}}", "{\"\\x\":{}}", "{\"\u{1}\":{}}", "{\"a\":{\"shape\":[01]}}", "{\"a\":{\"dtype\":1}}",
            "[]",
        ])
    func json(header: String) throws {
        expectFailure(.modelInvalid, "file") { _ = try open(header, data: 0) }
    }
}
