// Reading tensors is the same for every container: a mapped file and a checked table.
//
// Failure modes: `model_missing` for a name that is not there, `model_unsupported` for an element type the accessor
// does not give, `internal_error` for rows or buffers that do not fit the shape (a caller's mistake).

public import Diagnostics
public import Tensor

/// A model file whose tensors can be read by name: GGUF, safetensors, PyTorch.
public protocol TensorContainer: Sendable {
    /// The file; tensors are read from it without copying it.
    var mapping: MappedFile { get }
    /// The tensors, each checked against the file.
    var tensors: TensorTable { get }
}

extension TensorContainer {
    /// The path the file was opened by.
    public var path: String { mapping.path }

    /// Whether the file has a tensor of that name.
    public func has(tensor name: String) -> Bool { tensors[name] != nil }

    /// The tensor of that name.
    ///
    /// - Throws: `model_missing` naming file and tensor.
    public func tensor(named name: String) throws(Failure) -> TensorEntry {
        guard let entry = tensors[name] else {
            throw Failure(
                .modelMissing, "\(path): tensor \(name)", "is not among the file's \(tensors.count) tensors",
                hint: "Check that this is the right model, or convert it again.")
        }
        return entry
    }

    /// A tensor's stored bytes, without a copy; valid while the container lives.
    ///
    /// - Throws: `model_unsupported` when the tensor is not stored in row-major order.
    @_lifetime(borrow self)
    public func bytes(of tensor: TensorEntry) throws(Failure) -> RawSpan {
        try check(0..<tensor.rows, of: tensor)
        guard tensor.strides == nil else {
            throw Failure(
                .modelUnsupported, "\(path): tensor \(tensor.name)", "has strides and no single run of bytes",
                hint: "Read it by floats(of:).")
        }
        return mapping.bytes.extracting(tensor.byteRange).living(with: self)
    }

    /// All elements of a floating-point or quantised tensor in row-major order.
    ///
    /// - Throws: `model_missing`, or as `read(_:rows:into:)`.
    public func floats(named name: String) throws(Failure) -> [Float] { try floats(of: tensor(named: name)) }

    /// All elements of a floating-point or quantised tensor in row-major order.
    ///
    /// - Throws: as `read(_:rows:into:)`.
    public func floats(of tensor: TensorEntry) throws(Failure) -> [Float] {
        try floats(of: tensor, rows: 0..<tensor.rows)
    }

    /// Some rows of a tensor [rows, columns]: what lets a caller stream a tensor larger than it wants to hold.
    ///
    /// - Throws: as `read(_:rows:into:)`.
    public func floats(of tensor: TensorEntry, rows: Range<Int>) throws(Failure) -> [Float] {
        try check(rows, of: tensor)
        var values = [Float](repeating: 0, count: rows.count * tensor.columns)
        var span = values.mutableSpan
        try read(tensor, rows: rows, into: &span)
        return values
    }

    /// Decodes rows of a tensor into a buffer of exactly `rows.count × columns` elements that the caller reuses.
    ///
    /// - Throws: `model_unsupported` naming an integer type; `internal_error` when rows, buffer or tensor do not belong.
    public func read(_ tensor: TensorEntry, rows: Range<Int>, into output: inout MutableSpan<Float>) throws(Failure) {
        try check(rows, of: tensor)
        guard tensor.type.isFloatingPoint else {
            throw Failure(
                .modelUnsupported, "\(path): tensor \(tensor.name)", "holds \(tensor.type.rawValue), not floats")
        }
        guard output.count == rows.count * tensor.columns else {
            throw Failure(
                .internalError, "\(path): tensor \(tensor.name)", "was given a buffer of \(output.count) elements")
        }
        let stored = mapping.bytes.extracting(tensor.byteRange)
        if let strides = tensor.strides {
            let gathered = StridedCopy.gather(tensor, strides, stored, rows)
            ElementDecoding.decode(tensor.type, RawSpan(_elements: gathered.span), into: &output)
        } else {
            let rowBytes = tensor.columns / tensor.type.blockElements * tensor.type.blockBytes
            let range = rows.lowerBound * rowBytes..<rows.upperBound * rowBytes
            ElementDecoding.decode(tensor.type, stored.extracting(range), into: &output)
        }
    }

    /// All elements of an integer tensor in row-major order.
    ///
    /// - Throws: `model_unsupported` naming a floating-point type; `internal_error` for a tensor of another file.
    public func integers(of tensor: TensorEntry) throws(Failure) -> [Int] {
        try check(0..<tensor.rows, of: tensor)
        guard !tensor.type.isFloatingPoint else {
            throw Failure(
                .modelUnsupported, "\(path): tensor \(tensor.name)", "holds \(tensor.type.rawValue), not integers")
        }
        let stored = mapping.bytes.extracting(tensor.byteRange)
        guard let strides = tensor.strides else { return ElementDecoding.integers(tensor.type, stored) }
        let gathered = StridedCopy.gather(tensor, strides, stored, 0..<tensor.rows)
        return ElementDecoding.integers(tensor.type, RawSpan(_elements: gathered.span))
    }

    /// An entry is of this file, and rows are its own: entries of another file would point outside this mapping.
    private func check(_ rows: Range<Int>, of tensor: TensorEntry) throws(Failure) {
        guard tensors[tensor.name] == tensor else {
            throw Failure(.internalError, "\(path): tensor \(tensor.name)", "is not the entry of this file")
        }
        guard rows.lowerBound >= 0, rows.upperBound <= tensor.rows else {
            throw Failure(
                .internalError, "\(path): tensor \(tensor.name)", "has \(tensor.rows) rows; \(rows) were asked for")
        }
    }
}
