// Each kernel as a method on the values of GuardedBridge.swift. Shapes are the tests' own and not checked again here.
import CKernels
import Testing

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
