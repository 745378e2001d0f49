// The packed layout, and weights to int8.
import Testing

@Suite struct PackingTests {
    @Test(arguments: Path.allCases, [(1, 1), (16, 4), (17, 5), (48, 63)])
    func rowsComeBackFromThePackedLayout(path: Path, shape: (rows: Int, columns: Int)) throws {
        let kernels = try path.kernels()
        let (rows, columns) = shape
        var random = Random(seed: rows)
        let integers = random.integers(rows * columns), floats = random.floats(rows * columns)
        let scales = (0..<rows).map { 0.01 * Float($0 + 1) }
        let packed8 = Weights8(integers, rows: rows, columns: columns, scales: scales)
        let packed32 = Weights32(floats, rows: rows, columns: columns)
        for row in 0..<rows {
            let range = row * columns..<(row + 1) * columns
            #expect(packed8.row(row, kernels) == integers[range].map { scales[row] * Float($0) })
            #expect(packed32.row(row, kernels) == Array(floats[range]))
        }
        #expect(packed8.data.isIntact && packed32.data.isIntact)
    }

    /// [panel][k / 4][row in panel][k % 4], zero beyond rows and columns.
    @Test func layoutIsTheDocumentedOne() {
        let (rows, columns) = (18, 6)
        let values = (0..<rows * columns).map { Int8($0 + 1) }
        let packed = Weights8(values, rows: rows, columns: columns)
        #expect(packed.data.count == 2 * 2 * 16 * 4)
        for index in 0..<packed.data.count {
            let panel = index / 128, group = index / 64 % 2, row = panel * 16 + index / 4 % 16
            let column = group * 4 + index % 4
            let expected = row < rows && column < columns ? values[row * columns + column] : 0
            #expect(packed.data[index] == expected)
        }
        let floats = Weights32(values.map(Float.init), rows: rows, columns: columns)
        #expect(floats.data.count == 2 * 6 * 16)
        for index in 0..<floats.data.count {
            let row = index / 96 * 16 + index % 16, column = index / 16 % 6
            #expect(floats.data[index] == (row < rows ? Float(values[row * columns + column]) : 0))
        }
    }

    @Test func weightRowsRoundHalfToEven() {
        #expect(quantizedWeightRow([127, 0.5, 1.5, 2.5, -0.5, -1.5, -127]) == (1, [127, 0, 2, 2, 0, -2, -127]))
        #expect(quantizedWeightRow([0, 0, 0]) == (1, [0, 0, 0]))
        #expect(quantizedWeightRow([-0.254, 0.127]) == (0.254 / 127, [-127, 64]))
        #expect(quantizedWeightRow([.nan, 127, -.infinity]).values == [0, 0, -127])
    }

    @Test func weightRowsLoseHalfAStepAtMost() {
        var random = Random(seed: 11)
        let row = random.floats(1000)
        let (scale, values) = quantizedWeightRow(row)
        for (value, wanted) in zip(values, row) {
            #expect(abs(Float(value) * scale - wanted) <= scale * 0.5001)
            #expect(value >= -127)
        }
    }
}
