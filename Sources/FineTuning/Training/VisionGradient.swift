// Forward and backward through a frozen CLIP vision transformer to the rank-r adapters beside its MLPs, by hand:
//
//     x = x + Attention(LN₁(x))        n = LN₂(x)        x = x + MLP(n) + s · fc2(GELU(fc1(n)))
//
// One image at a time: the forward pass is run again for the backward pass, so memory does not grow with the batch. Frozen
// products are serving's; the adapters' are float32 on the parameters as they stand.

internal import Diagnostics
internal import Tensor
internal import Vision

/// Gradients of the adapters beside a vision transformer's MLPs.
final class VisionGradient {
    /// Patches of an image.
    var patches: Int { model.configuration.patches }

    private let model: CLIPVisionTransformer
    private let compute: Compute
    private let adapters: VisionParameters
    private let state: CLIPState
    private let transposed: [Transposed]
    private let tape: [Tape]
    private let image: SequenceList
    private let list = ProductList(capacity: 4)
    private let w: Workspace

    private struct Transposed {
        let queryKeyValue: [TransposedWeights]
        let attentionOutput: TransposedWeights
        let up: TransposedWeights
        let down: TransposedWeights
    }

    /// What the backward pass needs of one block.
    private struct Tape {
        let input: FloatRows  // [tokens, width]
        let queryKeyValue: FloatRows  // [tokens, 3 · width]
        let middle: FloatRows  // after attention [tokens, width]
        let normed: FloatRows  // LN₂ [tokens, width]
        let up: FloatRows  // before QuickGELU [tokens, hidden]
        let inner: FloatRows  // fc1(n), before GELU [tokens, rank]
        let activated: FloatRows  // GELU(fc1(n)) [tokens, rank]
    }

    private struct Workspace {
        let normed: FloatRows  // [tokens, width]
        let normedInput: ProductInput
        let part: FloatRows  // [tokens, width]
        let parts: [FloatRows]  // queries, keys, values [tokens, width]
        let attended: FloatRows  // [tokens, width]
        let attendedInput: ProductInput
        let activated: FloatRows  // [tokens, hidden]
        let activatedInput: ProductInput
        let output: FloatRows  // [tokens, width]
        let patches: FloatRows  // [patches, width]
        let dPatches: FloatRows
        let dx: FloatRows  // [tokens, width]
        let dNormed: FloatRows
        let scaledInput: ProductInput
        let dHidden: FloatRows  // [tokens, hidden]
        let scaledHidden: ProductInput
        let dAttended: FloatRows  // [tokens, width]
        let dQueryKeyValue: FloatRows  // [tokens, 3 · width]
        let dInner: FloatRows  // [tokens, rank]
        let fc1Transposed: FloatRows  // [width, rank]
        let fc2Transposed: FloatRows  // [rank, width]
        let scratch: EncoderScratch
    }

    init(model: CLIPVisionTransformer, compute: Compute, adapters: VisionParameters) throws(Failure) {
        let c = model.configuration
        let rank = adapters.rank
        func rows(_ columns: Int) -> FloatRows { FloatRows(capacity: c.tokens, columns: columns) }
        func input(_ columns: Int) -> ProductInput {
            ProductInput(
                precision: c.precision, capacity: c.tokens, columns: columns, planes: 2)
        }
        self.model = model
        self.compute = compute
        self.adapters = adapters
        state = CLIPState(c, compute: compute)
        var transposed: [Transposed] = []
        for block in model.weights.blocks {
            transposed.append(
                Transposed(
                    queryKeyValue: [
                        try TransposedWeights(block.query.weight), try TransposedWeights(block.key.weight),
                        try TransposedWeights(block.value.weight),
                    ], attentionOutput: try TransposedWeights(block.attentionOutput.weight),
                    up: try TransposedWeights(block.up.weight), down: try TransposedWeights(block.down.weight)))
        }
        self.transposed = transposed
        tape = (0..<c.layers).map { _ in
            Tape(
                input: rows(c.width), queryKeyValue: rows(3 * c.width), middle: rows(c.width), normed: rows(c.width),
                up: rows(c.hidden), inner: rows(rank), activated: rows(rank))
        }
        image = SequenceList(capacity: 1, longest: c.tokens, threads: compute.threads)
        image.append(length: c.tokens, bidirectional: true)
        w = Workspace(
            normed: rows(c.width), normedInput: input(c.width), part: rows(c.width),
            parts: [rows(c.width), rows(c.width), rows(c.width)], attended: rows(c.width),
            attendedInput: ProductInput(precision: c.precision, capacity: c.tokens, columns: c.width),
            activated: rows(c.hidden),
            activatedInput: input(c.hidden), output: rows(c.width),
            patches: FloatRows(capacity: c.patches, columns: c.width),
            dPatches: FloatRows(capacity: c.patches, columns: c.width), dx: rows(c.width), dNormed: rows(c.width),
            scaledInput: input(c.width), dHidden: rows(c.hidden),
            scaledHidden: input(c.hidden), dAttended: rows(c.width), dQueryKeyValue: rows(3 * c.width),
            dInner: rows(rank), fc1Transposed: FloatRows(capacity: c.width, columns: rank),
            fc2Transposed: FloatRows(capacity: rank, columns: c.width),
            scratch: EncoderScratch(compute: compute, rows: c.tokens))
    }

    // MARK: Forward

    /// The features of one normalised image, into `features` from row `row` on. pixels: [side, side, 3]
    func forward(_ pixels: Span<Float>, into features: FloatRows, at row: Int) {
        let c = model.configuration
        model.embed(pixels, state: state, compute: compute, into: c.layers > 0 ? tape[0].input : w.output)
        for layer in 0..<c.layers {
            let t = tape[layer]
            let output = layer + 1 < c.layers ? tape[layer + 1].input : w.output
            attention(model.weights.blocks[layer], t)
            feedForward(model.weights.blocks[layer], layer, t, into: output)
        }
        compute.copy(w.output, row: 1, rows: c.patches, to: w.patches)
        norm(w.patches, model.weights.normAfter, rows: c.patches, into: w.dPatches)
        compute.copy(w.dPatches, rows: c.patches, to: features, at: row)
    }

    private func attention(_ block: CLIPWeights.Block, _ t: Tape) {
        let c = model.configuration
        norm(t.input, block.attentionNorm, rows: c.tokens, into: w.normed)
        compute.load(w.normedInput, from: w.normed, rows: c.tokens)
        for (index, layer) in [block.query, block.key, block.value].enumerated() {
            compute.multiply(
                w.normedInput, layer.weight, into: w.parts[index], epilogue: Compute.Epilogue(bias: layer.bias))
            compute.copyColumns(
                w.parts[index], from: 0, count: c.width, rows: c.tokens, to: t.queryKeyValue, at: index * c.width)
        }
        compute.attention(
            queries: w.parts[0], keys: w.parts[1], values: w.parts[2], shape: c.attention, scratch: w.scratch,
            into: w.attended)
        compute.load(w.attendedInput, from: w.attended, rows: c.tokens)
        compute.copy(t.input, rows: c.tokens, to: t.middle)
        compute.multiply(
            w.attendedInput, block.attentionOutput.weight, into: t.middle,
            epilogue: Compute.Epilogue(bias: block.attentionOutput.bias, accumulate: true))
    }

    private func feedForward(_ block: CLIPWeights.Block, _ layer: Int, _ t: Tape, into output: FloatRows) {
        let c = model.configuration
        norm(t.middle, block.feedForwardNorm, rows: c.tokens, into: t.normed)
        compute.load(w.normedInput, from: t.normed, rows: c.tokens)
        compute.multiply(w.normedInput, block.up.weight, into: t.up, epilogue: Compute.Epilogue(bias: block.up.bias))
        compute.copy(t.up, rows: c.tokens, to: w.activated)
        compute.quickGELU(w.activated, rows: c.tokens)
        compute.load(w.activatedInput, from: w.activated, rows: c.tokens)
        compute.copy(t.middle, rows: c.tokens, to: output)
        compute.multiply(
            w.activatedInput, block.down.weight, into: output,
            epilogue: Compute.Epilogue(bias: block.down.bias, accumulate: true))
        compute.transpose(adapters.fc1[layer].rows, rows: adapters.rank, into: w.fc1Transposed)
        compute.transpose(adapters.fc2[layer].rows, rows: c.width, into: w.fc2Transposed)
        run { $0.append(t.inner, a: t.normed, b: w.fc1Transposed, m: c.tokens, k: c.width) }
        compute.copy(t.inner, rows: c.tokens, to: t.activated)
        compute.gelu(t.activated, rows: c.tokens)
        run { $0.append(w.part, a: t.activated, b: w.fc2Transposed, m: c.tokens, k: adapters.rank) }
        compute.add(w.part, row: 0, rows: c.tokens, times: adapters.scale, to: output, at: 0)
    }

    private func norm(_ x: FloatRows, _ norm: CLIPWeights.Norm, rows: Int, into y: FloatRows) {
        compute.layerNorm(
            x, weight: norm.weight, bias: norm.bias, epsilon: CLIPConfiguration.epsilon, rows: rows, into: y)
    }

    // MARK: Backward

    /// Runs the image again and adds its adapters' gradients. gradient: of its features, from row `row` on.
    func backward(_ pixels: Span<Float>, gradient: FloatRows, at row: Int) {
        let c = model.configuration
        forward(pixels, into: w.dPatches, at: 0)
        compute.copy(gradient, row: row, rows: c.patches, to: w.dPatches)
        // The class token's row is not part of the features.
        compute.clear(w.part, rows: c.tokens)
        compute.layerNormGradient(
            w.patches, weight: model.weights.normAfter.weight, epsilon: CLIPConfiguration.epsilon, rows: c.patches,
            gradient: w.dPatches, into: w.part)
        compute.clear(w.dx, rows: c.tokens)
        compute.copy(w.part, rows: c.patches, to: w.dx, at: 1)
        for layer in stride(from: c.layers - 1, through: 0, by: -1) {
            feedForwardGradient(layer)
            // Below the first block's adapter nothing is trained.
            if layer > 0 { attentionGradient(layer) }
        }
    }

    /// dn of MLP and adapter, then dh = dx + LN₂′(dn); the adapter's own gradients on the way.
    private func feedForwardGradient(_ layer: Int) {
        let c = model.configuration
        let (t, block, back) = (tape[layer], model.weights.blocks[layer], transposed[layer])
        let (fc1, fc2) = (adapters.fc1[layer], adapters.fc2[layer])
        // Adapter: o = s · g fc2ᵀ, g = GELU(a), a = n fc1ᵀ.
        compute.clear(w.part, rows: c.tokens)
        compute.add(w.dx, row: 0, rows: c.tokens, times: adapters.scale, to: w.part, at: 0)
        run {
            $0.append(
                fc2.gradient, a: w.part, transposed: true, b: t.activated, m: c.width, k: c.tokens, accumulate: true)
            $0.append(w.dInner, a: w.part, b: fc2.rows, m: c.tokens, k: c.width)
        }
        compute.geluGradient(t.inner, quick: false, rows: c.tokens, gradient: w.dInner)
        run {
            $0.append(
                fc1.gradient, a: w.dInner, transposed: true, b: t.normed, m: adapters.rank, k: c.tokens,
                accumulate: true)
        }
        guard layer > 0 else { return }
        // MLP.
        multiply(w.dx, back.down, w.scaledInput, scaledBy: w.part, into: w.dHidden)
        compute.geluGradient(t.up, quick: true, rows: c.tokens, gradient: w.dHidden)
        multiply(w.dHidden, back.up, w.scaledHidden, scaledBy: w.dHidden, into: w.dNormed)
        run { $0.append(w.dNormed, a: w.dInner, b: fc1.rows, m: c.tokens, k: adapters.rank, accumulate: true) }
        compute.layerNormGradient(
            t.middle, weight: block.feedForwardNorm.weight, epsilon: CLIPConfiguration.epsilon, rows: c.tokens,
            gradient: w.dNormed, into: w.dx)
    }

    private func attentionGradient(_ layer: Int) {
        let c = model.configuration
        let (t, block, back) = (tape[layer], model.weights.blocks[layer], transposed[layer])
        multiply(w.dx, back.attentionOutput, w.scaledInput, scaledBy: w.part, into: w.dAttended)
        compute.attentionGradient(
            t.queryKeyValue, image: image, shape: c.attention, gradient: w.dAttended, into: w.dQueryKeyValue)
        compute.clear(w.dNormed, rows: c.tokens)
        for (index, weights) in back.queryKeyValue.enumerated() {
            compute.copyColumns(
                w.dQueryKeyValue, from: index * c.width, count: c.width, rows: c.tokens, to: w.parts[index], at: 0)
            multiply(w.parts[index], weights, w.scaledInput, scaledBy: w.parts[index], into: w.part)
            compute.add(w.part, row: 0, rows: c.tokens, times: 1, to: w.dNormed, at: 0)
        }
        compute.layerNormGradient(
            t.input, weight: block.attentionNorm.weight, epsilon: CLIPConfiguration.epsilon, rows: c.tokens,
            gradient: w.dNormed, into: w.dx)
    }

    /// result = d W for all tokens.
    private func multiply(
        _ d: FloatRows, _ weights: TransposedWeights, _ input: ProductInput, scaledBy scaled: FloatRows,
        into result: FloatRows
    ) {
        compute.scaled(d, rows: model.configuration.tokens, for: weights, into: scaled)
        compute.load(input, from: scaled, rows: model.configuration.tokens)
        compute.multiply(input, weights.matrix, into: result)
    }

    private func run(_ build: (ProductList) -> Void) {
        list.removeAll()
        build(list)
        compute.run(list)
    }
}

/// The trained matrices beside a vision transformer's MLPs.
final class VisionParameters {
    let rank: Int
    /// What their contribution is multiplied by.
    let scale: Float
    /// One for each block. [rank, width]
    let fc1: [Parameter]
    /// One for each block. [width, rank]
    let fc2: [Parameter]

    init(rank: Int, width: Int, scale: Float, fc1: [[Float]], fc2: [[Float]]) {
        self.rank = rank
        self.scale = scale
        self.fc1 = fc1.enumerated().map {
            Parameter(name: "vision.blk.\($0.offset).fc1.weight", shape: [rank, width], values: $0.element)
        }
        self.fc2 = fc2.enumerated().map {
            Parameter(name: "vision.blk.\($0.offset).fc2.weight", shape: [width, rank], values: $0.element)
        }
    }

    /// All of them, block by block.
    var parameters: [Parameter] { zip(fc1, fc2).flatMap { [$0, $1] } }
}
