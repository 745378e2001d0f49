// What a training run is made of; stored in its checkpoints, so that a resumed run is the same run.

public import MemVP

/// Settings of a run.
public struct TrainingConfiguration: Sendable, Equatable, Codable {
    /// Examples in a step.
    public var batch: Int
    /// Steps of the run.
    public var steps: Int
    /// The highest learning rate.
    public var learningRate: Float
    /// The highest learning rate of the projector; nil for one that moves V no faster than 0.025 times the rate of E₁ and E₂.
    public var projectorRate: Float?
    /// Steps of linear warm-up.
    public var warmUp: Int
    /// The optimiser's constants.
    public var adamW: AdamWConfiguration
    /// The norm that the gradient is clipped to; 0 for none.
    public var clip: Float
    /// The seed of parameters and order.
    public var seed: UInt64
    /// Where the image goes; nil for where the adapter to begin with puts it, or else into memory.
    public var prompting: Adapter.Prompting?
    /// Memory rows, or image tokens; nil for those of the adapter to begin with, or else one a patch.
    public var slots: Int?
    /// Hidden width of the projector; nil for that of the adapter to begin with, or else `defaultHidden`.
    public var hidden: Int?
    /// λ of the equation; nil for that of the adapter to begin with, or else `defaultLambda`.
    public var lambda: Float?
    /// s of the equation; nil for that of the adapter to begin with, or else `defaultScale`.
    public var scale: Float?
    /// Whether the encoder's own adapters are left out, or left as they are.
    public var freezesVision: Bool
    /// Inner width of the adapters beside a vision transformer's MLPs; nil for that of the adapter to begin with, or else
    /// `defaultVisionRank`.
    public var visionRank: Int?
    /// Blocks of the encoder that the adapter reads, side by side; none for the encoder's result. Nil for what the adapter to begin with
    /// reads, or else the ends of the last three stages (`VisionEncoder.stageBlocks`).
    public var featureBlocks: [Int]?
    /// Views of each photo that are shown in turn (`PhotoViews`); 1 shows the whole alone.
    public var views: Int
    /// The part of a photo's feature channels that each step leaves out.
    public var dropout: Float
    /// The decay of the running mean of the parameters, which is what validations and the finished adapter show; 0 for none.
    public var averaging: Float
    /// Whether captions weigh by what they have in common with others of their photo (`CaptionConsensus`).
    public var weighsConsensus: Bool
    /// Captions that are drawn of each photo and rewarded by their CIDEr-D; 0 learns from the data's own.
    public var rewardedSamples: Int
    /// What a drawn caption's share of BLEU-4 counts beside its CIDEr-D (`CaptionReward`); nil for nothing.
    public var bleuWeight: Float?
    /// What a drawn caption's reward loses for each word that it says again (`CaptionReward`); nil for nothing.
    public var repeatPenalty: Float?
    /// Steps between validations; 0 for none.
    public var validateEvery: Int
    /// Steps between checkpoints.
    public var checkpointEvery: Int
    /// Validation rows that are scored, about: those of photos that are spread evenly over all (`ValidationRows`).
    public var validationLimit: Int

    /// Hidden width of a new projector.
    public static let defaultHidden = 128
    /// λ of a new adapter.
    public static let defaultLambda: Float = 0.1
    /// s of a new adapter.
    public static let defaultScale: Float = 0.1
    /// Inner width of new adapters beside a vision transformer's MLPs.
    public static let defaultVisionRank = 8

    /// Settings with the defaults of the command line (docs/TRAINING.md says where they come from).
    public init(
        batch: Int = 64, steps: Int = 2_000, learningRate: Float = 0.012, projectorRate: Float? = nil, warmUp: Int = 30,
        adamW: AdamWConfiguration = AdamWConfiguration(), clip: Float = 1, seed: UInt64 = 1,
        prompting: Adapter.Prompting? = nil, slots: Int? = nil, hidden: Int? = nil, lambda: Float? = nil,
        scale: Float? = nil, freezesVision: Bool = false, visionRank: Int? = nil, featureBlocks: [Int]? = nil,
        views: Int = 1, dropout: Float = 0, averaging: Float = 0,
        weighsConsensus: Bool = false, rewardedSamples: Int = 0, bleuWeight: Float? = nil, repeatPenalty: Float? = nil,
        validateEvery: Int = 250,
        checkpointEvery: Int = 50, validationLimit: Int = 500
    ) {
        self.batch = batch
        self.steps = steps
        self.learningRate = learningRate
        self.projectorRate = projectorRate
        self.warmUp = warmUp
        self.adamW = adamW
        self.clip = clip
        self.seed = seed
        self.prompting = prompting
        self.slots = slots
        self.hidden = hidden
        self.lambda = lambda
        self.scale = scale
        self.freezesVision = freezesVision
        self.visionRank = visionRank
        self.featureBlocks = featureBlocks
        self.views = views
        self.dropout = dropout
        self.averaging = averaging
        self.weighsConsensus = weighsConsensus
        self.rewardedSamples = rewardedSamples
        self.bleuWeight = bleuWeight
        self.repeatPenalty = repeatPenalty
        self.validateEvery = validateEvery
        self.checkpointEvery = checkpointEvery
        self.validationLimit = validationLimit
    }

    /// The options of the command line that shape a run, always all of them, with their values; nil for one that was left out
    /// and has no value of its own.
    var options: [(name: String, value: String?)] {
        var all: [(name: String, value: String?)] = []
        func add<Value>(_ name: String, _ value: Value?) {
            all.append((name: name, value: value.map { "\($0)" }))
        }
        add("steps", steps)
        add("batch", batch)
        add("learning-rate", learningRate)
        add("projector-rate", projectorRate)
        add("warm-up", warmUp)
        add("weight-decay", adamW.weightDecay)
        add("clip", clip)
        add("prompting", prompting?.rawValue)
        add("slots", slots)
        add("hidden", hidden)
        let blocks = featureBlocks?.map { "\($0)" }.joined(separator: ",")
        add("feature-blocks", blocks.map { $0.isEmpty ? "result" : $0 })
        add("lambda", lambda)
        add("scale", scale)
        add("views", views)
        add("dropout", dropout)
        add("average", averaging)
        add("reward", rewardedSamples > 0 ? "cider" : weighsConsensus ? "consensus" : "words")
        add("samples", rewardedSamples > 0 ? rewardedSamples : nil)
        add("bleu-weight", bleuWeight)
        add("repeat-penalty", repeatPenalty)
        add("freeze-vision", freezesVision)
        add("vision-rank", visionRank)
        add("seed", seed)
        add("validate-every", validateEvery)
        add("checkpoint-every", checkpointEvery)
        return all
    }

    /// What the scheduled rate is multiplied by for the projector of an adapter with `lambda`.
    ///
    /// V = λ · fc2(…) moves by λ times the projector's rate: the greater λ is, the smaller that must be (docs/TRAINING.md).
    func projectorFactor(lambda: Float) -> Float {
        if let projectorRate { return learningRate > 0 ? projectorRate / learningRate : 1 }
        return min(1, 0.025 / max(abs(lambda), 0.025))
    }

    /// The schedule of learning rates.
    var schedule: LearningRate { LearningRate(peak: learningRate, warmUp: warmUp, steps: steps) }
}
