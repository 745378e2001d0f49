// Weights for gradients: the same integers as serving multiplies by, transposed.
//
// With y = x Wᵀ and W[n][k] = scale[n] q[n][k], the gradient is dx[k] = Σₙ (dy[n] scale[n]) q[n][k]: the scales belong to
// what is multiplied, and qᵀ is an int8 matrix whose own scales are 1. So gradients run on serving's kernels.

internal import CKernels
public import Diagnostics

/// Wᵀ of frozen weights W. [columns, rows]
@safe public final class TransposedWeights: Sendable {
    /// Wᵀ without W's scales (int8), or whole (float32).
    public let matrix: WeightMatrix
    /// W's scales, one a column of Wᵀ; nil where the matrix holds them.
    let scales: AlignedStorageBox?

    /// Transposes `weights`, keeping its arithmetic or turning it into float32 (the reference).
    ///
    /// - Throws: `model_unsupported` where W has more rows than a product may sum over.
    public init(_ weights: WeightMatrix, precision: Precision? = nil) throws(Failure) {
        let target = precision ?? weights.precision
        guard weights.rows <= WeightMatrix.largestColumns else {
            throw Failure(
                .modelUnsupported, "a matrix of \(weights.rows) rows", "cannot be transposed for training",
                hint: "Up to \(WeightMatrix.largestColumns) rows are supported.")
        }
        guard target == .float32 || weights.precision == .int8 else {
            throw Failure(.modelUnsupported, "float32 weights", "have no integers to transpose")
        }
        if target == .int8 {
            matrix = try TransposedWeights.integers(of: weights)
            scales = AlignedStorageBox(weights.scaleArray())
        } else {
            var values = [Float](repeating: 0, count: weights.rows * weights.columns)
            for row in 0..<weights.rows {
                let line = weights.array(row: row)
                for column in 0..<weights.columns { values[column * weights.rows + row] = line[column] }
            }
            matrix = try WeightMatrix(
                name: "transposed", precision: .float32, rows: weights.columns, columns: weights.rows,
                values: values.span)
            scales = nil
        }
    }

    private static func integers(of weights: WeightMatrix) throws(Failure) -> WeightMatrix {
        let (rows, columns) = (weights.columns, weights.rows)
        let packed = AlignedStorage<Int8>(count: WeightMatrix.packedCount(.int8, rows: rows, columns: columns))
        let panel = AlignedStorage<Int8>(count: 16 * columns)
        let groups = (weights.columns + 3) / 4
        let stride = (columns + 3) / 4 * 64
        for first in Swift.stride(from: 0, to: rows, by: 16) {
            let lines = min(16, rows - first)
            for line in 0..<lines {
                let k = first + line
                for n in 0..<columns {
                    unsafe panel.base[line * columns + n] =
                        weights.int8.data[((n / 16 * groups + k / 4) * 16 + n % 16) * 4 + k % 4]
                }
            }
            unsafe mk_pack_panel_i8(
                panel.base, Int32(lines), Int32(columns), packed.base + first / 16 * stride)
        }
        let ones = [Float](repeating: 1, count: WeightMatrix.paddedRows(rows))
        return try WeightMatrix(int8: packed, scales: AlignedStorage(ones), rows: rows, columns: columns)
    }
}

/// Floats that are written before they are shared and never after.
@safe final class AlignedStorageBox: @unchecked Sendable {
    private let storage: AlignedStorage<Float>
    var base: UnsafeMutablePointer<Float> { unsafe storage.base }

    init(_ values: [Float]) { storage = AlignedStorage(values) }
}

extension WeightMatrix {
    /// The scales of int8 weights. [paddedRows]
    func scaleArray() -> [Float] {
        (0..<WeightMatrix.paddedRows(rows)).map { unsafe int8.scales[$0] }
    }

    /// Row `row` in float32. [columns]
    public func array(row: Int) -> [Float] {
        precondition(row >= 0 && row < rows)
        let groups = (columns + 3) / 4
        return (0..<columns).map { k in
            switch precision {
            case .int8:
                let value = unsafe int8.data[((row / 16 * groups + k / 4) * 16 + row % 16) * 4 + k % 4]
                return unsafe Float(value) * int8.scales[row]
            case .float32: return unsafe float32.data[(row / 16 * columns + k) * 16 + row % 16]
            }
        }
    }
}
