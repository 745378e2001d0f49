// Kernel calls of a decoder: rotary embedding, attention and the visual memory.

internal import CKernels

/// The shape of grouped-query attention (arXiv 2305.13245).
public struct AttentionShape: Sendable, Equatable {
    /// Query heads.
    public let heads: Int
    /// Key and value heads; `heads` is a multiple.
    public let keyValueHeads: Int
    /// Values in a head; a multiple of 16.
    public let headSize: Int

    /// A shape; the caller has checked it against the rules above.
    public init(heads: Int, keyValueHeads: Int, headSize: Int) {
        self.heads = heads
        self.keyValueHeads = keyValueHeads
        self.headSize = headSize
    }

    /// Values in a row of queries.
    public var queryWidth: Int { heads * headSize }
    /// Values in a row of keys, or of values.
    public var keyValueWidth: Int { keyValueHeads * headSize }
    /// Values in a row of queries, keys and values end to end.
    public var totalWidth: Int { queryWidth + 2 * keyValueWidth }
}

/// What attention and memory need besides their inputs; made once a worker.
@safe public final class DecoderScratch {
    let scores: AlignedStorage<Float>
    let scoresStride: Int
    let memoryScores: FloatRows
    let memoryInput: ProductInput

    /// Room for `rows` rows, contexts up to `positions` and memories up to `slots` rows.
    public init(compute: Compute, precision: Precision, rows: Int, positions: Int, slots: Int) {
        scoresStride = (positions + 15) / 16 * 16
        scores = AlignedStorage(count: scoresStride * compute.threads)
        memoryScores = FloatRows(capacity: rows, columns: max(1, slots))
        memoryInput = ProductInput(precision: precision, capacity: rows, columns: max(1, slots))
    }
}

extension Compute {
    /// x₀: of each row its token's embedding, or the image token that stands there. x: [rows, width]
    public func embed(_ rows: TokenRows, by embedding: WeightMatrix, into x: FloatRows) {
        for (row, input) in rows.inputs.enumerated() {
            switch input {
            case .token(let token): self.row(Int(token), of: embedding, into: x, outputRow: row)
            case .embedding(let rows, let source): copyRow(rows, from: source, to: x, at: row)
            }
        }
    }

    /// Rotates queries and keys by their positions, and stores keys and values in the caches of `layer`.
    /// qkv: [rows, totalWidth], queries first, then keys, then values
    public func rotateAndStore(
        _ qkv: FloatRows, rows: TokenRows, layer: Int, shape: AttentionShape, table angles: RotaryTable
    ) {
        precondition(rows.count <= qkv.capacity && qkv.columns == shape.totalWidth && rows.longest <= angles.positions)
        unsafe mk_run_rotate_and_store(
            pool, table, qkv.pointer, Int32(qkv.stride), Int32(rows.count), rows.places.base, Int32(layer),
            Int32(shape.heads), Int32(shape.keyValueHeads), Int32(shape.headSize), angles.cosines.base,
            angles.sines.base, rows.attentionRows.base)
    }

    /// out = softmax(Q Kᵀ / √headSize) V over each row's own sequence, causal. qkv: as above; out: [rows, queryWidth]
    public func attention(
        _ qkv: FloatRows, rows: TokenRows, shape: AttentionShape, scratch: DecoderScratch, into out: FloatRows
    ) {
        precondition(
            rows.count <= out.capacity && out.columns == shape.queryWidth && rows.longest <= scratch.scoresStride)
        precondition(scratch.scores.count >= scratch.scoresStride * threads)
        let job = unsafe mk_attention(
            queries: qkv.pointer, out: out.pointer, rows: rows.attentionRows.base, scores: scratch.scores.base,
            query_stride: Int32(qkv.stride), out_stride: Int32(out.stride),
            position_stride: Int32(shape.keyValueWidth), heads: Int32(shape.heads),
            kv_heads: Int32(shape.keyValueHeads), head_size: Int32(shape.headSize),
            scale: 1 / Float(shape.headSize).squareRoot())
        unsafe mk_run_attention(pool, table, job, Int32(rows.count), Int32(scratch.scoresStride))
    }

    /// y += SiLU(x keysᵀ) values for every row that has a memory, each with its own. x: [rows, width], y: [rows, width]
    public func addMemory(_ x: ProductInput, rows: TokenRows, scratch: DecoderScratch, into y: FloatRows) {
        guard !rows.groups.isEmpty else { return }
        for group in rows.groups {
            precondition(group.memory.slots <= scratch.memoryScores.columns && group.memory.keys.columns == x.columns)
            precondition(group.memory.keys.precision == x.precision && group.memory.values.rows <= y.columns)
        }
        precondition(
            rows.count <= x.rows && rows.count <= scratch.memoryScores.capacity && rows.count <= y.capacity)
        switch x.precision {
        case .int8:
            var input = unsafe x.quantised()
            var activated = unsafe scratch.memoryInput.quantised()
            unsafe mk_run_memory_i8(
                pool, table, &input, Int32(x.planes), rows.memoryGroups.base, Int32(rows.groups.count),
                scratch.memoryScores.pointer, Int32(scratch.memoryScores.stride), &activated, y.pointer,
                Int32(y.stride))
        case .float32:
            guard let source = x.source else { return }
            unsafe mk_run_memory_f32(
                pool, table, source.pointer, Int32(source.stride), rows.memoryGroups.base, Int32(rows.groups.count),
                scratch.memoryScores.pointer, Int32(scratch.memoryScores.stride), y.pointer, Int32(y.stride))
        }
    }
}
