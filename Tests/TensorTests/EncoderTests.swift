// The operations of a transformer encoder through the Swift door, on every kernel path this machine runs.

import Diagnostics
import Tensor
import Testing

@Suite("Encoder operations")
struct EncoderTests {
    @Test("attention without a mask: every row sees all rows", arguments: Kernels.available.map(\.name))
    func attention(_ path: String) throws {
        let (rows, shape) = (37, AttentionShape(heads: 3, keyValueHeads: 3, headSize: 16))
        let width = shape.queryWidth
        var noise = Noise(state: 4)
        let (q, k, v) = (noise.values(rows * width), noise.values(rows * width), noise.values(rows * width))
        let compute = try Compute(kernels: Kernels.choose(forced: path), threads: 2)
        let out = FloatRows(capacity: rows, columns: width)
        compute.attention(
            queries: ProductTests.rows(q, m: rows, k: width), keys: ProductTests.rows(k, m: rows, k: width),
            values: ProductTests.rows(v, m: rows, k: width), shape: shape,
            scratch: EncoderScratch(compute: compute, rows: rows), into: out)
        var expected = [Float](repeating: 0, count: rows * width)
        for row in 0..<rows {
            for head in 0..<shape.heads {
                let (query, base) = (row * width + head * 16, head * 16)
                var weights = [Double](repeating: 0, count: rows)
                for other in 0..<rows {
                    var score = 0.0
                    for column in 0..<16 {
                        score += Double(q[query + column]) * Double(k[other * width + base + column])
                    }
                    weights[other] = exponential(score / 4)
                }
                let sum = weights.reduce(0, +)
                for column in 0..<16 {
                    var mixed = 0.0
                    for other in 0..<rows { mixed += weights[other] / sum * Double(v[other * width + base + column]) }
                    expected[query + column] = Float(mixed)
                }
            }
        }
        #expect(ProductTests.relativeL2((0..<rows).flatMap { out.array(row: $0) }, expected) < 1e-5)
    }

    /// e^x of a small x by its series.
    private func exponential(_ x: Double) -> Double {
        var (sum, term) = (1.0, 1.0)
        for n in 1..<60 {
            term *= x / Double(n)
            sum += term
        }
        return sum
    }

    @Test("two planes take a bias, replacing and accumulating", arguments: Kernels.available.map(\.name))
    func bias(_ path: String) throws {
        let (m, n, k) = (3, 37, 130)
        var noise = Noise(state: 9)
        let (x, w, b, held) = (noise.values(m * k), noise.values(n * k), noise.values(n), noise.values(m * n))
        let compute = try Compute(kernels: Kernels.choose(forced: path), threads: 2)
        let input = ProductInput(precision: .int8, capacity: m, columns: k, planes: 2)
        let weights = try WeightMatrix(name: "w", precision: .int8, rows: n, columns: k, values: w.span)
        compute.load(input, from: ProductTests.rows(x, m: m, k: k), rows: m)
        func run(_ epilogue: Compute.Epilogue) -> [Float] {
            let y = ProductTests.rows(held, m: m, k: n)
            compute.multiply(input, weights, into: y, epilogue: epilogue)
            return (0..<m).flatMap { y.array(row: $0) }
        }
        let plain = run(Compute.Epilogue())
        let biased = run(Compute.Epilogue(bias: AlignedStorage(b)))
        let added = run(Compute.Epilogue(bias: AlignedStorage(b), accumulate: true))
        #expect(biased == plain.indices.map { plain[$0] + b[$0 % n] })
        #expect(ProductTests.relativeL2(added, plain.indices.map { held[$0] + plain[$0] + b[$0 % n] }) < 1e-6)
    }
}
