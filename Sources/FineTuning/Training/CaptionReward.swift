// Self-critical training (Rennie et al., arXiv 1612.00563; the baseline of Luo, arXiv 2003.09971): captions are drawn from the
// adapter, and each is made likelier by as much as its CIDEr-D exceeds that of the other captions of the same photo.
//
//     L = Σ_k A_k · −ln p(c_k),    A_k = r(c_k) − mean_{j≠k} r(c_j)
//
// r is CIDEr-D, and with a weight also the caption's share of the step's BLEU-4: BLEU belongs to a corpus, and a share says how the
// corpus's BLEU-4 changes with the caption.
//
//     r(c) = CIDEr-D(c) + w · BLEU-4 · N · ∂ ln BLEU-4 / ∂c    over the N captions that the step drew
//
// Shares add up to 0, so the mean reward is the mean CIDEr-D.
// N-grams hardly mind a thing that is named twice ("a cat is sitting on a white cat"): with a penalty p, r(c) is less by p for each
// word said again. The mean that a step gives stays that of CIDEr-D alone.
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
    private let bleuWeight: Double
    private let repeatPenalty: Double
    private let seed: UInt64
    /// Photos that there are.
    var count: Int { photos.count }

    /// The photos of `examples`, whose captions are the references.
    ///
    /// - Parameters:
    ///   - bleuWeight: what shares of BLEU-4 are multiplied by.
    ///   - repeatPenalty: what a word costs that is said again (`NGramCounts.repeats`).
    /// - Throws: `spec_invalid` when an example is no caption or there is only one photo, for which every reward is 0.
    init(
        bundle: ModelBundle, examples: [(example: PreparedExample, task: ExampleRow.Task)], drawing: AnswerDrawing,
        samples: Int, bleuWeight: Float = 0, repeatPenalty: Float = 0, seed: UInt64
    ) throws(Failure) {
        self.drawing = drawing
        self.samples = samples
        self.bleuWeight = Double(bleuWeight)
        self.repeatPenalty = Double(repeatPenalty)
        self.seed = seed
        tokenizer = bundle.tokenizer
        var captions: [(example: PreparedExample, text: String)] = []
        for (example, task) in examples {
            guard let text = task.caption else {
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
            throw Failure(
                .specInvalid, "--reward", "needs more photos than one",
                hint: "It weighs words by how rare they are among photos: give it more of them.")
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
        var drawn: [(grams: NGramCounts, references: [NGramCounts])] = []
        for ((photo, key), results) in zip(chosen, try drawing.answers(requests, of: adapter, dropout: dropout)) {
            for result in results {
                let ends = result.finish == .stop
                drawn.append((words.grams(tokenizer.decode(result.tokens), ends: ends), photo.references))
                examples.append(
                    PreparedExample(
                        tokens: photo.prompt + result.tokens + (ends ? [photo.end] : []),
                        promptCount: photo.prompt.count, photo: key))
            }
        }
        let scores = drawn.map { metric.score($0.grams, against: $0.references) }
        var rewards = bleuWeight == 0 ? scores : zip(scores, shares(of: drawn)).map { $0 + bleuWeight * $1 }
        if repeatPenalty != 0 {
            for (index, one) in drawn.enumerated() {
                rewards[index] -= repeatPenalty * Double(one.grams.repeats(beyond: one.references))
            }
        }
        for start in stride(from: 0, to: examples.count, by: samples) {
            let photo = start..<min(start + samples, examples.count)
            let sum = rewards[photo].reduce(0, +)
            for index in photo {
                let others = (sum - rewards[index]) / Double(max(1, samples - 1))
                examples[index].advantage = Float(rewards[index] - others)
            }
        }
        return (examples, scores.reduce(0, +) / Double(max(1, examples.count)))
    }

    /// What each caption adds to the BLEU-4 of all of them, times their number.
    private func shares(of drawn: [(grams: NGramCounts, references: [NGramCounts])]) -> [Double] {
        let counts = drawn.map { BLEUCounts($0.grams, against: $0.references) }
        var corpus = BLEUCounts()
        for one in counts { corpus += one }
        let scale = corpus.scores[3] * Double(counts.count)
        return counts.map { scale * corpus.slope(along: $0) }
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
