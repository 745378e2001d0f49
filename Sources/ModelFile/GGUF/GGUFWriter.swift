// Writes GGUF version 3: metadata and tensor declarations first, then the tensors' data in that order.
//
// Invariants: the same calls give the same bytes; memory is bounded by the metadata and one piece of a tensor; the file
// appears whole under its name in `finish` or not at all.

public import Diagnostics

/// A GGUF file being written.
///
///     let writer = try GGUFWriter(path: path, metadata: metadata, tensors: declarations, alignment: 64)
///     for tensor in … { try writer.write(values.span) }
///     try writer.finish()
public final class GGUFWriter {
    private var stream: TensorStream

    /// Begins a file; nothing stands at `path` before `finish`.
    ///
    /// - Parameters:
    ///   - metadata: keys and values in the order to write them; `general.alignment` is written by this type where
    ///     it is not the format's default of 32.
    ///   - tensors: F32, F16, BF16, Q8_0, Q4_0, Q4_1, I8 or I32; at most 4 dimensions; names below 64 bytes, which is
    ///     what ggml reads.
    ///   - alignment: what tensor offsets are multiples of, a power of two from 8 up.
    /// - Throws: `internal_error` for declarations that GGUF cannot hold; `cannot_create`, `permission_denied`,
    ///   `no_space`, `input_output`.
    public init(
        path: String, metadata: some Sequence<(String, GGUFValue)>, tensors: [TensorDeclaration], alignment: Int = 32
    ) throws(Failure) {
        guard alignment >= 8, alignment.nonzeroBitCount == 1, alignment <= 1 << 20 else {
            throw Failure(.internalError, path, "cannot be aligned to \(alignment)")
        }
        var keys: [(String, GGUFValue)] = metadata.filter { $0.0 != "general.alignment" }
        if alignment != 32 { keys.append(("general.alignment", .uint32(UInt32(alignment)))) }
        let sized = try TensorStream.sizes(tensors, path: path)
        let header = try GGUFWriter.header(path, keys, sized, alignment)
        stream = try TensorStream(path: path, header: header, alignment: alignment, tensors: sized)
    }

    /// Appends stored bytes to the tensor whose turn it is; tensors may come in pieces.
    ///
    /// - Throws: `internal_error` when a tensor gets more than it declared; `no_space`, `input_output`.
    public func write(_ bytes: RawSpan) throws(Failure) { try stream.write(bytes) }

    /// Appends integers: I8, I32, or the raw bytes of a quantised tensor.
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

    private static func header(
        _ path: String, _ keys: [(String, GGUFValue)],
        _ tensors: [(declaration: TensorDeclaration, byteCount: Int)], _ alignment: Int
    ) throws(Failure) -> [UInt8] {
        var encoder = GGUFEncoder()
        encoder.append(GGUFContents.magic)
        encoder.append(3 as UInt32)
        encoder.append(UInt64(tensors.count))
        encoder.append(UInt64(keys.count))
        var seen: Set<String> = []
        for (key, value) in keys {
            guard !key.isEmpty, key.utf8.count < 1 << 16, seen.insert(key).inserted else {
                throw Failure(.internalError, "\(path): metadata \(key)", "is there twice or without a name")
            }
            encoder.append(text: key)
            encoder.append(value)
        }
        var offset = 0
        for (tensor, byteCount) in tensors {
            guard let number = GGUFTensorType.number(tensor.type), tensor.shape.count <= 4, tensor.name.utf8.count < 64
            else {
                throw Failure(
                    .internalError, "\(path): tensor \(tensor.name)",
                    "of type \(tensor.type.rawValue) and shape \(tensor.shape) cannot be stored in GGUF")
            }
            encoder.append(text: tensor.name)
            encoder.append(UInt32(tensor.shape.count))
            for dimension in tensor.shape.reversed() { encoder.append(UInt64(dimension)) }
            encoder.append(number)
            encoder.append(UInt64(offset))
            offset += (byteCount + alignment - 1) / alignment * alignment
        }
        return encoder.bytes
    }
}
