// The encoders that a bundle can hold, seen as one: a normalised image becomes rows of features, one a patch.
//
// Variants are types; this is the one place that tells them apart.

public import Diagnostics
public import ModelFile
public import Tensor

/// An image encoder.
public enum VisionEncoder: Sendable {
    /// A convolutional encoder.
    case efficientNet(EfficientNetLite)
    /// A vision transformer, which runs with the adapters that were trained beside it.
    case clip(CLIPVisionTransformer)

    /// Maps the encoder in `file`, whichever it is.
    ///
    /// - Throws: `model_unsupported` for an unknown architecture, `model_invalid` for missing or misshapen tensors.
    public init(file: GGUFFile) throws(Failure) {
        switch try file.string("general.architecture") {
        case CLIPConfiguration.architecture: self = .clip(try CLIPVisionTransformer(file: file))
        default: self = .efficientNet(try EfficientNetLite(file: file))
        }
    }

    /// Side of the input image in pixels.
    public var side: Int {
        switch self {
        case .efficientNet(let encoder): return encoder.configuration.side
        case .clip(let encoder): return encoder.configuration.side
        }
    }

    /// Patches: rows of the result.
    public var patches: Int {
        switch self {
        case .efficientNet(let encoder): return encoder.configuration.patches
        case .clip(let encoder): return encoder.configuration.patches
        }
    }

    /// Width of the encoder's result.
    public var features: Int {
        switch self {
        case .efficientNet(let encoder): return encoder.configuration.head
        case .clip(let encoder): return encoder.configuration.width
        }
    }

    /// Width of the features that `layers` are; nil where this encoder does not have them.
    public func width(of layers: FeatureLayers) -> Int? {
        switch self {
        case .efficientNet(let encoder): return encoder.configuration.width(of: layers)
        case .clip(let encoder): return layers == .result ? encoder.configuration.width : nil
        }
    }

    /// The factor of each column of the features that `layers` are; empty for the result, which has none. [width]
    public func factors(of layers: FeatureLayers) -> [Float] {
        guard case .efficientNet(let encoder) = self, width(of: layers) != nil else { return [] }
        return layers.blocks.flatMap { layer in
            [Float](repeating: layer.factor, count: encoder.configuration.blocks[layer.index].output)
        }
    }

    /// The arithmetic of the weights.
    public var precision: Precision {
        switch self {
        case .efficientNet(let encoder): return encoder.configuration.precision
        case .clip(let encoder): return encoder.configuration.precision
        }
    }

    /// The last block of each of the last three stages, which are runs of blocks of one width; the last stage first. Empty where an
    /// adapter can read the result only.
    public var stageBlocks: [Int] {
        guard case .efficientNet(let encoder) = self else { return [] }
        let blocks = encoder.configuration.blocks
        let ends = blocks.indices.filter { $0 + 1 == blocks.count || blocks[$0].output != blocks[$0 + 1].output }
        return ends.reversed().prefix(3).map { $0 }
    }

    /// The blocks whose outputs an adapter can read, in words.
    public var blockRange: String {
        switch self {
        case .efficientNet(let encoder): return "0 to \(encoder.configuration.blocks.count - 1)"
        case .clip: return "none: it has a result only"
        }
    }

    /// Blocks beside whose MLPs adapters can be trained.
    public var trainableBlocks: Int {
        switch self {
        case .efficientNet: return 0
        case .clip(let encoder): return encoder.configuration.layers
        }
    }

    /// Whether photos must be decoded in full: what was trained on Pillow's pixels shall see them.
    public var decodesInFull: Bool {
        switch self {
        case .efficientNet: return false
        case .clip: return true
        }
    }

    /// Whether adapters can stand beside this encoder's blocks.
    public func fits(_ adapters: CLIPAdapters) -> Bool {
        switch self {
        case .efficientNet: return false
        case .clip(let encoder): return adapters.fit(encoder.configuration)
        }
    }
}

/// An encoder with one worker's buffers for it.
public final class VisionWorker {
    private enum State {
        case efficientNet(EfficientNetLite, EfficientNetState)
        case clip(CLIPVisionTransformer, CLIPState)
    }

    private let state: State
    private let compute: Compute

    /// Buffers for one image at a time.
    public init(_ encoder: VisionEncoder, compute: Compute) {
        self.compute = compute
        switch encoder {
        case .efficientNet(let model): state = .efficientNet(model, EfficientNetState(model.configuration))
        case .clip(let model): state = .clip(model, CLIPState(model.configuration, compute: compute))
        }
    }

    /// Encodes one normalised image; the features stand until the next call.
    ///
    /// - Parameters:
    ///   - pixels: [side, side, 3], row-major, normalised.
    ///   - adapters: those that were trained beside the encoder and `fit` it, if any.
    ///   - layers: what is asked for; the encoder has it (`VisionEncoder.width(of:)`).
    /// - Returns: [patches, width], row-major over the grid.
    public func encode(
        _ pixels: Span<Float>, layers: FeatureLayers = .result, adapters: CLIPAdapters? = nil
    ) -> FloatRows {
        encode(pixels, layers: [layers], adapters: adapters)[0]
    }

    /// The same for several layers at once: the blocks that they share are computed once.
    public func encode(
        _ pixels: Span<Float>, layers: [FeatureLayers], adapters: CLIPAdapters? = nil
    ) -> [FloatRows] {
        switch state {
        case .efficientNet(let model, let state):
            return model.encode(pixels, layers: layers, state: state, compute: compute)
        case .clip(let model, let state):
            let rows = model.encode(pixels, adapters: adapters, state: state, compute: compute)
            return layers.map { _ in rows }
        }
    }
}
