// One step of training: a batch in groups that fit the buffers, its gradient, clipping, AdamW.

internal import Diagnostics
internal import MemVP
internal import Tensor
internal import Vision

/// What a step did.
struct StepResult {
    /// Mean −ln p of the answer tokens, in nats.
    var loss: Double
    /// Tokens of text that went through the decoder.
    var tokens: Int
    /// Answer tokens.
    var targets: Int
    /// Norm of the gradient before clipping.
    var gradientNorm: Double
}

/// Runs steps on an adapter; owns the buffers.
final class TrainingStep {
    let adapter: TrainableAdapter
    private let compute: Compute
    private let decoder: DecoderGradient
    private let projector: ProjectorGradient
    private let images: VisualBank
    private let photos: PhotoSource
    private let rounded: Bool
    private let patches: Int

    /// Room for groups of `sequences` examples of together `rows` tokens.
    init(
        bundle: ModelBundle, compute: Compute, adapter: TrainableAdapter, photos: PhotoSource, rows: Int,
        sequences: Int
    ) throws(Failure) {
        let c = adapter.configuration
        self.adapter = adapter
        self.compute = compute
        self.photos = photos
        rounded = bundle.precision == .int8
        patches = photos.patches
        decoder = try DecoderGradient(
            model: bundle.language, compute: compute, rows: rows, sequenceCapacity: sequences, slots: c.memorySlots)
        projector = ProjectorGradient(
            adapter: adapter, compute: compute, capacity: sequences, patches: patches,
            gradientOfFeatures: photos.isTrained)
        images = VisualBank(c, capacity: sequences)
    }

    /// The mean loss of examples, without learning from them.
    ///
    /// - Parameter after: is told after each group how many examples it had; what it throws ends the work.
    func loss(
        _ examples: [PreparedExample], blind: Bool = false, after: (Int) throws(Failure) -> Void = { _ in }
    ) throws(Failure) -> Double {
        var total = 0.0
        for group in try groups(examples) {
            var none: FeatureDropout?
            try prepare(group, blind: blind, dropout: &none)
            total += decoder.run(group.map { $0.sequence(weight: 1) }, images: images, gradients: false).reduce(0, +)
            try after(group.count)
        }
        return total / Double(max(1, examples.reduce(0) { $0 + $1.targetCount }))
    }

    /// Adds the gradient of the mean loss of `examples` to the parameters' gradients, which are cleared first.
    func gradient(_ examples: [PreparedExample], dropout: FeatureDropout? = nil) throws(Failure) -> StepResult {
        var dropout = dropout
        for parameter in adapter.parameters {
            compute.clear(parameter.gradient, rows: parameter.gradient.capacity)
        }
        let targets = examples.reduce(0) { $0 + $1.targetCount }
        let weight = 1 / Float(max(1, targets))
        var total = 0.0
        for group in try groups(examples) {
            try prepare(group, blind: false, dropout: &dropout)
            total += decoder.run(group.map { $0.sequence(weight: weight) }, images: images, gradients: true).reduce(
                0, +)
            projector.backward(images)
            if let gradients = projector.featureGradients {
                dropout?.apply(to: gradients, patches: patches)
                for (index, example) in group.enumerated() where !example.isBlind {
                    try photos.backward(example.photo, gradient: gradients, at: index * patches)
                }
            }
        }
        return StepResult(
            loss: total / Double(max(1, targets)), tokens: examples.reduce(0) { $0 + $1.tokens.count - 1 },
            targets: targets, gradientNorm: 0)
    }

    /// One step of AdamW on a batch; `step` counts from 1.
    ///
    /// - Throws: `usage` when loss or gradient are no numbers any more, which rates and constants bring about; the photo
    ///   source's failures.
    func step(
        _ examples: [PreparedExample], step: Int, learningRate: Float, configuration: TrainingConfiguration
    ) throws(Failure) -> StepResult {
        let dropout = FeatureDropout(rate: configuration.dropout, seed: configuration.seed, step: step)
        var result = try gradient(examples, dropout: dropout)
        var gradients = adapter.parameters.map { $0.gradientValues() }
        var square = 0.0
        for gradient in gradients {
            for value in gradient { square += Double(value) * Double(value) }
        }
        result.gradientNorm = square.squareRoot()
        guard result.gradientNorm.isFinite, result.loss.isFinite else {
            throw Failure(
                .usage, "step \(step)", "has a loss or a gradient that is not a number",
                hint: "Begin again with a lower --learning-rate, --lambda or --scale.")
        }
        if configuration.clip > 0, result.gradientNorm > Double(configuration.clip) {
            let factor = configuration.clip / Float(result.gradientNorm)
            for index in gradients.indices {
                for place in gradients[index].indices { gradients[index][place] *= factor }
            }
        }
        let projectorFactor = configuration.projectorFactor(lambda: adapter.configuration.lambda)
        for (parameter, gradient) in zip(adapter.parameters, gradients) {
            let factor = adapter.isOfProjector(parameter) ? projectorFactor : 1
            parameter.step(configuration.adamW, gradient: gradient, step: step, learningRate: learningRate * factor)
        }
        return result
    }

    /// Examples in groups that fit the buffers, in order.
    private func groups(_ examples: [PreparedExample]) throws(Failure) -> [[PreparedExample]] {
        var groups: [[PreparedExample]] = []
        var group: [PreparedExample] = []
        var rows = 0
        for example in examples {
            let count = images.imageTokens + example.tokens.count - 1
            guard count <= decoder.longestSequence else {
                throw Failure(
                    .promptTooLong, "an example of \(example.tokens.count) tokens",
                    "does not fit beside \(images.imageTokens) image tokens",
                    hint: "\(decoder.longestSequence) tokens go through the model together: lower --slots.")
            }
            if rows + count > decoder.rowCapacity || group.count == images.capacity {
                groups.append(group)
                group = []
                rows = 0
            }
            group.append(example)
            rows += count
        }
        if !group.isEmpty { groups.append(group) }
        return groups
    }

    private func prepare(
        _ group: [PreparedExample], blind: Bool, dropout: inout FeatureDropout?
    ) throws(Failure) {
        let shown = group.map { !blind && !$0.isBlind }
        for (index, example) in group.enumerated() where shown[index] {
            try photos.features(example.photo, into: projector.features, at: index * patches, compute: compute)
        }
        dropout?.drop(projector.features, photos: group.map(\.photo), patches: patches)
        projector.forward(shown: shown, images: images, rounded: rounded)
    }
}
