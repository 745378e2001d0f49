// Packed weights in our own GGUF files: `NAME.weight` holds the panels, `NAME.scale` the int8 scales (docs/FORMAT.md).

public import Diagnostics
public import Tensor

extension GGUFFile {
    /// The packed matrix `name`, mapped where it stands.
    ///
    /// - Throws: `model_invalid` when a tensor is missing, has another type or another shape than [rows, columns] gives.
    public func packedMatrix(_ name: String, precision: Precision, rows: Int, columns: Int) throws(Failure)
        -> WeightMatrix
    {
        let panels = (rows + 15) / 16
        let values = try required(
            "\(name).weight", precision == .int8 ? .int8 : .float32,
            precision == .int8 ? [panels, (columns + 3) / 4, 16, 4] : [panels, columns, 16])
        let scales =
            precision == .int8
            ? try required("\(name).scale", .float32, [WeightMatrix.paddedRows(rows)]).offset : 0
        return try WeightMatrix(
            mapping: mapping, name: name, precision: precision, rows: rows, columns: columns,
            values: values.offset,
            scales: scales)
    }

    /// The depthwise kernel `name`, mapped where it stands.
    ///
    /// - Throws: `model_invalid` as for `packedMatrix`.
    public func depthwiseWeights(_ name: String, channels: Int, kernel: Int) throws(Failure) -> DepthwiseWeights {
        let values = try required("\(name).weight", .float32, [kernel * kernel, channels])
        return try DepthwiseWeights(
            mapping: mapping, name: name, channels: channels, kernel: kernel, values: values.offset)
    }

    /// The float32 vector `name` of `count` values, copied.
    ///
    /// - Throws: `model_invalid` when it is missing or has another type or length.
    public func vector(_ name: String, count: Int) throws(Failure) -> AlignedStorage<Float> {
        AlignedStorage(try floats(of: required(name, .float32, [count])))
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
