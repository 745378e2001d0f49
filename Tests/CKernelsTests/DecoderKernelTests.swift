// A decoder's operations: products of two planes, rotary embedding with its cache, the visual memory. Each path is held
// against the scalar one, and against itself row by row without threads.
import Testing

/// Rows enough for every operation to be split between threads, in chunks that are not all of one size.
private let rowCount = 301
private let width = 130

/// Two planes of random rows.
private func planes(_ kernels: Kernels, rows: Int, columns: Int, seed: Int) -> Activations8 {
    var random = Random(seed: seed)
    let out = Activations8(rows: 2 * rows, columns: columns)
    kernels.quantizePlanes(Guarded(random.floats(rows * columns)), stride: columns, rows: 0..<rows, into: out)
    return out
}

private func weights(rows: Int, columns: Int, _ random: inout Random) -> Weights8 {
    Weights8(
        random.integers(rows * columns), rows: rows, columns: columns,
        scales: (0..<rows).map { Float($0 % 7 + 1) * 0.0003 })
}

@Suite struct PlaneProductTests {
    /// The whole formula, in float32 and in the order that CKernels.h gives: bitwise.
    @Test(arguments: Path.allCases, [false, true])
    func resultsFollowTheFormulaBitwise(path: Path, accumulate: Bool) throws {
        let kernels = try path.kernels()
        var random = Random(seed: 31)
        for (rows, columns) in [(1, 2), (15, 22), (17, 64), (48, 65), (49, 26), (257, 31)] {
            let x = planes(kernels, rows: 17, columns: columns, seed: columns)
            let w = weights(rows: rows, columns: columns, &random)
            let bias = Guarded(random.floats(rows)), held = random.floats(17 * rows)
            let sums = Guarded<Int32>(34 * rows, filledWith: 0)
            kernels.sums(x, rows: 34, w, into: sums, stride: rows)
            for epilogue in [
                Epilogue(accumulate: accumulate), Epilogue(bias: bias, accumulate: accumulate),
                Epilogue(bias: bias, low: 0, high: 6, accumulate: accumulate),
            ] {
                for m in 1...17 {
                    let out = Guarded(held)
                    kernels.matmulPlanes(x, rows: m, w, into: out, stride: rows, epilogue)
                    var wrong = 0
                    for index in 0..<m * rows {
                        let (row, output) = index.quotientAndRemainder(dividingBy: rows)
                        let products = (0..<2).map { plane in
                            (x.scales[2 * row + plane] * w.scales[output])
                                * Float(sums[(2 * row + plane) * rows + output])
                        }
                        var value = products[0] + products[1]
                        if accumulate { value = held[index] + value }
                        if epilogue.bias != nil { value += bias[output] }
                        value = value < epilogue.low ? epilogue.low : value > epilogue.high ? epilogue.high : value
                        if out[index].bitPattern != value.bitPattern { wrong += 1 }
                    }
                    #expect(wrong == 0, "N \(rows) K \(columns) m \(m)")
                    #expect(out.values(m * rows..<17 * rows) == Array(held[(m * rows)...]) && out.isIntact)
                }
            }
        }
    }

    @Test(arguments: Path.vector)
    func integersAndResultsEqualScalar(path: Path) throws {
        let kernels = try path.kernels(), scalar = try Path.scalar.kernels()
        var random = Random(seed: 32)
        let (rows, columns) = (37, 1536)
        let x = planes(scalar, rows: rowCount, columns: columns, seed: 33)
        let w = weights(rows: rows, columns: columns, &random)
        let expected = Guarded<Float>(rowCount * rows, filledWith: .nan)
        let out = Guarded<Float>(rowCount * rows, filledWith: .nan)
        scalar.matmulPlanes(x, rows: rowCount, w, into: expected, stride: rows)
        kernels.matmulPlanes(x, rows: rowCount, w, into: out, stride: rows)
        #expect(out.hasSameBytes(as: expected, count: out.count) && out.isIntact)
    }

    /// Splits by panels (few rows) and by rows (many).
    @Test(arguments: Path.allCases, [(5, 257, 257), (rowCount, 33, 65), (1, 257, 1536)])
    func threadsDoNotChangeBytes(path: Path, shape: (m: Int, rows: Int, columns: Int)) throws {
        let kernels = try path.kernels()
        var random = Random(seed: 34)
        let x = planes(kernels, rows: shape.m, columns: shape.columns, seed: 35)
        let w = weights(rows: shape.rows, columns: shape.columns, &random)
        let expected = Guarded<Float>(shape.m * shape.rows, filledWith: .nan)
        for row in 0..<shape.m {
            let alone = Guarded<Float>(shape.rows, filledWith: .nan)
            kernels.matmulPlanes(x, from: row, rows: 1, w, into: alone, stride: shape.rows)
            for output in 0..<shape.rows { expected[row * shape.rows + output] = alone[output] }
        }
        for threads in 1...3 {
            let out = Guarded<Float>(expected.count, filledWith: .nan)
            kernels.runMatmulPlanes(try Pool(threads: threads), x, rows: shape.m, w, into: out, stride: shape.rows)
            #expect(out.hasSameBytes(as: expected, count: expected.count) && out.isIntact)
        }
    }
}

@Suite struct RotateAndStoreTests {
    private static let shape = AttentionShape(heads: 6, kvHeads: 2, headSize: 32)
    private static let total = shape.width + 2 * shape.kvWidth
    private static let capacity = rowCount + 4

    /// Rows of one sequence, from position 3 on.
    private func run(_ kernels: Kernels, _ pool: Pool?) -> (
        qkv: Guarded<Float>, cache: Guarded<Float>, found: [[Int]]
    ) {
        var random = Random(seed: 41)
        let cosines = Guarded(random.floats(Self.capacity * 16)), sines = Guarded(random.floats(Self.capacity * 16))
        let qkv = Guarded(random.floats(rowCount * Self.total))
        let cache = Guarded<Float>(3 * 2 * Self.capacity * Self.shape.kvWidth, filledWith: -77)
        let found = kernels.runRotateAndStore(
            pool, Self.shape, qkv: qkv, positions: Array(3..<rowCount + 3), capacity: Self.capacity,
            cosines: cosines, sines: sines, cache: cache)
        #expect(qkv.isIntact && cache.isIntact)
        return (qkv, cache, found)
    }

    @Test(arguments: Path.allCases)
    func rowsAreRotatedByTheirPositionAndStored(path: Path) throws {
        let out = run(try path.kernels(), nil), scalar = run(try Path.scalar.kernels(), nil)
        let kv = Self.shape.kvWidth, half = Self.capacity * kv
        let comparison = Comparison(
            out.qkv.values, scalar.qkv.values.map(Double.init), tolerance: 1e-6,
            magnitudes: [Double](repeating: 8, count: out.qkv.count))
        #expect(comparison.failure == nil)
        for row in 0..<rowCount {
            let key = row * Self.total + Self.shape.width, place = 2 * half + (row + 3) * kv
            #expect(out.cache.hasSameBytes(at: place, as: out.qkv, from: key, count: kv))
            #expect(out.cache.hasSameBytes(at: place + half, as: out.qkv, from: key + kv, count: kv))
            #expect(out.found[row] == [2 * half, 3 * half, row + 4])
        }
        // Only positions 3 ..< rowCount + 3 of layer 1 were written.
        let untouched = [
            0..<2 * half + 3 * kv, 2 * half + (rowCount + 3) * kv..<3 * half + 3 * kv,
            3 * half + (rowCount + 3) * kv..<6 * half,
        ]
        #expect(untouched.allSatisfy { out.cache.values($0).allSatisfy { $0 == -77 } })
    }

    @Test(arguments: Path.allCases)
    func threadsDoNotChangeBytes(path: Path) throws {
        let kernels = try path.kernels()
        let expected = run(kernels, nil)
        for threads in 1...3 {
            let out = run(kernels, try Pool(threads: threads))
            #expect(out.qkv.hasSameBytes(as: expected.qkv, count: expected.qkv.count))
            #expect(out.cache.hasSameBytes(as: expected.cache, count: expected.cache.count))
            #expect(out.found == expected.found)
        }
    }
}

@Suite struct MemoryTests {
    /// Groups that do not end where chunks do: short ones, one over most rows, rows without memory before and between.
    private static let groups = [2..<3, 3..<9, 9..<10, 14..<251, 260..<301]

    private func memories(slots: Int) -> [MemoryGroup] {
        var random = Random(seed: 50 + slots)
        return Self.groups.map { rows in
            MemoryGroup(
                rows: rows, keys8: weights(rows: slots, columns: width, &random),
                values8: weights(rows: width, columns: slots, &random),
                keys32: Weights32(random.floats(slots * width, times: 0.1), rows: slots, columns: width),
                values32: Weights32(random.floats(width * slots), rows: width, columns: slots))
        }
    }

    private func input(_ kernels: Kernels, planes count: Int) -> Activations8 {
        if count == 2 { return planes(kernels, rows: rowCount, columns: width, seed: 51) }
        var random = Random(seed: 51)
        let out = Activations8(rows: rowCount, columns: width)
        kernels.quantize(Guarded(random.floats(rowCount * width)), stride: width, rows: 0..<rowCount, into: out)
        return out
    }

    private var held: Guarded<Float> {
        var random = Random(seed: 52)
        return Guarded(random.floats(rowCount * width))
    }

    /// y + SiLU(x keysᵀ) values of each row by itself, from the path's own kernels; without slots that is y.
    private func rowByRow(_ kernels: Kernels, _ x: Activations8, planes: Int, slots: Int) -> Guarded<Float> {
        let y = held
        guard slots > 0 else { return y }
        for group in memories(slots: slots) {
            for row in group.rows {
                let scores = Guarded<Float>(slots, filledWith: .nan), activated = Activations8(rows: 1, columns: slots)
                if planes == 2 {
                    kernels.matmulPlanes(x, from: row, rows: 1, group.keys8, into: scores, stride: slots)
                } else {
                    kernels.matmul(x, from: row, rows: 1, group.keys8, into: scores, stride: slots)
                }
                kernels.silu(scores, count: slots)
                kernels.quantize(scores, stride: slots, rows: 0..<1, into: activated)
                let out = Guarded(y.values(row * width..<(row + 1) * width))
                kernels.matmul(activated, rows: 1, group.values8, into: out, stride: width, Epilogue(accumulate: true))
                for column in 0..<width { y[row * width + column] = out[column] }
            }
        }
        return y
    }

    @Test(arguments: Path.allCases, [0, 1, 5, 81])
    func rowsAreWhatTheyAreAloneOnAnyThreads(path: Path, slots: Int) throws {
        let kernels = try path.kernels()
        for planes in 1...2 {
            let x = input(kernels, planes: planes)
            let expected = rowByRow(kernels, x, planes: planes, slots: slots)
            for pool in [nil] + (try (1...3).map { try Pool(threads: $0) }) {
                let y = held
                kernels.runMemory(pool, x, planes: planes, memories(slots: slots), slots: slots, into: y)
                #expect(y.hasSameBytes(as: expected, count: y.count) && y.isIntact, "\(planes) planes")
            }
            for row in 0..<rowCount where !Self.groups.contains(where: { $0.contains(row) }) {
                #expect(expected.hasSameBytes(at: row * width, as: held, from: row * width, count: width))
            }
        }
    }

    /// SiLU differs in its last bits between paths, so that an activation may be rounded to the neighbouring integer: a
    /// 127th of the largest, once in a while.
    @Test(arguments: Path.vector, [1, 5, 81])
    func memoryIsNearScalar(path: Path, slots: Int) throws {
        let kernels = try path.kernels(), scalar = try Path.scalar.kernels()
        let magnitudes = [Double](repeating: 1, count: rowCount * width)
        for planes in 1...2 {
            let x = input(scalar, planes: planes), y = held
            kernels.runMemory(nil, x, planes: planes, memories(slots: slots), slots: slots, into: y)
            let expected = rowByRow(scalar, x, planes: planes, slots: slots).values.map(Double.init)
            let comparison = Comparison(y.values, expected, tolerance: 0.02, magnitudes: magnitudes)
            #expect(comparison.failure == nil)
        }
    }

    @Test(arguments: Path.allCases, [0, 1, 5, 81])
    func float32RowsAreNearScalarOnAnyThreads(path: Path, slots: Int) throws {
        let kernels = try path.kernels(), scalar = try Path.scalar.kernels()
        var random = Random(seed: 53)
        let x = Guarded(random.floats(rowCount * width)), groups = memories(slots: slots)
        func run(_ kernels: Kernels, _ pool: Pool?) -> Guarded<Float> {
            let y = held
            kernels.runMemory(pool, x, rows: rowCount, columns: width, groups, slots: slots, into: y)
            #expect(y.isIntact)
            return y
        }
        let expected = run(kernels, nil), reference = run(scalar, nil)
        let comparison = Comparison(
            expected.values, reference.values.map(Double.init), tolerance: 1e-5,
            magnitudes: [Double](repeating: Double(10 + slots), count: expected.count))
        #expect(comparison.failure == nil)
        for threads in 1...3 {
            #expect(run(kernels, try Pool(threads: threads)).hasSameBytes(as: expected, count: expected.count))
        }
    }
}
