// Softmax attention: near the exact result in double, the same bytes alone and in a batch, no matter what stands beyond a row's
// length.
import Foundation
import Testing

private func pasts(_ lengths: [Int], _ shape: AttentionShape, seed: Int) -> [Past] {
    var random = Random(seed: seed)
    return lengths.map { length in
        Past(
            keys: Guarded(random.floats(length * shape.kvWidth)),
            values: Guarded(random.floats(length * shape.kvWidth)))
    }
}

/// softmax(scale q Kᵀ) V and the size of what each output sums.
private func exactAttention(
    _ shape: AttentionShape, queries: Guarded<Float>, pasts: [Past], lengths: [Int]
) -> (values: [Double], magnitudes: [Double]) {
    var result: [Double] = [], magnitudes: [Double] = []
    for row in lengths.indices {
        for head in 0..<shape.heads {
            let offset = head / (shape.heads / shape.kvHeads) * shape.headSize
            let query = row * shape.width + head * shape.headSize
            let scores = (0..<lengths[row]).map { t in
                (0..<shape.headSize).reduce(0.0) {
                    $0 + Double(queries[query + $1]) * Double(pasts[row].keys[t * shape.kvWidth + offset + $1])
                } * Double(shape.scale)
            }
            let top = scores.max() ?? 0
            let weights = scores.map { exp($0 - top) }
            let sum = weights.reduce(0, +)
            for d in 0..<shape.headSize {
                var mixed = 0.0, size = 0.0
                for t in 0..<lengths[row] {
                    let term = weights[t] * Double(pasts[row].values[t * shape.kvWidth + offset + d])
                    mixed += term
                    size += abs(term)
                }
                result.append(mixed / sum)
                magnitudes.append(size / sum)
            }
        }
    }
    return (result, magnitudes)
}

@Suite struct AttentionTests {
    static let shapes = [
        AttentionShape(heads: 9, kvHeads: 3, headSize: 64), AttentionShape(heads: 4, kvHeads: 4, headSize: 16),
        AttentionShape(heads: 2, kvHeads: 1, headSize: 80), AttentionShape(heads: 10, kvHeads: 1, headSize: 128),
    ]
    private static let lengths = [1, 2, 3, 15, 16, 17, 31, 33, 64, 65, 130]

    @Test(arguments: Path.allCases, shapes)
    func attentionIsNearTheExactFunction(path: Path, shape: AttentionShape) throws {
        let kernels = try path.kernels()
        var random = Random(seed: 8)
        let lengths = Self.lengths, past = pasts(lengths, shape, seed: 9)
        let queries = Guarded(random.floats(lengths.count * shape.width, times: 2))
        let out = Guarded<Float>(queries.count, filledWith: .nan)
        kernels.attention(shape, queries: queries, pasts: past, lengths: lengths, into: out)
        let exact = exactAttention(shape, queries: queries, pasts: past, lengths: lengths)
        let comparison = Comparison(out.values, exact.values, tolerance: 4e-6, magnitudes: exact.magnitudes)
        #expect(comparison.failure == nil)
        #expect(out.isIntact)
    }

    @Test(arguments: Path.allCases)
    func aRowAloneEqualsTheRowInABatchOnAnyThread(path: Path) throws {
        let kernels = try path.kernels()
        let shape = Self.shapes[0]
        var random = Random(seed: 10)
        let lengths = Self.lengths + [40, 41, 64], past = pasts(lengths, shape, seed: 11)
        let queries = Guarded(random.floats(lengths.count * shape.width))
        let batch = Guarded<Float>(queries.count, filledWith: .nan)
        kernels.attention(shape, queries: queries, pasts: past, lengths: lengths, into: batch)
        for row in lengths.indices {
            let range = row * shape.width..<(row + 1) * shape.width
            let alone = Guarded<Float>(shape.width, filledWith: .nan)
            kernels.attention(
                shape, queries: Guarded(queries.values(range)), pasts: [past[row]], lengths: [lengths[row]], into: alone
            )
            #expect(alone.hasSameBytes(as: batch, from: range.lowerBound, count: shape.width))
        }
        for threads in 1...3 {
            let out = Guarded<Float>(queries.count, filledWith: .nan)
            kernels.runAttention(
                try Pool(threads: threads), shape, queries: queries, pasts: past, lengths: lengths, into: out)
            #expect(out.hasSameBytes(as: batch, count: out.count) && out.isIntact)
        }
        let part = Guarded<Float>(queries.count, filledWith: -77)
        kernels.attention(shape, queries: queries, pasts: past, lengths: lengths, rows: 2..<4, into: part)
        #expect(part.values(0..<2 * shape.width).allSatisfy { $0 == -77 })
        #expect(part.values(4 * shape.width..<part.count).allSatisfy { $0 == -77 })
        #expect(part.hasSameBytes(at: 2 * shape.width, as: batch, from: 2 * shape.width, count: 2 * shape.width))
    }

    /// A row alone is split between its key/value heads once it is long, and few rows may be split inside of one.
    @Test(arguments: Path.allCases, [[700], [400, 3, 900]])
    func fewLongRowsDoNotDependOnThreads(path: Path, lengths: [Int]) throws {
        let kernels = try path.kernels()
        for shape in Self.shapes {
            var random = Random(seed: 15)
            let past = pasts(lengths, shape, seed: 16)
            let queries = Guarded(random.floats(lengths.count * shape.width))
            let expected = Guarded<Float>(queries.count, filledWith: .nan)
            kernels.attention(shape, queries: queries, pasts: past, lengths: lengths, into: expected)
            for threads in 1...4 {
                let out = Guarded<Float>(queries.count, filledWith: .nan)
                kernels.runAttention(
                    try Pool(threads: threads), shape, queries: queries, pasts: past, lengths: lengths, into: out)
                #expect(out.hasSameBytes(as: expected, count: out.count) && out.isIntact)
            }
        }
    }

    /// A cache has room beyond a row's length; what stands there, NaN included, must not reach the result.
    @Test(arguments: Path.allCases, [1, 15, 16, 17, 30])
    func positionsBeyondTheLengthAreNotRead(path: Path, length: Int) throws {
        let kernels = try path.kernels()
        let shape = Self.shapes[0]
        var random = Random(seed: 12)
        let clean = pasts([48], shape, seed: 13), dirty = pasts([48], shape, seed: 13)
        for index in length * shape.kvWidth..<48 * shape.kvWidth {
            dirty[0].keys[index] = .nan
            dirty[0].values[index] = .infinity
        }
        let queries = Guarded(random.floats(shape.width))
        let expected = Guarded<Float>(shape.width, filledWith: .nan),
            out = Guarded<Float>(shape.width, filledWith: .nan)
        kernels.attention(shape, queries: queries, pasts: clean, lengths: [length], into: expected)
        kernels.attention(shape, queries: queries, pasts: dirty, lengths: [length], into: out)
        #expect(out.hasSameBytes(as: expected, count: shape.width))
        #expect(out.values.allSatisfy { $0.isFinite })
    }

    @Test(arguments: Path.allCases)
    func overwhelmingScoresChooseOnePosition(path: Path) throws {
        let kernels = try path.kernels()
        let shape = AttentionShape(heads: 1, kvHeads: 1, headSize: 16)
        let past = pasts([20], shape, seed: 14)
        for index in 0..<past[0].keys.count { past[0].keys[index] = index / 16 == 13 ? 1e4 : -1e4 }
        let out = Guarded<Float>(16, filledWith: .nan)
        kernels.attention(
            shape, queries: Guarded<Float>(16, filledWith: 100), pasts: past, lengths: [20], into: out)
        for d in 0..<16 { #expect(out[d] == past[0].values[13 * 16 + d]) }
    }
}
