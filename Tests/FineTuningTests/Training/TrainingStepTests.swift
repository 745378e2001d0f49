// Steps and the order of examples on a real bundle: MEMVP_TEST_BUNDLE or build/models/default. Without one they are skipped.

import Diagnostics
import Foundation
import Language
import MemVP
import Tensor
import Testing
import Vision

@testable import FineTuning

private enum Material {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()
    static let bundle =
        ProcessInfo.processInfo.environment["MEMVP_TEST_BUNDLE"]
        ?? root.appendingPathComponent("build/models/default").path
    static let hasBundle = FileManager.default.fileExists(atPath: "\(bundle)/model.yaml")

    static func row(_ photo: String, _ caption: String, line: Int) -> ExampleRow {
        ExampleRow(
            image: root.appendingPathComponent("Tests/CommandsTests/Fixtures/\(photo)").path, task: .caption(caption),
            line: line)
    }
}

/// A directory that goes away with the value.
private final class Folder {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("memvp-\(UUID().uuidString)").path
    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: path) }
}

@Suite(
    "Training steps", .enabled(if: Material.hasBundle, "no bundle: run `make models` or set MEMVP_TEST_BUNDLE"),
    .serialized)
struct TrainingStepTests {
    private let folder: Folder
    private let bundle: ModelBundle
    private let compute: Compute

    init() throws {
        folder = try Folder()
        bundle = try ModelBundle(path: Material.bundle)
        compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 2)
    }

    private func adapter() -> TrainableAdapter {
        TrainableAdapter(
            Adapter.Configuration(
                features: bundle.vision.features, hidden: 16, width: bundle.language.configuration.width,
                slots: bundle.vision.patches, lambda: 0.01, scale: 0.1), seed: 1)
    }

    private func examples(_ features: PhotoFeatures) throws -> [PreparedExample] {
        let builder = try ExampleBuilder(bundle)
        return try ["rocket.jpg", "chelsea.jpg"].map {
            let row = Material.row($0, "it is here", line: 1)
            return try builder.example(row, photo: features.keys(row.image)[0])
        }
    }

    @Test("the gradient is that of the mean, afresh each time, in groups; clipping bounds it; biases do not decay")
    func step() throws {
        let adapter = adapter()
        let features = try PhotoFeatures(
            bundle: bundle, compute: compute, directory: folder.path, adapter: adapter)
        let examples = try examples(features)
        // Rows for one example at a time.
        let step = try TrainingStep(
            bundle: bundle, compute: compute, adapter: adapter, photos: features.source, rows: examples[0].tokens.count,
            sequences: 2)
        func gradient(_ examples: [PreparedExample]) throws -> [Float] {
            _ = try step.gradient(examples)
            return adapter.parameters.flatMap { $0.gradientValues() }
        }
        let once = try gradient([examples[0]])
        let isAfresh = try gradient([examples[0]]) == once
        #expect(isAfresh)
        #expect(TinyDecoder.distance(try gradient([examples[0], examples[0]]), once) < 1e-4)
        #expect(TinyDecoder.distance(try gradient([examples[1]]), once) > 1e-3)

        // An adapter that has learned nothing yet answers blind by E₁ and E₂ alone: the same for every photo.
        #expect(try step.loss([examples[0]], blind: true) == step.loss([examples[1]], blind: true))
        #expect(try step.loss([examples[0]]) != step.loss([examples[0]], blind: true))

        let clip: Float = 1e-3
        let result = try step.step(
            examples, step: 1, learningRate: 0, configuration: TrainingConfiguration(batch: 2, clip: clip))
        #expect(result.gradientNorm > Double(clip) && result.targets == examples.reduce(0) { $0 + $1.targetCount })
        let moments = adapter.parameters.flatMap { $0.moments.first }
        let norm = moments.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
        #expect(abs(norm / 0.1 - Double(clip)) < 1e-3 * Double(clip))

        for (parameter, stays) in [(adapter.fc1Bias, true), (adapter.e1, false)] {
            let ones = [Float](repeating: 1, count: parameter.values.count)
            parameter.restore(values: ones, moments: AdamWMoments(count: ones.count))
            parameter.step(
                AdamWConfiguration(), gradient: ones.map { _ in 0 }, step: 1, learningRate: 0.1)
            #expect((parameter.values == ones) == stays, "\(parameter.name)")
        }
    }

    @Test("a gradient that is not a number ends the run and leaves the parameters")
    func notANumber() throws {
        let adapter = adapter()
        let features = try PhotoFeatures(
            bundle: bundle, compute: compute, directory: folder.path, adapter: adapter)
        var broken = adapter.e1.values
        broken[0] = .infinity
        adapter.e1.restore(values: broken, moments: AdamWMoments(count: broken.count))
        let step = try TrainingStep(
            bundle: bundle, compute: compute, adapter: adapter, photos: features.source, rows: 64, sequences: 2)
        let before = adapter.fc2Bias.values
        let failure = #expect(throws: Failure.self) {
            try step.step(
                examples(features), step: 7, learningRate: 1, configuration: TrainingConfiguration(batch: 2))
        }
        #expect(failure?.code == .usage && failure?.object == "step 7")
        let isUntouched = adapter.fc2Bias.values == before
        #expect(isUntouched)
    }

    private func trainer(
        _ configuration: TrainingConfiguration, _ name: String, watch: @escaping (Trainer.Event) -> Void
    ) throws -> Trainer {
        try Trainer(
            bundle: bundle, compute: compute, configuration: configuration,
            files: Trainer.Files(
                output: "\(folder.path)/\(name).gguf", run: "\(folder.path)/\(name).train",
                cache: "\(folder.path)/cache"), watch: watch)
    }

    @Test("each epoch has every example once, in an order of its own; the blind loss is another")
    func order() throws {
        let captions = ["a rocket", "the tower stands on a field of grass", "fire", "a launch pad by the sea"]
        let rows = captions.enumerated().map { Material.row("rocket.jpg", $0.element, line: $0.offset) }
        // Nothing is learned, so an example has the same loss whenever it comes.
        let configuration = TrainingConfiguration(
            batch: 1, steps: 12, learningRate: 0, warmUp: 0, slots: bundle.vision.patches, hidden: 16, validateEvery: 12
        )
        var losses: [Double] = []
        var records: [TrainingRecord] = []
        var bad: [String] = []
        let trainer = try trainer(configuration, "order") { event in
            switch event {
            case .step(let record, _): losses.append(record.loss ?? .nan)
            case .record(let record): records.append(record)
            case .badRow(let reason): bad.append(reason)
            default: break
            }
        }
        let long = Material.row("rocket.jpg", String(repeating: "why ", count: 1_500), line: 9)
        let isDone = try trainer.run(
            training: rows + [long], validation: Array(rows.prefix(1)), badRows: .skip, resume: false
        ) { false }
        #expect(isDone && losses.count == 12)
        #expect(bad.count == 1 && bad[0].hasPrefix(":9: has "))
        let epochs = (0..<3).map { Array(losses[4 * $0..<4 * $0 + 4]) }
        #expect(Set(epochs[0]).count == 4)
        for epoch in epochs { #expect(epoch.sorted() == epochs[0].sorted()) }
        #expect(Set(epochs).count > 1)
        let validation = try #require(records.first { $0.event == "validation" })
        #expect(validation.validationLoss != validation.blindLoss && validation.blindLoss != nil)
        #expect(losses.contains { abs($0 - (validation.validationLoss ?? 0)) < 1e-9 })
    }

    @Test("fewer memory rows than patches are refused before the first step")
    func slots() throws {
        let trainer = try trainer(TrainingConfiguration(slots: bundle.vision.patches - 1), "slots") { _ in }
        let failure = #expect(throws: Failure.self) {
            try trainer.run(
                training: [Material.row("rocket.jpg", "fire", line: 1)], validation: [], badRows: .stop, resume: false
            ) { false }
        }
        #expect(failure?.code == .usage && failure?.object == "--slots \(bundle.vision.patches - 1)")
    }

    @Test("options of a vision transformer's adapters are refused where the encoder is none")
    func vision() throws {
        try #require(bundle.vision.trainableBlocks == 0)
        for (configuration, option) in [
            (TrainingConfiguration(freezesVision: true), "--freeze-vision"),
            (TrainingConfiguration(visionRank: 4), "--vision-rank 4"),
        ] {
            let trainer = try trainer(configuration, "vision") { _ in }
            let failure = #expect(throws: Failure.self) {
                try trainer.run(
                    training: [Material.row("rocket.jpg", "fire", line: 1)], validation: [], badRows: .stop,
                    resume: false
                ) { false }
            }
            #expect(failure?.code == .usage && failure?.object == option)
            #expect(failure?.cause.contains(Material.bundle) == true)
        }
    }

    @Test("a rate after which nothing is learned any more is warned of once, in the log and to whoever watches")
    func still() throws {
        let captions = ["a rocket is here", "the rocket is here", "a rocket"]
        let rows = captions.enumerated().map { Material.row("rocket.jpg", $0.element, line: $0.offset) }
        let configuration = TrainingConfiguration(
            batch: 2, steps: 8, learningRate: 1_000, warmUp: 0, validateEvery: 0)
        var warnings: [String] = []
        let trainer = try trainer(configuration, "still") { event in
            if case .record(let record) = event, record.event == "warning" { warnings.append(record.note ?? "") }
        }
        let isDone = try trainer.run(training: rows, validation: [], badRows: .stop, resume: false) { false }
        #expect(isDone)
        #expect(warnings.count == 1 && warnings.first?.contains("nothing is learned") == true, "\(warnings)")
        let log = try String(contentsOfFile: "\(folder.path)/still.train/log.jsonl", encoding: .utf8)
        #expect(log.components(separatedBy: "\"event\":\"warning\"").count == 2)
    }
}
