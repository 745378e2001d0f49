// LayerNorm, GELU and QuickGELU: near the exact result in double, and the same bytes wherever an element stands.
import Foundation
import Testing

@Suite struct EncoderRowTests {
    private static let inputs: [Float] =
        [0, -0.0, 1e-30, -1e-30, 1e-6, -1e-6, 13.4, -13.4, 30, -30, 1e4, -1e4, 1e30, -1e30]
        + (0..<40_000).map { -15 + 30 * Float($0) / 40_000 }

    @Test(arguments: Path.allCases)
    func geluIsNearTheExactFunction(path: Path) throws {
        let kernels = try path.kernels()
        let x = Guarded(Self.inputs)
        kernels.gelu(x, count: Self.inputs.count)
        // x Φ(x); below −5 the exponential's argument is rounded, so errors are judged against x there.
        let exact = Self.inputs.map { Double($0) * erfc(-Double($0) / 2.0.squareRoot()) / 2 }
        let comparison = Comparison(
            x.values, exact, tolerance: 2.5e-7, magnitudes: Self.inputs.map { abs(Double($0)) }, floor: 1e-36)
        #expect(comparison.failure == nil)
        let inner = Self.inputs.indices.filter { abs(Self.inputs[$0]) < 3 }
        let relative = Comparison(inner.map { x[$0] }, inner.map { exact[$0] }, tolerance: 1e-6, floor: 1e-36)
        #expect(relative.failure == nil)
        #expect(x.isIntact)
    }

    @Test(arguments: Path.allCases)
    func quickGELUIsNearTheExactFunction(path: Path) throws {
        let kernels = try path.kernels()
        let x = Guarded(Self.inputs)
        kernels.quickGELU(x, count: Self.inputs.count)
        let exact = Self.inputs.map { Double($0) / (1 + exp(-Double(Float(1.702)) * Double($0))) }
        let comparison = Comparison(x.values, exact, tolerance: 2e-6, floor: 1e-30)
        #expect(comparison.failure == nil)
        #expect(x.isIntact)
    }

    @Test(arguments: Path.allCases)
    func activationsKeepNaNAndDoNotDependOnPlace(path: Path) throws {
        let kernels = try path.kernels()
        var random = Random(seed: 3)
        let inputs = random.floats(67, times: 6)
        let activations: [(Guarded<Float>, Int, Int) -> Void] = [
            { kernels.gelu($0, from: $1, count: $2) }, { kernels.quickGELU($0, from: $1, count: $2) },
        ]
        for activation in activations {
            let whole = Guarded(inputs)
            activation(whole, 0, inputs.count)
            for index in inputs.indices {
                let alone = Guarded([inputs[index]])
                activation(alone, 0, 1)
                #expect(alone.hasSameBytes(as: whole, from: index, count: 1) && alone.isIntact)
            }
            for count in [1, 15, 16, 17, 33] {
                let part = Guarded(inputs)
                activation(part, 1, count)
                #expect(part.hasSameBytes(at: 1, as: whole, from: 1, count: count))
                #expect(part[0] == inputs[0] && part[count + 1] == inputs[count + 1])
            }
            let odd = Guarded<Float>([.nan, 1])
            activation(odd, 0, 2)
            #expect(odd[0].isNaN && odd[1] > 0.8)
        }
    }

    @Test(arguments: Path.allCases)
    func layerNormIsNearTheExactFunction(path: Path) throws {
        let kernels = try path.kernels()
        for columns in [1, 3, 15, 16, 17, 33, 64, 65, 1_024] {
            var random = Random(seed: columns)
            let weight = Guarded(random.floats(columns)), bias = Guarded(random.floats(columns))
            let stride = columns + 2
            // Far from zero: the mean must go before squares are taken.
            let x = Guarded(random.floats(3 * stride, times: 3).map { $0 + 40 })
            let y = Guarded<Float>(3 * stride, filledWith: -77)
            kernels.layerNorm(x, stride: stride, weight: weight, bias: bias, rows: 0..<3, into: y, outStride: stride)
            for row in 0..<3 {
                let values = x.values(row * stride..<row * stride + columns).map(Double.init)
                let mean = values.reduce(0, +) / Double(columns)
                let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(columns)
                let inverse = 1 / (variance + 1e-5).squareRoot()
                let exact = values.indices.map { (values[$0] - mean) * inverse * Double(weight[$0]) + Double(bias[$0]) }
                // What rounding of the mean costs: half a unit of 40 in the last place, scaled.
                let magnitudes = values.indices.map { abs(exact[$0]) + inverse * 40 * abs(Double(weight[$0])) }
                let actual = y.values(row * stride..<(row + 1) * stride)
                #expect(
                    Comparison(Array(actual[..<columns]), exact, tolerance: 1e-6, magnitudes: magnitudes).failure == nil
                )
                #expect(actual[columns...].allSatisfy { $0 == -77 })
                let alone = Guarded<Float>(columns, filledWith: .nan)
                kernels.layerNorm(
                    Guarded(x.values(row * stride..<row * stride + columns)), stride: columns, weight: weight,
                    bias: bias, rows: 0..<1, into: alone, outStride: columns)
                #expect(alone.hasSameBytes(as: y, from: row * stride, count: columns) && alone.isIntact)
            }
            #expect(y.isIntact)
        }
    }

    @Test(arguments: Path.allCases)
    func splitRowsAreTheSameBytes(path: Path) throws {
        let kernels = try path.kernels()
        var random = Random(seed: 5)
        let (rows, columns) = (257, 192)
        let inputs = random.floats(rows * columns, times: 4)
        let weight = Guarded(random.floats(columns)), bias = Guarded(random.floats(columns))
        let pool = try Pool(threads: 3)
        let direct = Guarded<Float>(rows * columns, filledWith: 0),
            split = Guarded<Float>(rows * columns, filledWith: 0)
        let x = Guarded(inputs)
        kernels.layerNorm(
            x, stride: columns, weight: weight, bias: bias, rows: 0..<rows, into: direct, outStride: columns)
        kernels.runLayerNorm(pool, x, stride: columns, weight: weight, bias: bias, rows: rows, into: split)
        #expect(split.hasSameBytes(as: direct, from: 0, count: rows * columns))
        kernels.gelu(direct, count: rows * columns)
        kernels.runGELU(pool, split, columns: columns, rows: rows)
        #expect(split.hasSameBytes(as: direct, from: 0, count: rows * columns))
    }
}
