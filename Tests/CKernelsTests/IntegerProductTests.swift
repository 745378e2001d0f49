// int8 matrix products: integers compared with ==, on every path, at every remainder of rows, columns and panels.
import Testing

/// Every remainder of K modulo a group of four, and of groups modulo the eight that a kernel takes at once: short of
/// eight (up to 30), and beyond eight (38 to 65).
private let allColumns = [
    1, 2, 3, 4, 6, 10, 15, 16, 17, 22, 26, 30, 31, 38, 42, 46, 50, 54, 58, 63, 64, 65, 257, 576, 1536,
]
/// Every remainder of N modulo a panel; one, two and three panels, and five times three and two.
private let allRows = Array(1...17) + [31, 33, 48, 257]
/// Every height of a tile, alone and beside others.
private let batches = [1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17]
private let sentinel = Int32(bitPattern: 0xA5A5_A5A5)

/// Weights and 17 rows of activations of one shape.
private struct Case {
    let x: Activations8, w: Weights8
    let values: [Int8], weights: [Int8]

    init(rows: Int, columns: Int, batch: Int = 17, pattern: IntegerPattern) {
        var random = Random(seed: rows * 10_000 + columns)
        values = pattern.activations(batch * columns, &random)
        weights = pattern.weights(rows * columns, &random)
        x = Activations8(values, rows: batch, columns: columns)
        w = Weights8(weights, rows: rows, columns: columns, scales: (0..<rows).map { Float($0 % 7 + 1) * 0.003 })
    }

    /// The product by the schoolbook, from unpacked data.
    func truth(row: Int, output: Int) -> Int {
        let columns = w.columns
        return (0..<columns).reduce(0) {
            $0 + Int(values[row * columns + $1]) * Int(weights[output * columns + $1])
        }
    }
}

@Suite struct IntegerProductTests {
    @Test(arguments: IntegerPattern.allCases)
    func scalarSumsAreTheSchoolbookProduct(pattern: IntegerPattern) throws {
        let scalar = try Path.scalar.kernels()
        for (rows, columns) in [(1, 1), (15, 3), (17, 65), (33, 31), (48, 257)] {
            let one = Case(rows: rows, columns: columns, batch: 3, pattern: pattern)
            let out = Guarded<Int32>(3 * rows, filledWith: sentinel)
            scalar.sums(one.x, rows: 3, one.w, into: out, stride: rows)
            for row in 0..<3 {
                for output in 0..<rows {
                    #expect(Int(out[row * rows + output]) == one.truth(row: row, output: output))
                }
            }
            #expect(out.isIntact)
        }
    }

    @Test(arguments: Path.vector, IntegerPattern.allCases)
    func sumsEqualScalar(path: Path, pattern: IntegerPattern) throws {
        let kernels = try path.kernels(), scalar = try Path.scalar.kernels()
        for columns in allColumns {
            for rows in allRows {
                let one = Case(rows: rows, columns: columns, pattern: pattern)
                let stride = rows + 3
                let expected = Guarded<Int32>(17 * stride, filledWith: sentinel)
                scalar.sums(one.x, rows: 17, one.w, into: expected, stride: stride)
                for batch in batches {
                    let out = Guarded<Int32>(17 * stride, filledWith: sentinel)
                    kernels.sums(one.x, rows: batch, one.w, into: out, stride: stride)
                    let isEqual = out.hasSameBytes(as: expected, count: batch * stride)
                    let isBounded = out.holdsOnly(0xA5, in: batch * stride..<out.count) && out.isIntact
                    #expect(isEqual && isBounded, "N \(rows) K \(columns) m \(batch): \(isEqual) \(isBounded)")
                }
            }
        }
    }

    /// Activations beyond what the second-level cache holds are taken in blocks of rows: here three and ten of them.
    @Test(arguments: Path.vector)
    func manyRowsEqualScalar(path: Path) throws {
        let kernels = try path.kernels(), scalar = try Path.scalar.kernels()
        let (rows, batch) = (37, 400)
        let one = Case(rows: rows, columns: 1536, batch: batch, pattern: .random)
        let expected = Guarded<Int32>(batch * rows, filledWith: sentinel)
        let out = Guarded<Int32>(batch * rows, filledWith: sentinel)
        scalar.sums(one.x, rows: batch, one.w, into: expected, stride: rows)
        kernels.sums(one.x, rows: batch, one.w, into: out, stride: rows)
        #expect(out.hasSameBytes(as: expected, count: batch * rows) && out.isIntact)
    }

    /// The activations of a convolution stand without gaps: rows of any multiple of 16 bytes.
    @Test(arguments: Path.allCases)
    func denseActivationsGiveTheSameSums(path: Path) throws {
        let kernels = try path.kernels()
        var random = Random(seed: 21)
        for columns in [16, 48, 80, 100] {
            let values = random.integers(17 * columns), weights = random.integers(33 * columns)
            let w = Weights8(weights, rows: 33, columns: columns)
            let spaced = Activations8(values, rows: 17, columns: columns)
            let dense = Activations8(values, rows: 17, columns: columns, isDense: true)
            let expected = Guarded<Int32>(17 * 33, filledWith: sentinel)
            let out = Guarded<Int32>(17 * 33, filledWith: sentinel)
            kernels.sums(spaced, rows: 17, w, into: expected, stride: 33)
            kernels.sums(dense, rows: 17, w, into: out, stride: 33)
            #expect(dense.stride < spaced.stride && out.hasSameBytes(as: expected, count: 17 * 33) && out.isIntact)
        }
    }

    @Test(arguments: Path.allCases)
    func panelRangesWriteTheirOwnRowsOnly(path: Path) throws {
        let kernels = try path.kernels()
        let one = Case(rows: 257, columns: 65, batch: 9, pattern: .random)
        let whole = Guarded<Int32>(9 * 257, filledWith: sentinel)
        kernels.sums(one.x, rows: 9, one.w, into: whole, stride: 257)
        for range in [0..<1, 1..<2, 3..<8, 4..<17, 16..<17, 5..<5] {
            let part = Guarded<Int32>(9 * 257, filledWith: sentinel)
            kernels.sums(one.x, rows: 9, one.w, panels: range, into: part, stride: 257)
            let begin = range.lowerBound * 16, end = max(begin, min(257, range.upperBound * 16))
            for row in 0..<9 {
                let base = row * 257
                #expect(part.holdsOnly(0xA5, in: base..<base + begin))
                #expect(part.hasSameBytes(at: base + begin, as: whole, from: base + begin, count: end - begin))
                #expect(part.holdsOnly(0xA5, in: base + end..<base + 257))
            }
            #expect(part.isIntact)
        }
    }

    /// u8 x s8 sums reach 255 * 127 * 66,000 = 2,137,410,000, just inside int32.
    @Test(arguments: Path.allCases)
    func longestRowStaysExact(path: Path) throws {
        let kernels = try path.kernels()
        let columns = 66_000
        for (value, weight) in [(127, 127), (127, -127), (-127, 127), (-127, -127)] as [(Int8, Int8)] {
            let x = Activations8(Array(repeating: value, count: 3 * columns), rows: 3, columns: columns)
            let w = Weights8(Array(repeating: weight, count: columns), rows: 1, columns: columns)
            for batch in [1, 3] {
                let out = Guarded<Int32>(3, filledWith: sentinel)
                kernels.sums(x, rows: batch, w, into: out, stride: 1)
                for row in 0..<batch { #expect(Int(out[row]) == Int(value) * Int(weight) * columns) }
            }
        }
    }

    /// The whole formula, in float32 and in the order that CKernels.h gives: bitwise.
    @Test(arguments: Path.allCases, [false, true])
    func resultsFollowTheFormulaBitwise(path: Path, accumulate: Bool) throws {
        let kernels = try path.kernels()
        var random = Random(seed: 5)
        for (rows, columns) in [(1, 3), (17, 64), (48, 65), (257, 31)] {
            let one = Case(rows: rows, columns: columns, pattern: .random)
            let bias = Guarded(random.floats(rows)), held = random.floats(17 * rows)
            let sums = Guarded<Int32>(17 * rows, filledWith: sentinel)
            kernels.sums(one.x, rows: 17, one.w, into: sums, stride: rows)
            for epilogue in [
                Epilogue(accumulate: accumulate), Epilogue(bias: bias, accumulate: accumulate),
                Epilogue(bias: bias, low: 0, high: 6, accumulate: accumulate),
            ] {
                for batch in batches {
                    let out = Guarded(held)
                    kernels.matmul(one.x, rows: batch, one.w, into: out, stride: rows, epilogue)
                    var wrong = 0
                    for index in 0..<batch * rows {
                        let (row, output) = index.quotientAndRemainder(dividingBy: rows)
                        var value = (one.x.scales[row] * one.w.scales[output]) * Float(sums[index])
                        if epilogue.bias != nil { value += bias[output] }
                        if accumulate { value = held[index] + value }
                        value = value < epilogue.low ? epilogue.low : value > epilogue.high ? epilogue.high : value
                        if out[index].bitPattern != value.bitPattern { wrong += 1 }
                    }
                    #expect(wrong == 0, "N \(rows) K \(columns) m \(batch)")
                    #expect(out.values(batch * rows..<17 * rows) == Array(held[(batch * rows)...]))
                    #expect(out.isIntact)
                }
            }
        }
    }

    @Test(arguments: Path.allCases)
    func clampingKeepsNaN(path: Path) throws {
        let kernels = try path.kernels()
        let one = Case(rows: 17, columns: 5, batch: 2, pattern: .random)
        one.x.scales[0] = .nan
        one.x.scales[1] = .infinity
        for epilogue in [Epilogue(), Epilogue(low: 0, high: 6)] {
            let out = Guarded<Float>(2 * 17, filledWith: 0)
            kernels.matmul(one.x, rows: 2, one.w, into: out, stride: 17, epilogue)
            for output in 0..<17 {
                #expect(out[output].isNaN)
                let truth = one.truth(row: 1, output: output)
                guard truth != 0 else { continue }
                let expected = truth > 0 ? epilogue.high : epilogue.low
                #expect(out[17 + output] == expected)
            }
        }
    }

    @Test(arguments: Path.allCases)
    func aRowAloneEqualsTheRowInABatch(path: Path) throws {
        let kernels = try path.kernels()
        let bias = Guarded<Float>(257, filledWith: 0.3)
        let one = Case(rows: 257, columns: 257, pattern: .random)
        let batch = Guarded<Float>(17 * 257, filledWith: .nan)
        kernels.matmul(one.x, rows: 17, one.w, into: batch, stride: 257, Epilogue(bias: bias))
        for row in 0..<17 {
            let alone = Guarded<Float>(257, filledWith: .nan)
            kernels.matmul(one.x, from: row, rows: 1, one.w, into: alone, stride: 257, Epilogue(bias: bias))
            #expect(alone.hasSameBytes(as: batch, from: row * 257, count: 257))
        }
    }

    /// Splits by panels (few rows) and by rows (many).
    @Test(arguments: Path.allCases, [(17, 257, 257), (400, 33, 17), (1, 1536, 257)])
    func threadsDoNotChangeBytes(path: Path, shape: (batch: Int, rows: Int, columns: Int)) throws {
        let kernels = try path.kernels()
        let one = Case(rows: shape.rows, columns: shape.columns, batch: shape.batch, pattern: .random)
        let expected = Guarded<Float>(shape.batch * shape.rows, filledWith: .nan)
        kernels.matmul(one.x, rows: shape.batch, one.w, into: expected, stride: shape.rows)
        for threads in 1...3 {
            let out = Guarded<Float>(expected.count, filledWith: .nan)
            kernels.runMatmul(
                try Pool(threads: threads), one.x, rows: shape.batch, one.w, into: out, stride: shape.rows)
            #expect(out.hasSameBytes(as: expected, count: expected.count) && out.isIntact)
        }
        let out = Guarded<Float>(expected.count, filledWith: .nan)
        kernels.runMatmul(nil, one.x, rows: shape.batch, one.w, into: out, stride: shape.rows)
        #expect(out.hasSameBytes(as: expected, count: expected.count))
    }
}
