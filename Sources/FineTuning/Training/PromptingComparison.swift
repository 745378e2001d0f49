// Both ways to show the model an image, at work on made-up photos: what `memvp bench prompting` times.
//
// Base, engine and training step are those of every day. Only the features are made up, random and always the same, so that a photo
// may have any number of patches.

public import Diagnostics
internal import Language
public import MemVP
public import Tensor
internal import Vision

/// An adapter of each kind with as many slots as its made-up photos have patches.
public final class PromptingComparison {
    /// Examples of a training step.
    public static let batch = 8
    /// Tokens of text that go through the decoder for each example: a prompt and a short caption.
    public static let textTokens = 15
    /// Tokens of an answer.
    public static let answerTokens = 16
    /// Tokens of the prompt, as the default model's for captions.
    private static let promptTokens = 2
    /// The most slots that leave room for text in a group of the trainer.
    public static let largestSlots = Trainer.rows - textTokens

    private let compute: Compute
    private let examples: [PreparedExample]
    private let features: FloatRows  // of the first photo [patches, features]
    private let sides: [Adapter.Prompting: Side]
    private var steps = 0

    private struct Side {
        let training: TrainingStep
        let projector: VisualProjector
        let engine: Engine
    }

    /// Adapters of `slots` slots on the base of `bundle`; features are kept in `directory` meanwhile.
    ///
    /// - Throws: `configuration_invalid` for more slots than the base has positions; the feature store's failures.
    public init(bundle: ModelBundle, compute: Compute, slots: Int, directory: String) throws(Failure) {
        let positions = slots + Self.promptTokens + Self.answerTokens
        guard slots <= Self.largestSlots, positions <= bundle.language.positions else {
            throw Failure(
                .configurationInvalid, "--slots \(slots)", "leave no room for text",
                hint:
                    "At most \(Self.largestSlots) are compared, and the base has \(bundle.language.positions) positions."
            )
        }
        self.compute = compute
        let photos = try MadeUpPhotos(
            count: Self.batch, patches: slots, width: bundle.vision.features, directory: directory)
        examples = photos.keys.enumerated().map { index, key in
            PreparedExample(
                tokens: Self.text(Self.textTokens + 1, sequence: index, bundle), promptCount: Self.promptTokens,
                photo: key)
        }
        features = FloatRows(capacity: slots, columns: bundle.vision.features)
        try photos.store.read(photos.keys[0], into: features, at: 0, compute: compute)
        var sides: [Adapter.Prompting: Side] = [:]
        for prompting in Adapter.Prompting.allCases {
            sides[prompting] = try Self.side(prompting, bundle, compute, photos.store, positions: positions)
        }
        self.sides = sides
    }

    /// One training step of one kind.
    ///
    /// - Throws: the step's failures.
    public func train(_ prompting: Adapter.Prompting) throws(Failure) {
        steps += 1
        _ = try sides[prompting]?.training.step(
            examples, step: steps, learningRate: 1e-4, configuration: TrainingConfiguration(batch: Self.batch))
    }

    /// From features to an answer of one kind.
    ///
    /// - Throws: `internal_error` when there is none.
    public func answer(_ prompting: Adapter.Prompting) throws(Failure) {
        guard let side = sides[prompting] else { return }
        let image = try side.projector.visualPrompt(of: features, compute: compute)
        // No token has the id -1, so the answer does not end early.
        let goal = TokenTask.Goal.generate(maximumTokens: Self.answerTokens, end: -1, sampling: .greedy)
        let prompt = examples[0].tokens.prefix(Self.promptTokens)
        _ = side.engine.submit([TokenTask(prompt: Array(prompt), goal: goal, image: image)])
        var answered = 0
        while !side.engine.isIdle { answered += side.engine.step().reduce(0) { $0 + $1.result.tokens.count } }
        guard answered == Self.answerTokens else {
            throw Failure(.internalError, "an answer", "has \(answered) tokens")
        }
    }

    private static func side(
        _ prompting: Adapter.Prompting, _ bundle: ModelBundle, _ compute: Compute, _ store: FeatureStore, positions: Int
    ) throws(Failure) -> Side {
        let c = Adapter.Configuration(
            features: bundle.vision.features, hidden: TrainingConfiguration.defaultHidden,
            width: bundle.language.configuration.width,
            slots: store.patches, lambda: TrainingConfiguration.defaultLambda,
            scale: TrainingConfiguration.defaultScale,
            prompting: prompting)
        let adapter = TrainableAdapter(c, seed: 1)
        let rows = min(Trainer.rows, batch * (c.imageTokens + textTokens))
        return Side(
            training: try TrainingStep(
                bundle: bundle, compute: compute, adapter: adapter, photos: .stored(store), rows: rows, sequences: batch
            ),
            projector: try VisualProjector(
                adapter: Adapter(c, tensors: adapter.tensors, precision: bundle.precision), patches: store.patches),
            engine: Engine(
                model: bundle.language, compute: compute,
                limits: EngineLimits(streams: 1, positions: positions, slots: c.memorySlots)))
    }

    /// Tokens spread over the vocabulary, other ones for each sequence.
    private static func text(_ count: Int, sequence: Int, _ bundle: ModelBundle) -> [Int32] {
        let vocabulary = bundle.language.configuration.vocabulary
        return (0..<count).map { Int32((1_000 + 7_919 * sequence + 104_729 * $0) % vocabulary) }
    }
}

/// Random features in a feature store.
private struct MadeUpPhotos {
    let store: FeatureStore
    let keys: [String]

    init(count: Int, patches: Int, width: Int, directory: String) throws(Failure) {
        store = try FeatureStore(directory: directory, encoder: "made-up-\(patches)", patches: patches, width: width)
        keys = (0..<count).map { ModelBundle.sha256(of: Array("made-up photo \($0)".utf8)) }
        let features = FloatRows(capacity: patches, columns: width)
        for (index, key) in keys.enumerated() {
            var random = TrainingRandom(seed: UInt64(index))
            for patch in 0..<patches {
                let row = (0..<width).map { _ in Float(random.uniform()) }
                features.setRow(patch, row.span)
            }
            try store.append(key, features: features)
        }
        store.release()
    }
}
