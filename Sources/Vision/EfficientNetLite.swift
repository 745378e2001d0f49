// EfficientNet-Lite (TensorFlow's EfficientNet for integer hardware: no squeeze-and-excitation, ReLU6) as a patch encoder.
//
// Sections: Configuration, Weights, State, Model. Batch norm is folded into the weights at conversion. A feature map is
// [side², channels], channels last; a pointwise convolution is a matrix product over pixels. int8 activations have one
// scale a tensor and image, so an image's features depend on that image alone. The stem and the depthwise convolutions stay
// in float32: a channel has few taps and its own range, and int8 there cost up to a tenth of the features' cosine.

public import Diagnostics
public import Tensor

// MARK: - Configuration

/// One inverted-bottleneck block (MBConv, arXiv 1801.04381).
public struct EfficientNetBlock: Sendable, Equatable {
    /// Side of the depthwise kernel.
    public let kernel: Int
    /// Step of the depthwise convolution.
    public let stride: Int
    /// Channels in.
    public let input: Int
    /// Channels of the depthwise convolution; equal to `input` where the block does not expand.
    public let expanded: Int
    /// Channels out.
    public let output: Int

    /// A block's numbers.
    public init(kernel: Int, stride: Int, input: Int, expanded: Int, output: Int) {
        self.kernel = kernel
        self.stride = stride
        self.input = input
        self.expanded = expanded
        self.output = output
    }

    /// Whether the block adds its input to its output.
    public var isResidual: Bool { stride == 1 && input == output }
    /// Whether a pointwise convolution widens the input first.
    public var expands: Bool { expanded != input }
}

/// The shape of an EfficientNet-Lite encoder.
public struct EfficientNetConfiguration: Sendable, Equatable {
    /// Side of the input image in pixels.
    public let side: Int
    /// Channels of the stem.
    public let stem: Int
    /// The blocks, first to last.
    public let blocks: [EfficientNetBlock]
    /// Channels of the head convolution: the width of a feature.
    public let head: Int
    /// The arithmetic of the weights.
    public let precision: Precision

    /// Values of the largest map, of a block or of the result: forty times what EfficientNet-Lite2 has. Widths and sides
    /// in range multiply to far more, and a small file may announce them.
    static let largestMap = 1 << 26
    /// Values of all blocks' widest maps together: each block has operands of its own.
    static let allMaps = 1 << 28

    /// A configuration, checked: sizes bound every later allocation.
    ///
    /// - Throws: `model_invalid` naming what is out of range.
    public init(side: Int, stem: Int, blocks: [EfficientNetBlock], head: Int, precision: Precision) throws(Failure) {
        var channels = stem
        guard (32...1_024).contains(side), (1...4_096).contains(stem), (1...65_536).contains(head),
            (1...256).contains(blocks.count)
        else { throw Failure(.modelInvalid, "vision configuration", "has a side, a width or a depth out of range") }
        for (index, block) in blocks.enumerated() {
            guard block.input == channels, [1, 2].contains(block.stride), (1...15).contains(block.kernel),
                block.kernel % 2 == 1, (1...16_384).contains(block.expanded), block.expanded % 16 == 0,
                (1...16_384).contains(block.output)
            else {
                throw Failure(
                    .modelInvalid, "vision block \(index)", "does not fit: \(block)",
                    hint: "Strides of 1 or 2, odd kernels and expanded widths in multiples of 16 are supported.")
            }
            channels = block.output
        }
        try Self.checkMaps(side: side, blocks: blocks, head: head)
        self.side = side
        self.stem = stem
        self.blocks = blocks
        self.head = head
        self.precision = precision
    }

    /// Bounds the maps between blocks, whose own numbers are in range.
    private static func checkMaps(side: Int, blocks: [EfficientNetBlock], head: Int) throws(Failure) {
        func tooLarge(_ object: String, _ side: Int, _ channels: Int) -> Failure {
            Failure(
                .modelInvalid, object, "makes the maps too large: \(side) × \(side) pixels of \(channels) channels",
                hint: "\(largestMap) values a map and \(allMaps) together are supported.")
        }
        var side = (side + 1) / 2
        var total = 0
        for (index, block) in blocks.enumerated() {
            guard side > 1 || block.stride == 1 else {
                throw Failure(.modelInvalid, "vision block \(index)", "halves a map of one pixel")
            }
            let widest = max(block.input, block.expanded, block.output)
            total += side * side * widest
            guard side * side * widest <= largestMap, total <= allMaps else {
                throw tooLarge("vision block \(index)", side, widest)
            }
            side = (side + block.stride - 1) / block.stride
        }
        guard side * side * head <= largestMap else { throw tooLarge("vision head", side, head) }
    }

    /// Side of the feature map.
    public var gridSide: Int { blocks.reduce((side + 1) / 2) { ($0 + $1.stride - 1) / $1.stride } }
    /// Patches: rows of the result.
    public var patches: Int { gridSide * gridSide }
}

// MARK: - Weights

/// The weights of an encoder, batch norm folded in, mapped from a bundle.
public struct EfficientNetWeights: @unchecked Sendable {
    // @unchecked: biases are `AlignedStorage`, written before the value is shared and never after.

    /// A convolution that is a matrix product over pixels.
    public struct Pointwise {
        /// [output, input]
        public let weight: WeightMatrix
        /// [output]
        public let bias: AlignedStorage<Float>

        /// Weight and folded bias.
        public init(weight: WeightMatrix, bias: AlignedStorage<Float>) {
            self.weight = weight
            self.bias = bias
        }
    }

    /// One block.
    public struct Block {
        /// Widens the input; nil where the block does not expand. [expanded, input]
        public let expand: Pointwise?
        /// [kernel², expanded]
        public let depthwise: DepthwiseWeights
        /// [expanded]
        public let depthwiseBias: AlignedStorage<Float>
        /// [output, expanded]
        public let project: Pointwise

        /// The three convolutions of a block.
        public init(
            expand: Pointwise?, depthwise: DepthwiseWeights, depthwiseBias: AlignedStorage<Float>, project: Pointwise
        ) {
            self.expand = expand
            self.depthwise = depthwise
            self.depthwiseBias = depthwiseBias
            self.project = project
        }
    }

    /// 3×3, stride 2, as a product over unfolded pixels: row, column, colour. [stem, 27]
    public let stem: Pointwise
    /// The blocks, first to last.
    public let blocks: [Block]
    /// [head, last output]
    public let head: Pointwise

    /// All convolutions of an encoder.
    public init(stem: Pointwise, blocks: [Block], head: Pointwise) {
        self.stem = stem
        self.blocks = blocks
        self.head = head
    }
}

// MARK: - State

/// What one worker needs to encode images: feature maps in buffers that layers take turns in, allocated once.
public final class EfficientNetState {
    /// The maps of one block.
    struct Maps {
        let output: FloatRows  // [outputSide², output]; the block's own input when residual
        let expanded: FloatRows  // [side², expanded]
        let convolved: FloatRows  // [outputSide², expanded]
        let inputOperand: ProductInput  // [side², input]
        let convolvedOperand: ProductInput  // [outputSide², expanded]
    }

    let unfolded: FloatRows  // [(side / 2)², 27]
    let unfoldedOperand: ProductInput
    let stemOutput: FloatRows  // [(side / 2)², stem]
    let maps: [Maps]
    let headOperand: ProductInput  // [patches, last output]
    /// The result of the last image, where it was asked for. [patches, head]
    public let features: FloatRows
    /// The features of layers that were asked for so far: allocated once for each.
    private var gatherings: [FeatureLayers: FeatureGathering] = [:]

    /// Buffers for one image at a time.
    public init(_ configuration: EfficientNetConfiguration) {
        let precision = configuration.precision
        let stemSide = (configuration.side + 1) / 2
        let pixels = stemSide * stemSide
        unfolded = FloatRows(capacity: pixels, columns: 27)
        unfoldedOperand = ProductInput(precision: .float32, capacity: pixels, columns: 27)
        func size(_ rows: Int, _ columns: Int) -> Int { rows * ((columns + 15) / 16 * 16) }
        var largest = (output: size(pixels, configuration.stem), expanded: 0, convolved: 0)
        var side = stemSide
        for block in configuration.blocks {
            let next = (side + block.stride - 1) / block.stride
            largest.output = max(largest.output, size(next * next, block.output))
            largest.expanded = max(largest.expanded, size(side * side, block.expanded))
            largest.convolved = max(largest.convolved, size(next * next, block.expanded))
            side = next
        }
        let outputs = [AlignedStorage<Float>(count: largest.output), AlignedStorage<Float>(count: largest.output)]
        let expanded = AlignedStorage<Float>(count: largest.expanded)
        let convolved = AlignedStorage<Float>(count: largest.convolved)
        var turn = 0
        stemOutput = FloatRows(capacity: pixels, columns: configuration.stem, sharing: outputs[turn])
        var input = stemOutput
        side = stemSide
        maps = configuration.blocks.map { block in
            let next = (side + block.stride - 1) / block.stride
            if !block.isResidual { turn = 1 - turn }
            let output =
                block.isResidual
                ? input : FloatRows(capacity: next * next, columns: block.output, sharing: outputs[turn])
            defer {
                input = output
                side = next
            }
            return Maps(
                output: output,
                expanded: block.expands
                    ? FloatRows(capacity: side * side, columns: block.expanded, sharing: expanded) : input,
                convolved: FloatRows(capacity: next * next, columns: block.expanded, sharing: convolved),
                inputOperand: ProductInput(precision: precision, capacity: side * side, columns: block.input),
                convolvedOperand: ProductInput(precision: precision, capacity: next * next, columns: block.expanded))
        }
        headOperand = ProductInput(precision: precision, capacity: side * side, columns: input.columns)
        features = FloatRows(capacity: side * side, columns: configuration.head)
    }

    func gathering(_ layers: FeatureLayers, of configuration: EfficientNetConfiguration) -> FeatureGathering? {
        if let known = gatherings[layers] { return known }
        let made = FeatureGathering(layers, of: configuration)
        gatherings[layers] = made
        return made
    }
}

// MARK: - Model

/// An EfficientNet-Lite encoder: an image becomes the rows of the head convolution, or those of blocks before it, one a patch.
public final class EfficientNetLite: Sendable {
    /// The encoder's shape.
    public let configuration: EfficientNetConfiguration
    /// The encoder's weights.
    public let weights: EfficientNetWeights

    private static let relu6: ClosedRange<Float> = 0...6

    /// An encoder over `weights`, whose shapes the loader has checked against `configuration`.
    public init(configuration: EfficientNetConfiguration, weights: EfficientNetWeights) {
        self.configuration = configuration
        self.weights = weights
    }

    /// Encodes one normalised image; the features stand until the next call.
    ///
    /// - Parameters:
    ///   - pixels: [side, side, 3], row-major, normalised.
    ///   - layers: what is asked for, each of which `configuration` has.
    /// - Returns: for each of `layers` [patches, width], row-major over the grid.
    public func encode(
        _ pixels: Span<Float>, layers: [FeatureLayers] = [.result], state: EfficientNetState, compute: Compute
    ) -> [FloatRows] {
        precondition(pixels.count == configuration.side * configuration.side * 3)
        let gatherings = layers.map { state.gathering($0, of: configuration) }
        unfold(pixels, into: state.unfolded)
        let stemRows = state.unfolded.capacity
        compute.loadTensor(state.unfoldedOperand, from: state.unfolded, rows: stemRows)
        product(state.unfoldedOperand, weights.stem, clamp: Self.relu6, into: state.stemOutput, compute: compute)
        var input = state.stemOutput
        var side = (configuration.side + 1) / 2
        for (index, block) in configuration.blocks.enumerated() {
            input = invertedBottleneck(
                input, side: side, block, weights.blocks[index], state.maps[index], compute: compute)
            side = (side + block.stride - 1) / block.stride
            for gathering in gatherings { gathering?.take(input, ofBlock: index, side: side) }
        }
        if layers.contains(.result) {
            compute.loadTensor(state.headOperand, from: input, rows: side * side)
            product(state.headOperand, weights.head, clamp: Self.relu6, into: state.features, compute: compute)
        }
        return gatherings.map { $0?.rows ?? state.features }
    }

    /// y = project(ReLU6(depthwise(ReLU6(expand(x))))) (+ x when residual)
    private func invertedBottleneck(
        _ x: FloatRows, side: Int, _ block: EfficientNetBlock, _ weights: EfficientNetWeights.Block,
        _ maps: EfficientNetState.Maps, compute: Compute
    ) -> FloatRows {
        let shape = DepthwiseShape(side: side, channels: block.expanded, kernel: block.kernel, stride: block.stride)
        if let expand = weights.expand {
            compute.loadTensor(maps.inputOperand, from: x, rows: side * side)
            product(maps.inputOperand, expand, clamp: Self.relu6, into: maps.expanded, compute: compute)
        }
        compute.depthwise(
            maps.expanded, weights.depthwise, shape: shape, bias: weights.depthwiseBias, clamp: Self.relu6,
            into: maps.convolved)
        compute.loadTensor(maps.convolvedOperand, from: maps.convolved, rows: shape.outputSide * shape.outputSide)
        compute.multiply(
            maps.convolvedOperand, weights.project.weight, into: maps.output,
            epilogue: Compute.Epilogue(bias: weights.project.bias, accumulate: block.isResidual))
        return maps.output
    }

    private func product(
        _ input: ProductInput, _ layer: EfficientNetWeights.Pointwise, clamp: ClosedRange<Float>?,
        into output: FloatRows, compute: Compute
    ) {
        compute.multiply(
            input, layer.weight, into: output, epilogue: Compute.Epilogue(bias: layer.bias, clamp: clamp))
    }

    /// Lays each 3×3 neighbourhood of the stem (stride 2, TensorFlow SAME padding) out as a row. [(side / 2)², 27]
    private func unfold(_ pixels: Span<Float>, into rows: FloatRows) {
        let side = configuration.side
        let shape = DepthwiseShape(side: side, channels: 3, kernel: 3, stride: 2)
        let outputSide = shape.outputSide
        let stride = rows.stride
        rows.storage.withMutableSpan { span in
            for y in 0..<outputSide {
                for x in 0..<outputSide {
                    let start = (y * outputSide + x) * stride
                    for ky in 0..<3 {
                        let sourceY = y * 2 + ky - shape.padding
                        for kx in 0..<3 {
                            let sourceX = x * 2 + kx - shape.padding
                            let inside = sourceY >= 0 && sourceY < side && sourceX >= 0 && sourceX < side
                            let source = (sourceY * side + sourceX) * 3
                            let target = start + (ky * 3 + kx) * 3
                            for colour in 0..<3 { span[target + colour] = inside ? pixels[source + colour] : 0 }
                        }
                    }
                }
            }
        }
    }
}
