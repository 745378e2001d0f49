// Packed weights back in rows: what an export to other programs' files reads (docs/FORMAT.md has the layout).
//
// Failure modes: those of `required(_:_:_:)`. Sizes are those of tensors that stand in the file, so nothing is allocated
// beyond a small multiple of it.

public import Diagnostics
internal import Tensor

extension GGUFFile {
    /// The int8 values [rows, columns] of the packed matrix `name`, row-major, and one scale a row.
    ///
    /// - Throws: `model_invalid` when a tensor has another type or shape, `model_missing` when it is not there.
    public func unpackedIntegers(
        _ name: String, rows: Int, columns: Int
    ) throws(Failure) -> (values: [Int8], scales: [Float]) {
        let groups = (columns + 3) / 4
        let weight = try required("\(name).weight", .int8, [(rows + 15) / 16, groups, 16, 4])
        let scales = try floats(of: required("\(name).scale", .float32, [WeightMatrix.paddedRows(rows)]))
        let packed = try bytes(of: weight)
        var values = [Int8](repeating: 0, count: rows * columns)
        for row in 0..<rows {
            let start = (row / 16 * groups * 16 + row % 16) * 4
            for column in 0..<columns {
                values[row * columns + column] = packed.load(start + column / 4 * 64 + column % 4, as: Int8.self)
            }
        }
        return (values, Array(scales.prefix(rows)))
    }

    /// The float32 values [rows, columns] of the packed matrix `name`, row-major.
    ///
    /// - Throws: as `unpackedIntegers(_:rows:columns:)`.
    public func unpackedFloats(_ name: String, rows: Int, columns: Int) throws(Failure) -> [Float] {
        let packed = try floats(of: required("\(name).weight", .float32, [(rows + 15) / 16, columns, 16]))
        var values = [Float](repeating: 0, count: rows * columns)
        for row in 0..<rows {
            for column in 0..<columns {
                values[row * columns + column] = packed[(row / 16 * columns + column) * 16 + row % 16]
            }
        }
        return values
    }
}
