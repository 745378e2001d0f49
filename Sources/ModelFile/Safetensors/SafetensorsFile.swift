// A safetensors file (format of huggingface/safetensors): a length, a JSON header, and the tensors' bytes back to back.
//
// Invariants demanded by the format and checked here: the header is at most 100 MB and begins with `{`; names are unique;
// the tensors, in order of their offsets, cover the data without overlap, hole or rest.

public import Diagnostics
public import Tensor

/// A safetensors file, mapped.
public final class SafetensorsFile: TensorContainer {
    /// The mapped file.
    public let mapping: MappedFile
    /// The tensors in the header's order and by name.
    public let tensors: TensorTable
    /// The header's `__metadata__`.
    public let metadata: [String: String]

    /// Opens and checks a file.
    ///
    /// - Throws: `model_missing`, `permission_denied` or `input_output` when it cannot be opened; `model_invalid` when it
    ///   breaks a rule of the format; `model_unsupported` naming an element type that is not read.
    public init(path: String) throws(Failure) {
        let mapping = try MappedFile(path: path)
        let contents = try SafetensorsContents(parsing: mapping.bytes, path: path)
        self.mapping = mapping
        metadata = contents.metadata
        tensors = try TensorTable(contents.entries, path: path)
    }
}

/// The parts of a safetensors file.
struct SafetensorsContents {
    static let largestHeader = 100_000_000
    /// Element types by the format's names.
    static let types: [ElementType] = [
        .float32, .float16, .bfloat16, .float64, .int64, .int32, .int16, .int8, .uint8, .bool,
    ]

    private(set) var entries: [TensorEntry] = []
    private(set) var metadata: [String: String] = [:]
    private let path: String
    private let dataStart: Int
    private let dataCount: Int

    /// Parses a whole file's bytes.
    init(parsing bytes: RawSpan, path: String) throws(Failure) {
        self.path = path
        var cursor = ByteCursor(bytes, path: path, part: "header")
        let length = try cursor.integer(UInt64.self)
        guard length <= UInt64(SafetensorsContents.largestHeader) else {
            throw cursor.invalid("announces \(length) bytes; the format allows \(SafetensorsContents.largestHeader)")
        }
        let text = bytes.copy(try cursor.take(length))
        guard text.first == UInt8(ascii: "{") else { throw cursor.invalid("does not begin with {") }
        dataStart = cursor.position
        dataCount = cursor.remaining
        var scanner = JSONScanner(text, path: path)
        try readHeader(&scanner)
        guard scanner.isAtEnd else { throw scanner.invalid("has something after its end") }
        try checkCover()
    }

    private mutating func readHeader(_ scanner: inout JSONScanner) throws(Failure) {
        var entries: [TensorEntry] = []
        var metadata: [String: String] = [:]
        try scanner.object { (name, scanner: inout JSONScanner) throws(Failure) in
            if name == "__metadata__" {
                try scanner.object { (key, scanner: inout JSONScanner) throws(Failure) in
                    metadata[key] = try scanner.string()
                }
            } else {
                entries.append(try entry(name, &scanner))
            }
        }
        self.entries = entries
        self.metadata = metadata
    }

    private func entry(_ name: String, _ scanner: inout JSONScanner) throws(Failure) -> TensorEntry {
        var typeName: String?
        var shape: [Int]?
        var offsets: [Int] = []
        try scanner.object { (key, scanner: inout JSONScanner) throws(Failure) in
            switch key {
            case "dtype": typeName = try scanner.string()
            case "shape": shape = try scanner.integers()
            case "data_offsets": offsets = try scanner.integers()
            default: try scanner.skipValue()
            }
        }
        guard let typeName, let shape, shape.count <= 16, offsets.count == 2, offsets[0] <= offsets[1] else {
            throw invalid(name, "needs dtype, shape and two ordered data_offsets")
        }
        guard let type = SafetensorsContents.types.first(where: { $0.rawValue == typeName }) else {
            throw Failure(
                .modelUnsupported, "\(path): tensor \(name)", "is of type \(typeName)",
                hint: "\(SafetensorsContents.types.map(\.rawValue).joined(separator: ", ")) are read.")
        }
        guard let byteCount = type.byteCount(shape: shape), byteCount == offsets[1] - offsets[0] else {
            throw invalid(name, "has data_offsets \(offsets) that do not fit \(typeName) \(shape)")
        }
        guard offsets[1] <= dataCount else {
            throw invalid(name, "ends at byte \(offsets[1]) of the data, but the file has \(dataCount)")
        }
        return TensorEntry(
            name: name, type: type, shape: shape, byteRange: dataStart + offsets[0]..<dataStart + offsets[1])
    }

    private func checkCover() throws(Failure) {
        var end = dataStart
        let sorted = entries.sorted {
            ($0.byteRange.lowerBound, $0.byteRange.upperBound) < ($1.byteRange.lowerBound, $1.byteRange.upperBound)
        }
        for entry in sorted {
            guard entry.byteRange.lowerBound == end else {
                let fault = entry.byteRange.lowerBound < end ? "overlaps" : "leaves a hole after"
                throw invalid(entry.name, "\(fault) the tensor before it")
            }
            end = entry.byteRange.upperBound
        }
        guard end == dataStart + dataCount else {
            throw Failure(
                .modelInvalid, path, "has \(dataStart + dataCount - end) bytes that belong to no tensor",
                hint: "Copy or convert the file again.")
        }
    }

    private func invalid(_ name: String, _ cause: String) -> Failure {
        Failure(.modelInvalid, "\(path): tensor \(name)", cause, hint: "Copy or convert the file again.")
    }
}
