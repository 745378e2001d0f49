// Norm, rotary embedding, activations and the greedy choice: near the exact result in double, and the same bytes wherever an
// element stands.
import Foundation
import Testing

private func exactSiLU(_ x: Double) -> Double { x / (1 + exp(-x)) }

@Suite struct RowKernelTests {
    // MARK: SiLU and its exponential

    /// Every exponent that matters and all of the exponential's reduction range, against Foundation's exp in double.
    @Test(arguments: Path.allCases)
    func siluIsNearTheExactFunction(path: Path) throws {
        let kernels = try path.kernels()
        var inputs: [Float] = [0, -0.0, 1e-30, -1e-30, 1e-6, -1e-6, 0.34657, -0.34658, 87, 88, 89, 1e4, 1e30]
        for step in 0..<40_000 { inputs.append(-86 + 172 * Float(step) / 40_000) }
        let x = Guarded(inputs)
        kernels.silu(x, count: inputs.count)
        let comparison = Comparison(x.values, inputs.map { exactSiLU(Double($0)) }, tolerance: 4e-7, floor: 1e-36)
        #expect(comparison.failure == nil)
        #expect(x.isIntact)
    }

    @Test(arguments: Path.allCases)
    func siluHasNoHolesAtTheExtremes(path: Path) throws {
        let kernels = try path.kernels()
        let inputs: [Float] = [
            -87.3, -87.4, -88, -100, -1e10, -.greatestFiniteMagnitude, .greatestFiniteMagnitude, .leastNonzeroMagnitude,
            -.leastNonzeroMagnitude, .infinity, .nan,
        ]
        let x = Guarded(inputs)
        kernels.silu(x, count: inputs.count)
        for index in 0..<6 { #expect(x[index] <= 0 && x[index] > -2e-36, "\(inputs[index])") }
        #expect(x[6] == .greatestFiniteMagnitude)
        #expect(abs(x[7]) <= .leastNonzeroMagnitude && abs(x[8]) <= .leastNonzeroMagnitude)
        #expect(x[9] == .infinity)
        #expect(x[10].isNaN)
    }

    @Test(arguments: Path.allCases)
    func siluBytesDoNotDependOnPlace(path: Path) throws {
        let kernels = try path.kernels()
        var random = Random(seed: 1)
        let inputs = random.floats(67, times: 8)
        let whole = Guarded(inputs)
        kernels.silu(whole, count: inputs.count)
        for index in inputs.indices {
            let alone = Guarded([inputs[index]])
            kernels.silu(alone, count: 1)
            #expect(alone.hasSameBytes(as: whole, from: index, count: 1) && alone.isIntact)
        }
        for count in [1, 15, 16, 17, 31, 33] {
            let part = Guarded(inputs)
            kernels.silu(part, from: 1, count: count)
            #expect(part.hasSameBytes(at: 1, as: whole, from: 1, count: count))
            #expect(part[0] == inputs[0] && part[count + 1] == inputs[count + 1])
        }
    }

    // MARK: SwiGLU

    @Test(arguments: Path.allCases)
    func swigluGatesAlternatingPanels(path: Path) throws {
        let kernels = try path.kernels()
        var random = Random(seed: 2)
        let (batch, panels, stride, outStride) = (5, 3, 99, 50)
        let x = Guarded(random.floats(batch * stride, times: 4))
        let y = Guarded<Float>(batch * outStride, filledWith: -77)
        kernels.swiglu(x, stride: stride, panels: panels, rows: 1..<4, into: y, outStride: outStride)
        for row in 0..<batch {
            let actual = y.values(row * outStride..<(row + 1) * outStride)
            guard (1..<4).contains(row) else {
                #expect(actual.allSatisfy { $0 == -77 })
                continue
            }
            let exact = (0..<panels * 16).map { index in
                let gate = row * stride + index / 16 * 32 + index % 16
                return exactSiLU(Double(x[gate])) * Double(x[gate + 16])
            }
            #expect(Comparison(Array(actual[..<48]), exact, tolerance: 5e-7).failure == nil)
            #expect(actual[48...].allSatisfy { $0 == -77 })
        }
        #expect(y.isIntact)
    }

    // MARK: RMSNorm

    @Test(arguments: Path.allCases)
    func rmsNormIsNearTheExactFunction(path: Path) throws {
        let kernels = try path.kernels()
        for columns in [1, 3, 15, 16, 17, 33, 64, 65, 576] {
            var random = Random(seed: columns)
            let weight = Guarded(random.floats(columns)), stride = columns + 2
            let x = Guarded(random.floats(3 * stride, times: 3))
            let y = Guarded<Float>(3 * stride, filledWith: -77)
            kernels.rmsNorm(x, stride: stride, weight: weight, epsilon: 1e-5, rows: 0..<3, into: y, outStride: stride)
            for row in 0..<3 {
                let values = x.values(row * stride..<row * stride + columns).map(Double.init)
                let inverse = 1 / (values.reduce(0) { $0 + $1 * $1 } / Double(columns) + 1e-5).squareRoot()
                let exact = values.indices.map { values[$0] * inverse * Double(weight[$0]) }
                let actual = y.values(row * stride..<(row + 1) * stride)
                #expect(Comparison(Array(actual[..<columns]), exact, tolerance: 1e-6).failure == nil)
                #expect(actual[columns...].allSatisfy { $0 == -77 })
                let alone = Guarded<Float>(columns, filledWith: .nan)
                kernels.rmsNorm(
                    Guarded(x.values(row * stride..<row * stride + columns)), stride: columns, weight: weight,
                    epsilon: 1e-5, rows: 0..<1, into: alone, outStride: columns)
                #expect(alone.hasSameBytes(as: y, from: row * stride, count: columns) && alone.isIntact)
            }
            #expect(y.isIntact)
        }
    }

    // MARK: RoPE

    @Test(arguments: Path.allCases, [16, 32, 64, 80])
    func ropeRotatesInterleavedPairs(path: Path, headSize: Int) throws {
        let kernels = try path.kernels()
        var random = Random(seed: headSize)
        let heads = 3
        let angles = (0..<headSize / 2).map { Float(7) / powf(10_000, Float(2 * $0) / Float(headSize)) }
        let cosines = Guarded(angles.map { cosf($0) }), sines = Guarded(angles.map { sinf($0) })
        let inputs = random.floats(heads * headSize)
        let x = Guarded(inputs)
        kernels.rope(x, heads: heads, headSize: headSize, cosines: cosines, sines: sines)
        var exact: [Double] = [], magnitudes: [Double] = []
        for index in inputs.indices {
            let pair = index % headSize / 2, isOdd = index % 2 == 1
            let even = Double(inputs[index - (isOdd ? 1 : 0)]), odd = Double(inputs[index + (isOdd ? 0 : 1)])
            let c = Double(cosines[pair]), s = Double(sines[pair])
            exact.append(isOdd ? even * s + odd * c : even * c - odd * s)
            magnitudes.append(abs(even) + abs(odd))
        }
        #expect(Comparison(x.values, exact, tolerance: 2e-7, magnitudes: magnitudes).failure == nil)
        let alone = Guarded(Array(inputs[headSize..<2 * headSize]))
        kernels.rope(alone, heads: 1, headSize: headSize, cosines: cosines, sines: sines)
        #expect(alone.hasSameBytes(as: x, from: headSize, count: headSize))
        #expect(x.isIntact && alone.isIntact)
    }

    // MARK: Greedy choice

    @Test(arguments: Path.allCases)
    func normaliserIsNearTheExactFunction(path: Path) throws {
        let kernels = try path.kernels()
        for count in [1, 2, 15, 16, 17, 33, 1000, 20_000] {
            var random = Random(seed: count)
            let logits = random.floats(count, times: 6)
            let result = kernels.argmaxLogSumExp(logits)
            let maximum = try #require(logits.max())
            #expect(result.index == logits.firstIndex(of: maximum))
            #expect(result.maximum == maximum)
            let sum = logits.reduce(0.0) { $0 + exp(Double($1) - Double(maximum)) }
            #expect(abs(Double(result.logSumExp) - (log(sum) + Double(maximum))) < 2e-6)
        }
    }

    @Test(arguments: Path.allCases)
    func theFirstMaximumWins(path: Path) throws {
        let kernels = try path.kernels()
        for count in [2, 17, 48, 65] {
            for first in 0..<count - 1 {
                var logits = [Float](repeating: -1, count: count)
                logits[first] = 3
                logits[count - 1] = 3
                #expect(kernels.argmaxLogSumExp(logits).index == first)
            }
        }
        #expect(kernels.argmaxLogSumExp([0.0, -0.0, 0.0]).index == 0)
        #expect(kernels.argmaxLogSumExp([-0.0, 0.0]).index == 0)
    }

    @Test(arguments: Path.allCases)
    func aNumberIsChosenOverNaN(path: Path) throws {
        let kernels = try path.kernels()
        for count in [2, 16, 17, 40] {
            var logits = [Float](repeating: .nan, count: count)
            let allNaN = kernels.argmaxLogSumExp(logits)
            #expect(allNaN.index == 0 && allNaN.maximum.isNaN && allNaN.logSumExp.isNaN)
            for place in 0..<count {
                logits = Array(repeating: .nan, count: count)
                logits[place] = -.infinity
                #expect(kernels.argmaxLogSumExp(logits).index == place)
                logits[place] = -5
                let result = kernels.argmaxLogSumExp(logits)
                #expect(result.index == place && result.maximum == -5 && result.logSumExp.isNaN)
            }
        }
    }

    @Test(arguments: Path.allCases)
    func forbiddenLogitsCountForNothing(path: Path) throws {
        let kernels = try path.kernels()
        var logits = [Float](repeating: -.infinity, count: 40)
        #expect(kernels.argmaxLogSumExp(logits).logSumExp == -.infinity)
        #expect(kernels.argmaxLogSumExp(logits).index == 0)
        logits[23] = 1.5
        let result = kernels.argmaxLogSumExp(logits)
        #expect(result.index == 23 && result.maximum == 1.5 && result.logSumExp == 1.5)
        logits[30] = .infinity
        #expect(kernels.argmaxLogSumExp(logits).logSumExp == .infinity)
    }

    // MARK: Threads

    @Test(arguments: Path.allCases)
    func threadsDoNotChangeBytes(path: Path) throws {
        let kernels = try path.kernels()
        var random = Random(seed: 6)
        let (batch, width) = (41, 576)
        let x = Guarded(random.floats(batch * 2 * width)), weight = Guarded(random.floats(width))
        let normed = Guarded<Float>(batch * width, filledWith: .nan)
        let gated = Guarded<Float>(batch * width, filledWith: .nan)
        kernels.rmsNorm(
            x, stride: 2 * width, weight: weight, epsilon: 1e-5, rows: 0..<batch, into: normed, outStride: width)
        kernels.swiglu(x, stride: 2 * width, panels: width / 16, rows: 0..<batch, into: gated, outStride: width)
        for threads in 1...3 {
            let pool = try Pool(threads: threads)
            let y = Guarded<Float>(batch * width, filledWith: .nan)
            kernels.runRMSNorm(
                pool, x, stride: 2 * width, weight: weight, epsilon: 1e-5, rows: batch, into: y, outStride: width)
            #expect(y.hasSameBytes(as: normed, count: y.count) && y.isIntact)
            kernels.runSwiGLU(pool, x, stride: 2 * width, panels: width / 16, rows: batch, into: y, outStride: width)
            #expect(y.hasSameBytes(as: gated, count: y.count) && y.isIntact)
        }
    }
}
