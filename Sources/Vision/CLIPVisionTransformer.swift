// CLIP's vision transformer (arXiv 2103.00020, model.py of the release) as MemVP's official code runs it: all blocks but
// the last, ln_post on the patch tokens, no projection; beside each block's MLP stands a trained rank-r adapter.
//
// Sections: Configuration, Weights, Adapters, State, Model. Weights are immutable and shared by all workers; a State belongs to
// one worker. int8 activations have one scale a token (two planes where outliers would drown the rest); the patch
// embedding stays in float32. A token's features depend on its image and the adapter alone.

public import Diagnostics
public import Tensor

// MARK: - Configuration

/// The shape of the part of a CLIP vision transformer that runs.
public struct CLIPConfiguration: Sendable, Equatable {
    /// Side of the input image in pixels; a multiple of `patch`.
    public let side: Int
    /// Side of a patch in pixels.
    public let patch: Int
    /// Width of the residual stream, and of a feature.
    public let width: Int
    /// Hidden width of the MLPs.
    public let hidden: Int
    /// Blocks that run: one fewer than CLIP has.
    public let layers: Int
    /// Heads of attention.
    public let attention: AttentionShape
    /// The arithmetic of the weights.
    public let precision: Precision

    /// ε of LayerNorm, PyTorch's default.
    public static let epsilon: Float = 1e-5

    /// A configuration, checked: sizes bound every later allocation.
    ///
    /// - Throws: `model_invalid` naming what is out of range.
    public init(
        side: Int, patch: Int, width: Int, hidden: Int, layers: Int, heads: Int, precision: Precision
    ) throws(Failure) {
        guard (1...256).contains(patch), (32...1_024).contains(side), side % patch == 0, (16...16_384).contains(width),
            (1...65_536).contains(hidden), (0...256).contains(layers), (1...1_024).contains(heads)
        else {
            throw Failure(
                .modelInvalid, "vision configuration",
                "side \(side), patch \(patch), width \(width), hidden width \(hidden), blocks \(layers) or heads "
                    + "\(heads) is out of range",
                hint: "Images of 32 to 1024 pixels in whole patches are supported.")
        }
        guard (side / patch) * (side / patch) <= 4_096 else {
            throw Failure(.modelInvalid, "vision configuration", "has more than 4096 patches")
        }
        guard width % heads == 0, width / heads % 16 == 0 else {
            throw Failure(
                .modelInvalid, "vision configuration", "divides the width \(width) among \(heads) heads",
                hint: "Heads of a multiple of 16 values are supported.")
        }
        self.side = side
        self.patch = patch
        self.width = width
        self.hidden = hidden
        self.layers = layers
        attention = AttentionShape(heads: heads, keyValueHeads: heads, headSize: width / heads)
        self.precision = precision
    }

    /// Patches: rows of the result.
    public var patches: Int { (side / patch) * (side / patch) }
    /// Tokens: the class token and the patches.
    public var tokens: Int { patches + 1 }
}

// MARK: - Weights

/// The weights of a CLIP vision transformer, mapped from a bundle.
public struct CLIPWeights: @unchecked Sendable {
    // @unchecked: biases and norms are `AlignedStorage`, written before the value is shared and never after.

    /// A linear layer.
    public struct Linear {
        /// [outputs, inputs]
        public let weight: WeightMatrix
        /// [outputs]
        public let bias: AlignedStorage<Float>

        /// Weight and bias.
        public init(weight: WeightMatrix, bias: AlignedStorage<Float>) {
            self.weight = weight
            self.bias = bias
        }
    }

    /// The weight and bias of a LayerNorm. [width]
    public struct Norm {
        /// [width]
        public let weight: AlignedStorage<Float>
        /// [width]
        public let bias: AlignedStorage<Float>

        /// Weight and bias.
        public init(weight: AlignedStorage<Float>, bias: AlignedStorage<Float>) {
            self.weight = weight
            self.bias = bias
        }
    }

    /// One block.
    public struct Block {
        /// Before attention.
        public let attentionNorm: Norm
        /// [width, width]
        public let query: Linear
        /// [width, width]
        public let key: Linear
        /// [width, width]
        public let value: Linear
        /// [width, width]
        public let attentionOutput: Linear
        /// Before the MLP and its adapter.
        public let feedForwardNorm: Norm
        /// [hidden, width]
        public let up: Linear
        /// [width, hidden]
        public let down: Linear

        /// The eight layers of a block.
        public init(
            attentionNorm: Norm, query: Linear, key: Linear, value: Linear, attentionOutput: Linear,
            feedForwardNorm: Norm, up: Linear, down: Linear
        ) {
            self.attentionNorm = attentionNorm
            self.query = query
            self.key = key
            self.value = value
            self.attentionOutput = attentionOutput
            self.feedForwardNorm = feedForwardNorm
            self.up = up
            self.down = down
        }
    }

    /// The patch convolution as a product over unfolded patches: row, column, colour. float32. [width, 3 · patch²]
    public let patchEmbedding: WeightMatrix
    /// The class token. [width]
    public let classToken: [Float]
    /// Position embedding, the class token's first. [tokens, width], row-major
    public let positions: [Float]
    /// Before the blocks.
    public let normBefore: Norm
    /// The blocks that run, first to last.
    public let blocks: [Block]
    /// After the blocks, on patches.
    public let normAfter: Norm

    /// All layers of an encoder.
    public init(
        patchEmbedding: WeightMatrix, classToken: [Float], positions: [Float], normBefore: Norm, blocks: [Block],
        normAfter: Norm
    ) {
        self.patchEmbedding = patchEmbedding
        self.classToken = classToken
        self.positions = positions
        self.normBefore = normBefore
        self.blocks = blocks
        self.normAfter = normAfter
    }
}

// MARK: - Adapters

/// MemVP's adapters beside the MLPs: m += scale · fc2(GELU(fc1(n))), n the MLP's own input. They are trained with the
/// memory and belong to a MemVP adapter, not to the encoder.
public struct CLIPAdapters: Sendable {
    /// The two matrices beside one MLP.
    public struct Block: Sendable {
        /// [rank, width]
        public let fc1: WeightMatrix
        /// scale · fc2. [width, rank]
        public let fc2: WeightMatrix

        /// Both matrices, in the encoder's precision.
        public init(fc1: WeightMatrix, fc2: WeightMatrix) {
            self.fc1 = fc1
            self.fc2 = fc2
        }
    }

    /// Inner width.
    public let rank: Int
    /// One for each block that runs.
    public let blocks: [Block]

    /// Packs row-major matrices.
    ///
    /// - Parameters:
    ///   - fc1: for each block, [rank, width].
    ///   - fc2: for each block, [width, rank].
    ///   - scale: what the adapter's contribution is multiplied by; 0.1 in the official code.
    /// - Throws: `model_invalid` when a count does not fit.
    public init(
        rank: Int, width: Int, fc1: [[Float]], fc2: [[Float]], scale: Float, precision: Precision
    ) throws(Failure) {
        guard (1...4_096).contains(rank), fc1.count == fc2.count else {
            throw Failure(.modelInvalid, "vision adapter", "has the rank \(rank), \(fc1.count) and \(fc2.count) blocks")
        }
        self.rank = rank
        var blocks: [Block] = []
        for index in fc1.indices {
            let inner = fc1[index]
            let outer = fc2[index].map { scale * $0 }
            blocks.append(
                Block(
                    fc1: try WeightMatrix(
                        name: "vision.\(index).fc1", precision: precision, rows: rank, columns: width,
                        values: inner.span),
                    fc2: try WeightMatrix(
                        name: "vision.\(index).fc2", precision: precision, rows: width, columns: rank,
                        values: outer.span)))
        }
        self.blocks = blocks
    }

    /// Whether the matrices fit an encoder.
    public func fit(_ configuration: CLIPConfiguration) -> Bool {
        blocks.count == configuration.layers && rank <= max(configuration.width, configuration.hidden)
            && blocks.allSatisfy {
                $0.fc1.columns == configuration.width && $0.fc1.precision == configuration.precision
            }
    }
}

// MARK: - State

/// What one worker needs to encode images, allocated once.
public final class CLIPState {
    let unfolded: FloatRows  // [patches, 3 · patch²]
    let unfoldedInput: ProductInput  // [patches, 3 · patch²]
    let embedded: FloatRows  // [patches, width]
    let x: FloatRows  // residual stream [tokens, width]
    let normed: FloatRows  // [tokens, width]
    let normedInput: ProductInput  // [tokens, width]
    let queries: FloatRows  // [tokens, width]
    let keys: FloatRows  // [tokens, width]
    let values: FloatRows  // [tokens, width]
    let attended: FloatRows  // [tokens, width]
    let attendedInput: ProductInput  // [tokens, width]
    let hidden: FloatRows  // [tokens, hidden]
    let hiddenInput: ProductInput  // [tokens, hidden]
    var adapted: (rows: FloatRows, input: ProductInput)?  // [tokens, rank]
    let scratch: EncoderScratch
    /// The result of the last image. [patches, width]
    public let features: FloatRows

    /// Buffers for one image at a time.
    public init(_ configuration: CLIPConfiguration, compute: Compute) {
        let c = configuration
        let pixels = 3 * c.patch * c.patch
        func rows(_ columns: Int) -> FloatRows { FloatRows(capacity: c.tokens, columns: columns) }
        unfolded = FloatRows(capacity: c.patches, columns: pixels)
        unfoldedInput = ProductInput(precision: .float32, capacity: c.patches, columns: pixels)
        embedded = FloatRows(capacity: c.patches, columns: c.width)
        x = rows(c.width)
        normed = rows(c.width)
        normedInput = ProductInput(
            precision: c.precision, capacity: c.tokens, columns: c.width, planes: 2)
        queries = rows(c.width)
        keys = rows(c.width)
        values = rows(c.width)
        attended = rows(c.width)
        attendedInput = ProductInput(precision: c.precision, capacity: c.tokens, columns: c.width)
        hidden = rows(c.hidden)
        hiddenInput = ProductInput(
            precision: c.precision, capacity: c.tokens, columns: c.hidden, planes: 2)
        scratch = EncoderScratch(compute: compute, rows: c.tokens)
        features = FloatRows(capacity: c.patches, columns: c.width)
    }

    /// Rows for the adapters' inner values, made when their rank is known.
    func adapterRows(rank: Int, _ c: CLIPConfiguration) -> (rows: FloatRows, input: ProductInput) {
        if let adapted, adapted.rows.columns == rank { return adapted }
        let made = (
            FloatRows(capacity: c.tokens, columns: rank),
            ProductInput(precision: c.precision, capacity: c.tokens, columns: rank)
        )
        adapted = made
        return made
    }
}

// MARK: - Model

/// A CLIP vision transformer: an image becomes the normed residual stream of its patches.
public final class CLIPVisionTransformer: Sendable {
    /// The encoder's shape.
    public let configuration: CLIPConfiguration
    /// The encoder's weights.
    public let weights: CLIPWeights

    /// An encoder over `weights`, whose shapes the loader has checked against `configuration`.
    public init(configuration: CLIPConfiguration, weights: CLIPWeights) {
        self.configuration = configuration
        self.weights = weights
    }

    /// Encodes one normalised image; the features stand in `state.features` until the next call.
    ///
    ///     x = x + Attention(LN₁(x))        n = LN₂(x)        x = x + MLP(n) + scale · fc2(GELU(fc1(n)))
    ///
    /// - Parameters:
    ///   - pixels: [side, side, 3], row-major, normalised.
    ///   - adapters: those that stand beside the MLPs, which `fit` the configuration; nil for the bare encoder.
    ///   - observe: called after each block with its index and output [tokens, width]; for traces and tests.
    /// - Returns: [patches, width], row-major over the grid.
    public func encode(
        _ pixels: Span<Float>, adapters: CLIPAdapters?, state: CLIPState, compute: Compute,
        observe: ((_ layer: Int, _ output: FloatRows) -> Void)? = nil
    ) -> FloatRows {
        let c = configuration
        precondition(pixels.count == c.side * c.side * 3 && adapters?.fit(c) ?? true)
        embed(pixels, state: state, compute: compute, into: state.x)
        for (layer, block) in weights.blocks.enumerated() {
            attention(block, state: state, compute: compute)
            feedForward(block, adapter: adapters?.blocks[layer], state: state, compute: compute)
            observe?(layer, state.x)
        }
        for patch in 0..<c.patches { compute.copyRow(state.x, from: patch + 1, to: state.features, at: patch) }
        norm(state.features, weights.normAfter, into: state.features, rows: c.patches, compute: compute)
        return state.features
    }

    /// x = ln_pre([class token, patch convolution] + positions): what the first block sees. [tokens, width]
    public func embed(_ pixels: Span<Float>, state: CLIPState, compute: Compute, into x: FloatRows) {
        let c = configuration
        unfold(pixels, into: state.unfolded)
        compute.load(state.unfoldedInput, from: state.unfolded, rows: c.patches)
        compute.multiply(state.unfoldedInput, weights.patchEmbedding, into: state.embedded)
        let embedded = state.embedded
        let positions = weights.positions
        let classToken = weights.classToken
        let stride = x.stride
        x.storage.withMutableSpan { x in
            for column in 0..<c.width { x[column] = classToken[column] + positions[column] }
            for patch in 0..<c.patches {
                let row = embedded.row(patch)
                let start = (patch + 1) * stride
                let position = (patch + 1) * c.width
                for column in 0..<c.width { x[start + column] = row[column] + positions[position + column] }
            }
        }
        norm(x, weights.normBefore, into: x, rows: c.tokens, compute: compute)
    }

    /// Each patch's pixels as one row: row, column, colour.
    private func unfold(_ pixels: Span<Float>, into unfolded: FloatRows) {
        let c = configuration
        let grid = c.side / c.patch
        let line = 3 * c.patch
        let stride = unfolded.stride
        unfolded.storage.withMutableSpan { rows in
            for patch in 0..<c.patches {
                let (top, left) = (patch / grid * c.patch, patch % grid * c.patch)
                for y in 0..<c.patch {
                    let from = ((top + y) * c.side + left) * 3
                    let to = patch * stride + y * line
                    for offset in 0..<line { rows[to + offset] = pixels[from + offset] }
                }
            }
        }
    }

    /// x += W_o · softmax(Q Kᵀ / √headSize) V + b_o, with Q, K, V of n = LN₁(x)
    private func attention(_ block: CLIPWeights.Block, state: CLIPState, compute: Compute) {
        let tokens = configuration.tokens
        norm(state.x, block.attentionNorm, into: state.normed, rows: tokens, compute: compute)
        compute.load(state.normedInput, from: state.normed, rows: tokens)
        for (layer, output) in [(block.query, state.queries), (block.key, state.keys), (block.value, state.values)] {
            compute.multiply(
                state.normedInput, layer.weight, into: output, epilogue: Compute.Epilogue(bias: layer.bias))
        }
        compute.attention(
            queries: state.queries, keys: state.keys, values: state.values, shape: configuration.attention,
            scratch: state.scratch, into: state.attended)
        compute.load(state.attendedInput, from: state.attended, rows: tokens)
        compute.multiply(
            state.attendedInput, block.attentionOutput.weight, into: state.x,
            epilogue: Compute.Epilogue(bias: block.attentionOutput.bias, accumulate: true))
    }

    /// x += W_down · QuickGELU(W_up n + b_up) + b_down + scale · fc2(GELU(fc1(n))), n = LN₂(x)
    private func feedForward(
        _ block: CLIPWeights.Block, adapter: CLIPAdapters.Block?, state: CLIPState, compute: Compute
    ) {
        let tokens = configuration.tokens
        norm(state.x, block.feedForwardNorm, into: state.normed, rows: tokens, compute: compute)
        compute.load(state.normedInput, from: state.normed, rows: tokens)
        compute.multiply(
            state.normedInput, block.up.weight, into: state.hidden, epilogue: Compute.Epilogue(bias: block.up.bias))
        compute.quickGELU(state.hidden, rows: tokens)
        compute.load(state.hiddenInput, from: state.hidden, rows: tokens)
        compute.multiply(
            state.hiddenInput, block.down.weight, into: state.x,
            epilogue: Compute.Epilogue(bias: block.down.bias, accumulate: true))
        guard let adapter else { return }
        let inner = state.adapterRows(rank: adapter.fc1.rows, configuration)
        compute.multiply(state.normedInput, adapter.fc1, into: inner.rows)
        compute.gelu(inner.rows, rows: tokens)
        compute.load(inner.input, from: inner.rows, rows: tokens)
        compute.multiply(inner.input, adapter.fc2, into: state.x, epilogue: Compute.Epilogue(accumulate: true))
    }

    private func norm(_ x: FloatRows, _ norm: CLIPWeights.Norm, into y: FloatRows, rows: Int, compute: Compute) {
        compute.layerNorm(
            x, weight: norm.weight, bias: norm.bias, epsilon: CLIPConfiguration.epsilon, rows: rows, into: y)
    }
}
