// Kernel calls of a transformer encoder: LayerNorm, its activations and attention without a mask.

internal import CKernels

/// Where the rows of an image find each other's keys and values; made once a worker.
@safe public final class EncoderScratch {
    /// Rows of one image.
    let rows: Int
    let attentionRows: AlignedStorage<mk_attention_row>
    let scores: AlignedStorage<Float>
    let scoresStride: Int

    /// Room for attention among `rows` rows.
    public init(compute: Compute, rows: Int) {
        self.rows = max(1, rows)
        unsafe attentionRows = AlignedStorage(count: self.rows)
        scoresStride = (self.rows + 15) / 16 * 16
        scores = AlignedStorage(count: scoresStride * compute.threads)
    }
}

extension Compute {
    /// y = (x − mean) / √(variance + ε) · weight + bias (LayerNorm, arXiv 1607.06450). x, y: [rows, columns]
    public func layerNorm(
        _ x: FloatRows, weight: AlignedStorage<Float>, bias: AlignedStorage<Float>, epsilon: Float, rows: Int,
        into y: FloatRows
    ) {
        precondition(rows <= x.capacity && rows <= y.capacity && y.columns == x.columns)
        precondition(weight.count >= x.columns && bias.count >= x.columns)
        unsafe mk_run_layer_norm(
            pool, table, x.pointer, Int32(x.stride), weight.base, bias.base, Int32(x.columns), epsilon, Int32(rows),
            y.pointer, Int32(y.stride))
    }

    /// GELU(x) = x Φ(x), exact (arXiv 1606.08415), in place on rows 0 ..< `rows`.
    public func gelu(_ x: FloatRows, rows: Int) {
        precondition(rows <= x.capacity)
        unsafe mk_run_activation(
            pool, table.pointee.gelu, x.pointer, Int32(x.stride), Int32(x.columns), Int32(rows))
    }

    /// QuickGELU(x) = x / (1 + e^(−1.702 x)), CLIP's activation, in place on rows 0 ..< `rows`.
    public func quickGELU(_ x: FloatRows, rows: Int) {
        precondition(rows <= x.capacity)
        unsafe mk_run_activation(
            pool, table.pointee.quick_gelu, x.pointer, Int32(x.stride), Int32(x.columns), Int32(rows))
    }

    /// out = softmax(Q Kᵀ / √headSize) V among all rows of one image, without a mask.
    /// queries, out: [rows, queryWidth]; keys, values: [rows, keyValueWidth]
    public func attention(
        queries: FloatRows, keys: FloatRows, values: FloatRows, shape: AttentionShape, scratch: EncoderScratch,
        into out: FloatRows
    ) {
        let rows = scratch.rows
        precondition(queries.columns == shape.queryWidth && out.columns == shape.queryWidth)
        precondition(keys.columns == shape.keyValueWidth && keys.stride == keys.columns)
        precondition(values.columns == shape.keyValueWidth && values.stride == values.columns)
        precondition([queries, keys, values, out].allSatisfy { rows <= $0.capacity })
        precondition(scratch.scores.count >= scratch.scoresStride * threads)
        for row in 0..<rows {
            unsafe scratch.attentionRows.base[row] = mk_attention_row(
                keys: keys.pointer, values: values.pointer, length: Int32(rows))
        }
        let job = unsafe mk_attention(
            queries: queries.pointer, out: out.pointer, rows: scratch.attentionRows.base, scores: scratch.scores.base,
            query_stride: Int32(queries.stride), out_stride: Int32(out.stride),
            position_stride: Int32(shape.keyValueWidth), heads: Int32(shape.heads),
            kv_heads: Int32(shape.keyValueHeads), head_size: Int32(shape.headSize),
            scale: 1 / Float(shape.headSize).squareRoot())
        unsafe mk_run_attention(pool, table, job, Int32(rows), Int32(scratch.scoresStride))
    }
}
