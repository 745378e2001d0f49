// LLaMA decoder (arXiv 2302.13971) with MemVP's visual memory in every feed-forward layer (arXiv 2405.05615).
//
// Sections: Configuration, Weights, State, Model. Weights are immutable and shared by all workers; a State belongs to one
// worker and is reused, so a forward pass allocates nothing. The forward pass works on a ragged batch (`TokenRows`):
// prefill and decode, one sequence and many, are one code path, and a row's result does not depend on its neighbours.

public import Diagnostics
public import Tensor

// MARK: - Configuration

/// The shape of a LLaMA decoder, as in the `llama.*` keys of GGUF.
public struct LlamaConfiguration: Sendable, Equatable {
    /// Width of the residual stream.
    public var width: Int
    /// Hidden width of the feed-forward layers.
    public var hidden: Int
    /// Decoder blocks.
    public var layers: Int
    /// Heads of grouped-query attention.
    public var attention: AttentionShape
    /// Token ids.
    public var vocabulary: Int
    /// ε of RMSNorm.
    public var normEpsilon: Float
    /// Base θ of the rotary position embedding.
    public var ropeTheta: Double
    /// Positions the model was trained for.
    public var contextLength: Int
    /// The arithmetic of the weights.
    public var precision: Precision

    /// A configuration, checked: every later allocation is bounded by it.
    ///
    /// - Throws: `model_invalid` naming the key that is out of range.
    public init(
        width: Int, hidden: Int, layers: Int, heads: Int, keyValueHeads: Int, headSize: Int, vocabulary: Int,
        normEpsilon: Float, ropeTheta: Double, contextLength: Int, precision: Precision
    ) throws(Failure) {
        func check(_ key: String, _ value: Int, _ range: ClosedRange<Int>, multipleOf factor: Int = 1) throws(Failure) {
            guard range.contains(value), value % factor == 0 else {
                let rule = factor == 1 ? "" : ", a multiple of \(factor)"
                throw Failure(
                    .modelInvalid, key, "is \(value), but \(range.lowerBound) … \(range.upperBound)\(rule) is supported"
                )
            }
        }
        try check("embedding_length", width, 16...65_536)
        try check("feed_forward_length", hidden, 16...65_536, multipleOf: 16)
        try check("block_count", layers, 1...512)
        try check("attention.head_count", heads, 1...1_024)
        try check("attention.head_count_kv", keyValueHeads, 1...heads)
        try check("attention.head_count", heads, 1...1_024, multipleOf: keyValueHeads)
        try check("attention.key_length", headSize, 16...1_024, multipleOf: 16)
        try check("vocab_size", vocabulary, 1...(1 << 22))
        try check("context_length", contextLength, 1...(1 << 20))
        guard normEpsilon > 0, normEpsilon < 1, ropeTheta > 0, ropeTheta.isFinite else {
            throw Failure(.modelInvalid, "attention.layer_norm_rms_epsilon or rope.freq_base", "is out of range")
        }
        self.width = width
        self.hidden = hidden
        self.layers = layers
        attention = AttentionShape(heads: heads, keyValueHeads: keyValueHeads, headSize: headSize)
        self.vocabulary = vocabulary
        self.normEpsilon = normEpsilon
        self.ropeTheta = ropeTheta
        self.contextLength = contextLength
        self.precision = precision
    }
}

// MARK: - Weights

/// The weights of a decoder, mapped from a bundle.
public struct LlamaWeights: @unchecked Sendable {
    // @unchecked: norm weights are `AlignedStorage`, written before the value is shared and never after.

    /// One decoder block.
    public struct Block {
        /// Weight of the norm before attention. [width]
        public let attentionNorm: AlignedStorage<Float>
        /// Query, key and value projections end to end. [totalWidth, width]
        public let queryKeyValue: WeightMatrix
        /// Output projection. [width, queryWidth]
        public let attentionOutput: WeightMatrix
        /// Weight of the norm before the feed-forward layer. [width]
        public let feedForwardNorm: AlignedStorage<Float>
        /// Gate and up projections in alternating panels of 16 rows. [2 · hidden, width]
        public let gateUp: WeightMatrix
        /// Down projection. [width, hidden]
        public let down: WeightMatrix

        /// The six tensors of a block.
        public init(
            attentionNorm: AlignedStorage<Float>, queryKeyValue: WeightMatrix, attentionOutput: WeightMatrix,
            feedForwardNorm: AlignedStorage<Float>, gateUp: WeightMatrix, down: WeightMatrix
        ) {
            self.attentionNorm = attentionNorm
            self.queryKeyValue = queryKeyValue
            self.attentionOutput = attentionOutput
            self.feedForwardNorm = feedForwardNorm
            self.gateUp = gateUp
            self.down = down
        }
    }

    /// Token embedding. [vocabulary, width]
    public let embedding: WeightMatrix
    /// The blocks, first to last.
    public let blocks: [Block]
    /// Weight of the norm after the last block. [width]
    public let outputNorm: AlignedStorage<Float>
    /// Output projection; the same object as `embedding` when tied. [vocabulary, width]
    public let output: WeightMatrix

    /// All tensors of a decoder.
    public init(embedding: WeightMatrix, blocks: [Block], outputNorm: AlignedStorage<Float>, output: WeightMatrix) {
        self.embedding = embedding
        self.blocks = blocks
        self.outputNorm = outputNorm
        self.output = output
    }
}

// MARK: - State

/// What one worker needs to run forward passes: activations for up to `rows` tokens, allocated once.
public final class LlamaState {
    /// Rows of logits that are computed at a time.
    public let logitCapacity: Int

    let x: FloatRows  // residual stream [rows, width]
    let normed: FloatRows  // [rows, width]
    let normedInput: ProductInput  // [rows, width]
    let queryKeyValue: FloatRows  // [rows, totalWidth]
    let attended: FloatRows  // [rows, queryWidth]
    let attendedInput: ProductInput  // [rows, queryWidth]
    let gateUp: FloatRows  // [rows, 2 · hidden]
    let gated: FloatRows  // [rows, hidden]
    let gatedInput: ProductInput  // [rows, hidden]
    let chosen: FloatRows  // normed last hidden state of the rows that want logits [logitRows, width]
    let chosenInput: ProductInput  // [logitRows, width]
    let logits: FloatRows  // [logitRows, vocabulary]
    let scratch: DecoderScratch

    /// Room for `rows` tokens and `logitRows` rows of logits, contexts up to `positions`, memories up to `slots` rows.
    public init(
        _ configuration: LlamaConfiguration, compute: Compute, rows: Int, logitRows: Int, positions: Int, slots: Int
    ) {
        let shape = configuration.attention
        let precision = configuration.precision
        logitCapacity = max(1, logitRows)
        x = FloatRows(capacity: rows, columns: configuration.width)
        normed = FloatRows(capacity: rows, columns: configuration.width)
        normedInput = ProductInput(
            precision: precision, capacity: rows, columns: configuration.width,
            planes: 2)
        queryKeyValue = FloatRows(capacity: rows, columns: shape.totalWidth)
        attended = FloatRows(capacity: rows, columns: shape.queryWidth)
        attendedInput = ProductInput(precision: precision, capacity: rows, columns: shape.queryWidth)
        gateUp = FloatRows(capacity: rows, columns: 2 * configuration.hidden)
        gated = FloatRows(capacity: rows, columns: configuration.hidden)
        gatedInput = ProductInput(
            precision: precision, capacity: rows, columns: configuration.hidden, planes: 2)
        chosen = FloatRows(capacity: logitRows, columns: configuration.width)
        chosenInput = ProductInput(
            precision: precision, capacity: logitRows, columns: configuration.width,
            planes: 2)
        logits = FloatRows(capacity: logitRows, columns: configuration.vocabulary)
        scratch = DecoderScratch(
            compute: compute, precision: precision, rows: rows, positions: positions, slots: slots)
    }
}

extension LlamaState {
    /// Whether row `row` of the last forward pass is of numbers that RMSNorm can square. What is not ends in zeros in the products that
    /// follow, whose logits look like any others.
    public func isFinite(_ row: Int) -> Bool {
        let x = x
        let values = x.row(row)
        var squares: Float = 0
        for index in values.indices { squares += values[index] * values[index] }
        return squares.isFinite
    }
}

// MARK: - Model

/// A LLaMA decoder.
public final class LlamaModel: Sendable {
    /// The model's shape.
    public let configuration: LlamaConfiguration
    /// The model's weights.
    public let weights: LlamaWeights
    /// Angles of the rotary position embedding.
    public let angles: RotaryTable

    /// A decoder over `weights`, whose shapes the loader has checked against `configuration`.
    ///
    /// - Parameter positions: the longest context that will be asked for.
    public init(configuration: LlamaConfiguration, weights: LlamaWeights, positions: Int) {
        self.configuration = configuration
        self.weights = weights
        angles = RotaryTable(
            positions: positions, headSize: configuration.attention.headSize, theta: configuration.ropeTheta)
    }

    /// The longest context this model was made for.
    public var positions: Int { angles.positions }

    /// An empty cache for one sequence of up to `capacity` tokens.
    public func makeCache(capacity: Int) -> KeyValueCache {
        KeyValueCache(capacity: capacity, layers: configuration.layers, width: configuration.attention.keyValueWidth)
    }

    /// Runs all blocks over `rows`; afterwards the residual stream of each row stands in `state`.
    ///
    ///     x = token embedding, or image token
    ///     h = x + Attention(RMSNorm(x))
    ///     y = h + FFN(RMSNorm(h)) + s · SiLU(RMSNorm(h) (V + E₁)ᵀ)(V + E₂)
    ///
    /// - Parameters:
    ///   - wanted: the rows whose logits will be asked for, ascending: they alone go through the last feed-forward layer, since of
    ///     the others only keys and values are needed, and row i of `state` and of `rows` is then wanted[i]. Nil: all, where they stand.
    ///   - observe: called after each block with its index and output [rows, width]; for traces and tests.
    public func forward(
        _ rows: TokenRows, wanted: [Int]? = nil, state: LlamaState, compute: Compute,
        observe: ((_ layer: Int, _ output: FloatRows) -> Void)? = nil
    ) {
        compute.embed(rows, by: weights.embedding, into: state.x)
        for (layer, block) in weights.blocks.enumerated() {
            attention(block, layer: layer, rows: rows, state: state, compute: compute)
            if let wanted, layer == weights.blocks.count - 1 {
                for (place, row) in wanted.enumerated() where place < row {
                    compute.copyRow(state.x, from: row, to: state.x, at: place)
                }
                rows.narrow(to: wanted)
                guard rows.count > 0 else { return }
            }
            feedForward(block, rows: rows, state: state, compute: compute)
            observe?(layer, state.x)
        }
    }

    /// x += W_o · Attention(W_q n, W_k n, W_v n), n = RMSNorm(x)
    private func attention(
        _ block: LlamaWeights.Block, layer: Int, rows: TokenRows, state: LlamaState, compute: Compute
    ) {
        let shape = configuration.attention
        compute.rmsNorm(
            state.x, weight: block.attentionNorm, epsilon: configuration.normEpsilon, rows: rows.count,
            into: state.normed)
        compute.load(state.normedInput, from: state.normed, rows: rows.count)
        compute.multiply(state.normedInput, block.queryKeyValue, into: state.queryKeyValue)
        compute.rotateAndStore(state.queryKeyValue, rows: rows, layer: layer, shape: shape, table: angles)
        compute.attention(
            state.queryKeyValue, rows: rows, shape: shape, scratch: state.scratch, into: state.attended)
        compute.load(state.attendedInput, from: state.attended, rows: rows.count)
        compute.multiply(
            state.attendedInput, block.attentionOutput, into: state.x, epilogue: Compute.Epilogue(accumulate: true))
    }

    /// x += W_down · (SiLU(W_gate n) ⊙ W_up n) + s · SiLU(n (V + E₁)ᵀ)(V + E₂), n = RMSNorm(x)
    private func feedForward(_ block: LlamaWeights.Block, rows: TokenRows, state: LlamaState, compute: Compute) {
        compute.rmsNorm(
            state.x, weight: block.feedForwardNorm, epsilon: configuration.normEpsilon, rows: rows.count,
            into: state.normed)
        compute.load(state.normedInput, from: state.normed, rows: rows.count)
        compute.multiply(state.normedInput, block.gateUp, into: state.gateUp)
        compute.swiGLU(state.gateUp, rows: rows.count, into: state.gated)
        compute.load(state.gatedInput, from: state.gated, rows: rows.count)
        compute.multiply(
            state.gatedInput, block.down, into: state.x, epilogue: Compute.Epilogue(accumulate: true))
        compute.addMemory(state.normedInput, rows: rows, scratch: state.scratch, into: state.x)
    }

    /// Logits of the chosen rows of the last forward pass: row i of the result belongs to `chosen[i]`.
    ///
    /// - Parameter chosen: at most `logitCapacity` row indices.
    /// - Returns: [chosen.count, vocabulary], valid until the next call.
    public func logits(of chosen: ArraySlice<Int>, state: LlamaState, compute: Compute) -> FloatRows {
        precondition(chosen.count <= state.logitCapacity)
        for (index, row) in chosen.enumerated() {
            compute.copyRow(state.x, from: row, to: state.chosen, at: index)
        }
        compute.rmsNorm(
            state.chosen, weight: weights.outputNorm, epsilon: configuration.normEpsilon, rows: chosen.count,
            into: state.chosen)
        compute.load(state.chosenInput, from: state.chosen, rows: chosen.count)
        compute.multiply(state.chosenInput, weights.output, into: state.logits)
        return state.logits
    }
}
