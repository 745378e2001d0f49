// float32 matrix products: near the exact result, and the same bytes whatever the batch, the panels and the threads.
import Testing

private let shapes: [(rows: Int, columns: Int)] = [
    (1, 1), (15, 3), (16, 64), (17, 65), (33, 31), (129, 257), (257, 48),
]

private struct Case {
    let x: Guarded<Float>, w: Weights32
    let exact: [Double], magnitudes: [Double]

    init(rows: Int, columns: Int, batch: Int = 17) {
        var random = Random(seed: rows * 1000 + columns)
        let values = random.floats(batch * columns), weights = random.floats(rows * columns)
        x = Guarded(values)
        w = Weights32(weights, rows: rows, columns: columns)
        var exact: [Double] = [], magnitudes: [Double] = []
        for row in 0..<batch {
            for output in 0..<rows {
                var sum = 0.0, size = 0.0
                for k in 0..<columns {
                    let term = Double(values[row * columns + k]) * Double(weights[output * columns + k])
                    sum += term
                    size += abs(term)
                }
                exact.append(sum)
                magnitudes.append(size)
            }
        }
        (self.exact, self.magnitudes) = (exact, magnitudes)
    }
}

@Suite struct FloatProductTests {
    @Test(arguments: Path.allCases)
    func productsAreNearTheExactSum(path: Path) throws {
        let kernels = try path.kernels()
        for (rows, columns) in shapes {
            let one = Case(rows: rows, columns: columns)
            for batch in [1, 2, 3, 5, 7, 8, 9, 16, 17] {
                let out = Guarded<Float>(17 * rows, filledWith: .nan)
                kernels.matmul(one.x, rows: batch, one.w, into: out, stride: rows)
                let count = batch * rows
                let comparison = Comparison(
                    out.values(0..<count), Array(one.exact[..<count]), tolerance: 1e-6,
                    magnitudes: Array(one.magnitudes[..<count]))
                #expect(comparison.failure == nil, "N \(rows) K \(columns) m \(batch)")
                #expect(out.values(count..<out.count).allSatisfy(\.isNaN) && out.isIntact)
            }
        }
    }

    @Test(arguments: Path.allCases)
    func aRowAloneEqualsTheRowInABatch(path: Path) throws {
        let kernels = try path.kernels()
        for (rows, columns) in [(129, 257), (33, 31)] {
            let one = Case(rows: rows, columns: columns)
            let batch = Guarded<Float>(17 * rows, filledWith: .nan)
            kernels.matmul(one.x, rows: 17, one.w, into: batch, stride: rows)
            for row in 0..<17 {
                let alone = Guarded<Float>(rows, filledWith: .nan)
                kernels.matmul(one.x, from: row, rows: 1, one.w, into: alone, stride: rows)
                #expect(alone.hasSameBytes(as: batch, from: row * rows, count: rows))
            }
        }
    }

    @Test(arguments: Path.allCases)
    func epilogueAddsAndClamps(path: Path) throws {
        let kernels = try path.kernels()
        let (rows, columns) = (33, 31)
        let one = Case(rows: rows, columns: columns)
        let plain = Guarded<Float>(17 * rows, filledWith: .nan)
        kernels.matmul(one.x, rows: 17, one.w, into: plain, stride: rows)
        var random = Random(seed: 9)
        let bias = random.floats(rows), held = random.floats(17 * rows)
        for (low, high) in [(-Float.infinity, Float.infinity), (0, 6)] {
            for accumulate in [false, true] {
                let out = Guarded(held)
                let epilogue = Epilogue(bias: Guarded(bias), low: low, high: high, accumulate: accumulate)
                kernels.matmul(one.x, rows: 17, one.w, into: out, stride: rows, epilogue)
                for index in 0..<out.count {
                    var value = plain[index] + bias[index % rows]
                    if accumulate { value = held[index] + value }
                    value = value < low ? low : value > high ? high : value
                    #expect(out[index].bitPattern == value.bitPattern)
                }
            }
        }
    }

    @Test(arguments: Path.allCases, [(17, 257, 48), (400, 33, 31), (1, 257, 257 * 4)])
    func panelsAndThreadsDoNotChangeBytes(path: Path, shape: (batch: Int, rows: Int, columns: Int)) throws {
        let kernels = try path.kernels()
        var random = Random(seed: 3)
        let x = Guarded(random.floats(shape.batch * shape.columns))
        let w = Weights32(random.floats(shape.rows * shape.columns), rows: shape.rows, columns: shape.columns)
        let expected = Guarded<Float>(shape.batch * shape.rows, filledWith: .nan)
        kernels.matmul(x, rows: shape.batch, w, into: expected, stride: shape.rows)
        let byPanel = Guarded<Float>(expected.count, filledWith: .nan)
        for panel in 0..<(shape.rows + 15) / 16 {
            kernels.matmul(x, rows: shape.batch, w, panels: panel..<panel + 1, into: byPanel, stride: shape.rows)
        }
        #expect(byPanel.hasSameBytes(as: expected, count: expected.count))
        for threads in 1...3 {
            let out = Guarded<Float>(expected.count, filledWith: .nan)
            kernels.runMatmul(try Pool(threads: threads), x, rows: shape.batch, w, into: out, stride: shape.rows)
            #expect(out.hasSameBytes(as: expected, count: expected.count) && out.isIntact)
        }
    }

    @Test(arguments: Path.allCases)
    func nanSpoilsItsOwnRowOnly(path: Path) throws {
        let kernels = try path.kernels()
        let one = Case(rows: 17, columns: 65, batch: 9)
        one.x[4 * 65 + 30] = .nan
        let out = Guarded<Float>(9 * 17, filledWith: 0)
        kernels.matmul(one.x, rows: 9, one.w, into: out, stride: 17, Epilogue(low: 0, high: 6))
        for index in 0..<out.count { #expect(out[index].isNaN == (index / 17 == 4)) }
    }
}
