// Training with the image in the input sequence: the losses are those of the model that serves, and both kinds can be compared.

import Diagnostics
import Foundation
import Language
import MemVP
import Tensor
import Testing
import Vision

@testable import FineTuning

@Suite("Training image tokens")
struct ImageTokenTrainingTests {
    private let official: OfficialBundle
    private let bundle: ModelBundle
    private let compute: Compute

    init() throws {
        official = try OfficialBundle(.float32)
        bundle = try ModelBundle(path: official.path)
        compute = try Compute(kernels: .choose(forced: nil), threads: 2)
    }

    @Test("float32: the loss of a step is that of serving, with image and blind", arguments: Adapter.Prompting.allCases)
    func serving(prompting: Adapter.Prompting) throws {
        let c = Adapter.Configuration(
            features: bundle.vision.features, hidden: 16, width: bundle.language.configuration.width,
            slots: bundle.vision.patches + 2, lambda: 0.5, scale: 0.5, prompting: prompting)
        let adapter = TrainableAdapter(c, seed: 3)
        if let e2 = adapter.e2 { e2.restore(values: adapter.e1.values, moments: AdamWMoments(count: e2.values.count)) }
        let photos = try PhotoFeatures(
            bundle: bundle, compute: compute, directory: official.folder.appendingPathComponent("cache").path,
            adapter: adapter)
        let builder = try ExampleBuilder(bundle)
        let examples = try [("rocket", "a rocket"), ("chelsea", "The cat looks up at someone.")].map { name, caption in
            let photo = OfficialBundle.photo(name)
            return try builder.example(
                ExampleRow(image: photo, task: .caption(caption)), photo: photos.keys(photo)[0])
        }
        let training = try TrainingStep(
            bundle: bundle, compute: compute, adapter: adapter, photos: photos.source, rows: 256, sequences: 2)
        let serving = try VisualProjector(
            adapter: Adapter(c, tensors: adapter.tensors, precision: .float32), patches: bundle.vision.patches)
        let engine = Engine(
            model: bundle.language, compute: compute, limits: EngineLimits(streams: 2, slots: c.slots))
        for blind in [false, true] {
            var total = 0.0
            for example in examples {
                let features = FloatRows(capacity: bundle.vision.patches, columns: c.features)
                try photos.source.features(example.photo, into: features, at: 0, compute: compute)
                let image = try serving.visualPrompt(of: blind ? nil : features, compute: compute)
                let (prompt, answer) = (example.tokens[..<example.promptCount], example.tokens[example.promptCount...])
                let goal = TokenTask.Goal.choose([Array(answer.dropLast())], end: try #require(answer.last))
                _ = engine.submit([TokenTask(prompt: Array(prompt), goal: goal, image: image)])
                while !engine.isIdle { total -= engine.step().first?.result.choiceScores.first ?? 0 }
            }
            let targets = examples.reduce(0) { $0 + $1.targetCount }
            let loss = try training.loss(examples, blind: blind)
            #expect(abs(loss - total / Double(targets)) < 1e-4 * loss, "\(loss), blind: \(blind)")
        }
        #expect(try training.loss(examples) != training.loss(examples, blind: true))
    }

    @Test("sequences with image tokens go in groups that fit, and the gradient is that of one group")
    func groups() throws {
        let c = Adapter.Configuration(
            features: bundle.vision.features, hidden: 16, width: bundle.language.configuration.width,
            slots: bundle.vision.patches, lambda: 0.5, scale: 1, prompting: .input)
        let adapter = TrainableAdapter(c, seed: 3)
        let photos = try PhotoFeatures(
            bundle: bundle, compute: compute, directory: official.folder.appendingPathComponent("cache").path,
            adapter: adapter)
        let builder = try ExampleBuilder(bundle)
        let photo = OfficialBundle.photo("rocket")
        let examples = try ["smoke", "a rocket stands", "fire"].map {
            try builder.example(ExampleRow(image: photo, task: .caption($0)), photo: photos.keys(photo)[0])
        }
        func gradients(rows: Int) throws -> [Float] {
            let step = try TrainingStep(
                bundle: bundle, compute: compute, adapter: adapter, photos: photos.source, rows: rows, sequences: 3)
            _ = try step.gradient(examples)
            return adapter.parameters.flatMap { $0.gradientValues() }
        }
        let longest = (examples.map(\.tokens.count).max() ?? 0) - 1 + c.slots
        #expect(TinyDecoder.distance(try gradients(rows: longest), try gradients(rows: 256)) < 1e-5)
        let failure = #expect(throws: Failure.self) { try gradients(rows: longest - 1) }
        #expect(failure?.code == .promptTooLong && failure?.cause.contains("\(c.slots) image tokens") == true)
    }

    @Test("both kinds are compared on photos of any number of patches; more slots than fit are refused")
    func comparison() throws {
        let folder = official.folder.appendingPathComponent("made-up").path
        let comparison = try PromptingComparison(bundle: bundle, compute: compute, slots: 20, directory: folder)
        for prompting in Adapter.Prompting.allCases {
            try comparison.train(prompting)
            try comparison.answer(prompting)
        }
        for slots in [PromptingComparison.largestSlots + 1, bundle.language.positions - 5] {
            let failure = #expect(throws: Failure.self) {
                try PromptingComparison(bundle: bundle, compute: compute, slots: slots, directory: folder)
            }
            #expect(failure?.code == .configurationInvalid && failure?.object == "--slots \(slots)")
        }
    }
}
