// Kernel calls of fine-tuning: gradients of the decoder's operations, and float32 products of what is trained.
//
// As everywhere in `Compute`, shapes are checked here once a call. Results depend on neither threads nor split.

internal import CKernels

// MARK: - Products

/// Float32 products that run together: C = A B, C = Aᵀ B, or added to what C holds.
///
/// Invariant: every entry was checked against its operands' storage when it was appended, and the operands are kept alive.
@safe public final class ProductList {
    /// Entries there is room for.
    public let capacity: Int
    /// Entries appended since `removeAll`.
    public private(set) var count = 0
    private var operands: [FloatRows] = []
    let products: AlignedStorage<mk_product>

    /// Room for `capacity` products.
    public init(capacity: Int) {
        self.capacity = capacity
        unsafe products = AlignedStorage(count: capacity)
        operands.reserveCapacity(3 * capacity)
    }

    /// Starts a new list.
    public func removeAll() {
        count = 0
        operands.removeAll(keepingCapacity: true)
    }

    /// Appends C[m, n] = A[m, k] B[k, n], or Aᵀ with A[k, m] where `transposed`; n is all of C's columns.
    ///
    /// - Parameters:
    ///   - c: written from row `cRow` on; its stride is that of `b`.
    ///   - a: read from row `aRow` on.
    ///   - b: read from row `bRow` on.
    public func append(
        _ c: FloatRows, row cRow: Int = 0, a: FloatRows, row aRow: Int = 0, transposed: Bool = false, b: FloatRows,
        row bRow: Int = 0, m: Int, k: Int, accumulate: Bool = false
    ) {
        let (aRows, aColumns) = transposed ? (k, m) : (m, k)
        precondition(count < capacity && m >= 0 && k >= 0 && cRow >= 0 && aRow >= 0 && bRow >= 0)
        precondition(cRow + m <= c.capacity && aRow + aRows <= a.capacity && bRow + k <= b.capacity)
        precondition(aColumns <= a.stride && b.stride == c.stride)
        unsafe products.base[count] = mk_product(
            a: a.pointer(row: aRow), b: b.pointer(row: bRow), c: c.pointer(row: cRow), m: Int32(m), n: Int32(c.stride),
            k: Int32(k), a_row: Int32(transposed ? 1 : a.stride), a_column: Int32(transposed ? a.stride : 1),
            b_row: Int32(b.stride), c_row: Int32(c.stride), accumulate: accumulate)
        operands.append(a)
        operands.append(b)
        operands.append(c)
        count += 1
    }
}

extension Compute {
    /// Runs every product of the list.
    public func run(_ list: ProductList) {
        guard list.count > 0 else { return }
        unsafe mk_run_products(pool, table, list.products.base, Int32(list.count))
    }

    /// y[j][i] = x[i][j] for `rows` rows of x from `row` on. x: [rows, columns], y: [columns, rows]
    public func transpose(_ x: FloatRows, row: Int = 0, rows: Int, into y: FloatRows, row yRow: Int = 0) {
        precondition(row >= 0 && row + rows <= x.capacity && rows <= y.stride && yRow + x.columns <= y.capacity)
        unsafe mk_run_transpose(
            pool, x.pointer(row: row), Int32(x.stride), Int32(rows), Int32(x.columns), y.pointer(row: yRow),
            Int32(y.stride))
    }

    // MARK: Rows

    /// y[at + i] += factor · x[row + i] for `rows` rows (same columns).
    public func add(_ x: FloatRows, row: Int, rows: Int, times factor: Float, to y: FloatRows, at yRow: Int) {
        precondition(row >= 0 && yRow >= 0 && row + rows <= x.capacity && yRow + rows <= y.capacity)
        precondition(x.stride == y.stride)
        let source = unsafe x.pointer(row: row)
        let target = unsafe y.pointer(row: yRow)
        for index in 0..<rows * x.stride { unsafe target[index] += factor * source[index] }
    }

    /// y[i] += x[0] for `rows` rows: a bias.
    public func addRow(_ x: FloatRows, to y: FloatRows, rows: Int) {
        precondition(rows <= y.capacity && x.stride == y.stride)
        let source = unsafe x.pointer
        for row in 0..<rows {
            let target = unsafe y.pointer(row: row)
            for column in 0..<x.stride { unsafe target[column] += source[column] }
        }
    }

    /// sums[0] += factor · Σ x[row + i]: the gradient of a bias.
    public func addSum(of x: FloatRows, row: Int, rows: Int, times factor: Float, to sums: FloatRows) {
        precondition(row >= 0 && row + rows <= x.capacity && x.stride == sums.stride)
        let target = unsafe sums.pointer
        for line in 0..<rows {
            let source = unsafe x.pointer(row: row + line)
            for column in 0..<x.stride { unsafe target[column] += factor * source[column] }
        }
    }

    /// Copies `rows` rows of x to y, as they are.
    public func copy(_ x: FloatRows, row: Int = 0, rows: Int, to y: FloatRows, at yRow: Int = 0) {
        precondition(row >= 0 && yRow >= 0 && row + rows <= x.capacity && yRow + rows <= y.capacity)
        precondition(x.stride == y.stride)
        unsafe y.pointer(row: yRow).update(from: x.pointer(row: row), count: rows * x.stride)
    }

    /// Zeroes `rows` rows.
    public func clear(_ x: FloatRows, row: Int = 0, rows: Int) {
        precondition(row >= 0 && row + rows <= x.capacity)
        unsafe x.pointer(row: row).update(repeating: 0, count: rows * x.stride)
    }

    /// Rounds rows to int8 and back, each by its own scale, as weights are when they are packed.
    public func roundToInt8(_ x: FloatRows, row: Int, rows: Int) {
        precondition(row >= 0 && row + rows <= x.capacity)
        unsafe mk_run_round_rows(pool, x.pointer(row: row), Int32(x.stride), Int32(x.columns), Int32(rows))
    }

    /// Rows of half-precision numbers at `offset` of a mapped file, as float32, into y from row `yRow` on.
    ///
    /// - Returns: false, and nothing written, where the file is too short.
    public func expandHalf(_ file: MappedFile, offset: Int, rows: Int, into y: FloatRows, at yRow: Int) -> Bool {
        precondition(yRow >= 0 && rows >= 0 && yRow + rows <= y.capacity)
        let bytes = rows * y.columns * 2
        guard offset >= 0, offset % 2 == 0, offset <= file.count, bytes <= file.count - offset else { return false }
        let source = unsafe (file.base + offset).assumingMemoryBound(to: UInt16.self)
        for row in 0..<rows {
            unsafe mk_expand_half(source + row * y.columns, y.columns, y.pointer(row: yRow + row))
        }
        return true
    }

    /// y = SiLU(x). [rows, columns]
    public func silu(_ x: FloatRows, rows: Int, into y: FloatRows) {
        precondition(rows <= x.capacity && rows <= y.capacity && x.stride == y.stride)
        unsafe mk_run_silu_rows(
            pool, table, x.pointer, Int32(x.stride), Int32(x.stride), Int32(rows), y.pointer, Int32(y.stride))
    }

    // MARK: Gradients

    /// d ← d ⊙ SiLU′(x). [rows, columns]
    public func siluGradient(_ x: FloatRows, rows: Int, gradient d: FloatRows) {
        precondition(rows <= x.capacity && rows <= d.capacity && x.stride == d.stride)
        unsafe mk_run_silu_gradient(
            pool, table, x.pointer, Int32(x.stride), Int32(x.stride), Int32(rows), d.pointer, Int32(d.stride),
            d.pointer, Int32(d.stride))
    }

    /// Adds RMSNorm's gradient: dx += r (w ⊙ dy − x r² mean(w ⊙ dy ⊙ x)), r = 1 / √(mean(x²) + ε). [rows, columns]
    public func rmsNormGradient(
        _ x: FloatRows, weight: AlignedStorage<Float>, epsilon: Float, rows: Int, gradient dy: FloatRows,
        into dx: FloatRows
    ) {
        precondition(rows <= x.capacity && rows <= dy.capacity && rows <= dx.capacity && weight.count >= x.columns)
        precondition(dy.columns == x.columns && dx.columns == x.columns)
        unsafe mk_run_rms_norm_gradient(
            pool, table, x.pointer, Int32(x.stride), weight.base, Int32(x.columns), epsilon, Int32(rows), dy.pointer,
            Int32(dy.stride), dx.pointer, Int32(dx.stride))
    }

    /// Adds LayerNorm's gradient: dx += r (g − mean(g) − h mean(g ⊙ h)), g = w ⊙ dy, h = (x − mean) r. [rows, columns]
    public func layerNormGradient(
        _ x: FloatRows, weight: AlignedStorage<Float>, epsilon: Float, rows: Int, gradient dy: FloatRows,
        into dx: FloatRows
    ) {
        precondition(rows <= x.capacity && rows <= dy.capacity && rows <= dx.capacity && weight.count >= x.columns)
        precondition(dy.columns == x.columns && dx.columns == x.columns)
        unsafe mk_run_layer_norm_gradient(
            pool, table, x.pointer, Int32(x.stride), weight.base, Int32(x.columns), epsilon, Int32(rows), dy.pointer,
            Int32(dy.stride), dx.pointer, Int32(dx.stride))
    }

    /// d ← d ⊙ GELU′(x), exact or CLIP's approximation. [rows, columns]
    public func geluGradient(_ x: FloatRows, quick: Bool, rows: Int, gradient d: FloatRows) {
        precondition(rows <= x.capacity && rows <= d.capacity && x.stride == d.stride)
        let (columns, count) = (Int32(x.stride), Int32(rows))
        if quick {
            unsafe mk_run_quick_gelu_gradient(
                pool, table, x.pointer, columns, columns, count, d.pointer, columns, d.pointer, columns)
        } else {
            unsafe mk_run_gelu_gradient(
                pool, table, x.pointer, columns, columns, count, d.pointer, columns, d.pointer, columns)
        }
    }

    /// Attention's gradient among all rows of one image, without mask and rotation.
    /// qkv, result: queries, keys and values end to end [rows, totalWidth]; gradient: of the output [rows, queryWidth]
    public func attentionGradient(
        _ qkv: FloatRows, image: SequenceList, shape: AttentionShape, gradient: FloatRows, into result: FloatRows
    ) {
        precondition(image.rows <= qkv.capacity && image.rows <= gradient.capacity && image.rows <= result.capacity)
        precondition(qkv.columns == shape.totalWidth && result.stride == qkv.stride && image.threads >= threads)
        precondition(gradient.columns == shape.queryWidth)
        let job = unsafe mk_attention_gradient(
            qkv: qkv.pointer, out_gradient: gradient.pointer, qkv_gradient: result.pointer,
            sequences: image.entries.base, scratch: image.scratch.base, cosines: nil, sines: nil,
            sequence_count: Int32(image.count), scratch_stride: Int32(image.scratchStride),
            qkv_stride: Int32(qkv.stride), out_stride: Int32(gradient.stride), heads: Int32(shape.heads),
            kv_heads: Int32(shape.keyValueHeads), head_size: Int32(shape.headSize),
            scale: 1 / Float(shape.headSize).squareRoot())
        unsafe mk_run_attention_gradient(pool, table, job)
    }

    /// Copies columns `from` ..< `from` + `count` of x to columns `to` … of y, row by row.
    public func copyColumns(_ x: FloatRows, from: Int, count: Int, rows: Int, to y: FloatRows, at to: Int) {
        precondition(rows <= x.capacity && rows <= y.capacity && from >= 0 && to >= 0 && count >= 0)
        precondition(from + count <= x.stride && to + count <= y.stride)
        for row in 0..<rows {
            unsafe (y.pointer(row: row) + to).update(from: x.pointer(row: row) + from, count: count)
        }
    }

    /// SwiGLU's gradient on alternating panels, scaled for the transposed product that follows.
    /// x, dx: [rows, 2 · hidden], dy: [rows, hidden]
    public func swiGLUGradient(
        _ x: FloatRows, rows: Int, gradient dy: FloatRows, scaledFor weights: TransposedWeights, into dx: FloatRows
    ) {
        precondition(rows <= x.capacity && rows <= dy.capacity && rows <= dx.capacity && x.columns == 2 * dy.columns)
        precondition(dx.columns == x.columns && weights.matrix.columns == x.columns && dy.columns % 16 == 0)
        unsafe mk_run_swiglu_gradient(
            pool, table, x.pointer, Int32(x.stride), Int32(dy.columns / 16), Int32(rows), dy.pointer,
            Int32(dy.stride), weights.scales?.base, dx.pointer, Int32(dx.stride))
    }

    /// Causal attention's gradient with respect to queries, keys and values before rotation.
    ///
    /// - Parameters:
    ///   - qkv: rotated queries, keys and values. [rows, totalWidth]
    ///   - gradient: of the output. [rows, queryWidth]
    ///   - result: written whole. [rows, totalWidth]
    public func attentionGradient(
        _ qkv: FloatRows, sequences: SequenceList, shape: AttentionShape, table angles: RotaryTable,
        gradient: FloatRows, into result: FloatRows
    ) {
        precondition(sequences.rows <= qkv.capacity && sequences.rows <= gradient.capacity)
        precondition(sequences.rows <= result.capacity && sequences.longest <= angles.positions)
        precondition(qkv.columns == shape.totalWidth && result.stride == qkv.stride)
        precondition(gradient.columns == shape.queryWidth && sequences.threads >= threads)
        precondition(angles.headSize == shape.headSize)
        let job = unsafe mk_attention_gradient(
            qkv: qkv.pointer, out_gradient: gradient.pointer, qkv_gradient: result.pointer,
            sequences: sequences.entries.base, scratch: sequences.scratch.base, cosines: angles.cosines.base,
            sines: angles.sines.base, sequence_count: Int32(sequences.count),
            scratch_stride: Int32(sequences.scratchStride), qkv_stride: Int32(qkv.stride),
            out_stride: Int32(gradient.stride), heads: Int32(shape.heads), kv_heads: Int32(shape.keyValueHeads),
            head_size: Int32(shape.headSize), scale: 1 / Float(shape.headSize).squareRoot())
        unsafe mk_run_attention_gradient(pool, table, job)
    }

    /// Cross-entropy of rows of logits against `targets`.
    ///
    /// Afterwards row i of `logits` holds weightsᵢ · softmax, scaled for the transposed product that follows; the caller
    /// subtracts weightsᵢ · W[targetᵢ] itself (`subtractTargets`).
    /// - Returns: −ln p of each target, in nats.
    public func crossEntropy(
        _ logits: FloatRows, targets: [Int32], weights: [Float], scaledFor output: TransposedWeights
    ) -> [Double] {
        precondition(targets.count <= logits.capacity && weights.count == targets.count)
        precondition(targets.allSatisfy { $0 >= 0 && Int($0) < logits.columns })
        precondition(output.matrix.columns == logits.columns)
        let losses = AlignedStorage<Double>(count: targets.count)
        let wanted = AlignedStorage(targets)
        let factors = AlignedStorage(weights)
        unsafe mk_run_cross_entropy(
            pool, table, logits.pointer, Int32(logits.stride), Int32(logits.columns), Int32(targets.count),
            wanted.base, factors.base, output.scales?.base, losses.base)
        return (0..<targets.count).map { unsafe losses.base[$0] }
    }

    /// y = x with each column times the scale that the transposed weights left out; then x Wᵀᵀ is a plain product.
    public func scaled(_ x: FloatRows, rows: Int, for weights: TransposedWeights, into y: FloatRows) {
        precondition(rows <= x.capacity && rows <= y.capacity && x.columns == y.columns)
        precondition(weights.matrix.columns == x.columns)
        guard let scales = weights.scales else { return copy(x, rows: rows, to: y) }
        unsafe mk_run_scale_columns(
            pool, table, x.pointer, Int32(x.stride), Int32(rows), Int32(x.columns), scales.base, y.pointer,
            Int32(y.stride))
    }
}

// MARK: - Sequences

/// Which neighbouring rows are one sequence, for the gradient of attention.
@safe public final class SequenceList {
    /// Sequences appended.
    public private(set) var count = 0
    /// Rows of all sequences.
    public private(set) var rows = 0
    let longest: Int
    let threads: Int
    let scratchStride: Int
    private let capacity: Int
    let entries: AlignedStorage<mk_sequence>
    let scratch: AlignedStorage<Float>

    /// Room for `capacity` sequences of up to `longest` rows, for a `Compute` with `threads` threads.
    public init(capacity: Int, longest: Int, threads: Int) {
        self.capacity = capacity
        self.longest = longest
        self.threads = threads
        entries = AlignedStorage(count: capacity)
        scratchStride = (longest + 15) / 16 * 32
        scratch = AlignedStorage(count: scratchStride * threads)
    }

    /// Starts anew.
    public func removeAll() {
        count = 0
        rows = 0
    }

    /// Appends a sequence of `length` rows after the last; causal, or every row seeing all.
    public func append(length: Int, bidirectional: Bool = false) {
        precondition(count < capacity && length <= longest)
        unsafe entries.base[count] = mk_sequence(
            begin: Int32(rows), end: Int32(rows + length), bidirectional: bidirectional)
        count += 1
        rows += length
    }
}
