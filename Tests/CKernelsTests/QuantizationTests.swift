// Activations to int8: the integers of every path are those of the scalar one, and those follow the documented formula.
import Testing

private let widths = [1, 3, 15, 16, 17, 63, 64, 65, 257, 576]

/// The rows that break careless code: zeros, ties, extremes, tiny, huge, NaN, infinities.
private func rows(width: Int) -> [[Float]] {
    var random = Random(seed: width)
    func row(_ values: [Float]) -> [Float] { (0..<width).map { values[$0 % values.count] } }
    return [
        random.floats(width), random.floats(width, times: 1e-6), random.floats(width, times: 1e20), row([0]),
        row([127, 0.5, -0.5, 1.5, 2.5, -2.5, 126.5]), row([1, -1]), row([-3]), row([1e-38, .leastNonzeroMagnitude]),
        row([.greatestFiniteMagnitude, -1]), row([.nan]), row([1, .nan, -0.5]), row([.infinity, 1, -.infinity, .nan]),
    ]
}

private func matrix(_ rows: [[Float]], stride: Int) -> Guarded<Float> {
    let out = Guarded<Float>(rows.count * stride, filledWith: .nan)
    for (index, row) in rows.enumerated() {
        for (column, value) in row.enumerated() { out[index * stride + column] = value }
    }
    return out
}

@Suite struct QuantizationTests {
    @Test func scalarFollowsTheFormula() throws {
        let scalar = try Path.scalar.kernels()
        for width in widths {
            let source = rows(width: width)
            let out = Activations8(rows: source.count, columns: width)
            scalar.quantize(matrix(source, stride: width), stride: width, rows: 0..<source.count, into: out)
            for (index, row) in source.enumerated() {
                let finite = Float.greatestFiniteMagnitude
                let maximum = min(finite, row.filter { !$0.isNaN }.map(abs).max() ?? 0)
                let isZero = maximum < 1e-30
                #expect(out.scales[index] == (isZero ? 1 : maximum / 127))
                var sum = 0
                for column in 0..<out.stride {
                    let value = column < width ? row[column] : 0
                    let scaled = value * (isZero ? 0 : 127 / maximum)
                    let expected = scaled.isNaN ? 0 : max(-127, min(127, scaled.rounded(.toNearestOrEven)))
                    #expect(Float(out.values[index * out.stride + column]) == expected)
                    sum += Int(expected)
                }
                #expect(Int(out.sums[index]) == sum)
            }
            #expect(out.isIntact)
        }
    }

    @Test(arguments: Path.vector)
    func integersAndScalesEqualScalar(path: Path) throws {
        let kernels = try path.kernels(), scalar = try Path.scalar.kernels()
        for width in widths {
            let source = rows(width: width), stride = width + 5
            let x = matrix(source, stride: stride)
            for (scale, isDense) in [(nil, false), (nil, true), (0.031, false), (0.031, true)] as [(Float?, Bool)] {
                let expected = Activations8(rows: source.count, columns: width, isDense: isDense)
                let out = Activations8(rows: source.count, columns: width, isDense: isDense)
                for (target, table) in [(expected, scalar), (out, kernels)] {
                    if let scale {
                        table.quantize(x, stride: stride, rows: 0..<source.count, scale: scale, into: target)
                    } else {
                        table.quantize(x, stride: stride, rows: 0..<source.count, into: target)
                    }
                }
                #expect(out.hasSameBytes(as: expected) && out.isIntact, "width \(width) scale \(scale ?? 0)")
            }
        }
    }

    @Test func scalarPlanesFollowTheFormula() throws {
        let scalar = try Path.scalar.kernels()
        for width in widths {
            let source = rows(width: width), x = matrix(source, stride: width)
            let coarse = Activations8(rows: source.count, columns: width)
            let planes = Activations8(rows: 2 * source.count, columns: width)
            scalar.quantize(x, stride: width, rows: 0..<source.count, into: coarse)
            scalar.quantizePlanes(x, stride: width, rows: 0..<source.count, into: planes)
            for (index, row) in source.enumerated() {
                let scale = coarse.scales[index], base = index * coarse.stride, stride = planes.stride
                #expect(planes.values.hasSameBytes(at: 2 * base, as: coarse.values, from: base, count: stride))
                #expect(planes.scales[2 * index] == scale && planes.scales[2 * index + 1] == scale / 254)
                #expect(planes.sums[2 * index] == coarse.sums[index])
                var sum = 0
                for column in 0..<stride {
                    let value = column < width ? row[column] * (1 / scale) - Float(coarse.values[base + column]) : 0
                    let scaled = value * 254
                    let expected = scaled.isNaN ? 0 : max(-127, min(127, scaled.rounded(.toNearestOrEven)))
                    #expect(Float(planes.values[2 * base + stride + column]) == expected)
                    sum += Int(expected)
                }
                #expect(Int(planes.sums[2 * index + 1]) == sum)
            }
            #expect(planes.isIntact)
        }
    }

    @Test(arguments: Path.vector)
    func planesEqualScalar(path: Path) throws {
        let kernels = try path.kernels(), scalar = try Path.scalar.kernels()
        for width in widths {
            let source = rows(width: width), stride = width + 5
            let x = matrix(source, stride: stride)
            for isDense in [false, true] {
                let expected = Activations8(rows: 2 * source.count, columns: width, isDense: isDense)
                let out = Activations8(rows: 2 * source.count, columns: width, isDense: isDense)
                scalar.quantizePlanes(x, stride: stride, rows: 0..<source.count, into: expected)
                kernels.quantizePlanes(x, stride: stride, rows: 0..<source.count, into: out)
                #expect(out.hasSameBytes(as: expected) && out.isIntact, "width \(width)")
            }
        }
    }

    @Test(arguments: Path.allCases)
    func rowRangesTouchTheirOwnRowsOnly(path: Path) throws {
        let kernels = try path.kernels()
        let source = rows(width: 65)
        let whole = Activations8(rows: source.count, columns: 65), part = Activations8(rows: source.count, columns: 65)
        kernels.quantize(matrix(source, stride: 65), stride: 65, rows: 0..<source.count, into: whole)
        kernels.quantize(matrix(source, stride: 65), stride: 65, rows: 3..<5, into: part)
        #expect(part.values.hasSameBytes(at: 3 * 128, as: whole.values, from: 3 * 128, count: 2 * 128))
        #expect(part.values.holdsOnly(0x55, in: 0..<3 * 128))
        #expect(part.values.holdsOnly(0x55, in: 5 * 128..<part.values.count))
        #expect(part.sums.holdsOnly(0x55, in: 0..<3) && part.sums.holdsOnly(0x55, in: 5..<source.count))
        #expect(part.scales[2].isNaN && part.scales[5].isNaN)
    }

    @Test(arguments: Path.allCases)
    func threadsDoNotChangeBytes(path: Path) throws {
        let kernels = try path.kernels()
        var random = Random(seed: 4)
        let (count, width, stride) = (67, 576, 580)
        let x = Guarded(random.floats(count * stride))
        let expected = Activations8(rows: count, columns: width)
        kernels.quantize(x, stride: stride, rows: 0..<count, into: expected)
        let tensor = Activations8(rows: count, columns: width)
        let scale = kernels.runQuantizeTensor(nil, x, stride: stride, into: tensor)
        let planes = Activations8(rows: 2 * count, columns: width)
        kernels.quantizePlanes(x, stride: stride, rows: 0..<count, into: planes)
        for threads in 1...3 {
            let pool = try Pool(threads: threads)
            let out = Activations8(rows: count, columns: width)
            kernels.runQuantize(pool, x, stride: stride, into: out)
            #expect(out.hasSameBytes(as: expected) && out.isIntact)
            let outTensor = Activations8(rows: count, columns: width)
            #expect(kernels.runQuantizeTensor(pool, x, stride: stride, into: outTensor) == scale)
            #expect(outTensor.hasSameBytes(as: tensor) && outTensor.isIntact)
            let outPlanes = Activations8(rows: 2 * count, columns: width)
            kernels.runQuantizePlanes(pool, x, stride: stride, into: outPlanes)
            #expect(outPlanes.hasSameBytes(as: planes) && outPlanes.isIntact)
        }
    }

    @Test(arguments: Path.allCases)
    func aTensorsScaleIsThatOfItsMaximum(path: Path) throws {
        let kernels = try path.kernels()
        for stride in [17, 20] {
            let x = Guarded<Float>(3 * stride, filledWith: 1000)  // beyond the columns: not to be read
            for row in 0..<3 { for column in 0..<17 { x[row * stride + column] = Float(row + 1) * 0.5 } }
            x[stride + 16] = stride == 17 ? -25.4 : 25.4
            let out = Activations8(rows: 3, columns: 17)
            #expect(kernels.runQuantizeTensor(nil, x, stride: stride, into: out) == 25.4 / 127)
            #expect((0..<3).allSatisfy { out.scales[$0] == 25.4 / 127 })
            #expect(abs(out.values[out.stride + 16]) == 127)
            #expect(out.values[0] == 2 && out.values[2 * out.stride] == 8)  // 0.5 and 1.5 over 0.2, half to even
        }
    }

    @Test(arguments: Path.allCases)
    func maximumIsExactAndPassesOverNaN(path: Path) throws {
        let kernels = try path.kernels()
        for count in [0, 1, 3, 15, 16, 17, 63, 64, 65, 200] {
            for place in 0..<count {
                let x = Guarded<Float>(count, filledWith: -0.25)
                x[place] = -1.5
                x[(place + 7) % count] = count > 7 ? .nan : x[(place + 7) % count]
                #expect(kernels.maxAbs(x, count: count) == 1.5)
            }
        }
        #expect(kernels.maxAbs(Guarded<Float>([.nan]), count: 1) == 0)
        #expect(kernels.maxAbs(Guarded<Float>([1, -.infinity]), count: 2) == .infinity)
    }
}
