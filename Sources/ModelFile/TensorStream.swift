// The data part of a container being written: declared tensors filled in their order, in as many pieces as the caller
// likes, so that a writer never holds more than one piece.
//
// Invariant: a file is committed only when every tensor has exactly its declared bytes. Failure modes: `internal_error`
// when the caller writes too much or too little; what `OutputFile` throws.

import Diagnostics
import Files

/// A tensor to be written: its name, element type and row-major shape.
public struct TensorDeclaration: Sendable, Equatable {
    /// The name it is stored under.
    public let name: String
    /// How its elements are stored.
    public let type: ElementType
    /// Its dimensions, the fastest last.
    public let shape: [Int]

    /// Announces a tensor; the writer checks name, type and shape.
    public init(name: String, type: ElementType, shape: [Int]) {
        self.name = name
        self.type = type
        self.shape = shape
    }
}

/// Declared tensors on their way into a file.
struct TensorStream {
    private let output: OutputFile
    private let alignment: Int
    private let tensors: [(declaration: TensorDeclaration, byteCount: Int)]
    private var current = 0
    private var written = 0

    /// Begins with `header`, padded to `alignment`.
    init(
        path: String, header: [UInt8], alignment: Int, tensors: [(declaration: TensorDeclaration, byteCount: Int)]
    ) throws(Failure) {
        output = try OutputFile(path: path)
        self.alignment = alignment
        self.tensors = tensors
        try output.write(header)
        try output.pad(to: alignment)
    }

    /// The tensor that the next bytes belong to.
    private func expecting() throws(Failure) -> TensorDeclaration {
        guard current < tensors.count else {
            throw Failure(.internalError, output.path, "was given data after its last tensor")
        }
        return tensors[current].declaration
    }

    /// Appends stored bytes to the current tensor; a full one is padded and the next becomes current.
    mutating func write(_ bytes: RawSpan) throws(Failure) {
        let tensor = try expecting()
        let byteCount = tensors[current].byteCount
        guard bytes.byteCount <= byteCount - written else {
            throw Failure(
                .internalError, "\(output.path): tensor \(tensor.name)",
                "was given \(written + bytes.byteCount) bytes where \(byteCount) were declared")
        }
        try output.write(bytes)
        written += bytes.byteCount
        guard written == byteCount else { return }
        try output.pad(to: alignment)
        current += 1
        written = 0
    }

    /// Appends integers of the current tensor's size, or the raw bytes of any tensor.
    mutating func write<T: FixedWidthInteger & BitwiseCopyable>(_ values: Span<T>) throws(Failure) {
        let tensor = try expecting()
        let fits = !tensor.type.isFloatingPoint && tensor.type.blockBytes == MemoryLayout<T>.size
        guard fits || T.self == UInt8.self else {
            throw Failure(
                .internalError, "\(output.path): tensor \(tensor.name)", "is \(tensor.type.rawValue), not \(T.self)")
        }
        try write(RawSpan(_elements: values))
    }

    /// Appends floats to an F32 tensor, or rounded to nearest even to an F16 tensor.
    mutating func write(_ values: Span<Float>) throws(Failure) {
        let tensor = try expecting()
        switch tensor.type {
        case .float32: try write(RawSpan(_elements: values))
        case .float16:
            var halves: [UInt16] = []
            halves.reserveCapacity(values.count)
            for index in values.indices { halves.append(Float16(values[index]).bitPattern) }
            try write(RawSpan(_elements: halves.span))
        default:
            throw Failure(
                .internalError, "\(output.path): tensor \(tensor.name)", "is \(tensor.type.rawValue), not floats")
        }
    }

    /// Puts the finished file in place.
    func finish() throws(Failure) {
        guard current == tensors.count else {
            throw Failure(
                .internalError, "\(output.path): tensor \(tensors[current].declaration.name)",
                "was given \(written) bytes where \(tensors[current].byteCount) were declared")
        }
        try output.commit()
    }

    /// Checks declarations: names unique and not empty, shapes that can be stored.
    static func sizes(
        _ declarations: [TensorDeclaration], path: String
    ) throws(Failure) -> [(declaration: TensorDeclaration, byteCount: Int)] {
        var names: Set<String> = []
        var result: [(declaration: TensorDeclaration, byteCount: Int)] = []
        var total = 0
        for tensor in declarations {
            guard let byteCount = tensor.type.byteCount(shape: tensor.shape), byteCount > 0 else {
                throw Failure(
                    .internalError, "\(path): tensor \(tensor.name)",
                    "has the impossible shape \(tensor.shape) for \(tensor.type.rawValue)")
            }
            guard !tensor.name.isEmpty, names.insert(tensor.name).inserted else {
                throw Failure(.internalError, "\(path): tensor \(tensor.name)", "is declared twice or without a name")
            }
            // A file is far below this bound, which leaves room for padding.
            guard byteCount <= 1 << 60, total <= 1 << 60 else {
                throw Failure(.internalError, "\(path): tensor \(tensor.name)", "is too large to be stored")
            }
            total += byteCount
            result.append((tensor, byteCount))
        }
        return result
    }
}
