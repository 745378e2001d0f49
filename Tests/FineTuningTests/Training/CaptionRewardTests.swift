// Drawing, rewards and what is learned from them, on a real bundle with its own adapter: MEMVP_TEST_BUNDLE or
// build/models/default. Without one they are skipped.

import Diagnostics
import Foundation
import Language
import MemVP
import Specification
import Tensor
import Testing
import Text
import Vision

@testable import FineTuning

private enum Material {
    static let bundle =
        ProcessInfo.processInfo.environment["MEMVP_TEST_BUNDLE"]
        ?? OfficialBundle.tests.deletingLastPathComponent().appendingPathComponent("build/models/default").path
    static let hasBundle = FileManager.default.fileExists(atPath: "\(bundle)/model.yaml")

    static let rows = [
        ("rocket", "a rocket is flying in the sky."), ("rocket", "a white bird flies through the air."),
        ("chelsea", "a cat is looking at the camera."), ("astronaut", "a woman in an orange suit is smiling."),
    ].map { ExampleRow(image: OfficialBundle.photo($0.0), task: .caption($0.1)) }
}

@Suite(
    "Rewarded captions", .enabled(if: Material.hasBundle, "no bundle: run `make models` or set MEMVP_TEST_BUNDLE"),
    .serialized)
final class CaptionRewardTests {
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("reward-\(UUID().uuidString)")
    private let bundle: ModelBundle
    private let compute: Compute
    private let adapter: TrainableAdapter
    private let initial: String

    init() throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        bundle = try ModelBundle(path: Material.bundle)
        compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 2)
        let name = try #require(bundle.description.adapters[.caption])
        initial = "\(Material.bundle)/adapters/\(name).gguf"
        let (shape, tensors) = try AdapterFile.tensors(path: initial, base: bundle.base)
        adapter = TrainableAdapter(shape, tensors: tensors, freezesVision: false)
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    private struct Prepared {
        let source: PhotoSource
        let examples: [(example: PreparedExample, task: ExampleRow.Task)]
        let drawing: AnswerDrawing
    }

    private func prepared(_ rows: [ExampleRow] = Material.rows) throws -> Prepared {
        let features = try PhotoFeatures(
            bundle: bundle, compute: compute, directory: folder.appendingPathComponent("cache").path, adapter: adapter)
        let builder = try ExampleBuilder(bundle)
        let examples = try rows.map { row in
            (example: try builder.example(row, photo: features.keys(row.image)[0]), task: row.task)
        }
        return Prepared(
            source: features.source, examples: examples,
            drawing: AnswerDrawing(
                bundle: bundle, compute: compute, photos: features.source, shape: adapter.configuration,
                streams: 5, longest: 24))
    }

    @Test("an answer depends on photo, prompt and seed alone, and is as likely as training finds it")
    func drawing() throws {
        let p = try prepared()
        let first = p.examples[0].example
        func request(_ index: Int, _ samplings: [Sampling]) -> DrawingRequest {
            DrawingRequest(
                photo: p.examples[index].example.photo, prompt: Array(first.tokens.prefix(first.promptCount)),
                end: first.tokens.last ?? 0, samplings: samplings)
        }
        let seeds: [Sampling] = [
            .greedy, Sampling(temperature: 1, seed: 7), Sampling(temperature: 1, seed: 8),
            Sampling(temperature: 1, seed: 7),
        ]
        // More answers than there is room for at a time.
        let together = try p.drawing.answers(
            [request(0, seeds), request(2, seeds), request(3, [.greedy])], of: adapter)
        let alone = try p.drawing.answers([request(2, [seeds[1]])], of: adapter)
        #expect(together.map(\.count) == [4, 4, 1])
        let cat = together[1]
        #expect(alone == [[cat[1]]])
        #expect(cat[1] == cat[3])
        #expect(cat[1].tokens != cat[2].tokens)
        #expect(cat[0].tokens != together[0][0].tokens)
        // What serving's engine says of its choices is what training's own forward pass says of them.
        let step = try TrainingStep(
            bundle: bundle, compute: compute, adapter: adapter, photos: p.source, rows: 64, sequences: 1)
        for result in cat {
            let end = result.finish == .stop ? [first.tokens.last ?? 0] : []
            let example = PreparedExample(
                tokens: Array(first.tokens.prefix(first.promptCount)) + result.tokens + end,
                promptCount: first.promptCount, photo: p.examples[2].example.photo)
            let loss = try step.loss([example])
            let drawn = -Double(result.logProbabilities.reduce(0, +)) / Double(result.logProbabilities.count)
            #expect(abs(loss - drawn) < 0.05 * drawn + 0.02)
        }
    }

    @Test(
        "of a photo's views only those are drawn for that are true of all its captions", arguments: [[0, 1], [1, 0]])
    func views(order: [Int]) throws {
        let p = try prepared()
        var examples = p.examples
        // Nobody has features of the mirrored photo here: it would be missed.
        let key = examples[0].example.photo
        for (place, views) in zip(order, [[key, "mirrored"], [key]]) { examples[place].example.views = views }
        let reward = try CaptionReward(
            bundle: bundle, examples: examples, drawing: p.drawing, samples: 2, seed: 5)
        for step in 0..<6 {
            #expect(try reward.draw([0], step: step, adapter: adapter).examples.allSatisfy { $0.photo == key })
        }
    }

    @Test("with dropout a caption is drawn from what the step that learns it sees of the photo")
    func drawingWithDropout() throws {
        let p = try prepared()
        let first = p.examples[0].example
        let reward = try CaptionReward(
            bundle: bundle, examples: p.examples, drawing: p.drawing, samples: 2, seed: 5)
        let whole = try reward.draw([0, 1, 2], step: 4, adapter: adapter)
        let dropout = FeatureDropout(rate: 0.5, seed: 5, step: 5)
        let drawn = try reward.draw([0, 1, 2], step: 4, adapter: adapter, dropout: dropout)
        #expect(whole.examples.map(\.tokens) != drawn.examples.map(\.tokens))
        // What a run draws with dropout is drawn with the masks of the step that learns it.
        let settings = TrainingConfiguration(batch: 6, seed: 5, dropout: 0.5, rewardedSamples: 2)
        var lessons = try Lessons(bundle, p.examples, p.drawing, settings)
        var order = BatchOrder(count: reward.count, batch: 3, seed: 5)
        let lesson = try lessons.next(4, adapter: adapter)
        let expected = try reward.draw(order.places(4), step: 4, adapter: adapter, dropout: dropout)
        #expect(lesson.examples.map(\.tokens) == expected.examples.map(\.tokens))
        let request = DrawingRequest(
            photo: first.photo, prompt: Array(first.tokens.prefix(first.promptCount)), end: first.tokens.last ?? 0,
            samplings: [.greedy])
        let step = try TrainingStep(
            bundle: bundle, compute: compute, adapter: adapter, photos: p.source, rows: 64, sequences: 1)
        for other in [dropout, FeatureDropout(rate: 0.5, seed: 5, step: 6)] {
            let result = try #require(try p.drawing.answers([request], of: adapter, dropout: other)[0].first)
            let end = result.finish == .stop ? [request.end] : []
            let example = PreparedExample(
                tokens: request.prompt + result.tokens + end, promptCount: request.prompt.count, photo: first.photo)
            let said = -Double(result.logProbabilities.reduce(0, +)) / Double(result.logProbabilities.count)
            let same = try step.gradient([example], dropout: other).loss
            #expect(abs(same - said) < 0.05 * said + 0.02)
        }
    }

    @Test("a caption is weighed by what its CIDEr-D has over the others of its photo")
    func advantages() throws {
        let p = try prepared()
        let reward = try CaptionReward(
            bundle: bundle, examples: p.examples, drawing: p.drawing, samples: 3, seed: 5)
        #expect(reward.count == 3)
        let drawn = try reward.draw([0, 2, 0], step: 4, adapter: adapter)
        let again = try reward.draw([0, 2, 0], step: 4, adapter: adapter)
        #expect(drawn.examples.map(\.tokens) == again.examples.map(\.tokens))
        #expect(drawn.examples.map(\.advantage) == again.examples.map(\.advantage))
        let other = try reward.draw([0, 2, 0], step: 5, adapter: adapter)
        #expect(drawn.examples.map(\.tokens) != other.examples.map(\.tokens))
        #expect(drawn.examples.map(\.photo) == [0, 0, 0, 3, 3, 3, 0, 0, 0].map { p.examples[$0].example.photo })
        // Rewards by the metric itself, the end counting as a word.
        let words = { (text: String, ends: Bool) in CaptionTokens.words(text) + (ends ? ["end"] : []) }
        var total = 0.0
        for group in stride(from: 0, to: 9, by: 3).map({ Array(drawn.examples[$0..<$0 + 3]) }) {
            let rewards = group.map { example in
                let answer = example.tokens.dropFirst(example.promptCount)
                let end = p.examples[0].example.tokens.last
                let ends = answer.last == end
                let text = bundle.tokenizer.decode(ends ? answer.dropLast() : answer)
                let samples = [[0, 1], [2], [3]].map { lines in
                    let references = lines.map { line -> [String] in
                        words(p.examples[line].task.caption ?? "", true)
                    }
                    let isOwn = p.examples[lines[0]].example.photo == example.photo
                    return CaptionSample(hypothesis: isOwn ? words(text, ends) : [], references: references)
                }
                return CaptionScores(samples).ciderDOfEach.reduce(0, +)
            }
            total += rewards.reduce(0, +)
            for (index, example) in group.enumerated() {
                let others = (rewards.reduce(0, +) - rewards[index]) / 2
                #expect(abs(Double(example.advantage) - (rewards[index] - others)) < 1e-5)
            }
        }
        #expect(abs(drawn.reward - total / 9) < 1e-9)
        #expect(drawn.examples.contains { $0.advantage > 0.01 })
    }

    @Test("with a weight on BLEU-4 a caption is also weighed by what it adds to the BLEU-4 of all that were drawn")
    func bleuShares() throws {
        // The likeliest captions as references: drawn ones then have runs of four words in common with them.
        func likeliest() throws -> [ExampleRow] {
            let p = try prepared()
            let requests = p.examples.map { example, _ in
                DrawingRequest(
                    photo: example.photo, prompt: Array(example.tokens.prefix(example.promptCount)),
                    end: example.tokens.last ?? 0, samplings: [.greedy])
            }
            return try zip(Material.rows, p.drawing.answers(requests, of: adapter)).map { row, results in
                ExampleRow(image: row.image, task: .caption(bundle.tokenizer.decode(results[0].tokens)))
            }
        }
        let p = try prepared(likeliest())
        func drawn(_ weight: Float) throws -> (examples: [PreparedExample], reward: Double) {
            let settings = TrainingConfiguration(
                batch: 24, seed: 5, rewardedSamples: 8, bleuWeight: weight == 0 ? nil : weight)
            var lessons = try Lessons(bundle, p.examples, p.drawing, settings)
            let lesson = try lessons.next(4, adapter: adapter)
            return (lesson.examples, try #require(lesson.reward))
        }
        let (plain, weighed) = (try drawn(0), try drawn(2))
        #expect(plain.examples.map(\.tokens) == weighed.examples.map(\.tokens))
        #expect(plain.reward == weighed.reward)
        // BLEU-4 by the metric itself, of the drawn captions many times over and of one of them once more.
        let samples = plain.examples.map { example in
            let answer = example.tokens.dropFirst(example.promptCount)
            let ends = answer.last == p.examples[0].example.tokens.last
            let words = CaptionTokens.words(bundle.tokenizer.decode(ends ? answer.dropLast() : answer))
            let references = p.examples.filter { $0.example.photo == example.photo }
                .map { CaptionTokens.words($0.task.caption ?? "") + ["end"] }
            return CaptionSample(hypothesis: words + (ends ? ["end"] : []), references: references)
        }
        let times = 512
        let many = (0..<times).flatMap { _ in samples }
        let all = CaptionScores(many).bleu[3]
        let shares = samples.map { (CaptionScores(many + [$0]).bleu[3] - all) * Double(times * samples.count) }
        #expect(shares.contains { abs($0) > 0.05 })
        for start in [0, 8, 16] {
            for index in start..<start + 8 {
                let others = shares[start..<start + 8].reduce(0, +) - shares[index]
                let expected = Double(plain.examples[index].advantage) + 2 * (shares[index] - others / 7)
                #expect(abs(Double(weighed.examples[index].advantage) - expected) < 0.02)
            }
        }
    }

    @Test("a penalty is taken for each word that a caption says more often than any reference of its photo")
    func repeats() throws {
        let p = try prepared()
        func drawn(_ penalty: Float) throws -> (examples: [PreparedExample], reward: Double) {
            let settings = TrainingConfiguration(
                batch: 48, seed: 5, rewardedSamples: 16, repeatPenalty: penalty == 0 ? nil : penalty)
            var lessons = try Lessons(bundle, p.examples, p.drawing, settings)
            let lesson = try lessons.next(4, adapter: adapter)
            return (lesson.examples, try #require(lesson.reward))
        }
        let (plain, penalised) = (try drawn(0), try drawn(3))
        #expect(plain.examples.map(\.tokens) == penalised.examples.map(\.tokens))
        #expect(plain.reward == penalised.reward)
        let excess = plain.examples.map { example -> Double in
            let answer = example.tokens.dropFirst(example.promptCount)
            let end = p.examples[0].example.tokens.last
            let words = CaptionTokens.words(bundle.tokenizer.decode(answer.filter { $0 != end }))
            let references = p.examples.filter { $0.example.photo == example.photo }
                .map { CaptionTokens.words($0.task.caption ?? "") }
            return Set(words).reduce(0.0) { sum, word in
                let most = references.map { $0.count { $0 == word } }.max() ?? 0
                return sum + Double(max(0, words.count { $0 == word } - max(1, most)))
            }
        }
        #expect(excess.contains { $0 > 0 } && excess.contains(0))
        for start in stride(from: 0, to: 48, by: 16) {
            let sum = excess[start..<start + 16].reduce(0, +)
            for index in start..<start + 16 {
                let others = (sum - excess[index]) / 15
                let expected = Double(plain.examples[index].advantage) - 3 * (excess[index] - others)
                #expect(abs(Double(penalised.examples[index].advantage) - expected) < 1e-4)
            }
        }
    }

    @Test("words said again are those beyond the references' own repeats, of single words alone")
    func repeatedWords() {
        var numbers = WordNumbers()
        func grams(_ text: String) -> NGramCounts { NGramCounts(numbers.number(CaptionTokens.words(text))) }
        let references = [grams("a brown dog and a black dog"), grams("two dogs play")]
        #expect(grams("a dog and a dog").repeats(beyond: references) == 0)
        #expect(grams("a dog and a dog and a dog").repeats(beyond: references) == 3)
        #expect(grams("a cat is sitting on a white cat").repeats(beyond: references) == 1)
        #expect(grams("red red red").repeats(beyond: []) == 2)
        #expect(grams("").repeats(beyond: references) == 0)
    }

    @Test("an example of advantage −2 has twice the opposite gradient")
    func sign() throws {
        let p = try prepared()
        let step = try TrainingStep(
            bundle: bundle, compute: compute, adapter: adapter, photos: p.source, rows: 64, sequences: 2)
        var example = p.examples[0].example
        _ = try step.gradient([example])
        let plus = adapter.parameters.flatMap { $0.gradientValues() }
        example.advantage = -2
        _ = try step.gradient([example])
        let minus = adapter.parameters.flatMap { $0.gradientValues() }
        #expect(TinyDecoder.distance(minus, plus.map { -2 * $0 }) < 0.01)
    }

    @Test("lessons show the views in turn, and captions weigh by consensus where that is asked")
    func lessons() throws {
        let odd = ExampleRow(image: OfficialBundle.photo("rocket"), task: .caption("zebras everywhere today"))
        let p = try prepared(Material.rows + [odd])
        var data = p.examples
        data[0].example.views = ["one", "two"]
        var configuration = TrainingConfiguration(batch: 5)
        var plain = try Lessons(bundle, data, p.drawing, configuration)
        let seen = try (0..<12).flatMap { try plain.next($0, adapter: adapter).examples }
        let first = seen.filter { $0.tokens == data[0].example.tokens }
        #expect(first.count == 12 && Set(first.map(\.photo)) == ["one", "two"])
        #expect(seen.allSatisfy { $0.advantage == 1 })
        configuration.weighsConsensus = true
        var weighed = try Lessons(bundle, data, p.drawing, configuration)
        let advantages = try weighed.next(0, adapter: adapter).examples.map(\.advantage).sorted()
        #expect(advantages == CaptionConsensus.weights(data.map { ($0.example.photo, $0.task) }).sorted())
        #expect(advantages.first == 0)
    }

    @Test("a step leaves channels out where the settings say so, and only there")
    func dropsChannels() throws {
        let p = try prepared()
        func fc1(_ rate: Float) throws -> [Float] {
            let (shape, tensors) = try AdapterFile.tensors(path: initial, base: bundle.base)
            let adapter = TrainableAdapter(shape, tensors: tensors, freezesVision: false)
            let step = try TrainingStep(
                bundle: bundle, compute: compute, adapter: adapter, photos: p.source, rows: 64, sequences: 1)
            _ = try step.step(
                [p.examples[0].example], step: 1, learningRate: 0.001,
                configuration: TrainingConfiguration(dropout: rate))
            return adapter.fc1Weight.gradient.array(row: 0)
        }
        let (whole, dropped) = (try fc1(0), try fc1(0.5))
        // Channels that are 0 in every patch have no gradient anyhow.
        let (seen, left) = (whole.count { $0 != 0 }, dropped.count { $0 != 0 })
        #expect(seen > 400 && (seen * 2 / 5...seen * 3 / 5).contains(left))
        #expect(zip(whole, dropped).allSatisfy { $0 != 0 || $1 == 0 })
    }

    @Test("questions and a photo alone are refused")
    func refusals() throws {
        let question = ExampleRow(
            image: OfficialBundle.photo("rocket"), task: .question("is it a cat?", answer: "no"))
        for rows in [Material.rows + [question], Array(Material.rows.prefix(2))] {
            let p = try prepared(rows)
            #expect(throws: Failure.self) {
                try CaptionReward(bundle: bundle, examples: p.examples, drawing: p.drawing, samples: 2, seed: 1)
            }
        }
    }

    @Test("a run that was stopped and resumed ends in the same bytes; rewards and scores stand in its log")
    func resumes() throws {
        let configuration = TrainingConfiguration(
            batch: 8, steps: 2, learningRate: 0.002, warmUp: 1, rewardedSamples: 4,
            validateEvery: 2, checkpointEvery: 1)
        func run(_ name: String, resume: Bool, stopAfter: Int?) throws -> Bool {
            var done = 0
            let trainer = try Trainer(
                bundle: bundle, compute: compute, configuration: configuration,
                files: Trainer.Files(
                    output: folder.appendingPathComponent("\(name).gguf").path,
                    run: folder.appendingPathComponent("\(name).train").path,
                    cache: folder.appendingPathComponent("cache").path, initial: initial)
            ) { event in
                if case .step(let record, _) = event { done = record.step }
            }
            return try trainer.run(
                training: Material.rows, validation: Array(Material.rows.prefix(3)), badRows: .stop, resume: resume,
                stop: { stopAfter.map { done >= $0 } ?? false })
        }
        #expect(try run("whole", resume: false, stopAfter: nil))
        #expect(try !run("parts", resume: false, stopAfter: 1))
        #expect(try run("parts", resume: true, stopAfter: nil))
        let whole = try Data(contentsOf: folder.appendingPathComponent("whole.gguf"))
        #expect(try whole == Data(contentsOf: folder.appendingPathComponent("parts.gguf")))
        #expect(try whole != Data(contentsOf: URL(fileURLWithPath: initial)))
        let log = try Data(contentsOf: folder.appendingPathComponent("parts.train/log.jsonl"))
        let records = try log.split(separator: 10).map { try JSONDecoder().decode(TrainingRecord.self, from: $0) }
        #expect(records.filter { $0.event == "step" }.allSatisfy { $0.ciderD != nil })
        let validations = records.filter { $0.event == "validation" }
        #expect(validations.count == 1)
        // The last validation is of the adapter that was written, on the features that the run has kept.
        #expect(try validations.last?.ciderD == score(of: folder.appendingPathComponent("whole.gguf").path))
        #expect(try validations.last?.ciderD != score(of: initial))
        #expect(validations.last?.exact == nil)
    }

    /// CIDEr-D of greedy captions of the first three rows' photos.
    private func score(of adapter: String) throws -> Double {
        let p = try prepared(Array(Material.rows.prefix(3)))
        let (shape, tensors) = try AdapterFile.tensors(path: adapter, base: bundle.base)
        let photos = [0, 2].map { p.examples[$0].example }
        let requests = photos.map {
            DrawingRequest(
                photo: $0.photo, prompt: Array($0.tokens.prefix($0.promptCount)), end: $0.tokens.last ?? 0,
                samplings: [.greedy])
        }
        let answers = try p.drawing.answers(
            requests, of: TrainableAdapter(shape, tensors: tensors, freezesVision: false))
        let samples = zip(photos, answers).map { photo, results in
            CaptionSample(
                caption: bundle.tokenizer.decode(results[0].tokens),
                references: p.examples.filter { $0.example.photo == photo.photo }.compactMap(\.task.caption))
        }
        return CaptionScores(samples).ciderD
    }
}
