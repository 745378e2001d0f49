// Depthwise convolution: sums near the exact ones, borders as zero padding, the same bytes on any thread.
import Testing

private struct Case {
    let shape: DepthwiseShape
    let x: Guarded<Float>, w: Guarded<Float>, bias: Guarded<Float>

    init(_ shape: DepthwiseShape) {
        self.shape = shape
        var random = Random(seed: shape.channels * 100 + shape.width)
        x = Guarded(random.floats(shape.height * shape.width * shape.channels))
        w = Guarded(random.floats(shape.kernel * shape.kernel * shape.channels))
        bias = Guarded(random.floats(shape.channels))
    }

    var outputs: Int { shape.outHeight * shape.outWidth * shape.channels }

    /// Visits the taps of one output that fall inside the image: (index into x, index into w).
    func forEachTap(_ output: Int, _ visit: (Int, Int) -> Void) {
        let channel = output % shape.channels, pixel = output / shape.channels
        let top = pixel / shape.outWidth * shape.stride - shape.padTop
        let left = pixel % shape.outWidth * shape.stride - shape.padLeft
        for ky in 0..<shape.kernel where (0..<shape.height).contains(top + ky) {
            for kx in 0..<shape.kernel where (0..<shape.width).contains(left + kx) {
                visit(
                    ((top + ky) * shape.width + left + kx) * shape.channels + channel,
                    (ky * shape.kernel + kx) * shape.channels + channel)
            }
        }
    }
}

@Suite struct ConvolutionTests {
    static let shapes = [
        DepthwiseShape(height: 9, width: 11, channels: 16, kernel: 3, stride: 1),
        DepthwiseShape(height: 10, width: 9, channels: 48, kernel: 3, stride: 2),
        DepthwiseShape(height: 9, width: 9, channels: 32, kernel: 5, stride: 1),
        DepthwiseShape(height: 13, width: 12, channels: 80, kernel: 5, stride: 2),
        DepthwiseShape(height: 2, width: 3, channels: 16, kernel: 5, stride: 1),
        DepthwiseShape(height: 1, width: 1, channels: 32, kernel: 3, stride: 2),
        DepthwiseShape(height: 7, width: 8, channels: 16, kernel: 7, stride: 1),
        DepthwiseShape(height: 10, width: 11, channels: 16, kernel: 9, stride: 1),
        DepthwiseShape(height: 6, width: 21, channels: 16, kernel: 3, stride: 1, low: -.infinity, high: .infinity),
    ]

    @Test(arguments: Path.allCases, shapes)
    func floatsAreNearTheExactSum(path: Path, shape: DepthwiseShape) throws {
        let kernels = try path.kernels()
        let one = Case(shape)
        let out = Guarded<Float>(one.outputs, filledWith: .nan)
        kernels.depthwise(shape, one.x, one.w, bias: one.bias, into: out)
        var exact: [Double] = [], magnitudes: [Double] = []
        for output in 0..<one.outputs {
            var sum = Double(one.bias[output % shape.channels]), size = abs(sum)
            one.forEachTap(output) {
                let term = Double(one.x[$0]) * Double(one.w[$1])
                sum += term
                size += abs(term)
            }
            exact.append(max(Double(shape.low), min(Double(shape.high), sum)))
            magnitudes.append(size)
        }
        #expect(Comparison(out.values, exact, tolerance: 5e-7, magnitudes: magnitudes).failure == nil)
        #expect(out.isIntact)
    }

    @Test(arguments: Path.allCases, [shapes[0], shapes[3]])
    func rowRangesWriteTheirOwnRowsOnly(path: Path, shape: DepthwiseShape) throws {
        let kernels = try path.kernels()
        let one = Case(shape), line = shape.outWidth * shape.channels
        let whole = Guarded<Float>(one.outputs, filledWith: .nan), part = Guarded<Float>(one.outputs, filledWith: -77)
        kernels.depthwise(shape, one.x, one.w, bias: one.bias, into: whole)
        kernels.depthwise(shape, one.x, one.w, bias: one.bias, rows: 2..<4, into: part)
        #expect(part.hasSameBytes(at: 2 * line, as: whole, from: 2 * line, count: 2 * line))
        #expect(part.values(0..<2 * line).allSatisfy { $0 == -77 })
        #expect(part.values(4 * line..<part.count).allSatisfy { $0 == -77 })
    }

    @Test(arguments: Path.allCases)
    func threadsDoNotChangeBytes(path: Path) throws {
        let kernels = try path.kernels()
        let shape = DepthwiseShape(height: 33, width: 30, channels: 48, kernel: 5, stride: 1)
        let one = Case(shape)
        let expected = Guarded<Float>(one.outputs, filledWith: .nan)
        kernels.depthwise(shape, one.x, one.w, bias: one.bias, into: expected)
        for threads in 1...3 {
            let pool = try Pool(threads: threads)
            let out = Guarded<Float>(one.outputs, filledWith: .nan)
            kernels.runDepthwise(pool, shape, one.x, one.w, bias: one.bias, into: out)
            #expect(out.hasSameBytes(as: expected, count: out.count) && out.isIntact)
        }
    }
}
