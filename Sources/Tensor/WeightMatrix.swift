// A packed weight matrix, int8 or float32: immutable, mapped from a bundle or made at run time (an image's memory).
//
// Invariant: the storage is as large as `packedSize` says and is not written after `init`, so sharing it is safe.

internal import CKernels
public import Diagnostics

/// The weights of y = W x, packed for the kernels (layout: docs/FORMAT.md).
@safe public final class WeightMatrix: @unchecked Sendable {
    /// The arithmetic that the weights are stored for.
    public let precision: Precision
    /// Output features N.
    public let rows: Int
    /// Input features K.
    public let columns: Int

    let int8: mk_weights_i8
    let float32: mk_weights_f32
    /// Keeps the mapping or the allocations alive.
    private let owners: [AnyObject]

    /// Values in the packed form of a matrix: int8 in panels of 16 rows and groups of 4 columns, float32 in panels of 16 rows.
    public static func packedCount(_ precision: Precision, rows: Int, columns: Int) -> Int {
        let panels = (rows + 15) / 16
        return precision == .int8 ? panels * 16 * ((columns + 3) / 4 * 4) : panels * 16 * columns
    }

    /// Rows rounded up to whole panels: how many scales an int8 matrix has.
    public static func paddedRows(_ rows: Int) -> Int { (rows + 15) / 16 * 16 }

    /// The largest K for which sums of u8 × s8 products stay inside int32.
    public static let largestColumns = 66_000

    /// Weights that stand packed in a mapped file.
    ///
    /// - Parameters:
    ///   - values: offset of the packed values in the file, a multiple of 64.
    ///   - scales: offset of the scales (int8 only), a multiple of 4.
    /// - Throws: `model_invalid` when the file is too short, misaligned or the shape is out of range.
    public init(
        mapping: MappedFile, name: String, precision: Precision, rows: Int, columns: Int, values: Int, scales: Int
    ) throws(Failure) {
        try WeightMatrix.check(name, rows: rows, columns: columns)
        let bytes = WeightMatrix.packedCount(precision, rows: rows, columns: columns) * (precision == .int8 ? 1 : 4)
        let scaleBytes = precision == .int8 ? WeightMatrix.paddedRows(rows) * 4 : 0
        guard values >= 0, values % 64 == 0, values <= mapping.count, bytes <= mapping.count - values, scales >= 0,
            scales % 4 == 0, scales <= mapping.count, scaleBytes <= mapping.count - scales
        else {
            throw Failure(.modelInvalid, "\(mapping.path): tensor \(name)", "lies outside the file or is misaligned")
        }
        let base = unsafe mapping.base
        self.precision = precision
        self.rows = rows
        self.columns = columns
        unsafe int8 = mk_weights_i8(
            data: precision == .int8 ? (base + values).assumingMemoryBound(to: Int8.self) : nil,
            scales: precision == .int8 ? (base + scales).assumingMemoryBound(to: Float.self) : nil,
            rows: Int32(rows), columns: Int32(columns))
        unsafe float32 = mk_weights_f32(
            data: precision == .float32 ? (base + values).assumingMemoryBound(to: Float.self) : nil, rows: Int32(rows),
            columns: Int32(columns))
        owners = [mapping]
    }

    /// Packs a row-major float32 matrix, quantising each row symmetrically for int8 (`mk_quantize_weight_row`).
    ///
    /// - Parameter values: [rows, columns]
    /// - Throws: `model_invalid` when the count or the shape is wrong.
    public init(name: String, precision: Precision, rows: Int, columns: Int, values: Span<Float>) throws(Failure) {
        try WeightMatrix.check(name, rows: rows, columns: columns)
        guard values.count == rows * columns else {
            throw Failure(
                .modelInvalid, "tensor \(name)",
                "has \(values.count) values where [\(rows), \(columns)] needs \(rows * columns)")
        }
        self.precision = precision
        self.rows = rows
        self.columns = columns
        let packed = PackedWeights(precision: precision, rows: rows, columns: columns, values: values)
        unsafe int8 = mk_weights_i8(
            data: packed.int8.base, scales: packed.scales.base, rows: Int32(rows), columns: Int32(columns))
        unsafe float32 = mk_weights_f32(data: packed.float32.base, rows: Int32(rows), columns: Int32(columns))
        owners = [packed.int8, packed.scales, packed.float32]
    }

    /// int8 weights that are packed already.
    ///
    /// - Throws: `model_invalid` when the shape is out of range or the storage too short.
    init(
        int8 values: AlignedStorage<Int8>, scales: AlignedStorage<Float>, rows: Int, columns: Int
    ) throws(Failure) {
        try WeightMatrix.check("packed", rows: rows, columns: columns)
        guard values.count >= WeightMatrix.packedCount(.int8, rows: rows, columns: columns),
            scales.count >= WeightMatrix.paddedRows(rows)
        else { throw Failure(.modelInvalid, "tensor packed", "is shorter than its shape") }
        precision = .int8
        self.rows = rows
        self.columns = columns
        unsafe int8 = mk_weights_i8(
            data: values.base, scales: scales.base, rows: Int32(rows), columns: Int32(columns))
        unsafe float32 = mk_weights_f32(data: nil, rows: Int32(rows), columns: Int32(columns))
        owners = [values, scales]
    }

    private static func check(_ name: String, rows: Int, columns: Int) throws(Failure) {
        guard rows > 0, rows <= 1 << 24, columns > 0, columns <= largestColumns else {
            throw Failure(
                .modelInvalid, "tensor \(name)", "has the shape [\(rows), \(columns)]",
                hint: "Up to \(1 << 24) rows and \(largestColumns) columns are supported.")
        }
    }
}

/// A matrix in packed form, ready to be written to a bundle or used at once.
public struct PackedWeights {
    /// int8 values, panels of 16 rows, groups of 4 columns. [ceil(rows / 16), ceil(columns / 4), 16, 4]; empty for float32.
    public let int8: AlignedStorage<Int8>
    /// One scale a row. [ceil(rows / 16) · 16]; empty for float32.
    public let scales: AlignedStorage<Float>
    /// float32 values, panels of 16 rows. [ceil(rows / 16), columns, 16]; empty for int8.
    public let float32: AlignedStorage<Float>

    /// Packs `values` ([rows, columns], row-major).
    public init(precision: Precision, rows: Int, columns: Int, values: Span<Float>) {
        let count = WeightMatrix.packedCount(precision, rows: rows, columns: columns)
        int8 = AlignedStorage(count: precision == .int8 ? count : 0)
        scales = AlignedStorage(count: precision == .int8 ? WeightMatrix.paddedRows(rows) : 0)
        float32 = AlignedStorage(count: precision == .float32 ? count : 0)
        let quantised = AlignedStorage<Int8>(count: precision == .int8 ? 16 * columns : 0)
        unsafe values.withUnsafeBufferPointer { buffer in
            guard let source = buffer.baseAddress else { return }
            for first in stride(from: 0, to: rows, by: 16) {
                let lines = min(16, rows - first)
                if precision == .int8 {
                    for line in 0..<lines {
                        unsafe scales.base[first + line] = mk_quantize_weight_row(
                            source + (first + line) * columns, Int32(columns), quantised.base + line * columns)
                    }
                    unsafe mk_pack_panel_i8(
                        quantised.base, Int32(lines), Int32(columns), int8.base + first * ((columns + 3) / 4 * 4))
                } else {
                    unsafe mk_pack_panel_f32(
                        source + first * columns, Int32(lines), Int32(columns), float32.base + first * columns)
                }
            }
        }
    }
}
