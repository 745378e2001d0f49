import Diagnostics
import Tensor
import Testing

@testable import ModelFile

@Suite("PyTorch reader")
struct PyTorchFileTests {
    @Test(
        "every storage type and layout equals torch's values, from both formats",
        arguments: [("types-legacy.pth", PyTorchFile.Layout.legacy), ("types-archive.pth", .archive)])
    func types(name: String, layout: PyTorchFile.Layout) throws {
        let file = try PyTorchFile(path: fixture(name))
        let lines = try goldenLines("types.torch.golden")
        #expect(file.layout == layout)
        try expectGolden(file, lines)
        #expect(file.tensors.names == lines.map { $0[0] })
        #expect(try file.tensor(named: "transposed").strides == [1, 6])
        expectFailure(.modelUnsupported, "tensor transposed", "strides") {
            _ = try file.bytes(of: file.tensor(named: "transposed"))
        }
        let permuted = try file.tensor(named: "permuted")
        let rows = try (0..<permuted.rows).flatMap { try file.floats(of: permuted, rows: $0..<$0 + 1) }
        #expect(rows == (try file.floats(of: permuted)))
    }

    @Test("nested dictionaries and lists are one table with dotted names; other values are passed over")
    func nested() throws {
        let file = try PyTorchFile(path: fixture("nested.pth"))
        #expect(file.tensors.names == ["model.a.b", "list.0", "4"])
        #expect(try file.floats(named: "model.a.b") == [1, 2])
        #expect(try file.floats(named: "4") == [4])
    }

    @Test("a scripted module's attributes are its state dictionary")
    func script() throws {
        let file = try PyTorchFile(path: fixture("script.pt"))
        #expect(file.layout == .torchScript)
        let lines = try goldenLines("script.golden")
        try expectGolden(file, lines)
        #expect(Set(file.tensors.names) == Set(lines.map { $0[0] }))
    }

    @Test(
        "the official files equal torch's own loading, tensor by tensor",
        arguments: ["checkpoint-19.pth", "clip-state-dict.pt", "clip-torchscript.pt", "consolidated.00.pth"])
    func official(name: String) throws {
        let file = try PyTorchFile(path: fixture(name))
        let lines = try goldenLines("\(name).digests")
        #expect(Set(file.tensors.names) == Set(lines.map { $0[0] }))
        #expect(file.tensors.count == lines.count)
        for line in lines {
            let entry = try file.tensor(named: line[0])
            #expect(entry.shape == line[2].split(separator: ",").compactMap { Int($0) }, "\(line[0])")
            #expect(try digest(file, entry) == line[3], "\(line[0])")
        }
    }

    /// FNV-1a over the values' bytes as float32 or int64.
    private func digest(_ file: PyTorchFile, _ entry: TensorEntry) throws -> String {
        var state: UInt64 = 0xcbf2_9ce4_8422_2325
        func add(_ value: UInt64, bytes: UInt64) {
            for index in 0..<bytes { state = (state ^ (value >> (8 * index) & 255)) &* 0x100_0000_01b3 }
        }
        if entry.type.isFloatingPoint {
            for value in try file.floats(of: entry) { add(UInt64(value.bitPattern), bytes: 4) }
        } else {
            for value in try file.integers(of: entry) { add(UInt64(bitPattern: Int64(value)), bytes: 8) }
        }
        let digits = String(state, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    @Test("a broadcast tensor, whose size its storage does not bound, is refused by name")
    func expanded() throws {
        expectFailure(.modelUnsupported, "expanded.pth", "tensor w", "1000") {
            _ = try PyTorchFile(path: fixture("expanded.pth"))
        }
    }

    @Test("files that are not PyTorch's are refused")
    func others() throws {
        let directory = try TemporaryDirectory()
        expectFailure(.modelInvalid, "neither") { _ = try PyTorchFile(path: directory.file([1, 2, 3])) }
        expectFailure(.modelInvalid, "zip") { _ = try PyTorchFile(path: directory.file([0x50, 0x4b, 3, 4, 0])) }
        expectFailure(.modelMissing, "none.pth") { _ = try PyTorchFile(path: fixture("none.pth")) }
    }
}

@Suite("PyTorch faults: pickles")
struct PickleFaultTests {
    /// A legacy stream around an object pickle (without PROTO and STOP) with one storage "0" of two floats.
    private func open(_ object: [UInt8], keys: [String] = ["0"], storage: [UInt8]? = nil) throws -> PyTorchFile {
        let directory = try TemporaryDirectory()
        var bytes = LegacyStream.magic
        bytes += [0x80, 2, 0x4d, 0xe9, 0x03, 0x2e]
        bytes += [0x80, 2, 0x7d] + text("little_endian") + [0x88, 0x73, 0x2e]
        bytes += [0x80, 2] + object + [0x2e]
        bytes += [0x80, 2, 0x5d] + keys.flatMap { text($0) + [0x61] } + [0x2e]
        bytes += storage ?? littleEndian(Int64(2)) + littleEndian(UInt64(0))
        return try PyTorchFile(path: directory.file(bytes))
    }

    /// The same without tensors.
    private func openPlain(_ object: [UInt8]) throws -> PyTorchFile { try open(object, keys: [], storage: []) }

    private func text(_ string: String) -> [UInt8] { [0x58] + littleEndian(UInt32(string.utf8.count)) + string.utf8 }

    private func global(_ module: String, _ name: String) -> [UInt8] { Array("c\(module)\n\(name)\n".utf8) }

    private func long(_ value: Int) -> [UInt8] { [0x8a, 8] + littleEndian(value) }

    private func storage(count: Int = 2, key: String = "0") -> [UInt8] {
        [0x28] + text("storage") + global("torch", "FloatStorage") + text(key) + text("cpu") + long(count)
            + [0x74, 0x51]
    }

    private func tuple(_ values: [Int]) -> [UInt8] { [0x28] + values.flatMap(long) + [0x74] }

    /// {"w": _rebuild_tensor_v2(storage, offset, shape, strides, False, OrderedDict())}
    private func tensor(
        offset: Int = 0, _ shape: [Int], _ strides: [Int], count: Int = 2, key: String = "0"
    ) -> [UInt8] {
        [0x7d] + text("w") + global("torch._utils", "_rebuild_tensor_v2") + [0x28] + storage(count: count, key: key)
            + long(offset) + tuple(shape) + tuple(strides) + [0x89] + global("collections", "OrderedDict")
            + [0x29, 0x52, 0x74, 0x52, 0x73]
    }

    @Test("the stream built here is read when nothing is wrong with it")
    func sound() throws {
        #expect(try open(tensor([2], [1])).floats(named: "w") == [0, 0])
        #expect(try open(tensor(offset: 1, [], [])).floats(named: "w") == [0])
    }

    @Test("a namespace of a command line is inert: made, filled and passed over; called, it is refused")
    func namespace() throws {
        let made = global("argparse", "Namespace") + [0x29, 0x81]
        let filled = made + [0x7d] + text("lr") + long(1) + [0x73, 0x62]
        let beside = [0x7d] + text("args") + filled + [0x73]
        #expect(try openPlain(beside).tensors.count == 0)
        // Its attributes are no way in for tensors.
        let hidden = [0x7d] + text("args") + made + tensor([2], [1]) + [0x62, 0x73]
        #expect(try open(hidden).tensors.count == 0)
        expectFailure(.modelUnsupported, "argparse.Namespace") {
            _ = try openPlain([0x7d] + text("args") + global("argparse", "Namespace") + [0x29, 0x52, 0x73])
        }
        expectFailure(.modelUnsupported, "argparse.Namespace") {
            _ = try openPlain([0x7d] + text("a") + global("argparse", "Namespace") + tuple([1]) + [0x81, 0x73])
        }
    }

    @Test(
        "globals off the list are refused by name and never called",
        arguments: [
            ("posix", "system"), ("builtins", "eval"), ("os", "popen"), ("torch", "load"), ("__torch__", "Module"),
            ("torch._utils", "_rebuild_sparse_tensor"), ("torch.jit._pickle", "restore_type_tag"),
            ("argparse", "ArgumentParser"),
        ])
    func globals(module: String, name: String) throws {
        let call = global(module, name) + [0x28] + text("touch /tmp/owned") + [0x74, 0x52]
        expectFailure(.modelUnsupported, "file", "\(module).\(name)") { _ = try open(call) }
    }

    @Test("opcodes off the list are refused by name")
    func opcodes() throws {
        let allowed = Set((UInt8.min ... .max).filter { PickleOpcode(rawValue: $0) != nil })
        #expect(allowed.count == 32)
        for byte in UInt8.min ... .max where !allowed.contains(byte) {
            expectFailure(.modelUnsupported, "opcode \(PickleOpcode.name(byte))") { _ = try open([byte]) }
        }
        expectFailure(.modelUnsupported, "STACK_GLOBAL") { _ = try open([0x93]) }
        expectFailure(.modelUnsupported, "INST") { _ = try open([0x69]) }
        expectFailure(.modelUnsupported, "pickle protocol 4") { _ = try open([0x80, 4]) }
        expectFailure(.modelUnsupported, "9 bytes") { _ = try open([0x8a, 9] + [UInt8](repeating: 1, count: 9)) }
    }

    @Test("tensors beyond their storage, with negative or overflowing shapes, strides or offsets, are refused by name")
    func tensors() throws {
        let large = Int.max
        let faults: [(Int, [Int], [Int])] = [
            (0, [3], [1]), (1, [2], [1]), (0, [2], [2]), (2, [1], [1]), (0, [-1], [1]), (0, [2], [-1]), (-1, [1], [1]),
            (large, [1], [1]), (0, [large], [1]), (0, [2], [large]), (large, [2], [large]),
            (0, [large, large], [1, 1]),
            (0, [2, 2], [1, 1 << 62]), (0, [1 << 32, 1 << 32], [0, 0]), (0, [2], [1, 1]), (0, [1, 1], [1]),
        ]
        for (offset, shape, strides) in faults {
            expectFailure(.modelInvalid, "tensor w") { _ = try open(tensor(offset: offset, shape, strides)) }
        }
        expectFailure(.modelUnsupported, "tensor w", "contiguous") { _ = try open(tensor([1 << 40], [0])) }
        #expect(try open(tensor([0], [1])).floats(named: "w") == [])
        #expect(try open(tensor([0, 1 << 40], [1 << 40, 1])).tensor(named: "w").count == 0)
        #expect(try open(tensor(offset: 1, [1, 1], [large, large])).floats(named: "w") == [0])
    }

    @Test("storages must be announced, sized and listed alike")
    func storages() throws {
        expectFailure(.modelInvalid, "storage 0", "3") { _ = try open(tensor([2], [1], count: 3)) }
        for count in [-1, Int.max, Int.max / 4 + 1] {
            expectFailure(.modelInvalid) {
                _ = try open(tensor([2], [1], count: count), storage: littleEndian(count) + [0, 0, 0, 0])
            }
        }
        expectFailure(.modelInvalid, "no tensor uses") { _ = try open(tensor([2], [1]), keys: ["1"]) }
        expectFailure(.modelInvalid, "tensor w", "storage 0") { _ = try open(tensor([2], [1]), keys: [], storage: []) }
        let record = littleEndian(Int64(2)) + littleEndian(UInt64(0))
        expectFailure(.modelInvalid, "storage 0", "twice") {
            _ = try open(tensor([2], [1]), keys: ["0", "0"], storage: record + record)
        }
        expectFailure(.modelInvalid, "belong to nothing") { _ = try open(tensor([2], [1]), storage: record + [0]) }
        expectFailure(.modelInvalid, "two types") {
            _ = try open([0x5d, 0x28] + tensor([2], [1]) + tensor([2], [1], count: 3) + [0x65])
        }
        expectFailure(.modelInvalid, "persistent id") { _ = try open([0x29, 0x51]) }
    }

    @Test("a tensor has at most 16 dimensions: a thousand tensors must not each copy one long memoised tuple")
    func ranks() throws {
        let ones = [Int](repeating: 1, count: 16)
        #expect(try open(tensor(ones, ones)).floats(named: "w") == [0])
        expectFailure(.modelUnsupported, "17 dimensions") { _ = try open(tensor(ones + [1], ones)) }
        expectFailure(.modelUnsupported, "17 dimensions") { _ = try open(tensor(ones, ones + [1])) }

        // [sizes, function, arguments, then five bytes for each tensor of them]
        var object: [UInt8] = [0x5d, 0x28, 0x28]
        for _ in 0..<25_000 { object += [0x4b, 1] }
        object += [0x74, 0x71, 0]
        object += global("torch._utils", "_rebuild_tensor_v2") + [0x71, 1]
        object += [0x28] + storage() + long(0) + [0x68, 0, 0x68, 0, 0x89]
        object += global("collections", "OrderedDict") + [0x29, 0x52, 0x74, 0x71, 2]
        for _ in 0..<1_000 { object += [0x68, 1, 0x68, 2, 0x52] }
        object.append(0x65)
        expectFailure(.modelUnsupported, "25000 dimensions") { _ = try open(object) }
    }

    @Test("a call costs what it takes off the stack, not what lies below: a hundred thousand calls end, of each kind")
    func tallStacks() throws {
        /// What is made and kept in the memo, then the same step again and again, each leaving a value on the stack.
        func tall(_ made: [UInt8], _ step: [UInt8]) throws {
            let steps = [UInt8](repeatElement(step, count: 100_000).joined())
            #expect(try openPlain(made + steps + [0x7d]).tensors.count == 0)
        }
        try tall(global("collections", "OrderedDict") + [0x71, 0], [0x68, 0, 0x29, 0x52])
        try tall(global("argparse", "Namespace") + [0x71, 0], [0x68, 0, 0x29, 0x81])
        try tall(Array(storage().dropLast()) + [0x71, 0], [0x68, 0, 0x51])
        let arguments =
            [0x28] + storage() + long(0) + tuple([2]) + tuple([1]) + [0x89] + global("collections", "OrderedDict")
            + [0x29, 0x52, 0x74]
        let tensors = global("torch._utils", "_rebuild_tensor_v2") + [0x71, 0] + arguments + [0x71, 1]
        try tall(tensors, [0x68, 0, 0x68, 1, 0x52])
        // Values under the calls, however many: taken singly, in twos and up to a mark.
        try tall([], [0x4e, 0x4e, 0x85])
        try tall([], [0x4e, 0x4e, 0x4e, 0x86])
        try tall([], [0x4e, 0x28, 0x4e, 0x74])
    }

    @Test("a storage's key has at most 256 bytes: it is hashed for each tensor that names it")
    func keys() throws {
        let key = String(repeating: "k", count: 256)
        #expect(try open(tensor([2], [1], key: key), keys: [key]).floats(named: "w") == [0, 0])
        expectFailure(.modelInvalid, "object pickle", "a key of 257 bytes") {
            _ = try open(tensor([2], [1], key: key + "k"), keys: [key + "k"])
        }
    }

    @Test("a machine without operands, memo entries or marks says so")
    func stack() throws {
        for object in [[0x52], [0x74], [0x85], [0x73], [0x75], [0x61], [0x65], [0x62], [0x81], [0x71, 0], [0x51], []]
            as [[UInt8]]
        {
            expectFailure(.modelInvalid, "object pickle") { _ = try open(object) }
        }
        expectFailure(.modelInvalid, "entry 7") { _ = try open([0x68, 7]) }
        expectFailure(.modelInvalid) { _ = try open([0x4e, 0x28, 0x85]) }
        expectFailure(.modelInvalid, "appends to None") { _ = try open([0x4e, 0x4e, 0x61]) }
        expectFailure(.modelInvalid, "calls") { _ = try open([0x4e, 0x29, 0x52]) }
        expectFailure(.modelUnsupported, "attributes of a list") { _ = try open([0x5d, 0x7d, 0x62]) }
        expectFailure(.modelUnsupported, "a string") { _ = try openPlain(text("just text")) }
    }

    @Test("cycles, deep nesting and shared parts that multiply are bounded")
    func graphs() throws {
        let cycle: [UInt8] = [0x5d, 0x71, 0, 0x68, 0, 0x61]
        expectFailure(.modelInvalid, "nested too deeply") { _ = try openPlain(cycle) }
        // {"": itself}: the name never grows, so only the depth ends the walk.
        expectFailure(.modelInvalid, "nested too deeply") {
            _ = try openPlain([0x7d, 0x71, 0] + text("") + [0x68, 0, 0x73])
        }
        expectFailure(.modelInvalid, "nested too deeply") {
            _ = try openPlain([0x29] + [UInt8](repeating: 0x85, count: 1_000_000))
        }
        // Forty lists, each holding the one before twice.
        var doubling: [UInt8] = [0x5d, 0x71, 0]
        for level in UInt8(1)...40 { doubling += [0x5d, 0x28, 0x68, level - 1, 0x68, level - 1, 0x65, 0x71, level] }
        expectFailure(.modelInvalid, "too often") { _ = try openPlain(doubling) }
        expectFailure(.modelUnsupported, "longer than") {
            _ = try openPlain([UInt8](repeating: 0x4e, count: PickleMachine.largestPickle))
        }
        expectFailure(.modelUnsupported, "dictionary key") { _ = try openPlain([0x7d, 0x29, 0x4e, 0x73]) }
        expectFailure(.modelInvalid, "under too long a name") {
            _ = try openPlain([0x7d] + text(String(repeating: "n", count: 513)) + [0x4e, 0x73])
        }
        expectFailure(.modelInvalid, "tensor w", "twice") {
            _ = try open(tensor([2], [1]) + tensor([2], [1]).dropFirst())
        }
    }
}
