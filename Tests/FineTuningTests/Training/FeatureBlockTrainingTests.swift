// Training on blocks of the encoder: their scale, what a step sees of them, what the adapter's file says; and the projector's own rate.

import Diagnostics
import Foundation
import Language
import MemVP
import Tensor
import Testing
import Vision

@testable import FineTuning

@Suite("Training on feature blocks", .serialized)
struct FeatureBlockTrainingTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()
    private static let bundle =
        ProcessInfo.processInfo.environment["MEMVP_TEST_BUNDLE"]
        ?? root.appendingPathComponent("build/models/default").path
    static let hasBundle = FileManager.default.fileExists(atPath: "\(bundle)/model.yaml")
    private static let rows = ["rocket.jpg", "chelsea.jpg"].map {
        ExampleRow(image: root.appendingPathComponent("Tests/CommandsTests/Fixtures/\($0)").path, task: .caption("it"))
    }

    private let folder: String
    private let compute: Compute

    init() throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("memvp-\(UUID().uuidString)").path
        compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 2)
    }

    private func values(_ rows: FloatRows, columns: Range<Int>) -> [Float] {
        (0..<rows.capacity).flatMap { Array(rows.array(row: $0)[columns]) }
    }

    @Test(
        "blocks are brought to one scale, and a step sees what serving sees",
        .enabled(if: hasBundle, "no bundle: run `make models` or set MEMVP_TEST_BUNDLE"))
    func scale() throws {
        let bundle = try ModelBundle(path: Self.bundle)
        let layers = try FeatureScale.layers([19, 14], of: Self.rows, bundle: bundle, compute: compute)
        #expect(layers.blocks.map(\.index) == [19, 14] && layers.blocks[0].factor != layers.blocks[1].factor)
        let shape = Adapter.Configuration(
            features: 328, hidden: 4, width: bundle.language.configuration.width, slots: 81, lambda: 1, scale: 1,
            layers: layers)
        let adapter = TrainableAdapter(shape, seed: 1)
        let features = try PhotoFeatures(bundle: bundle, compute: compute, directory: folder, adapter: adapter)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let worker = VisionWorker(bundle.vision, compute: compute)
        let seen = FloatRows(capacity: 81, columns: 328)
        var squares = [0.0, 0.0]
        for row in Self.rows {
            let key = try features.keys(row.image)[0]
            try features.source.features(key, into: seen, at: 0, compute: compute)
            let photo = try Data(contentsOf: URL(fileURLWithPath: row.image))
            let image = try bundle.prepare(photo: [UInt8](photo))
            let served = worker.encode(image.pixels.span, layers: layers)
            // Stored in half precision.
            let isSeen = TinyDecoder.distance(values(seen, columns: 0..<328), values(served, columns: 0..<328)) < 1e-3
            #expect(isSeen)
            for (part, columns) in [0..<208, 208..<328].enumerated() {
                squares[part] += values(seen, columns: columns).reduce(0) { $0 + Double($1) * Double($1) }
            }
        }
        for (sum, width) in zip(squares, [208, 120]) {
            #expect(abs(sum / Double(2 * 81 * width) - 1) < 1e-3)
        }
    }

    private func run(
        _ name: String, blocks: [Int]?, initial: String? = nil, rows: [ExampleRow] = rows, slots: Int = 81
    ) throws -> String {
        let output = "\(folder)/\(name).gguf"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let trainer = try Trainer(
            bundle: ModelBundle(path: Self.bundle), compute: compute,
            configuration: TrainingConfiguration(
                batch: 2, steps: 2, warmUp: 0, slots: slots, hidden: 16, featureBlocks: blocks, validateEvery: 2),
            files: Trainer.Files(
                output: output, run: "\(folder)/\(name).train", cache: "\(folder)/cache", initial: initial)
        ) { _ in }
        _ = try trainer.run(training: rows, validation: rows, badRows: .skip, resume: false) { false }
        return output
    }

    @Test(
        "an adapter's file says its blocks, another run begins with it; wrong blocks are refused by name",
        .enabled(if: hasBundle, "no bundle: run `make models` or set MEMVP_TEST_BUNDLE"))
    func runs() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let bundle = try ModelBundle(path: Self.bundle)
        let first = try run("first", blocks: [20, 3])
        let layers = try bundle.openAdapter(path: first).configuration.layers
        #expect(layers.blocks.map(\.index) == [20, 3])
        for (name, blocks) in [("same", [20, 3]), ("silent", nil)] {
            let next = try run(name, blocks: blocks, initial: first)
            let read = try bundle.openAdapter(path: next).configuration.layers
            #expect(read == layers)
        }
        let byDefault = try run("default", blocks: nil)
        #expect(try bundle.openAdapter(path: byDefault).configuration.layers.blocks.map(\.index) == [20, 19, 14])
        let bare = try run("bare", blocks: [])
        #expect(try bundle.openAdapter(path: bare).configuration.layers == .result)
        let wrong: [([Int], String?, String)] = [
            ([3], first, "has 20,3"), ([], first, "has 20,3"), ([20], bare, "has result"),
            ([21], nil, "0 to 20"), ([3, 3], nil, "once"),
        ]
        for (blocks, initial, part) in wrong {
            let failure = #expect(throws: Failure.self) { try run("refused", blocks: blocks, initial: initial) }
            #expect(failure?.code == .configurationInvalid && failure?.description.contains(part) == true)
        }
        // Photos that do not decode are measured by none; the run then says what it lacks.
        let none = #expect(throws: Failure.self) {
            try run("none", blocks: [3], rows: [ExampleRow(image: "/nowhere.jpg", task: .caption("it"))])
        }
        #expect(none?.description.contains("no example") == true)
    }

    @Test(
        "slots that are added to a memory change nothing until they have learned, and then learn",
        .enabled(if: hasBundle, "no bundle: run `make models` or set MEMVP_TEST_BUNDLE"))
    func widened() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let bundle = try ModelBundle(path: Self.bundle)
        let first = try run("narrow", blocks: [20])
        let (shape, tensors) = try AdapterFile.tensors(path: first, base: bundle.base)
        let (wide, more) = TrainableAdapter.widened(shape, tensors, slots: 90, seed: 3)
        let width = shape.width
        #expect(wide.slots == 90 && more.e1.count == 90 * width && more.e2?.count == 90 * width)
        #expect(
            more.e1.prefix(81 * width).elementsEqual(tensors.e1) && Set(more.e1.suffix(9 * width)).count > 8 * width)
        #expect(more.e2?.suffix(9 * width).allSatisfy { $0 == 0 } == true)
        let same = TrainableAdapter.widened(shape, tensors, slots: 80, seed: 3)
        #expect(same.0 == shape && same.1.e1 == tensors.e1)
        var losses: [Double] = []
        for (shape, tensors) in [(shape, tensors), (wide, more)] {
            let adapter = TrainableAdapter(shape, tensors: tensors, freezesVision: false)
            let features = try PhotoFeatures(bundle: bundle, compute: compute, directory: folder, adapter: adapter)
            let builder = try ExampleBuilder(bundle)
            let examples = try Self.rows.map { try builder.example($0, photo: features.keys($0.image)[0]) }
            let step = try TrainingStep(
                bundle: bundle, compute: compute, adapter: adapter, photos: features.source, rows: 64, sequences: 2)
            losses.append(try step.loss(examples))
        }
        #expect(abs(losses[0] - losses[1]) < 1e-5 * losses[0])
        let next = try run("wide", blocks: nil, initial: first, slots: 90)
        let (found, learned) = try AdapterFile.tensors(path: next, base: bundle.base)
        #expect(found.slots == 90 && learned.e2?.suffix(9 * width).contains { $0 != 0 } == true)
    }

    @Test(
        "the projector's rate moves the projector alone",
        .enabled(if: hasBundle, "no bundle: run `make models` or set MEMVP_TEST_BUNDLE"))
    func projectorRate() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let bundle = try ModelBundle(path: Self.bundle)
        func moved(_ configuration: TrainingConfiguration, lambda: Float = 0.01) throws -> [String: Float] {
            let adapter = TrainableAdapter(
                Adapter.Configuration(
                    features: bundle.vision.features, hidden: 16, width: bundle.language.configuration.width,
                    slots: 81, lambda: lambda, scale: 0.1), seed: 1)
            let features = try PhotoFeatures(bundle: bundle, compute: compute, directory: folder, adapter: adapter)
            let builder = try ExampleBuilder(bundle)
            let examples = try Self.rows.map { try builder.example($0, photo: features.keys($0.image)[0]) }
            let step = try TrainingStep(
                bundle: bundle, compute: compute, adapter: adapter, photos: features.source, rows: 64, sequences: 2)
            let before = adapter.parameters.map(\.values)
            _ = try step.step(examples, step: 1, learningRate: 0.01, configuration: configuration)
            return Dictionary(
                uniqueKeysWithValues: zip(adapter.parameters, before).map { parameter, values in
                    (parameter.name, zip(parameter.values, values).map { abs($0 - $1) }.max() ?? 0)
                })
        }
        // The first step of AdamW moves by the rate.
        let together = try moved(TrainingConfiguration(learningRate: 0.02, adamW: AdamWConfiguration(weightDecay: 0)))
        let apart = try moved(
            TrainingConfiguration(learningRate: 0.02, projectorRate: 0.004, adamW: AdamWConfiguration(weightDecay: 0)))
        for (name, distance) in together { #expect(abs(distance - 0.01) < 1e-4, "\(name)") }
        for (name, distance) in apart {
            #expect(abs(distance - (name.hasPrefix("fc") ? 0.002 : 0.01)) < 1e-4, "\(name)")
        }
        // With ten times the λ, by itself a quarter.
        let tenfold = try moved(
            TrainingConfiguration(learningRate: 0.02, adamW: AdamWConfiguration(weightDecay: 0)), lambda: 0.1)
        for (name, distance) in tenfold {
            #expect(abs(distance - (name.hasPrefix("fc") ? 0.0025 : 0.01)) < 1e-4, "\(name)")
        }
    }
}
