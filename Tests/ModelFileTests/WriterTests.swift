import Diagnostics
import Foundation
import Tensor
import Testing

@testable import ModelFile

@Suite("Writers")
struct WriterTests {
    @Test("a GGUF file copied by reader and writer holds the same values, aligned as asked", arguments: [32, 64])
    func copy(alignment: Int) throws {
        let directory = try TemporaryDirectory()
        let source = try GGUFFile(path: fixture("types.gguf"))
        let path = "\(directory.path)/copy.gguf"
        let writer = try GGUFWriter(
            path: path, metadata: source.metadata, tensors: declarations(source), alignment: alignment)
        for entry in source.tensors.entries { try writer.write(source.bytes(of: entry)) }
        try writer.finish()
        let copy = try GGUFFile(path: path)
        #expect(copy.alignment == alignment)
        #expect(copy.metadata.keys.filter { $0 != "general.alignment" } == source.metadata.keys)
        for key in source.metadata.keys { #expect(copy.metadata[key] == source.metadata[key], "\(key)") }
        try expectGolden(copy, try goldenLines("types.gguf.golden"))
        for entry in copy.tensors.entries { #expect(entry.offset % alignment == 0) }
    }

    @Test("every metadata type survives, arrays of each included")
    func metadata() throws {
        let directory = try TemporaryDirectory()
        let values: [GGUFValue] = [
            .uint8s([0, 255]), .int8s([-128, 127]), .uint16s([0, .max]), .int16s([.min, .max]), .uint32s([0, .max]),
            .int32s([.min, .max]), .float32s([.infinity, -0.0]), .bools([true, false]), .uint64s([0, .max]),
            .int64s([.min, .max]), .float64s([0.1]), .strings(["", "x"]), .strings([] as [String]), .bool(false),
            .string(""), .float64(-1.5), .uint64(.max),
        ]
        let pairs = values.enumerated().map { ("key.\($0.offset)", $0.element) }
        let path = "\(directory.path)/file.gguf"
        try GGUFWriter(path: path, metadata: pairs, tensors: []).finish()
        let file = try GGUFFile(path: path)
        for (key, value) in pairs { #expect(file.metadata[key] == value, "\(key)") }
        #expect(file.metadata.map(\.0) == pairs.map(\.0))
    }

    @Test("values are written as declared: floats, halves to nearest even, integers, in pieces")
    func values() throws {
        let directory = try TemporaryDirectory()
        let path = "\(directory.path)/file.gguf"
        let writer = try GGUFWriter(
            path: path, metadata: [],
            tensors: [
                TensorDeclaration(name: "f", type: .float32, shape: [2, 2]),
                TensorDeclaration(name: "h", type: .float16, shape: [3]),
                TensorDeclaration(name: "b", type: .int8, shape: [2]),
                TensorDeclaration(name: "i", type: .int32, shape: [1]),
            ])
        try writer.write(([1.5, -2] as [Float]).span)
        try writer.write(([3, 4] as [Float]).span)
        try writer.write(([1 + 0x1p-11, 1 + 0x1.8p-10, 70000] as [Float]).span)
        try writer.write(([-127, 127] as [Int8]).span)
        try writer.write(([-5] as [Int32]).span)
        try writer.finish()
        let file = try GGUFFile(path: path)
        #expect(try file.floats(named: "f") == [1.5, -2, 3, 4])
        #expect(try file.floats(named: "h") == [1, 1 + 0x1p-9, .infinity])
        #expect(try file.integers(of: file.tensor(named: "b")) == [-127, 127])
        #expect(try file.integers(of: file.tensor(named: "i")) == [-5])
    }

    @Test("the same calls give the same bytes, and padding is zero")
    func deterministic() throws {
        let directory = try TemporaryDirectory()
        var files: [[UInt8]] = []
        for name in ["a", "b"] {
            let writer = try GGUFWriter(
                path: "\(directory.path)/\(name)", metadata: [("k", .uint8(1))],
                tensors: [TensorDeclaration(name: "w", type: .int8, shape: [3])], alignment: 64)
            try writer.write(([1, 2, 3] as [Int8]).span)
            try writer.finish()
            files.append(try [UInt8](Data(contentsOf: URL(fileURLWithPath: "\(directory.path)/\(name)"))))
        }
        #expect(files[0] == files[1])
        #expect(files[0].count % 64 == 0)
        #expect(files[0].suffix(64) == [1, 2, 3] + [UInt8](repeating: 0, count: 61))
    }

    @Test("a writer that is dropped or refused leaves the target untouched and nothing beside it")
    func nothingHalfWritten() throws {
        let directory = try TemporaryDirectory()
        let path = try directory.file([7], "model.gguf")
        let tensors = [TensorDeclaration(name: "w", type: .int8, shape: [3])]
        do {
            let writer = try GGUFWriter(path: path, metadata: [], tensors: tensors)
            try writer.write(([1, 2] as [Int8]).span)
            expectFailure(.internalError, "tensor w", "2 bytes") { try writer.finish() }
            expectFailure(.internalError, "tensor w", "4 bytes") { try writer.write(([1, 2] as [Int8]).span) }
            expectFailure(.internalError, "tensor w", "Int32") { try writer.write(([1] as [Int32]).span) }
            expectFailure(.internalError, "tensor w", "floats") { try writer.write(([1] as [Float]).span) }
        }
        #expect(try directory.contents() == ["model.gguf"])
        #expect(try [UInt8](Data(contentsOf: URL(fileURLWithPath: path))) == [7])
        let writer = try GGUFWriter(path: path, metadata: [], tensors: tensors)
        try writer.write(([1, 2, 3] as [Int8]).span)
        expectFailure(.internalError, "after its last tensor") { try writer.write(([1] as [Int8]).span) }
        try writer.finish()
        #expect(try directory.contents() == ["model.gguf"])
        #expect(try GGUFFile(path: path).tensors.names == ["w"])
    }

    @Test("declarations that the formats cannot hold are refused before anything is created")
    func declarationFaults() throws {
        let directory = try TemporaryDirectory()
        let path = "\(directory.path)/x"
        func gguf(_ tensors: TensorDeclaration..., metadata: [(String, GGUFValue)] = [], alignment: Int = 32) throws {
            _ = try GGUFWriter(path: path, metadata: metadata, tensors: tensors, alignment: alignment)
        }
        let good = TensorDeclaration(name: "w", type: .float32, shape: [1])
        expectFailure(.internalError, "tensor w", "twice") { try gguf(good, good) }
        for shape in [[-1], [Int.max, 2], [0]] {
            expectFailure(.internalError, "tensor w", "shape") {
                try gguf(TensorDeclaration(name: "w", type: .float32, shape: shape))
            }
        }
        expectFailure(.internalError, "Q8_0") { try gguf(TensorDeclaration(name: "w", type: .q8_0, shape: [33])) }
        expectFailure(.internalError, "I64") { try gguf(TensorDeclaration(name: "w", type: .int64, shape: [1])) }
        let long = String(repeating: "n", count: 64)
        expectFailure(.internalError, long) { try gguf(TensorDeclaration(name: long, type: .int8, shape: [1])) }
        expectFailure(.internalError, "metadata k") { try gguf(metadata: [("k", .bool(true)), ("k", .bool(true))]) }
        for alignment in [0, 4, 48, -8] { expectFailure(.internalError, "aligned") { try gguf(alignment: alignment) } }
        expectFailure(.internalError, "Q8_0") {
            _ = try SafetensorsWriter(
                path: path, tensors: [TensorDeclaration(name: "w", type: .q8_0, shape: [32])])
        }
        expectFailure(.internalError, "__metadata__") {
            _ = try SafetensorsWriter(
                path: path, tensors: [TensorDeclaration(name: "__metadata__", type: .int8, shape: [32])])
        }
        expectFailure(.cannotCreate, "nowhere") {
            _ = try GGUFWriter(path: "\(directory.path)/nowhere/x", metadata: [], tensors: [])
        }
        #expect(try directory.contents() == [])
    }

    @Test("a safetensors file holds what was written, metadata with awkward characters included")
    func safetensors() throws {
        let directory = try TemporaryDirectory()
        let path = "\(directory.path)/trace.safetensors"
        let metadata = ["quote\"back\\slash": "line\nfeed\u{1}", "ü": "日本"]
        let writer = try SafetensorsWriter(
            path: path, metadata: metadata,
            tensors: [
                TensorDeclaration(name: "logits \"x\"", type: .float32, shape: [2, 2]),
                TensorDeclaration(name: "ids", type: .int64, shape: [3]),
            ])
        try writer.write(([1, 2] as [Float]).span)
        try writer.write(([3, 4] as [Float]).span)
        try writer.write(([-1, 2, 3] as [Int]).span)
        try writer.finish()
        let file = try SafetensorsFile(path: path)
        #expect(file.metadata == metadata)
        #expect(try file.floats(named: "logits \"x\"") == [1, 2, 3, 4])
        #expect(try file.integers(of: file.tensor(named: "ids")) == [-1, 2, 3])
        #expect(try file.tensor(named: "ids").offset % 8 == 0)
    }

    private func declarations(_ file: GGUFFile) -> [TensorDeclaration] {
        file.tensors.entries.map { TensorDeclaration(name: $0.name, type: $0.type, shape: $0.shape) }
    }
}
