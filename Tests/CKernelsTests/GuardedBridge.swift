// With KernelsBridge.swift the unsafe code of these tests: storage with canaries, weights, activations and shapes as Swift values,
// and the pool.
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
    let raw: OpaquePointer

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
