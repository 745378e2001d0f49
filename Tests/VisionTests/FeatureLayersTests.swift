// What a patch gets of a finer map, and which layers an encoder has.

import Tensor
import Testing

@testable import Vision

@Suite("Feature layers")
struct FeatureLayersTests {
    /// 17 × 17 pixels after the stem and the first block, 9 × 9 after the second.
    private static func configuration() throws -> EfficientNetConfiguration {
        try EfficientNetConfiguration(
            side: 33, stem: 16,
            blocks: [
                EfficientNetBlock(kernel: 3, stride: 1, input: 16, expanded: 16, output: 3),
                EfficientNetBlock(kernel: 3, stride: 2, input: 3, expanded: 48, output: 2),
            ], head: 7, precision: .float32)
    }

    /// A map whose pixel (y, x) is 100 y + x + channel / 8.
    private static func map(side: Int, channels: Int) -> FloatRows {
        let rows = FloatRows(capacity: side * side, columns: channels)
        for pixel in 0..<side * side {
            let values = (0..<channels).map { Float(100 * (pixel / side) + pixel % side) + Float($0) / 8 }
            rows.setRow(pixel, values.span)
        }
        return rows
    }

    @Test("a patch has the mean of the pixels that it covers, the edge's own beyond the edge, times the factor")
    func gathering() throws {
        let layers = FeatureLayers(blocks: [.init(index: 1, factor: 1), .init(index: 0, factor: 2)])
        let gathering = try #require(FeatureGathering(layers, of: Self.configuration()))
        // Twice: what stood there before must not be added to.
        for _ in 0..<2 {
            gathering.take(Self.map(side: 17, channels: 3), ofBlock: 0, side: 17)
            gathering.take(Self.map(side: 9, channels: 2), ofBlock: 1, side: 9)
        }
        #expect(gathering.rows.capacity == 81 && gathering.rows.columns == 5)
        #expect(gathering.rows.array(row: 0) == [0, 0.125, 101, 101.25, 101.5])
        // Patch (1, 2) covers rows 2 and 3, columns 4 and 5.
        #expect(gathering.rows.array(row: 11) == [102, 102.125, 509, 509.25, 509.5])
        // The last patch covers row and column 16 and what is beyond them.
        #expect(gathering.rows.array(row: 80) == [808, 808.125, 3232, 3232.25, 3232.5])
        #expect(gathering.rows.array(row: 8) == [8, 8.125, 132, 132.25, 132.5])
    }

    @Test("widths; blocks that are not there, that are named twice, factors that are no numbers")
    func widths() throws {
        let configuration = try Self.configuration()
        func width(_ blocks: [(Int, Float)]) -> Int? {
            configuration.width(of: FeatureLayers(blocks: blocks.map { .init(index: $0.0, factor: $0.1) }))
        }
        #expect(width([]) == 7 && width([(1, 1)]) == 2 && width([(0, 1), (1, 0.5)]) == 5)
        for wrong: [(Int, Float)] in [[(2, 1)], [(-1, 1)], [(0, 1), (0, 1)], [(0, .nan)], [(0, .infinity)]] {
            #expect(width(wrong) == nil)
            let layers = FeatureLayers(blocks: wrong.map { .init(index: $0.0, factor: $0.1) })
            #expect(FeatureGathering(layers, of: configuration) == nil)
        }
        #expect(FeatureGathering(.result, of: configuration) == nil)
    }
}
