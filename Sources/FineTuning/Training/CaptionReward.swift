// Self-critical training (Rennie et al., arXiv 1612.00563; the baseline of Luo, arXiv 2003.09971): captions are drawn from the
// adapter, and each is made likelier by as much as its CIDEr-D exceeds that of the other captions of the same photo.
//
//     L = Σ_k A_k · −ln p(c_k),    A_k = r(c_k) − mean_{j≠k} r(c_j)
//
// The end of a caption counts as a word in the reward: else a caption that breaks off ("a man in a") scores as well as a whole one.
// Invariant: what a step draws follows from seed, step and parameters alone, so a resumed run equals one that was never stopped.

internal import Diagnostics
internal import Language
internal import MemVP
internal import Text

/// Photos whose captions are drawn and rewarded.
final class CaptionReward {
    private struct Photo {
        let example: PreparedExample
        let prompt: [Int32]
        let end: Int32
        let references: [NGramCounts]
    }

    private let drawing: AnswerDrawing
    private let tokenizer: any Tokenizer
    private var words: RewardWords
    private let photos: [Photo]
    private let metric: CIDErD
    private let samples: Int
    private let seed: UInt64
    /// Photos that there are.
    var count: Int { photos.count }

    /// The photos of `examples`, whose captions are the references.
    ///
    /// - Throws: `spec_invalid` when an example is no caption or there is only one photo, for which every reward is 0.
    init(
        bundle: ModelBundle, examples: [(example: PreparedExample, task: ExampleRow.Task)], drawing: AnswerDrawing,
        samples: Int, seed: UInt64
    ) throws(Failure) {
        self.drawing = drawing
        self.samples = samples
        self.seed = seed
        tokenizer = bundle.tokenizer
        var captions: [(example: PreparedExample, text: String)] = []
        for (example, task) in examples {
            guard case .caption(let text) = task else {
                throw Failure(
                    .specInvalid, "--reward", "rewards captions, and the data holds questions",
                    hint: "Name files of captions alone.")
            }
            captions.append((example, text))
        }
        var words = RewardWords()
        photos = captions.grouped { $0.example.photo }.map { group in
            // Each caption is a reference: a view must be true of all of them.
            var first = group[0].example
            first.views.removeAll { view in !group.allSatisfy { $0.example.views.contains(view) } }
            return Photo(
                example: first, prompt: Array(first.tokens.prefix(first.promptCount)), end: first.tokens.last ?? 0,
                references: group.map { words.grams($0.text, ends: true) })
        }
        self.words = words
        guard photos.count > 1 else {
            throw Failure(.specInvalid, "--reward", "needs more photos than one: its words are weighed by their rarity")
        }
        metric = CIDErD(references: photos.map(\.references))
    }

    /// Captions drawn for the photos at `places`, each weighed by its advantage, and the mean CIDEr-D of all of them.
    ///
    /// - Parameter dropout: what the adapter does not see of the photos: what the step that learns from them leaves out.
    func draw(
        _ places: [Int], step: Int, adapter: TrainableAdapter, dropout: FeatureDropout? = nil
    ) throws(Failure) -> (examples: [PreparedExample], reward: Double) {
        var random = TrainingRandom(seed: seed, stream: 0x5E1F_C817 &+ UInt64(step))
        let chosen = places.map { (photo: photos[$0], key: photos[$0].example.seen(&random).photo) }
        let requests = chosen.map { photo, key in
            DrawingRequest(
                photo: key, prompt: photo.prompt, end: photo.end,
                samplings: (0..<samples).map { _ in Sampling(temperature: 1, seed: random.next()) })
        }
        var examples: [PreparedExample] = []
        var total = 0.0
        for ((photo, key), results) in zip(chosen, try drawing.answers(requests, of: adapter, dropout: dropout)) {
            let rewards = results.map { result in
                let text = tokenizer.decode(result.tokens)
                return metric.score(words.grams(text, ends: result.finish == .stop), against: photo.references)
            }
            let sum = rewards.reduce(0, +)
            total += sum
            for (result, reward) in zip(results, rewards) {
                let others = (sum - reward) / Double(max(1, samples - 1))
                let end = result.finish == .stop ? [photo.end] : []
                examples.append(
                    PreparedExample(
                        tokens: photo.prompt + result.tokens + end, promptCount: photo.prompt.count, photo: key,
                        advantage: Float(reward - others)))
            }
        }
        return (examples, total / Double(max(1, examples.count)))
    }
}

/// Sentences as the reward counts them: words, and the end as a word of its own.
private struct RewardWords {
    private var numbers = WordNumbers()

    mutating func grams(_ text: String, ends: Bool) -> NGramCounts {
        // No word of a caption has a full stop in it.
        NGramCounts(numbers.number(CaptionTokens.words(text) + (ends ? ["."] : [])))
    }
}
