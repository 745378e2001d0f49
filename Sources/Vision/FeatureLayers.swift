// What of an encoder an adapter reads: its result, or the feature maps of some of its blocks side by side.
//
// A convolutional encoder's head was trained to name classes: of EfficientNet-Lite2's 1,280 channels behind ReLU6 nine values in
// ten are zero. The blocks before it say more of what captions tell, at half the width (docs/TRAINING.md).
//
// Invariant: layers are part of an adapter, so that training and serving read the same.

internal import Tensor

/// Layers of an encoder whose outputs, each times a factor, are an adapter's features.
public struct FeatureLayers: Sendable, Hashable {
    /// One block's output.
    public struct Block: Sendable, Hashable {
        /// Which block, counted from 0.
        public let index: Int
        /// What its values are multiplied by, so that blocks of different scale weigh alike.
        public let factor: Float

        /// The output of block `index` times `factor`.
        public init(index: Int, factor: Float) {
            self.index = index
            self.factor = factor
        }
    }

    /// The blocks, in the order of the features; none for the encoder's result.
    public let blocks: [Block]

    /// The encoder's result as it is.
    public static let result = FeatureLayers(blocks: [])

    /// The outputs of `blocks` side by side.
    public init(blocks: [Block]) { self.blocks = blocks }

    /// The same blocks, their values as the encoder has them.
    public var unscaled: FeatureLayers {
        FeatureLayers(blocks: blocks.map { Block(index: $0.index, factor: 1) })
    }
}

extension EfficientNetConfiguration {
    /// Width of the features that `layers` are; nil where there is no such block, one is named twice, or a factor is not finite.
    public func width(of layers: FeatureLayers) -> Int? {
        guard !layers.blocks.isEmpty else { return head }
        guard Set(layers.blocks.map(\.index)).count == layers.blocks.count,
            layers.blocks.allSatisfy({ blocks.indices.contains($0.index) && $0.factor.isFinite })
        else { return nil }
        return layers.blocks.reduce(0) { $0 + blocks[$1.index].output }
    }
}

/// The features of some layers, gathered while an image goes through a convolutional encoder.
struct FeatureGathering {
    /// [patches, width]
    let rows: FloatRows
    private let parts: [Part]
    private let gridSide: Int

    private struct Part {
        let block: Int
        let factor: Float
        /// Pixels of the block's map that a patch has on each side.
        let cell: Int
        /// Channels, and where they stand in a feature.
        let channels: Int
        let column: Int
    }

    /// Room for the features of `layers`; nil where the encoder does not have them.
    init?(_ layers: FeatureLayers, of configuration: EfficientNetConfiguration) {
        guard !layers.blocks.isEmpty, let width = configuration.width(of: layers) else { return nil }
        gridSide = configuration.gridSide
        rows = FloatRows(capacity: configuration.patches, columns: width)
        var column = 0
        parts = layers.blocks.map { layer in
            let channels = configuration.blocks[layer.index].output
            defer { column += channels }
            return Part(
                block: layer.index, factor: layer.factor,
                cell: configuration.blocks[(layer.index + 1)...].reduce(1) { $0 * $1.stride }, channels: channels,
                column: column)
        }
    }

    /// Takes the output of block `index`, a map of `side` · `side` pixels: a patch gets the mean of the pixels that it covers, those
    /// beyond the edge being the edge's own.
    func take(_ map: FloatRows, ofBlock index: Int, side: Int) {
        for part in parts where part.block == index {
            let weight = part.factor / Float(part.cell * part.cell)
            for patch in 0..<gridSide * gridSide {
                let target = patch * rows.stride + part.column
                rows.storage.withMutableSpan { span in
                    for channel in 0..<part.channels { span[target + channel] = 0 }
                }
                for offset in 0..<part.cell * part.cell {
                    let y = min(patch / gridSide * part.cell + offset / part.cell, side - 1)
                    let x = min(patch % gridSide * part.cell + offset % part.cell, side - 1)
                    let pixel = map.row(y * side + x)
                    rows.storage.withMutableSpan { span in
                        for channel in 0..<part.channels { span[target + channel] += weight * pixel[channel] }
                    }
                }
            }
        }
    }
}
