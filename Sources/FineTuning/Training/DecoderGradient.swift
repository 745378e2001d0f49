// Forward and backward through the frozen decoder, by hand: the loss on answer tokens and its gradient with respect to each
// sequence's image, be it memory rows or image tokens before the text (arXiv 2405.05615; DESIGN 1).
//
// The forward pass multiplies by serving's own weights in serving's arithmetic; values that it rounds pass their gradient
// straight through. The backward pass multiplies by the same integers, transposed (`TransposedWeights`). Sequences stand end to
// end: there is no padding to compute. A `DecoderGradient` belongs to one thread and is reused from step to step.

internal import Diagnostics
internal import Language
internal import Tensor

/// One sequence to learn from.
struct TrainingSequence {
    /// Prompt and answer but for the last token; image tokens come on top. At least 1.
    var input: [Int32]
    /// What is to be predicted, and by which row of `input`.
    var targets: [(row: Int, token: Int32)]
    /// The weight of each target in the loss: 1 / targets in the whole batch for their mean.
    var weight: Float
}

/// The gradient of the loss with respect to images.
final class DecoderGradient {
    /// Rows (tokens) there is room for.
    let rowCapacity: Int
    /// Rows that one sequence may have.
    var longestSequence: Int { min(rowCapacity, model.positions) }

    private let model: LlamaModel
    private let compute: Compute
    private let transposed: [TransposedBlock]
    private let outputTransposed: TransposedWeights
    private let tape: [LayerTape]
    private let rows: TokenRows
    private let sequences: SequenceList
    private let products: ProductList
    private let scratch: DecoderScratch
    private let w: Workspace
    /// Where the sequences of the batch stand.
    private var places: [Place] = []

    /// The rows of one sequence, image tokens first.
    private struct Place {
        let entry: Int
        let row: Int
        let length: Int
    }

    /// What a row is to predict.
    private struct Target {
        let row: Int
        let token: Int32
        let weight: Float
    }

    /// Wᵀ of a block's four matrices.
    private struct TransposedBlock {
        let queryKeyValue: TransposedWeights
        let attentionOutput: TransposedWeights
        let gateUp: TransposedWeights
        let down: TransposedWeights
    }

    /// What the backward pass needs of one block's forward pass.
    private struct LayerTape {
        let input: FloatRows  // x [rows, width]
        let queryKeyValue: FloatRows  // rotated [rows, totalWidth]
        let middle: FloatRows  // h = x + attention [rows, width]
        let normed: FloatRows  // n = RMSNorm(h) [rows, width]
        let gateUp: FloatRows  // [rows, 2 · hidden]
        let scores: FloatRows  // a = n keysᵀ [rows, slots]
        let activated: FloatRows  // u = SiLU(a) [rows, slots]
    }

    /// Buffers that every layer uses in turn.
    private struct Workspace {
        let normed: FloatRows  // [rows, width]
        let normedInput: ProductInput
        let attended: FloatRows  // [rows, queryWidth]
        let attendedInput: ProductInput
        let gated: FloatRows  // [rows, hidden]
        let gatedInput: ProductInput
        let output: FloatRows  // x after the last block [rows, width]
        let chosen: FloatRows  // rows that have targets, before and after the last norm [logitRows, width]
        let chosenNormed: FloatRows
        let chosenInput: ProductInput
        let chosenGradient: FloatRows
        let chosenNormGradient: FloatRows
        let logits: FloatRows  // [logitRows, vocabulary]
        let logitsInput: ProductInput
        let dx: FloatRows  // ∂L/∂x [rows, width]
        let scaledWidth: FloatRows  // [rows, width], scaled for a transposed product
        let widthInput: ProductInput
        let dGated: FloatRows  // [rows, hidden]
        let dGateUp: FloatRows  // [rows, 2 · hidden]
        let dGateUpInput: ProductInput
        let dNormed: FloatRows  // [rows, width]
        let dScores: FloatRows  // [rows, slots]
        let dAttended: FloatRows  // [rows, queryWidth]
        let dQueryKeyValue: FloatRows  // [rows, totalWidth]
        let dQueryKeyValueInput: ProductInput
    }

    /// Room for `rows` tokens, image tokens among them, in up to `sequenceCapacity` sequences with memories of `slots` rows.
    ///
    /// - Parameter reference: gradients in float32 on dequantised weights instead of serving's int8 kernels.
    /// - Throws: `model_unsupported` for a vocabulary too large to sum over.
    init(
        model: LlamaModel, compute: Compute, rows rowCapacity: Int, sequenceCapacity: Int, slots: Int,
        reference: Bool = false
    ) throws(Failure) {
        let c = model.configuration
        let shape = c.attention
        let backward: Precision = reference ? .float32 : c.precision
        func matrix(_ columns: Int) -> FloatRows { FloatRows(capacity: rowCapacity, columns: columns) }
        func input(_ precision: Precision, _ columns: Int, rows: Int? = nil) -> ProductInput {
            ProductInput(
                precision: precision, capacity: rows ?? rowCapacity, columns: columns, planes: 2)
        }
        let logitRows = min(rowCapacity, 64)
        func few(_ columns: Int) -> FloatRows { FloatRows(capacity: logitRows, columns: columns) }
        self.model = model
        self.compute = compute
        self.rowCapacity = rowCapacity
        var transposed: [TransposedBlock] = []
        for block in model.weights.blocks {
            transposed.append(
                TransposedBlock(
                    queryKeyValue: try TransposedWeights(block.queryKeyValue, precision: backward),
                    attentionOutput: try TransposedWeights(block.attentionOutput, precision: backward),
                    gateUp: try TransposedWeights(block.gateUp, precision: backward),
                    down: try TransposedWeights(block.down, precision: backward)))
        }
        self.transposed = transposed
        outputTransposed = try TransposedWeights(model.weights.output, precision: backward)
        tape = (0..<c.layers).map { _ in
            LayerTape(
                input: matrix(c.width), queryKeyValue: matrix(shape.totalWidth), middle: matrix(c.width),
                normed: matrix(c.width), gateUp: matrix(2 * c.hidden), scores: matrix(slots), activated: matrix(slots))
        }
        rows = TokenRows(capacity: rowCapacity)
        sequences = SequenceList(
            capacity: sequenceCapacity, longest: min(rowCapacity, model.positions), threads: compute.threads)
        products = ProductList(capacity: 2 * sequenceCapacity)
        scratch = DecoderScratch(
            compute: compute, precision: c.precision, rows: 1, positions: model.positions, slots: 1)
        w = Workspace(
            normed: matrix(c.width), normedInput: input(c.precision, c.width),
            attended: matrix(shape.queryWidth),
            attendedInput: ProductInput(precision: c.precision, capacity: rowCapacity, columns: shape.queryWidth),
            gated: matrix(c.hidden), gatedInput: input(c.precision, c.hidden), output: matrix(c.width),
            chosen: few(c.width), chosenNormed: few(c.width),
            chosenInput: input(c.precision, c.width, rows: logitRows), chosenGradient: few(c.width),
            chosenNormGradient: few(c.width), logits: few(c.vocabulary),
            logitsInput: input(backward, c.vocabulary, rows: logitRows), dx: matrix(c.width),
            scaledWidth: matrix(c.width), widthInput: input(backward, c.width),
            dGated: matrix(c.hidden), dGateUp: matrix(2 * c.hidden),
            dGateUpInput: input(backward, 2 * c.hidden), dNormed: matrix(c.width), dScores: matrix(slots),
            dAttended: matrix(shape.queryWidth), dQueryKeyValue: matrix(shape.totalWidth),
            dQueryKeyValueInput: input(backward, shape.totalWidth))
    }

    /// Runs a batch forwards, and backwards too where `gradients`: entry i of `images` belongs to sequence i, and its gradients are
    /// added to.
    ///
    /// - Returns: −ln p of every target, sequence by sequence, in nats.
    func run(_ batch: [TrainingSequence], images: VisualBank, gradients: Bool) -> [Double] {
        precondition(batch.count <= images.capacity)
        place(batch, images)
        forward(images)
        compute.clear(w.dx, rows: rows.count)
        let losses = loss(batch, images, gradients: gradients)
        if gradients { backward(images) }
        return losses
    }

    /// Lays the sequences end to end, each with its image tokens first.
    private func place(_ batch: [TrainingSequence], _ images: VisualBank) {
        places.removeAll(keepingCapacity: true)
        sequences.removeAll()
        rows.removeAll()
        for (entry, sequence) in batch.enumerated() {
            let inputs = images.inputs(entry) + sequence.input.map { .token($0) }
            let placed = rows.append(inputs[...], cache: model.makeCache(capacity: inputs.count), memory: nil)
            // TrainingStep groups by the room there is and refuses by name what has none; the cache was made for these rows.
            guard let placed else { preconditionFailure("a batch of more rows than there is room for") }
            places.append(Place(entry: entry, row: placed.lowerBound, length: placed.count))
            sequences.append(length: placed.count)
        }
    }

    // MARK: Forward

    private func forward(_ images: VisualBank) {
        let c = model.configuration
        // x = [image tokens; embed(tokens)]
        compute.embed(rows, by: model.weights.embedding, into: tape[0].input)
        for layer in 0..<c.layers {
            let block = model.weights.blocks[layer]
            let t = tape[layer]
            // h = x + W_o Attention(W_qkv RMSNorm(x))
            compute.rmsNorm(
                t.input, weight: block.attentionNorm, epsilon: c.normEpsilon, rows: rows.count, into: w.normed)
            compute.load(w.normedInput, from: w.normed, rows: rows.count)
            compute.multiply(w.normedInput, block.queryKeyValue, into: t.queryKeyValue)
            compute.rotateAndStore(
                t.queryKeyValue, rows: rows, layer: layer, shape: c.attention, table: model.angles)
            compute.attention(t.queryKeyValue, rows: rows, shape: c.attention, scratch: scratch, into: w.attended)
            compute.load(w.attendedInput, from: w.attended, rows: rows.count)
            compute.copy(t.input, rows: rows.count, to: t.middle)
            compute.multiply(
                w.attendedInput, block.attentionOutput, into: t.middle, epilogue: Compute.Epilogue(accumulate: true))
            // x' = h + W_down SwiGLU(W_gate_up n) + SiLU(n keysᵀ) values, n = RMSNorm(h)
            compute.rmsNorm(
                t.middle, weight: block.feedForwardNorm, epsilon: c.normEpsilon, rows: rows.count, into: t.normed)
            compute.load(w.normedInput, from: t.normed, rows: rows.count)
            compute.multiply(w.normedInput, block.gateUp, into: t.gateUp)
            compute.swiGLU(t.gateUp, rows: rows.count, into: w.gated)
            compute.load(w.gatedInput, from: w.gated, rows: rows.count)
            let output = layer + 1 < c.layers ? tape[layer + 1].input : w.output
            compute.copy(t.middle, rows: rows.count, to: output)
            compute.multiply(
                w.gatedInput, block.down, into: output, epilogue: Compute.Epilogue(accumulate: true))
            if case .memory(let bank) = images { memory(bank, t, into: output) }
        }
    }

    /// x' += SiLU(n keysᵀ) values, each sequence with its own memory.
    private func memory(_ bank: MemoryBank, _ t: LayerTape, into output: FloatRows) {
        products.removeAll()
        for p in places {
            products.append(
                t.scores, row: p.row, a: t.normed, row: p.row, b: bank.keysTransposed, row: p.entry * bank.width,
                m: p.length, k: bank.width)
        }
        compute.run(products)
        compute.silu(t.scores, rows: rows.count, into: t.activated)
        products.removeAll()
        for p in places {
            products.append(
                output, row: p.row, a: t.activated, row: p.row, b: bank.values, row: p.entry * bank.slots, m: p.length,
                k: bank.slots, accumulate: true)
        }
        compute.run(products)
    }

    // MARK: Loss

    /// Cross-entropy of the targets, a few rows of logits at a time; ∂L/∂x of the last block's output goes into `dx`.
    private func loss(_ batch: [TrainingSequence], _ images: VisualBank, gradients: Bool) -> [Double] {
        var targets: [Target] = []
        for p in places {
            let text = p.row + images.imageTokens
            targets += batch[p.entry].targets.map {
                Target(row: text + $0.row, token: $0.token, weight: batch[p.entry].weight)
            }
        }
        var losses: [Double] = []
        for first in stride(from: 0, to: targets.count, by: w.chosen.capacity) {
            let part = targets[first..<min(first + w.chosen.capacity, targets.count)]
            for (index, target) in part.enumerated() {
                compute.copyRow(w.output, from: target.row, to: w.chosen, at: index)
            }
            compute.rmsNorm(
                w.chosen, weight: model.weights.outputNorm, epsilon: model.configuration.normEpsilon, rows: part.count,
                into: w.chosenNormed)
            compute.load(w.chosenInput, from: w.chosenNormed, rows: part.count)
            compute.multiply(w.chosenInput, model.weights.output, into: w.logits)
            losses += compute.crossEntropy(
                w.logits, targets: part.map(\.token), weights: part.map(\.weight), scaledFor: outputTransposed)
            if gradients { lossGradient(part) }
        }
        return losses
    }

    /// d chosen = (w softmax − w onehot) W, through the last norm, to the rows it came from.
    private func lossGradient(_ part: ArraySlice<Target>) {
        compute.load(w.logitsInput, from: w.logits, rows: part.count)
        compute.multiply(w.logitsInput, outputTransposed.matrix, into: w.chosenNormGradient)
        for (index, target) in part.enumerated() {
            compute.row(Int(target.token), of: model.weights.output, into: w.chosenGradient, outputRow: 0)
            compute.add(
                w.chosenGradient, row: 0, rows: 1, times: -target.weight, to: w.chosenNormGradient, at: index)
        }
        compute.clear(w.chosenGradient, rows: part.count)
        compute.rmsNormGradient(
            w.chosen, weight: model.weights.outputNorm, epsilon: model.configuration.normEpsilon, rows: part.count,
            gradient: w.chosenNormGradient, into: w.chosenGradient)
        for (index, target) in part.enumerated() {
            compute.add(w.chosenGradient, row: index, rows: 1, times: 1, to: w.dx, at: target.row)
        }
    }

    // MARK: Backward

    private func backward(_ images: VisualBank) {
        for layer in stride(from: model.configuration.layers - 1, through: 0, by: -1) {
            if case .memory(let bank) = images {
                memoryGradient(bank, tape[layer])
                // Below the first block's memory nothing is trained.
                if layer == 0 { return }
            }
            feedForwardGradient(images, layer)
            attentionGradient(layer)
        }
        if case .tokens(let bank) = images { inputGradient(bank) }
    }

    /// From x₀ = [image tokens; embed(tokens)]: d image tokens += the first rows of each sequence's dx₀.
    private func inputGradient(_ bank: ImageTokenBank) {
        for p in places {
            compute.add(w.dx, row: p.row, rows: bank.slots, times: 1, to: bank.gradients, at: p.entry * bank.slots)
        }
    }

    /// From y += u values, u = SiLU(a), a = n keysᵀ:
    ///
    ///     d values += uᵀ dy,   da = (dy valuesᵀ) ⊙ SiLU′(a),   d keys += daᵀ n
    private func memoryGradient(_ bank: MemoryBank, _ t: LayerTape) {
        products.removeAll()
        for p in places {
            products.append(
                bank.valueGradients, row: p.entry * bank.slots, a: t.activated, row: p.row, transposed: true, b: w.dx,
                row: p.row, m: bank.slots, k: p.length, accumulate: true)
            products.append(
                w.dScores, row: p.row, a: w.dx, row: p.row, b: bank.valuesTransposed, row: p.entry * bank.width,
                m: p.length, k: bank.width)
        }
        compute.run(products)
        compute.siluGradient(t.scores, rows: rows.count, gradient: w.dScores)
        products.removeAll()
        for p in places {
            products.append(
                bank.keyGradients, row: p.entry * bank.slots, a: w.dScores, row: p.row, transposed: true, b: t.normed,
                row: p.row, m: bank.slots, k: p.length, accumulate: true)
        }
        compute.run(products)
    }

    /// From x' = h + W_down SwiGLU(W_gate_up n) + SiLU(n keysᵀ) values, n = RMSNorm(h): dh = dx' + RMSNorm′(dn).
    private func feedForwardGradient(_ images: VisualBank, _ layer: Int) {
        let (t, block, back) = (tape[layer], model.weights.blocks[layer], transposed[layer])
        multiply(w.dx, back.down, w.widthInput, scaledBy: w.scaledWidth, into: w.dGated)
        compute.swiGLUGradient(
            t.gateUp, rows: rows.count, gradient: w.dGated, scaledFor: back.gateUp, into: w.dGateUp)
        compute.load(w.dGateUpInput, from: w.dGateUp, rows: rows.count)
        compute.multiply(w.dGateUpInput, back.gateUp.matrix, into: w.dNormed)
        if case .memory(let bank) = images { addMemoryGradient(bank) }
        compute.rmsNormGradient(
            t.middle, weight: block.feedForwardNorm, epsilon: model.configuration.normEpsilon, rows: rows.count,
            gradient: w.dNormed, into: w.dx)
    }

    /// From a = n keysᵀ: dn += da keys.
    private func addMemoryGradient(_ bank: MemoryBank) {
        products.removeAll()
        for p in places {
            products.append(
                w.dNormed, row: p.row, a: w.dScores, row: p.row, b: bank.keys, row: p.entry * bank.slots, m: p.length,
                k: bank.slots, accumulate: true)
        }
        compute.run(products)
    }

    /// From h = x + W_o Attention(W_qkv n), n = RMSNorm(x): dx = dh + RMSNorm′(dn).
    private func attentionGradient(_ layer: Int) {
        let (t, block, back) = (tape[layer], model.weights.blocks[layer], transposed[layer])
        multiply(w.dx, back.attentionOutput, w.widthInput, scaledBy: w.scaledWidth, into: w.dAttended)
        compute.attentionGradient(
            t.queryKeyValue, sequences: sequences, shape: model.configuration.attention, table: model.angles,
            gradient: w.dAttended, into: w.dQueryKeyValue)
        multiply(
            w.dQueryKeyValue, back.queryKeyValue, w.dQueryKeyValueInput, scaledBy: w.dQueryKeyValue, into: w.dNormed)
        compute.rmsNormGradient(
            t.input, weight: block.attentionNorm, epsilon: model.configuration.normEpsilon, rows: rows.count,
            gradient: w.dNormed, into: w.dx)
    }

    /// result = d W for all rows.
    private func multiply(
        _ d: FloatRows, _ weights: TransposedWeights, _ input: ProductInput, scaledBy scaled: FloatRows,
        into result: FloatRows
    ) {
        compute.scaled(d, rows: rows.count, for: weights, into: scaled)
        compute.load(input, from: scaled, rows: rows.count)
        compute.multiply(input, weights.matrix, into: result)
    }
}
