// Feature blocks brought to one scale: each is divided by its root mean square over some of the photos. Blocks of an encoder differ by
// what their batch norms left them, threefold in EfficientNet-Lite2, and AdamW's steps know nothing of it.

internal import Diagnostics
internal import MemVP
internal import Tensor
internal import Vision

/// Chooses the factors of feature layers.
enum FeatureScale {
    /// Photos that are measured: the root mean squares of 64 differ from those of 512 by less than a hundredth.
    private static let photos = 64

    /// The layers of `blocks`, each brought to a root mean square of 1 on the first photos of `rows` that decode.
    ///
    /// - Throws: `configuration_invalid` when the encoder has no such blocks.
    static func layers(
        _ blocks: [Int], of rows: [ExampleRow], bundle: ModelBundle, compute: Compute
    ) throws(Failure) -> FeatureLayers {
        guard !blocks.isEmpty else { return .result }
        let bare = FeatureLayers(blocks: blocks.map { FeatureLayers.Block(index: $0, factor: 1) })
        guard bundle.vision.width(of: bare) != nil else {
            throw Failure(
                .configurationInvalid, "--feature-blocks \(blocks.map(String.init).joined(separator: ","))",
                "are not blocks of this model's encoder",
                hint: "Its blocks are \(bundle.vision.blockRange); name each once.")
        }
        let single = bare.blocks.map { FeatureLayers(blocks: [$0]) }
        let vision = VisionWorker(bundle.vision, compute: compute)
        var squares = [Double](repeating: 0, count: blocks.count)
        var counts = squares
        var seen: Set<String> = []
        var measured = 0
        for row in rows where measured < photos && seen.insert(row.image).inserted {
            guard let contents = try? DataFile.photo(row.image),
                let image = try? bundle.prepare(photo: contents)
            else { continue }
            measured += 1
            for (index, features) in vision.encode(image.pixels.span, layers: single).enumerated() {
                for patch in 0..<features.capacity {
                    for value in features.array(row: patch) { squares[index] += Double(value) * Double(value) }
                    counts[index] += Double(features.columns)
                }
            }
        }
        return FeatureLayers(
            blocks: blocks.indices.map { index in
                let mean = counts[index] > 0 ? squares[index] / counts[index] : 1
                return FeatureLayers.Block(index: blocks[index], factor: mean > 0 ? Float(1 / mean.squareRoot()) : 1)
            })
    }
}
