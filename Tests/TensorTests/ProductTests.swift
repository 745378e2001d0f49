// Products through the Swift door: against sums written out in Double, on every kernel path this machine runs.

import Diagnostics
import Tensor
import Testing

/// A repeatable stream of values in -1 ... 1.
struct Noise {
    var state: UInt64

    mutating func next() -> Float {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Float(Int32(truncatingIfNeeded: state >> 33)) / Float(Int32.max) * 2 - 1
    }

    mutating func values(_ count: Int) -> [Float] { (0..<count).map { _ in next() } }
}

@Suite("Products")
struct ProductTests {
    static func relativeL2(_ found: [Float], _ expected: [Float]) -> Double {
        guard found.count == expected.count, found.allSatisfy(\.isFinite) else { return .infinity }
        let difference = zip(found, expected).reduce(0.0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }
        let norm = expected.reduce(0.0) { $0 + Double($1) * Double($1) }
        return norm > 0 ? (difference / norm).squareRoot() : .infinity
    }

    static func expected(_ x: [Float], _ w: [Float], m: Int, n: Int, k: Int) -> [Float] {
        (0..<m * n).map { index in
            let (row, feature) = (index / n, index % n)
            return Float((0..<k).reduce(0.0) { $0 + Double(x[row * k + $1]) * Double(w[feature * k + $1]) })
        }
    }

    static func rows(_ values: [Float], m: Int, k: Int) -> FloatRows {
        let rows = FloatRows(capacity: m, columns: k)
        for row in 0..<m { rows.setRow(row, Array(values[row * k..<(row + 1) * k]).span) }
        return rows
    }

    @Test(
        "float32, int8 and two-plane int8 products, with an outlier in every row",
        arguments: Kernels.available.map(\.name))
    func products(_ path: String) throws {
        let (m, n, k) = (5, 37, 130)
        var noise = Noise(state: 1)
        var x = noise.values(m * k)
        for row in 0..<m { x[row * k + 3] = 60 }  // what drowns the rest in 7 bits
        let w = noise.values(n * k)
        let expected = Self.expected(x, w, m: m, n: n, k: k)
        let compute = try Compute(kernels: Kernels.choose(forced: path), threads: 2)
        let source = Self.rows(x, m: m, k: k)
        func run(_ precision: Precision, _ input: ProductInput) throws -> [Float] {
            let weights = try WeightMatrix(name: "w", precision: precision, rows: n, columns: k, values: w.span)
            let output = FloatRows(capacity: m, columns: n)
            compute.load(input, from: source, rows: m)
            compute.multiply(input, weights, into: output)
            return (0..<m).flatMap { output.array(row: $0) }
        }
        let exact = try run(.float32, ProductInput(precision: .float32, capacity: m, columns: k))
        let one = try run(.int8, ProductInput(precision: .int8, capacity: m, columns: k))
        let two = try run(
            .int8, ProductInput(precision: .int8, capacity: m, columns: k, planes: 2))
        #expect(Self.relativeL2(exact, expected) < 1e-6)
        #expect(Self.relativeL2(two, expected) < 0.01)
        #expect(Self.relativeL2(one, expected) < 0.05)
        #expect(Self.relativeL2(two, expected) < Self.relativeL2(one, expected))
    }

    @Test("accumulating adds to what the output holds", arguments: [false, true])
    func accumulate(_ twoPlanes: Bool) throws {
        let (m, n, k) = (3, 16, 32)
        var noise = Noise(state: 2)
        let compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 1)
        let source = Self.rows(noise.values(m * k), m: m, k: k)
        let w = noise.values(n * k)
        let weights = try WeightMatrix(name: "w", precision: .int8, rows: n, columns: k, values: w.span)
        let input =
            twoPlanes
            ? ProductInput(precision: .int8, capacity: m, columns: k, planes: 2)
            : ProductInput(precision: .int8, capacity: m, columns: k)
        compute.load(input, from: source, rows: m)
        let once = FloatRows(capacity: m, columns: n)
        let twice = FloatRows(capacity: m, columns: n)
        compute.multiply(input, weights, into: once)
        compute.multiply(input, weights, into: twice)
        compute.multiply(input, weights, into: twice, epilogue: Compute.Epilogue(accumulate: true))
        for row in 0..<m { #expect(twice.array(row: row) == once.array(row: row).map { 2 * $0 }) }
    }

    @Test("a shape that does not fit is refused by name")
    func shapes() {
        #expect(throws: Failure.self) {
            _ = try WeightMatrix(
                name: "w", precision: .int8, rows: 2, columns: 3, values: [Float](repeating: 0, count: 5).span)
        }
        #expect(throws: Failure.self) {
            _ = try WeightMatrix(name: "w", precision: .int8, rows: 1, columns: 0, values: [Float]().span)
        }
    }

    @Test("an unknown kernel path is a usage error that names the known ones")
    func kernelNames() {
        do {
            _ = try Kernels.choose(forced: "sse9")
            Issue.record("accepted")
        } catch {
            #expect(error.code == .usage)
            #expect(error.hint.contains("scalar"))
        }
    }
}
