// The header of a GGUF file, version 2 or 3 (specification: ggml's docs/gguf.md), parsed from foreign bytes.
//
// Invariants: nothing is allocated beyond a small multiple of the bytes that remain; every tensor's bytes lie in the file,
// aligned, and overlap no other's. Failure modes: `model_invalid` and `model_unsupported`, naming file, key or tensor.

import Diagnostics

/// The parts of a GGUF file.
struct GGUFContents {
    /// "GGUF", little-endian.
    static let magic: UInt32 = 0x4655_4747

    var version = 0
    var alignment = 32
    var metadata = GGUFMetadata()
    var entries: [TensorEntry] = []

    /// Parses a whole file's bytes.
    init(parsing bytes: RawSpan, path: String) throws(Failure) {
        var cursor = ByteCursor(bytes, path: path, part: "header")
        version = try GGUFContents.version(&cursor)
        // A tensor takes at least a name length, a letter, a rank, a type and an offset; a key at least its length, a
        // letter, a type and a byte of value.
        let tensorCount = try cursor.count(of: "tensors", minimumBytes: 25)
        let keyCount = try cursor.count(of: "metadata keys", minimumBytes: 14)
        for _ in 0..<keyCount { try readKey(&cursor) }
        try readAlignment(cursor)
        let declared = try readDeclarations(tensorCount, &cursor)
        try place(declared, after: cursor.position, cursor)
    }

    private static func version(_ cursor: inout ByteCursor) throws(Failure) -> Int {
        guard cursor.remaining >= 4, cursor.bytes.load(0, as: UInt32.self) == magic else {
            throw cursor.invalid("does not begin with GGUF")
        }
        _ = try cursor.take(4)
        let version = try cursor.integer(UInt32.self)
        switch version {
        case 2, 3: return Int(version)
        case _ where version & 0xffff == 0 && version != 0:
            throw cursor.unsupported("is a big-endian GGUF file", hint: "Convert it to little-endian.")
        default:
            throw cursor.unsupported("is GGUF version \(version)", hint: "Versions 2 and 3 are read; convert it anew.")
        }
    }

    private mutating func readKey(_ cursor: inout ByteCursor) throws(Failure) {
        cursor.part = "metadata key"
        let key = try cursor.text(cursor.integer(UInt64.self), "key")
        guard !key.isEmpty, key.utf8.count < 1 << 16 else {
            throw cursor.invalid("has a length of \(key.utf8.count) bytes")
        }
        cursor.part = "metadata \(key)"
        guard metadata[key] == nil else { throw cursor.invalid("is there twice") }
        metadata[key] = try GGUFValueParser.value(&cursor)
    }

    private mutating func readAlignment(_ cursor: ByteCursor) throws(Failure) {
        guard let value = metadata["general.alignment"] else { return }
        guard case .uint32(let stored) = value, stored >= 8, stored.nonzeroBitCount == 1 else {
            throw Failure(
                .modelInvalid, "\(cursor.path): metadata general.alignment", "is not a power of two from 8 up",
                hint: "Convert the file again.")
        }
        alignment = Int(stored)
    }

    /// A tensor as announced: its offset still counts from the start of the data.
    private struct Declaration {
        let name: String
        let type: ElementType
        let shape: [Int]
        let offset: UInt64
    }

    private func readDeclarations(_ count: Int, _ cursor: inout ByteCursor) throws(Failure) -> [Declaration] {
        var declared: [Declaration] = []
        declared.reserveCapacity(count)
        for number in 0..<count {
            cursor.part = "tensor number \(number)"
            let name = try cursor.text(cursor.integer(UInt64.self), "name")
            guard !name.isEmpty, name.utf8.count < 1 << 16 else {
                throw cursor.invalid("has a name of \(name.utf8.count) bytes")
            }
            cursor.part = "tensor \(name)"
            let shape = try readShape(&cursor)
            let type = try cursor.integer(UInt32.self)
            guard let element = GGUFTensorType.element(type) else {
                throw cursor.unsupported(
                    "is of type \(GGUFTensorType.name(type))",
                    hint: "F32, F16, BF16, Q8_0, Q4_0, Q4_1, I8 and I32 are read; requantise the file.")
            }
            declared.append(
                Declaration(name: name, type: element, shape: shape, offset: try cursor.integer(UInt64.self)))
        }
        return declared
    }

    /// GGUF lists the fastest dimension first; the result lists it last.
    private func readShape(_ cursor: inout ByteCursor) throws(Failure) -> [Int] {
        let rank = try cursor.integer(UInt32.self)
        guard rank <= 4 else { throw cursor.invalid("has \(rank) dimensions; GGUF allows 4") }
        var shape: [Int] = []
        for _ in 0..<rank {
            let dimension = try cursor.integer(UInt64.self)
            guard dimension > 0, dimension <= UInt64(Int.max) else {
                throw cursor.invalid("has a dimension of \(dimension)")
            }
            shape.insert(Int(dimension), at: 0)
        }
        return shape
    }

    /// Finds each tensor's bytes after the header and its padding.
    private mutating func place(_ declared: [Declaration], after end: Int, _ cursor: ByteCursor) throws(Failure) {
        let (padded, overflow) = end.addingReportingOverflow(alignment - 1)
        let dataStart = overflow ? Int.max : padded / alignment * alignment
        entries.reserveCapacity(declared.count)
        for tensor in declared {
            var cursor = cursor
            cursor.part = "tensor \(tensor.name)"
            guard let count = tensor.type.byteCount(shape: tensor.shape) else {
                throw cursor.invalid("has the impossible shape \(tensor.shape) for \(tensor.type.rawValue)")
            }
            guard tensor.offset % UInt64(alignment) == 0 else {
                throw cursor.invalid("has offset \(tensor.offset), which is not aligned to \(alignment)")
            }
            let available = cursor.bytes.byteCount - dataStart
            guard available >= 0, tensor.offset <= UInt64(available), count <= available - Int(tensor.offset) else {
                throw cursor.invalid(
                    "needs \(count) bytes at offset \(tensor.offset), but the file holds \(max(0, available)) of data")
            }
            let start = dataStart + Int(tensor.offset)
            entries.append(
                TensorEntry(
                    name: tensor.name, type: tensor.type, shape: tensor.shape, byteRange: start..<start + count))
        }
        try ByteRanges.refuseOverlaps(
            entries.map { (name: "tensor \($0.name)", range: $0.byteRange) }, path: cursor.path)
    }
}
