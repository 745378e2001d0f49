// The metrics against pycocoevalcap's numbers on made-up sentences (scripts/caption-metrics.py), and where there is
// nothing to count.

import Foundation
import Testing

@testable import FineTuning

@Suite("Caption metrics")
struct CaptionMetricTests {
    private struct Case: Decodable {
        var samples: [[String]]
        var bleu: [Double]
        var rouge_l: Double
        var cider_d: Double
        var cider_d_of_each: [Double]
    }

    private static let cases: [String: Case]? = Bundle.module.url(
        forResource: "caption-metrics", withExtension: "json", subdirectory: "Fixtures"
    ).flatMap { try? JSONDecoder().decode([String: Case].self, from: Data(contentsOf: $0)) }

    /// Whether two lists of numbers agree to 1e-4; NaN agrees with nothing.
    private func agree(_ found: [Double], _ wanted: [Double]) -> Bool {
        found.count == wanted.count && zip(found, wanted).allSatisfy { abs($0 - $1) <= 1e-4 }
    }

    @Test("the comparison sees NaN, a difference and a missing number")
    func comparison() {
        #expect(agree([1, 2], [1, 2.00009]))
        #expect(!agree([1, .nan], [1, 2]))
        #expect(!agree([1, 2], [1, 2.0002]))
        #expect(!agree([1], [1, 2]))
    }

    @Test("BLEU, ROUGE-L and CIDEr-D agree with pycocoevalcap to 1e-4")
    func reference() throws {
        let cases = try #require(Self.cases)
        #expect(cases.count == 9)
        for (name, wanted) in cases {
            let samples = wanted.samples.map {
                CaptionSample(caption: $0.first ?? "", references: Array($0.dropFirst()))
            }
            let scores = CaptionScores(samples)
            #expect(agree(scores.bleu, wanted.bleu), "\(name): \(scores.bleu)")
            #expect(agree([scores.rougeL], [wanted.rouge_l]), "\(name): \(scores.rougeL)")
            #expect(agree([scores.ciderD], [wanted.cider_d]), "\(name): \(scores.ciderD)")
            #expect(agree(scores.ciderDOfEach, wanted.cider_d_of_each), "\(name)")
            #expect(scores.count == samples.count)
            #expect(CaptionScores(samples) == scores)
        }
    }

    @Test(
        "a caption's slope is how BLEU-4 changes as it is counted once more; slopes of all add up to 0",
        arguments: [false, true])
    func bleuSlope(short: Bool) throws {
        let lines: [(String, [String])] = [
            ("a dog runs on the green grass", ["a dog runs on the grass", "the dog is running on grass outside"]),
            ("a man in a red shirt climbs a wall", ["a man in a red shirt climbs a rock", "a climber in red"]),
            ("two men sit", ["two men sit on a long bench in a park", "men sit on a bench and talk to each other"]),
            ("cat", ["a cat is looking at the camera"]),
        ]
        var numbers = WordNumbers()
        let counts = lines.prefix(short ? 4 : 2).map { line in
            BLEUCounts(
                NGramCounts(numbers.number(CaptionTokens.words(line.0))),
                against: line.1.map { NGramCounts(numbers.number(CaptionTokens.words($0))) })
        }
        var corpus = BLEUCounts()
        for one in counts { corpus += one }
        // Many of the same corpus: one caption more is then a small step.
        var many = corpus
        let doublings = 14
        for _ in 0..<doublings { many += many }
        let before = try #require(many.scores.last)
        #expect(before > 0.1)
        for one in counts {
            var more = many
            more += one
            let found = (more.scores[3] / before - 1) * Double(1 << doublings)
            let slope = corpus.slope(along: one)
            #expect(abs(found - slope) < 1e-3 * max(1, abs(slope)), "\(found) \(slope)")
        }
        #expect(abs(counts.reduce(0) { $0 + corpus.slope(along: $1) }) < 1e-12)
        #expect(counts.contains { abs(corpus.slope(along: $0)) > 0.05 })
        #expect(BLEUCounts().slope(along: counts[0]) == 0)
    }

    @Test("nothing to count scores 0, never NaN")
    func nothing() {
        for samples in [
            [], [CaptionSample(hypothesis: [], references: [])], [CaptionSample(caption: "!", references: ["?"])],
            [CaptionSample(caption: "a dog", references: [])],
        ] {
            let scores = CaptionScores(samples)
            #expect(scores.rougeL == 0)
            #expect(scores.ciderD == 0)
            #expect(scores.bleu.allSatisfy { $0 < 1e-3 })
        }
    }

    @Test("words are runs of letters, digits and apostrophes")
    func words() {
        #expect(
            CaptionTokens.words("A man's DOG , jumps-over 2 caf\u{E9}s.") == [
                "a", "man's", "dog", "jumps", "over", "2", "caf", "s",
            ])
        #expect(CaptionTokens.words(" .,\n").isEmpty)
    }
}

@Suite("Answer metrics")
struct AnswerMetricTests {
    @Test("an answer counts in full from three people on, of fewer when all gave it")
    func agreement() {
        #expect(AnswerScores.agreement("Red.", with: ["red", "red", "blue", "Red", "pink"]) == 1)
        #expect(AnswerScores.agreement("blue", with: ["red", "red", "blue", "red"]) == 1.0 / 3)
        #expect(AnswerScores.agreement("blue", with: ["red", "blue"]) == 0.5)
        #expect(AnswerScores.agreement("blue", with: ["blue"]) == 1)
        #expect(AnswerScores.agreement("blue", with: ["red"]) == 0)
        #expect(AnswerScores.agreement("blue", with: []) == 0)
    }

    @Test("answers are compared by their words; without any, by their text")
    func normalisation() {
        #expect(AnswerScores.normalised(" Table , lamp.") == "table lamp")
        #expect(AnswerScores.normalised("\u{FF1F} ") == "\u{FF1F}")
        #expect(AnswerScores.normalised("\u{43A}\u{43E}\u{442}") != AnswerScores.normalised("\u{43F}\u{451}\u{441}"))
    }

    @Test("scores come by type, each beside its majority answer")
    func types() throws {
        let samples = [
            AnswerSample(given: "yes", expected: "yes"), AnswerSample(given: "yes", expected: "no"),
            AnswerSample(given: "no", expected: "no"), AnswerSample(given: "2", expected: "two"),
            AnswerSample(given: "lamp", expected: "lamp", answers: ["lamp", "light", "light", "lamp"]),
        ]
        let scores = AnswerScores(samples)
        #expect(scores.all.count == 5)
        #expect(scores.all.exact == 0.6)
        #expect(abs(scores.all.accuracy - (2 + 2.0 / 3) / 5) < 1e-12)
        #expect(scores.all.majorityAnswer == "no")
        #expect(scores.all.majority == 0.4)
        #expect(scores.byType.keys.sorted() == ["number", "other", "yes/no"])
        let yesNo = try #require(scores.byType["yes/no"])
        #expect(yesNo.count == 3)
        #expect(abs(yesNo.exact - 2.0 / 3) < 1e-12)
        #expect(abs(yesNo.majority - 2.0 / 3) < 1e-12)

        let trained = AnswerScores(samples, training: [("yes/no", "yes"), ("yes/no", "yes"), ("other", "lamp")])
        #expect(trained.all.majorityAnswer == "yes")
        #expect(trained.all.majority == 0.2)
        #expect(trained.byType["other"]?.majorityAnswer == "lamp")
        #expect(trained.byType["number"]?.majorityAnswer == "two")
        #expect(AnswerScores([]).all.accuracy == 0)
        #expect(AnswerScores([]).all.majority == 0)
    }

    @Test("a tie of answers goes to the first in the alphabet")
    func ties() {
        #expect(AnswerScores.commonest(["b", "a", "c", "b", "a"]) == "a")
        #expect(AnswerScores.commonest([]).isEmpty)
    }
}
