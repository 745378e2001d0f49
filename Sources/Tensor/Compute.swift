// Kernel calls: the one door between Swift and CKernels for whole operations.
//
// Invariant: a `Compute` is used by one thread at a time (it owns the pool's single job slot); shapes are checked here,
// once a call, before a pointer is passed on. A wrong shape is a fault of our own code, hence `precondition`.

internal import CKernels
public import Diagnostics
import Glibc

/// A pool of threads with the kernels they run.
@safe public final class Compute {
    /// The kernel path.
    public let kernels: Kernels
    /// Threads, the caller's included.
    public let threads: Int

    let pool: OpaquePointer
    var table: UnsafePointer<mk_table> { unsafe kernels.table }

    /// Makes `threads` threads (the caller's included).
    ///
    /// - Throws: `unavailable` when the system gives no threads.
    public init(kernels: Kernels, threads: Int) throws(Failure) {
        guard let pool = unsafe mk_pool_create(Int32(max(1, min(threads, 256)))) else {
            throw Failure(.unavailable, "\(threads) compute threads", "cannot be made", hint: "Lower `threads`.")
        }
        self.kernels = kernels
        unsafe self.pool = pool
        self.threads = Int(unsafe mk_pool_threads(pool))
    }

    deinit { unsafe mk_pool_destroy(pool) }

    /// The CPUs that this process may run on (sched_getaffinity(2)).
    public static var allowedCPUs: Int { Int(mk_allowed_cpus()) }

    // MARK: Inputs of products

    /// Makes rows 0 ..< `rows` of `source` the input of the products that follow, quantising each row by its own scale.
    public func load(_ input: ProductInput, from source: FloatRows, rows: Int) {
        precondition(rows <= input.capacity && rows <= source.capacity && input.columns == source.columns)
        input.loaded(rows, from: source)
        guard input.precision == .int8 else { return }
        var out = unsafe input.quantised()
        let quantise = unsafe input.planes == 2 ? mk_run_quantize_planes : mk_run_quantize_rows
        unsafe quantise(pool, table, source.pointer, Int32(source.stride), Int32(rows), &out)
    }

    /// The same with one scale for all rows: the whole tensor of one image (DESIGN 1: never per batch).
    public func loadTensor(_ input: ProductInput, from source: FloatRows, rows: Int) {
        precondition(rows <= input.capacity && rows <= source.capacity && input.columns == source.columns)
        precondition(input.planes == 1)
        input.loaded(rows, from: source)
        guard input.precision == .int8 else { return }
        var out = unsafe input.quantised()
        _ = unsafe mk_run_quantize_tensor(pool, table, source.pointer, Int32(source.stride), Int32(rows), &out)
    }

    // MARK: Products

    /// What happens to each result of a product.
    public struct Epilogue {
        /// Added to each output feature. [N]
        public var bias: AlignedStorage<Float>?
        /// The result is clamped into this range (ReLU6: 0 ... 6).
        public var clamp: ClosedRange<Float>?
        /// Added to what the output holds, instead of replacing it.
        public var accumulate: Bool

        /// An epilogue; by default the product itself.
        public init(bias: AlignedStorage<Float>? = nil, clamp: ClosedRange<Float>? = nil, accumulate: Bool = false) {
            self.bias = bias
            self.clamp = clamp
            self.accumulate = accumulate
        }
    }

    /// output[m] = input[m] Wᵀ for all loaded rows. input: [m, K], weights: [N, K], output: [m, N]
    public func multiply(
        _ input: ProductInput, _ weights: WeightMatrix, into output: FloatRows, epilogue: Epilogue = Epilogue()
    ) {
        precondition(
            weights.columns == input.columns && weights.rows <= output.columns && input.rows <= output.capacity)
        precondition(weights.precision == input.precision)
        precondition(epilogue.bias.map { $0.count >= weights.rows } ?? true)
        let tail = unsafe mk_epilogue(
            bias: epilogue.bias.map { unsafe UnsafePointer($0.base) },
            low: epilogue.clamp?.lowerBound ?? -.infinity, high: epilogue.clamp?.upperBound ?? .infinity,
            accumulate: epilogue.accumulate)
        switch weights.precision {
        case .int8:
            var quantised = unsafe input.quantised()
            var matrix = unsafe weights.int8
            let product = unsafe input.planes == 2 ? mk_run_matmul_planes_i8 : mk_run_matmul_i8
            unsafe product(
                pool, table, &quantised, Int32(input.rows), &matrix, output.pointer, Int32(output.stride), tail)
        case .float32:
            guard let source = input.source else { return }
            var matrix = unsafe weights.float32
            unsafe mk_run_matmul_f32(
                pool, table, source.pointer, Int32(source.stride), Int32(input.rows), &matrix, output.pointer,
                Int32(output.stride), tail)
        }
    }

    /// Row `row` of the weights as float32, into row `outputRow` of `output`: a token's embedding.
    public func row(_ row: Int, of weights: WeightMatrix, into output: FloatRows, outputRow: Int) {
        precondition(row >= 0 && row < weights.rows && weights.columns <= output.columns && outputRow < output.capacity)
        let target = unsafe output.pointer(row: outputRow)
        switch weights.precision {
        case .int8:
            var matrix = unsafe weights.int8
            unsafe table.pointee.row_i8(&matrix, Int32(row), target)
        case .float32:
            var matrix = unsafe weights.float32
            unsafe table.pointee.row_f32(&matrix, Int32(row), target)
        }
    }

    // MARK: Rows

    /// y = x / √(mean(x²) + ε) · weight (RMSNorm, arXiv 1910.07467). x, y: [rows, columns]
    public func rmsNorm(
        _ x: FloatRows, weight: AlignedStorage<Float>, epsilon: Float, rows: Int, into y: FloatRows
    ) {
        precondition(rows <= x.capacity && rows <= y.capacity && weight.count >= x.columns && y.columns == x.columns)
        unsafe mk_run_rms_norm(
            pool, table, x.pointer, Int32(x.stride), weight.base, Int32(x.columns), epsilon, Int32(rows), y.pointer,
            Int32(y.stride))
    }

    /// y[16 p + i] = SiLU(x[32 p + i]) · x[32 p + 16 + i]: SwiGLU over panels that alternate gate and up.
    /// x: [rows, 2 · hidden], y: [rows, hidden], hidden a multiple of 16
    public func swiGLU(_ x: FloatRows, rows: Int, into y: FloatRows) {
        precondition(rows <= x.capacity && rows <= y.capacity && y.columns % 16 == 0 && x.columns == 2 * y.columns)
        unsafe mk_run_swiglu(
            pool, table, x.pointer, Int32(x.stride), Int32(y.columns / 16), Int32(rows), y.pointer, Int32(y.stride))
    }

    /// SiLU(x) = x / (1 + e⁻ˣ) in place on rows 0 ..< `rows`.
    public func silu(_ x: FloatRows, rows: Int) {
        precondition(rows <= x.capacity)
        for row in 0..<rows { unsafe table.pointee.silu(x.pointer(row: row), x.columns) }
    }

    /// Copies row `from` of `x` to row `to` of `y` (same columns).
    public func copyRow(_ x: FloatRows, from: Int, to y: FloatRows, at to: Int) {
        precondition(from < x.capacity && to < y.capacity && x.columns == y.columns)
        unsafe y.pointer(row: to).update(from: x.pointer(row: from), count: x.columns)
    }

    /// The greedy choice of a row of logits, its logit, and log Σ exp over the row.
    public func greedy(_ logits: FloatRows, row: Int) -> (index: Int, logit: Float, logSumExp: Float) {
        precondition(row < logits.capacity)
        var index: Int32 = 0
        var maximum: Float = 0
        var logSumExp: Float = 0
        unsafe table.pointee.argmax_logsumexp(
            logits.pointer(row: row), Int32(logits.columns), &index, &maximum, &logSumExp)
        return (Int(index), maximum, logSumExp)
    }
}
