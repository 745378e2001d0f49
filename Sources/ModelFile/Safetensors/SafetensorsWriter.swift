// Writes safetensors files: the header first, then the tensors' data in the declared order.
//
// Invariants: the same calls give the same bytes; one piece of a tensor is held at a time; the file appears whole under its
// name in `finish` or not at all.

public import Diagnostics

/// A safetensors file being written.
public final class SafetensorsWriter {
    private var stream: TensorStream

    /// Begins a file; nothing stands at `path` before `finish`.
    ///
    /// - Parameter tensors: any element type but the quantised ones; names other than `__metadata__`.
    /// - Throws: `internal_error` for declarations that the format cannot hold; `cannot_create`, `permission_denied`,
    ///   `no_space`, `input_output`.
    public init(path: String, metadata: [String: String] = [:], tensors: [TensorDeclaration]) throws(Failure) {
        let sized = try TensorStream.sizes(tensors, path: path)
        for tensor in tensors
        where !SafetensorsContents.types.contains(tensor.type) || tensor.name == "__metadata__" {
            throw Failure(
                .internalError, "\(path): tensor \(tensor.name)",
                "of type \(tensor.type.rawValue) cannot be stored in safetensors")
        }
        var members: [String] = []
        if !metadata.isEmpty {
            let pairs = metadata.sorted { $0.key < $1.key }
                .map { "\(SafetensorsWriter.quote($0.key)):\(SafetensorsWriter.quote($0.value))" }
            members.append("\"__metadata__\":{\(pairs.joined(separator: ","))}")
        }
        var offset = 0
        for (tensor, byteCount) in sized {
            let shape = tensor.shape.map(String.init).joined(separator: ",")
            members.append(
                "\(SafetensorsWriter.quote(tensor.name)):{\"dtype\":\"\(tensor.type.rawValue)\",\"shape\":[\(shape)],"
                    + "\"data_offsets\":[\(offset),\(offset + byteCount)]}")
            offset += byteCount
        }
        var header = Array("{\(members.joined(separator: ","))}".utf8)
        // Spaces bring the data to a multiple of eight bytes, as the reference implementation does.
        header.append(contentsOf: [UInt8](repeating: 0x20, count: (8 - header.count % 8) % 8))
        let length = (0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) }
        stream = try TensorStream(path: path, header: length + header, alignment: 1, tensors: sized)
    }

    /// Appends stored bytes to the tensor whose turn it is; tensors may come in pieces.
    ///
    /// - Throws: `internal_error` when a tensor gets more than it declared; `no_space`, `input_output`.
    public func write(_ bytes: RawSpan) throws(Failure) { try stream.write(bytes) }

    /// Appends integers to a tensor of integers of that size.
    ///
    /// - Throws: as `write(_:)` for bytes; `internal_error` when the tensor's elements are of another size.
    public func write<T: FixedWidthInteger & BitwiseCopyable>(_ values: Span<T>) throws(Failure) {
        try stream.write(values)
    }

    /// Appends floats to an F32 tensor, or rounded to nearest even to an F16 tensor.
    ///
    /// - Throws: as `write(_:)` for bytes; `internal_error` when the tensor is of another type.
    public func write(_ values: Span<Float>) throws(Failure) { try stream.write(values) }

    /// Puts the file in place, durable. A writer that is dropped without this leaves nothing behind.
    ///
    /// - Throws: `internal_error` when a declared tensor is not complete; `no_space`, `input_output`.
    public func finish() throws(Failure) { try stream.finish() }

    private static func quote(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case "\u{0}"..<"\u{20}":
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
