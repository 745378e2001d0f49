// Writes PyTorch's zip archives for tests: what is read from the official files comes back changed, cut into parts or broken.

import Foundation
import ModelFile

/// A tensor to be stored, or to be stored wrongly.
struct TorchTensor {
    var name: String
    var shape: [Int]
    var values: [Float]
    /// Row-major where nil.
    var strides: [Int]?
}

/// A state dictionary as `torch.save` lays it out, float32.
struct TorchArchive {
    var tensors: [TorchTensor]
    /// `module\nname` of the function that rebuilds tensors.
    var rebuild = "torch._utils\n_rebuild_tensor_v2"
    /// The class of the storages: float32, or integers of as many bytes.
    var storage = "FloatStorage"
    /// Whether the tensors stand under `model`, beside an `args` that is an argparse.Namespace.
    var isCheckpoint = false

    /// An archive of these.
    init(_ tensors: [TorchTensor]) { self.tensors = tensors }

    /// The tensors of a file.
    init(reading path: String) throws {
        let file = try PyTorchFile(path: path)
        tensors = try file.tensors.entries.filter { $0.type.isFloatingPoint }.map {
            TorchTensor(name: $0.name, shape: $0.shape, values: try file.floats(of: $0))
        }
        if tensors.allSatisfy({ $0.name.hasPrefix("model.") }) {
            isCheckpoint = true
            for index in tensors.indices { tensors[index].name.removeFirst("model.".count) }
        }
    }

    subscript(name: String) -> TorchTensor? {
        get { tensors.first { $0.name == name } }
        set {
            let index = tensors.firstIndex { $0.name == name }
            if let index, let newValue { tensors[index] = newValue }
            if let index, newValue == nil { tensors.remove(at: index) }
            if index == nil, let newValue { tensors.append(newValue) }
        }
    }

    func write(to path: String) throws {
        var entries = [("archive/data.pkl", pickle)]
        for (index, tensor) in tensors.enumerated() {
            entries.append(("archive/data/\(index)", tensor.values.flatMap { Self.little($0.bitPattern) }))
        }
        try Data(Self.zip(entries)).write(to: URL(fileURLWithPath: path))
    }

    private static func little<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
        (0..<T.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> T(8 * $0)) }
    }

    // MARK: Pickle, protocol 2

    private static func text(_ text: String) -> [UInt8] { [0x58] + little(UInt32(text.utf8.count)) + text.utf8 }
    private static func integer(_ value: Int) -> [UInt8] {
        guard let short = Int32(exactly: value) else { return [0x8A, 8] + little(value) }
        return [0x4A] + little(short)
    }
    private static func tuple(_ values: [Int]) -> [UInt8] { [0x28] + values.flatMap(integer) + [0x74] }

    private var pickle: [UInt8] {
        var table: [UInt8] = [0x7D, 0x28]
        for (index, tensor) in tensors.enumerated() {
            let strides = tensor.strides ?? Self.rowMajor(tensor.shape)
            table += Self.text(tensor.name) + "c\(rebuild)\n".utf8 + [0x28]
            table += [0x28] + Self.text("storage") + "ctorch\n\(storage)\n".utf8 + Self.text("\(index)")
            table += Self.text("cpu") + Self.integer(tensor.values.count) + [0x74, 0x51]
            table += Self.integer(0) + Self.tuple(tensor.shape) + Self.tuple(strides)
            table += [0x89] + "ccollections\nOrderedDict\n".utf8 + [0x29, 0x52, 0x74, 0x52]
        }
        table.append(0x75)
        guard isCheckpoint else { return [0x80, 2] + table + [0x2E] }
        let namespace =
            Array("cargparse\nNamespace\n".utf8) + [0x29, 0x81, 0x7D] + Self.text("lr") + Self.integer(1) + [
                0x73, 0x62,
            ]
        return [0x80, 2, 0x7D, 0x28] + Self.text("model") + table + Self.text("args") + namespace + [0x75, 0x2E]
    }

    private static func rowMajor(_ shape: [Int]) -> [Int] {
        shape.indices.map { axis in shape[(axis + 1)...].reduce(1, *) }
    }

    // MARK: Zip, stored

    private static func zip(_ entries: [(name: String, bytes: [UInt8])]) -> [UInt8] {
        var file: [UInt8] = []
        var directory: [UInt8] = []
        for (name, bytes) in entries {
            let sizes = little(UInt32(bytes.count)) + little(UInt32(bytes.count))
            let common = [UInt8](repeating: 0, count: 12) + sizes + little(UInt16(name.utf8.count)) + [0, 0]
            directory += [0x50, 0x4B, 1, 2, 20, 0, 20, 0] + common + [UInt8](repeating: 0, count: 10)
            directory += little(UInt32(file.count)) + name.utf8
            file += [0x50, 0x4B, 3, 4, 20, 0] + common + name.utf8 + bytes
        }
        let count = little(UInt16(entries.count))
        let end =
            [0x50, 0x4B, 5, 6, 0, 0, 0, 0] + count + count + little(UInt32(directory.count))
            + little(UInt32(file.count)) + [0, 0]
        return file + directory + end
    }
}
