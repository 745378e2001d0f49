// The only unsafe file of these tests: storage with canaries, and each kernel as a method on Swift values.
//
// Invariants: every buffer is 64-byte aligned and fenced by canary bytes on both sides, which `isIntact` checks. Outputs are
// filled by the caller beforehand, so that what a kernel did not write can be told. Shapes are the tests' own and not
// checked again here.
import CKernels
import Glibc
import Synchronization
import Testing

/// A path of the dispatch table, whether or not this machine runs it.
enum Path: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case scalar, avx2, avx512vnni, neon

    var testDescription: String { rawValue }

    /// The paths that are judged by the scalar one.
    static let vector: [Path] = [.avx2, .avx512vnni, .neon]

    var identifier: mk_path {
        switch self {
        case .scalar: MK_SCALAR
        case .avx2: MK_AVX2
        case .avx512vnni: MK_AVX512VNNI
        case .neon: MK_NEON
        }
    }

    var isAvailable: Bool { unsafe mk_table_for(identifier) != nil }

    /// The path's kernels; where this machine lacks them the test is cancelled, which the run reports as skipped.
    func kernels() throws -> Kernels {
        guard let table = unsafe mk_table_for(identifier) else {
            try Test.cancel("SKIPPED: this machine does not run the kernel path \(rawValue)")
        }
        return unsafe Kernels(path: self, table: table)
    }

    static var best: Path? { allCases.first { $0.identifier == mk_best_path() } }
}

/// Fenced, aligned storage.
@safe final class Guarded<Element: BitwiseCopyable> {
    private static var fence: Int { 256 }
    private static var canary: UInt8 { 0xC5 }

    let count: Int
    private let base: UnsafeMutableRawPointer
    private var bytes: Int { count * MemoryLayout<Element>.stride }

    private init(count: Int) {
        self.count = count
        let total = count * MemoryLayout<Element>.stride + 2 * Self.fence
        unsafe base = .allocate(byteCount: total, alignment: 64)
        unsafe base.initializeMemory(as: UInt8.self, repeating: Self.canary, count: total)
    }

    convenience init(_ count: Int, filledWith value: Element) {
        self.init(count: count)
        unsafe pointer.update(repeating: value, count: count)
    }

    convenience init(_ values: [Element]) {
        self.init(count: values.count)
        unsafe values.withUnsafeBufferPointer { source in
            if let start = source.baseAddress { unsafe pointer.update(from: start, count: values.count) }
        }
    }

    deinit { unsafe base.deallocate() }

    var pointer: UnsafeMutablePointer<Element> {
        unsafe (base + Self.fence).assumingMemoryBound(to: Element.self)
    }

    subscript(index: Int) -> Element {
        get { unsafe pointer[index] }
        set { unsafe pointer[index] = newValue }
    }

    var values: [Element] { values(0..<count) }

    func values(_ range: Range<Int>) -> [Element] {
        unsafe Array(UnsafeBufferPointer(start: pointer + range.lowerBound, count: range.count))
    }

    /// Whether `length` elements from `start` have the same bytes as those of `other` from `otherStart`.
    func hasSameBytes(at start: Int = 0, as other: Guarded, from otherStart: Int = 0, count length: Int) -> Bool {
        unsafe memcmp(pointer + start, other.pointer + otherStart, length * MemoryLayout<Element>.stride) == 0
    }

    /// Whether every byte of `range` is `byte`: a sentinel that nothing touched.
    func holdsOnly(_ byte: UInt8, in range: Range<Int>) -> Bool {
        unsafe UnsafeRawBufferPointer(UnsafeBufferPointer(start: pointer + range.lowerBound, count: range.count))
            .allSatisfy { $0 == byte }
    }

    var isIntact: Bool {
        unsafe UnsafeRawBufferPointer(start: base, count: Self.fence).allSatisfy { $0 == Self.canary }
            && UnsafeRawBufferPointer(start: base + Self.fence + bytes, count: Self.fence)
                .allSatisfy { $0 == Self.canary }
    }
}

/// Packed int8 weights of random or given rows.
struct Weights8 {
    let rows: Int, columns: Int
    let data: Guarded<Int8>
    let scales: Guarded<Float>

    init(_ values: [Int8], rows: Int, columns: Int, scales: [Float]? = nil) {
        self.rows = rows
        self.columns = columns
        let panels = (rows + 15) / 16
        data = Guarded(mk_packed_size_i8(Int32(rows), Int32(columns)), filledWith: 0x55)
        self.scales = Guarded(panels * 16, filledWith: 0)
        for row in 0..<rows { self.scales[row] = scales?[row] ?? 0.01 }
        let panelSize = data.count / max(1, panels)
        let source = Guarded(values)
        for panel in 0..<panels {
            unsafe mk_pack_panel_i8(
                source.pointer + panel * 16 * columns, Int32(min(16, rows - panel * 16)), Int32(columns),
                data.pointer + panel * panelSize)
        }
    }

    var raw: mk_weights_i8 {
        unsafe mk_weights_i8(data: data.pointer, scales: scales.pointer, rows: Int32(rows), columns: Int32(columns))
    }

    func row(_ row: Int, _ kernels: Kernels) -> [Float] {
        let out = Guarded<Float>(columns, filledWith: .nan)
        var weights = unsafe raw
        unsafe kernels.table.pointee.row_i8(&weights, Int32(row), out.pointer)
        return out.values
    }
}

/// Packed float32 weights.
struct Weights32 {
    let rows: Int, columns: Int
    let data: Guarded<Float>

    init(_ values: [Float], rows: Int, columns: Int) {
        self.rows = rows
        self.columns = columns
        let panels = (rows + 15) / 16
        data = Guarded(mk_packed_size_f32(Int32(rows), Int32(columns)) / 4, filledWith: .nan)
        let source = Guarded(values)
        for panel in 0..<panels {
            unsafe mk_pack_panel_f32(
                source.pointer + panel * 16 * columns, Int32(min(16, rows - panel * 16)), Int32(columns),
                data.pointer + panel * 16 * columns)
        }
    }

    var raw: mk_weights_f32 {
        unsafe mk_weights_f32(data: data.pointer, rows: Int32(rows), columns: Int32(columns))
    }

    func row(_ row: Int, _ kernels: Kernels) -> [Float] {
        let out = Guarded<Float>(columns, filledWith: .nan)
        var weights = unsafe raw
        unsafe kernels.table.pointee.row_f32(&weights, Int32(row), out.pointer)
        return out.values
    }
}

/// int8 activations with scales and sums.
struct Activations8 {
    let rows: Int, columns: Int, stride: Int
    let values: Guarded<Int8>
    let scales: Guarded<Float>
    let sums: Guarded<Int32>

    /// Storage for a kernel to fill.
    init(rows: Int, columns: Int, isDense: Bool = false) {
        self.rows = rows
        self.columns = columns
        stride = isDense ? (columns + 15) / 16 * 16 : (columns + 63) / 64 * 64
        values = Guarded(rows * stride, filledWith: 0x55)
        scales = Guarded(rows, filledWith: .nan)
        sums = Guarded(rows, filledWith: 0x5555_5555)
    }

    init(_ source: [Int8], rows: Int, columns: Int, scale: Float = 0.02, isDense: Bool = false) {
        self.init(rows: rows, columns: columns, isDense: isDense)
        for row in 0..<rows {
            var sum: Int32 = 0
            for column in 0..<stride {
                let value = column < columns ? source[row * columns + column] : 0
                values[row * stride + column] = value
                sum += Int32(value)
            }
            sums[row] = sum
            scales[row] = scale * Float(row + 1)
        }
    }

    /// The activations from `row` on.
    func raw(from row: Int = 0) -> mk_activations_i8 {
        unsafe mk_activations_i8(
            values: values.pointer + row * stride, scales: scales.pointer + row, sums: sums.pointer + row,
            columns: Int32(columns), stride: Int32(stride))
    }

    var isIntact: Bool { values.isIntact && scales.isIntact && sums.isIntact }

    func hasSameBytes(as other: Activations8) -> Bool {
        values.hasSameBytes(as: other.values, count: values.count)
            && scales.hasSameBytes(as: other.scales, count: rows) && sums.hasSameBytes(as: other.sums, count: rows)
    }
}

/// What a product does with its results.
struct Epilogue {
    var bias: Guarded<Float>?
    var low = -Float.infinity
    var high = Float.infinity
    var accumulate = false

    var raw: mk_epilogue {
        unsafe mk_epilogue(bias: UnsafePointer(bias?.pointer), low: low, high: high, accumulate: accumulate)
    }
}

/// Keys, values and length of one sequence; rows of a batch point into these.
struct Past {
    let keys: Guarded<Float>
    let values: Guarded<Float>
}

/// Rows that see one memory, in both arithmetics.
struct MemoryGroup {
    let rows: Range<Int>
    let keys8: Weights8, values8: Weights8
    let keys32: Weights32, values32: Weights32

    var raw: mk_memory_group {
        unsafe mk_memory_group(
            keys_i8: keys8.raw, values_i8: values8.raw, keys_f32: keys32.raw, values_f32: values32.raw,
            begin: Int32(rows.lowerBound), end: Int32(rows.upperBound))
    }
}

/// The geometry of attention.
struct AttentionShape {
    var heads: Int, kvHeads: Int, headSize: Int
    var width: Int { heads * headSize }
    var kvWidth: Int { kvHeads * headSize }
    var scale: Float { 1 / Float(headSize).squareRoot() }
}

/// Depthwise convolution geometry with TensorFlow SAME padding.
struct DepthwiseShape: CustomTestStringConvertible {
    var height: Int, width: Int, channels: Int, kernel: Int, stride: Int
    var low: Float = 0
    var high: Float = 6

    var outHeight: Int { (height + stride - 1) / stride }
    var outWidth: Int { (width + stride - 1) / stride }
    var padTop: Int { max(0, (outHeight - 1) * stride + kernel - height) / 2 }
    var padLeft: Int { max(0, (outWidth - 1) * stride + kernel - width) / 2 }
    var testDescription: String { "\(height)x\(width)x\(channels) kernel \(kernel) stride \(stride)" }

    var raw: mk_depthwise {
        mk_depthwise(
            height: Int32(height), width: Int32(width), channels: Int32(channels), out_height: Int32(outHeight),
            out_width: Int32(outWidth), kernel: Int32(kernel), stride: Int32(stride), pad_top: Int32(padTop),
            pad_left: Int32(padLeft), low: low, high: high)
    }
}

/// A pool of kernel threads.
@safe final class Pool {
    fileprivate let raw: OpaquePointer

    init(threads: Int) throws {
        unsafe raw = try unsafe #require(mk_pool_create(Int32(threads)))
    }

    deinit { unsafe mk_pool_destroy(raw) }

    var threads: Int { Int(unsafe mk_pool_threads(raw)) }

    static func creationError(threads: Int) -> Int32? {
        guard let pool = unsafe mk_pool_create(Int32(threads)) else { return errno }
        unsafe mk_pool_destroy(pool)
        return nil
    }

    /// Counts a call of every chunk, one for each thread; a call with a wrong number counts into element `threads`.
    func countCalls(into counts: Guarded<Int64>) {
        unsafe mk_pool_run_chunks(
            raw, Int32(threads),
            { context, chunk in
                guard let counts = unsafe context?.assumingMemoryBound(to: Int64.self) else { return }
                unsafe counts[Int(chunk.index)] += 1
                if chunk.index >= chunk.count { unsafe counts[Int(chunk.count)] += 1 }
            }, counts.pointer)
    }

    /// Runs a job whose every chunk waits for all others: it ends only if each chunk has a thread of its own.
    /// - Returns: how many chunks met all others within ten seconds.
    func meet() -> Int {
        let meeting = Meeting()
        unsafe mk_pool_run_chunks(
            raw, Int32(threads),
            { context, chunk in
                guard let context = unsafe context else { return }
                unsafe Unmanaged<Meeting>.fromOpaque(context).takeUnretainedValue().join(parts: Int(chunk.count))
            }, Unmanaged.passUnretained(meeting).toOpaque())
        return meeting.met.load(ordering: .relaxed)
    }
}

private final class Meeting: Sendable {
    private let arrived = Atomic(0)
    let met = Atomic(0)

    func join(parts: Int) {
        arrived.add(1, ordering: .relaxed)
        let deadline = ContinuousClock.now + .seconds(10)
        while arrived.load(ordering: .relaxed) < parts {
            if ContinuousClock.now > deadline { return }
            sched_yield()
        }
        met.add(1, ordering: .relaxed)
    }
}

/// The kernels of one path, on Swift values.
@safe struct Kernels {
    let path: Path
    let table: UnsafePointer<mk_table>

    var name: String { unsafe String(cString: table.pointee.name) }

    // MARK: Matrix products

    func sums(
        _ x: Activations8, from row: Int = 0, rows m: Int, _ w: Weights8, panels: Range<Int>? = nil,
        into out: Guarded<Int32>, stride: Int
    ) {
        var activations = unsafe x.raw(from: row)
        var weights = unsafe w.raw
        let panels = panels ?? 0..<(w.rows + 15) / 16
        unsafe table.pointee.sums_i8(
            &activations, Int32(m), &weights, Int32(panels.lowerBound), Int32(panels.upperBound), out.pointer,
            Int32(stride))
    }

    func matmul(
        _ x: Activations8, from row: Int = 0, rows m: Int, _ w: Weights8, panels: Range<Int>? = nil,
        into out: Guarded<Float>, stride: Int, _ epilogue: Epilogue = Epilogue()
    ) {
        var activations = unsafe x.raw(from: row)
        var weights = unsafe w.raw
        let panels = panels ?? 0..<(w.rows + 15) / 16
        unsafe table.pointee.matmul_i8(
            &activations, Int32(m), &weights, Int32(panels.lowerBound), Int32(panels.upperBound), out.pointer,
            Int32(stride), epilogue.raw)
    }

    func matmul(
        _ x: Guarded<Float>, from row: Int = 0, rows m: Int, _ w: Weights32, panels: Range<Int>? = nil,
        into out: Guarded<Float>, stride: Int, _ epilogue: Epilogue = Epilogue()
    ) {
        var weights = unsafe w.raw
        let panels = panels ?? 0..<(w.rows + 15) / 16
        unsafe table.pointee.matmul_f32(
            x.pointer + row * w.columns, Int32(w.columns), Int32(m), &weights, Int32(panels.lowerBound),
            Int32(panels.upperBound), out.pointer, Int32(stride), epilogue.raw)
    }

    func runMatmul(
        _ pool: Pool?, _ x: Activations8, rows m: Int, _ w: Weights8, into out: Guarded<Float>, stride: Int,
        _ epilogue: Epilogue = Epilogue()
    ) {
        var activations = unsafe x.raw()
        var weights = unsafe w.raw
        unsafe mk_run_matmul_i8(
            pool?.raw, table, &activations, Int32(m), &weights, out.pointer, Int32(stride), epilogue.raw)
    }

    func runMatmul(
        _ pool: Pool?, _ x: Guarded<Float>, rows m: Int, _ w: Weights32, into out: Guarded<Float>, stride: Int,
        _ epilogue: Epilogue = Epilogue()
    ) {
        var weights = unsafe w.raw
        unsafe mk_run_matmul_f32(
            pool?.raw, table, x.pointer, Int32(w.columns), Int32(m), &weights, out.pointer, Int32(stride),
            epilogue.raw)
    }

    // MARK: Rows

    func quantize(_ x: Guarded<Float>, stride: Int, rows: Range<Int>, into out: Activations8) {
        var activations = unsafe out.raw()
        unsafe table.pointee.quantize_rows(
            x.pointer, Int32(stride), Int32(rows.lowerBound), Int32(rows.upperBound), &activations)
    }

    func quantize(_ x: Guarded<Float>, stride: Int, rows: Range<Int>, scale: Float, into out: Activations8) {
        var activations = unsafe out.raw()
        unsafe table.pointee.quantize_rows_with_scale(
            x.pointer, Int32(stride), Int32(rows.lowerBound), Int32(rows.upperBound), scale, 1 / scale, &activations)
    }

    func runQuantize(_ pool: Pool?, _ x: Guarded<Float>, stride: Int, into out: Activations8) {
        var activations = unsafe out.raw()
        unsafe mk_run_quantize_rows(pool?.raw, table, x.pointer, Int32(stride), Int32(out.rows), &activations)
    }

    func runQuantizeTensor(_ pool: Pool?, _ x: Guarded<Float>, stride: Int, into out: Activations8) -> Float {
        var activations = unsafe out.raw()
        return unsafe mk_run_quantize_tensor(
            pool?.raw, table, x.pointer, Int32(stride), Int32(out.rows), &activations)
    }

    func maxAbs(_ x: Guarded<Float>, from start: Int = 0, count: Int) -> Float {
        unsafe table.pointee.max_abs(x.pointer + start, count)
    }

    func rmsNorm(
        _ x: Guarded<Float>, stride: Int, weight: Guarded<Float>, epsilon: Float, rows: Range<Int>,
        into y: Guarded<Float>, outStride: Int
    ) {
        unsafe table.pointee.rms_norm(
            x.pointer, Int32(stride), weight.pointer, Int32(weight.count), epsilon, Int32(rows.lowerBound),
            Int32(rows.upperBound), y.pointer, Int32(outStride))
    }

    func runRMSNorm(
        _ pool: Pool?, _ x: Guarded<Float>, stride: Int, weight: Guarded<Float>, epsilon: Float, rows m: Int,
        into y: Guarded<Float>, outStride: Int
    ) {
        unsafe mk_run_rms_norm(
            pool?.raw, table, x.pointer, Int32(stride), weight.pointer, Int32(weight.count), epsilon, Int32(m),
            y.pointer, Int32(outStride))
    }

    func rope(_ x: Guarded<Float>, heads: Int, headSize: Int, cosines: Guarded<Float>, sines: Guarded<Float>) {
        unsafe table.pointee.rope(x.pointer, Int32(heads), Int32(headSize), cosines.pointer, sines.pointer)
    }

    func swiglu(
        _ x: Guarded<Float>, stride: Int, panels: Int, rows: Range<Int>, into y: Guarded<Float>, outStride: Int
    ) {
        unsafe table.pointee.swiglu(
            x.pointer, Int32(stride), Int32(panels), Int32(rows.lowerBound), Int32(rows.upperBound), y.pointer,
            Int32(outStride))
    }

    func runSwiGLU(
        _ pool: Pool?, _ x: Guarded<Float>, stride: Int, panels: Int, rows m: Int, into y: Guarded<Float>,
        outStride: Int
    ) {
        unsafe mk_run_swiglu(
            pool?.raw, table, x.pointer, Int32(stride), Int32(panels), Int32(m), y.pointer, Int32(outStride))
    }

    func silu(_ x: Guarded<Float>, from start: Int = 0, count: Int) {
        unsafe table.pointee.silu(x.pointer + start, count)
    }

    func gelu(_ x: Guarded<Float>, from start: Int = 0, count: Int) {
        unsafe table.pointee.gelu(x.pointer + start, count)
    }

    func quickGELU(_ x: Guarded<Float>, from start: Int = 0, count: Int) {
        unsafe table.pointee.quick_gelu(x.pointer + start, count)
    }

    func runGELU(_ pool: Pool?, _ x: Guarded<Float>, columns: Int, rows: Int) {
        unsafe mk_run_activation(
            pool?.raw, table.pointee.gelu, x.pointer, Int32(columns), Int32(columns), Int32(rows))
    }

    func layerNorm(
        _ x: Guarded<Float>, stride: Int, weight: Guarded<Float>, bias: Guarded<Float>, rows: Range<Int>,
        into y: Guarded<Float>, outStride: Int
    ) {
        unsafe table.pointee.layer_norm(
            x.pointer, Int32(stride), weight.pointer, bias.pointer, Int32(weight.count), 1e-5, Int32(rows.lowerBound),
            Int32(rows.upperBound), y.pointer, Int32(outStride))
    }

    func runLayerNorm(
        _ pool: Pool?, _ x: Guarded<Float>, stride: Int, weight: Guarded<Float>, bias: Guarded<Float>, rows: Int,
        into y: Guarded<Float>
    ) {
        unsafe mk_run_layer_norm(
            pool?.raw, table, x.pointer, Int32(stride), weight.pointer, bias.pointer, Int32(weight.count), 1e-5,
            Int32(rows), y.pointer, Int32(stride))
    }

    func argmaxLogSumExp(_ x: [Float]) -> (index: Int, maximum: Float, logSumExp: Float) {
        let values = Guarded(x)
        var index: Int32 = -1
        var maximum = Float.nan
        var logSumExp = Float.nan
        unsafe table.pointee.argmax_logsumexp(values.pointer, Int32(x.count), &index, &maximum, &logSumExp)
        return (Int(index), maximum, logSumExp)
    }

    // MARK: Attention

    /// Rows attend to `lengths[row]` positions of `pasts[row]`; rows are computed one by one where `pool` is `.none`.
    private func withAttention(
        _ shape: AttentionShape, queries: Guarded<Float>, pasts: [Past], lengths: [Int], into out: Guarded<Float>,
        threads: Int, _ body: (mk_attention, Int) -> Void
    ) {
        let rows = unsafe zip(pasts, lengths).map { past, length in
            unsafe mk_attention_row(
                keys: past.keys.pointer, values: past.values.pointer, length: Int32(length))
        }
        let scoresStride = ((lengths.max() ?? 0) + 15) / 16 * 16
        let scores = Guarded<Float>(threads * scoresStride, filledWith: .nan)
        unsafe rows.withUnsafeBufferPointer { rows in
            let job = unsafe mk_attention(
                queries: queries.pointer, out: out.pointer, rows: rows.baseAddress, scores: scores.pointer,
                query_stride: Int32(shape.width), out_stride: Int32(shape.width),
                position_stride: Int32(shape.kvWidth), heads: Int32(shape.heads), kv_heads: Int32(shape.kvHeads),
                head_size: Int32(shape.headSize), scale: shape.scale)
            unsafe body(job, scoresStride)
        }
        #expect(scores.isIntact)
    }

    func attention(
        _ shape: AttentionShape, queries: Guarded<Float>, pasts: [Past], lengths: [Int], rows: Range<Int>? = nil,
        into out: Guarded<Float>
    ) {
        let rows = rows ?? 0..<lengths.count
        unsafe withAttention(shape, queries: queries, pasts: pasts, lengths: lengths, into: out, threads: 1) { job, _ in
            var job = unsafe job
            unsafe table.pointee.attention(&job, Int32(rows.lowerBound), Int32(rows.upperBound))
        }
    }

    func runAttention(
        _ pool: Pool, _ shape: AttentionShape, queries: Guarded<Float>, pasts: [Past], lengths: [Int],
        into out: Guarded<Float>
    ) {
        unsafe withAttention(
            shape, queries: queries, pasts: pasts, lengths: lengths, into: out, threads: pool.threads
        ) { job, scoresStride in
            unsafe mk_run_attention(pool.raw, table, job, Int32(lengths.count), Int32(scoresStride))
        }
    }

    // MARK: Two planes and the decoder

    func quantizePlanes(_ x: Guarded<Float>, stride: Int, rows: Range<Int>, into out: Activations8) {
        var activations = unsafe out.raw()
        unsafe table.pointee.quantize_planes(
            x.pointer, Int32(stride), Int32(rows.lowerBound), Int32(rows.upperBound), &activations)
    }

    func runQuantizePlanes(_ pool: Pool?, _ x: Guarded<Float>, stride: Int, into out: Activations8) {
        var activations = unsafe out.raw()
        unsafe mk_run_quantize_planes(
            pool?.raw, table, x.pointer, Int32(stride), Int32(out.rows / 2), &activations)
    }

    /// m rows of `out` from 2 m rows of `x`, from row `2 * row` on.
    func matmulPlanes(
        _ x: Activations8, from row: Int = 0, rows m: Int, _ w: Weights8, panels: Range<Int>? = nil,
        into out: Guarded<Float>, stride: Int, _ epilogue: Epilogue = Epilogue()
    ) {
        var activations = unsafe x.raw(from: 2 * row)
        var weights = unsafe w.raw
        let panels = panels ?? 0..<(w.rows + 15) / 16
        unsafe table.pointee.matmul_planes_i8(
            &activations, Int32(m), &weights, Int32(panels.lowerBound), Int32(panels.upperBound), out.pointer,
            Int32(stride), epilogue.raw)
    }

    func runMatmulPlanes(
        _ pool: Pool?, _ x: Activations8, rows m: Int, _ w: Weights8, into out: Guarded<Float>, stride: Int,
        _ epilogue: Epilogue = Epilogue()
    ) {
        var activations = unsafe x.raw()
        var weights = unsafe w.raw
        unsafe mk_run_matmul_planes_i8(
            pool?.raw, table, &activations, Int32(m), &weights, out.pointer, Int32(stride), epilogue.raw)
    }

    /// Rotates `positions.count` rows of queries, keys and values and stores them in the middle layer of three.
    ///
    /// - Returns: of each row where its keys and values begin in `cache`, and how many positions it sees.
    func runRotateAndStore(
        _ pool: Pool?, _ shape: AttentionShape, qkv: Guarded<Float>, positions: [Int], capacity: Int,
        cosines: Guarded<Float>, sines: Guarded<Float>, cache: Guarded<Float>
    ) -> [[Int]] {
        let rows = unsafe positions.map { position in
            unsafe mk_token_row(cache: cache.pointer, capacity: Int32(capacity), position: Int32(position))
        }
        let found = unsafe Guarded<mk_attention_row>(
            rows.count, filledWith: mk_attention_row(keys: nil, values: nil, length: 0))
        unsafe rows.withUnsafeBufferPointer { rows in
            unsafe mk_run_rotate_and_store(
                pool?.raw, table, qkv.pointer, Int32(shape.width + 2 * shape.kvWidth), Int32(rows.count),
                rows.baseAddress, 1, Int32(shape.heads), Int32(shape.kvHeads), Int32(shape.headSize), cosines.pointer,
                sines.pointer, found.pointer)
        }
        let base = unsafe UnsafePointer(cache.pointer)
        return unsafe found.values.map { unsafe [$0.keys - base, $0.values - base, Int($0.length)] }
    }

    /// Adds each group's memory to its rows of `y`. x: `planes` rows a row of y
    func runMemory(
        _ pool: Pool?, _ x: Activations8, planes: Int, _ groups: [MemoryGroup], slots: Int, into y: Guarded<Float>
    ) {
        let rows = x.rows / planes
        let stride = (slots + 15) / 16 * 16
        let scores = Guarded<Float>(rows * stride, filledWith: .nan)
        let activated = Activations8(rows: rows, columns: max(1, slots))
        var input = unsafe x.raw(), scratch = unsafe activated.raw()
        let raw = unsafe groups.map { unsafe $0.raw }
        unsafe raw.withUnsafeBufferPointer { raw in
            unsafe mk_run_memory_i8(
                pool?.raw, table, &input, Int32(planes), raw.baseAddress, Int32(raw.count), scores.pointer,
                Int32(stride), &scratch, y.pointer, Int32(x.columns))
        }
        #expect(scores.isIntact && activated.isIntact)
    }

    /// The same in float32.
    func runMemory(
        _ pool: Pool?, _ x: Guarded<Float>, rows: Int, columns: Int, _ groups: [MemoryGroup], slots: Int,
        into y: Guarded<Float>
    ) {
        let stride = (slots + 15) / 16 * 16
        let scores = Guarded<Float>(rows * stride, filledWith: .nan)
        let raw = unsafe groups.map { unsafe $0.raw }
        unsafe raw.withUnsafeBufferPointer { raw in
            unsafe mk_run_memory_f32(
                pool?.raw, table, x.pointer, Int32(columns), raw.baseAddress, Int32(raw.count), scores.pointer,
                Int32(stride), y.pointer, Int32(columns))
        }
        #expect(scores.isIntact)
    }

    // MARK: Convolution

    func depthwise(
        _ shape: DepthwiseShape, _ x: Guarded<Float>, _ w: Guarded<Float>, bias: Guarded<Float>,
        rows: Range<Int>? = nil, into y: Guarded<Float>
    ) {
        var raw = shape.raw
        let rows = rows ?? 0..<shape.outHeight
        unsafe table.pointee.depthwise(
            &raw, x.pointer, w.pointer, bias.pointer, Int32(rows.lowerBound), Int32(rows.upperBound), y.pointer)
    }

    func runDepthwise(
        _ pool: Pool?, _ shape: DepthwiseShape, _ x: Guarded<Float>, _ w: Guarded<Float>, bias: Guarded<Float>,
        into y: Guarded<Float>
    ) {
        var raw = shape.raw
        unsafe mk_run_depthwise(pool?.raw, table, &raw, x.pointer, w.pointer, bias.pointer, y.pointer)
    }
}

/// `mk_quantize_weight_row` on a Swift array.
func quantizedWeightRow(_ row: [Float]) -> (scale: Float, values: [Int8]) {
    let source = Guarded(row)
    let out = Guarded<Int8>(row.count, filledWith: 0x55)
    let scale = unsafe mk_quantize_weight_row(source.pointer, Int32(row.count), out.pointer)
    return (scale, out.values)
}
