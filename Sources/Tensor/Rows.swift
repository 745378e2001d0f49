// Activations: rows of float32 values (a row is a token or a pixel) and their int8 form.
//
// Invariant: `capacity` rows of `stride` values; a kernel call names how many rows it uses, and that number is checked
// against the capacity before C sees a pointer.

internal import CKernels

/// Rows of float32 activations.
@safe public final class FloatRows {
    /// How many rows there is room for.
    public let capacity: Int
    /// Values in a row.
    public let columns: Int
    /// Distance between rows, in values; a multiple of 16, zero beyond `columns` unless a kernel wrote whole panels.
    public let stride: Int
    /// The values. [capacity, stride]
    public let storage: AlignedStorage<Float>

    /// Room for `capacity` rows of `columns` values.
    public init(capacity: Int, columns: Int) {
        self.capacity = max(1, capacity)
        self.columns = columns
        stride = (columns + 15) / 16 * 16
        storage = AlignedStorage(count: self.capacity * stride)
    }

    /// The same storage seen with another shape: a convolutional encoder's layers take turns in few buffers.
    public init(capacity: Int, columns: Int, sharing storage: AlignedStorage<Float>) {
        self.capacity = capacity
        self.columns = columns
        stride = (columns + 15) / 16 * 16
        precondition(capacity * stride <= storage.count)
        self.storage = storage
    }

    /// Row `index`, to read. [columns]
    @_lifetime(borrow self)
    public func row(_ index: Int) -> Span<Float> {
        precondition(index >= 0 && index < capacity)
        let span = unsafe Span(_unsafeStart: UnsafePointer(pointer(row: index)), count: columns)
        return unsafe _overrideLifetime(span, borrowing: self)
    }

    /// Writes row `index` from `values`, which has `columns` values.
    public func setRow(_ index: Int, _ values: Span<Float>) {
        storage.withMutableSpan { span in
            for column in 0..<columns { span[index * stride + column] = values[column] }
        }
    }

    /// Row `index` as an array, for tests, traces and the rare path.
    public func array(row index: Int) -> [Float] {
        let values = row(index)
        return values.indices.map { values[$0] }
    }

    var pointer: UnsafeMutablePointer<Float> { unsafe storage.base }

    func pointer(row: Int) -> UnsafeMutablePointer<Float> { unsafe storage.base + row * stride }
}

/// The input of matrix products: float32 rows and, for int8 weights, their quantised form (one scale a row).
///
/// Several products with the same input (query, key and value; gate, up and memory keys) share one quantisation.
@safe public final class ProductInput {
    /// Which arithmetic the products use.
    public let precision: Precision
    /// How many rows there is room for.
    public let capacity: Int
    /// Values in a row.
    public let columns: Int

    /// int8 rows a row of input is stored as: with 2, what rounding left of the first stands in the second, so the input
    /// has about 15 bits where its outliers would drown the rest in 7.
    public let planes: Int

    private let values: AlignedStorage<Int8>
    private let scales: AlignedStorage<Float>
    private let sums: AlignedStorage<Int32>
    private let stride: Int
    /// The float32 rows last loaded.
    private(set) var source: FloatRows?
    /// Rows loaded.
    private(set) var rows = 0

    /// Room for `capacity` rows of `columns` values.
    ///
    /// - Parameter planes: of int8 rows, 1 or 2; float32 rows have one.
    public init(precision: Precision, capacity: Int, columns: Int, planes: Int = 1) {
        self.planes = precision == .int8 ? planes : 1
        self.precision = precision
        self.capacity = max(1, capacity)
        self.columns = columns
        stride = (columns + 63) / 64 * 64
        let quantised = precision == .int8 ? self.capacity * self.planes : 0
        values = AlignedStorage(count: quantised * stride)
        scales = AlignedStorage(count: quantised)
        sums = AlignedStorage(count: quantised)
    }

    /// The kernels' view of the quantised rows.
    func quantised() -> mk_activations_i8 {
        unsafe mk_activations_i8(
            values: values.base, scales: scales.base, sums: sums.base, columns: Int32(columns), stride: Int32(stride))
    }

    func loaded(_ rows: Int, from source: FloatRows?) {
        self.rows = rows
        self.source = source
    }
}

/// The arithmetic of a bundle's weights.
public enum Precision: String, Sendable, Equatable, CaseIterable {
    /// int8 weights and activations, int32 sums.
    case int8
    /// float32 throughout: the reference.
    case float32 = "f32"
}
