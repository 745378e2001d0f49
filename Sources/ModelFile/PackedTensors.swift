// Packed weights in our own GGUF files: `NAME.weight` holds the panels, `NAME.scale` the int8 scales (docs/FORMAT.md).
//
// Invariant: scales, vectors, depthwise kernels and what stays float32 in every bundle are numbers, and scales are above 0. The
// panels of large matrices are mapped unread; any int8 is a number, and what comes of float32 panels is seen when they are used.

public import Diagnostics
public import Tensor

extension GGUFFile {
    /// The packed matrix `name`, mapped where it stands.
    ///
    /// - Throws: `model_invalid` when a tensor is missing, has another type or another shape than [rows, columns] gives, or a scale is
    ///   no number above 0.
    public func packedMatrix(_ name: String, precision: Precision, rows: Int, columns: Int) throws(Failure)
        -> WeightMatrix
    {
        let panels = (rows + 15) / 16
        let values = try required(
            "\(name).weight", precision == .int8 ? .int8 : .float32,
            precision == .int8 ? [panels, (columns + 3) / 4, 16, 4] : [panels, columns, 16])
        let scales = precision == .int8 ? try self.scales("\(name).scale", rows: rows).offset : 0
        return try WeightMatrix(
            mapping: mapping, name: name, precision: precision, rows: rows, columns: columns,
            values: values.offset,
            scales: scales)
    }

    /// The packed matrix `name` that is float32 in every bundle, mapped where it stands.
    ///
    /// - Throws: `model_invalid` as for `packedMatrix`, and when a value is not finite.
    public func exactMatrix(_ name: String, rows: Int, columns: Int) throws(Failure) -> WeightMatrix {
        let matrix = try packedMatrix(name, precision: .float32, rows: rows, columns: columns)
        try require("holds a value that is not finite", tensor(named: "\(name).weight")) { _, value in value.isFinite }
        return matrix
    }

    /// The depthwise kernel `name`, mapped where it stands.
    ///
    /// - Throws: `model_invalid` as for `exactMatrix`.
    public func depthwiseWeights(_ name: String, channels: Int, kernel: Int) throws(Failure) -> DepthwiseWeights {
        let values = try required("\(name).weight", .float32, [kernel * kernel, channels])
        try require("holds a value that is not finite", values) { _, value in value.isFinite }
        return try DepthwiseWeights(
            mapping: mapping, name: name, channels: channels, kernel: kernel, values: values.offset)
    }

    /// The float32 vector `name` of `count` values, copied.
    ///
    /// - Throws: `model_invalid` when it is missing, has another type or length, or a value is not finite.
    public func vector(_ name: String, count: Int) throws(Failure) -> AlignedStorage<Float> {
        AlignedStorage(try finiteFloats(name, count: count))
    }

    /// The same as an array.
    ///
    /// - Throws: as `vector`.
    public func finiteFloats(_ name: String, count: Int) throws(Failure) -> [Float] {
        let tensor = try required(name, .float32, [count])
        try require("holds a value that is not finite", tensor) { _, value in value.isFinite }
        return try floats(of: tensor)
    }

    /// The scales `name` of an int8 matrix. Those of the rows that only fill the last panel may be 0, as the packer leaves them.
    private func scales(_ name: String, rows: Int) throws(Failure) -> TensorEntry {
        let scales = try required(name, .float32, [WeightMatrix.paddedRows(rows)])
        try require("holds a scale that is no number above 0", scales) { index, scale in
            scale.isFinite && (scale > 0 || scale == 0 && index >= rows)
        }
        return scales
    }

    /// Holds every element of a float32 tensor against a rule, where it is mapped.
    private func require(
        _ fault: String, _ tensor: TensorEntry, _ rule: (_ index: Int, _ value: Float) -> Bool
    ) throws(Failure) {
        let stored = try bytes(of: tensor)
        for index in 0..<tensor.count where !rule(index, Float(bitPattern: stored.load(4 * index, as: UInt32.self))) {
            throw Failure(
                .modelInvalid, "\(path): tensor \(tensor.name)", fault, hint: "Copy or convert the model again.")
        }
    }

    /// The tensor `name`, which must have this type and shape.
    ///
    /// - Throws: `model_invalid` naming the tensor and what differs.
    public func required(_ name: String, _ type: ElementType, _ shape: [Int]) throws(Failure) -> TensorEntry {
        let tensor = try tensor(named: name)
        guard tensor.type == type, tensor.shape == shape else {
            throw Failure(
                .modelInvalid, "\(path): tensor \(name)",
                "is \(tensor.type.rawValue) \(tensor.shape) where \(type.rawValue) \(shape) is needed",
                hint: "Convert the model again with this version of memvp.")
        }
        return tensor
    }
}

extension GGUFFile {
    /// The arithmetic that a file of ours says its weights are stored for.
    ///
    /// - Throws: `model_invalid` when it does not say it or says something else.
    public func precision() throws(Failure) -> Precision {
        let name = try string("memvpd.precision")
        guard let precision = Precision(rawValue: name) else {
            throw Failure(.modelInvalid, "\(path): memvpd.precision", "is \(name)")
        }
        return precision
    }

    /// Checks that a file of ours is of the architecture `name`.
    ///
    /// - Throws: `model_unsupported` when it is another.
    public func requireArchitecture(_ name: String) throws(Failure) {
        let architecture = try string("general.architecture")
        guard architecture == name else {
            throw Failure(
                .modelUnsupported, path, "has the architecture \(architecture)",
                hint: "Convert it with `memvp convert` first.")
        }
    }
}
