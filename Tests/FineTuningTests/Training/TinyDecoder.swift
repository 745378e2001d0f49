// A small random decoder for gradient checks: grouped-query attention, three blocks, odd sizes where the kernels allow them.

import Diagnostics
import Language
import MemVP
import Tensor

@testable import FineTuning

enum TinyDecoder {
    static let width = 48
    static let vocabulary = 70
    static let slots = 5

    static func model(_ precision: Precision, seed: UInt64 = 1) throws -> LlamaModel {
        let (hidden, layers, heads, keyValueHeads, headSize) = (80, 3, 4, 2, 16)
        let configuration = try LlamaConfiguration(
            width: width, hidden: hidden, layers: layers, heads: heads, keyValueHeads: keyValueHeads,
            headSize: headSize, vocabulary: vocabulary, normEpsilon: 1e-5, ropeTheta: 10_000, contextLength: 64,
            precision: precision)
        var random = TrainingRandom(seed: seed)
        func matrix(_ rows: Int, _ columns: Int) throws(Failure) -> WeightMatrix {
            let deviation = 1 / Double(columns).squareRoot()
            let values = (0..<rows * columns).map { _ in Float(random.normal() * deviation) }
            return try WeightMatrix(
                name: "random", precision: precision, rows: rows, columns: columns, values: values.span)
        }
        func norm() -> AlignedStorage<Float> {
            AlignedStorage((0..<width).map { _ in Float(1 + 0.2 * random.normal()) })
        }
        let embedding = try matrix(vocabulary, width)
        var blocks: [LlamaWeights.Block] = []
        for _ in 0..<layers {
            blocks.append(
                LlamaWeights.Block(
                    attentionNorm: norm(), queryKeyValue: try matrix((heads + 2 * keyValueHeads) * headSize, width),
                    attentionOutput: try matrix(width, heads * headSize), feedForwardNorm: norm(),
                    gateUp: try matrix(2 * hidden, width), down: try matrix(width, hidden)))
        }
        let weights = LlamaWeights(
            embedding: embedding, blocks: blocks, outputNorm: norm(), output: try matrix(vocabulary, width))
        return LlamaModel(configuration: configuration, weights: weights, positions: 64)
    }

    /// Three sequences of different lengths, their targets at the ends.
    static let batch: [TrainingSequence] = [
        TrainingSequence(
            input: [3, 14, 15, 9, 26], targets: [(2, 5), (3, 35), (4, 8)], weight: 0.2),
        TrainingSequence(input: [7], targets: [(0, 69)], weight: 0.2),
        TrainingSequence(input: [1, 1, 2, 3, 5, 8, 13, 21, 34], targets: [(8, 55)], weight: 0.2),
    ]

    /// Images of random rows, large enough to matter, one for each of `count` sequences.
    static func images(
        _ prompting: Adapter.Prompting, _ compute: Compute, rounded: Bool, seed: UInt64 = 2, count: Int = 3
    ) -> VisualBank {
        let shape = Adapter.Configuration(
            features: 1, hidden: 1, width: width, slots: slots, lambda: 1, scale: 1, prompting: prompting)
        let images = VisualBank(shape, capacity: count + 1)
        var random = TrainingRandom(seed: seed)
        for (rows, _) in images.projections {
            for row in 0..<count * slots {
                let values = (0..<width).map { _ in Float(0.3 * random.normal()) }
                rows.setRow(row, values.span)
            }
        }
        images.finish(count, rounded: rounded, compute: compute)
        return images
    }

    /// The gradients of all of them.
    static func gradients(_ images: VisualBank, count: Int = 3) -> [[Float]] {
        images.projections.map { array($0.gradients, count * slots) }
    }

    /// ‖a − b‖ / ‖b‖; infinite where anything is not a number or the shapes differ.
    static func distance(_ a: [Float], _ b: [Float]) -> Double {
        guard a.count == b.count, a.allSatisfy(\.isFinite), b.allSatisfy(\.isFinite) else { return .infinity }
        var difference = 0.0
        var norm = 0.0
        for (x, y) in zip(a, b) {
            difference += Double(x - y) * Double(x - y)
            norm += Double(y) * Double(y)
        }
        return norm == 0 ? (difference == 0 ? 0 : .infinity) : (difference / norm).squareRoot()
    }

    static func array(_ rows: FloatRows, _ count: Int) -> [Float] { (0..<count).flatMap { rows.array(row: $0) } }
}
