// What each step of a run learns from: examples of the data, or captions drawn from the adapter and weighed by a reward.

internal import Diagnostics
internal import MemVP

/// The examples of every step.
struct Lessons {
    private var examples: [PreparedExample]
    private let reward: CaptionReward?
    private let seed: UInt64
    private let dropout: Float
    private var order: BatchOrder

    /// The lessons that `configuration` describes.
    ///
    /// - Throws: `spec_invalid` when the data cannot be rewarded.
    init(
        _ bundle: ModelBundle, _ data: [(example: PreparedExample, task: ExampleRow.Task)], _ drawing: AnswerDrawing,
        _ configuration: TrainingConfiguration
    ) throws(Failure) {
        let c = configuration
        examples = data.map(\.example)
        seed = c.seed
        dropout = c.dropout
        if c.weighsConsensus {
            let weights = CaptionConsensus.weights(data.map { ($0.example.photo, $0.task) })
            for index in examples.indices { examples[index].advantage = weights[index] }
        }
        if c.rewardedSamples > 0 {
            let reward = try CaptionReward(
                bundle: bundle, examples: data, drawing: drawing, samples: c.rewardedSamples,
                bleuWeight: c.bleuWeight ?? 0, repeatPenalty: c.repeatPenalty ?? 0, seed: c.seed)
            self.reward = reward
            order = BatchOrder(
                count: reward.count, batch: max(1, c.batch / c.rewardedSamples), seed: c.seed)
        } else {
            reward = nil
            order = BatchOrder(count: examples.count, batch: c.batch, seed: c.seed)
        }
    }

    /// The examples of step `step`, counted from 0, and the mean reward of drawn ones.
    mutating func next(
        _ step: Int, adapter: TrainableAdapter
    ) throws(Failure) -> (examples: [PreparedExample], reward: Double?) {
        let places = order.places(step)
        guard let reward else {
            var random = TrainingRandom(seed: seed, stream: 0x71E3_5EE2 &+ UInt64(step))
            return (places.map { examples[$0].seen(&random) }, nil)
        }
        let drawn = try reward.draw(
            places, step: step, adapter: adapter, dropout: FeatureDropout(rate: dropout, seed: seed, step: step + 1))
        return (drawn.examples, drawn.reward)
    }
}
