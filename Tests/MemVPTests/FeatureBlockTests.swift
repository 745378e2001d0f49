// Adapters that read blocks of the encoder: against numbers of independent code, beside other adapters, and in their files.

import Diagnostics
import Foundation
import ModelFile
import Specification
import Tensor
import Testing
import Vision

@testable import MemVP

@Suite("Adapters that read feature blocks")
struct FeatureBlockTests {
    private let workshop = Result { try Workshop() }

    /// Values of blocks 20, 19 and 14 (the last averaged to the grid) of EfficientNet-Lite2 for rocket.jpg, by PyTorch 2.13 and
    /// PyPI's efficientnet_lite_pytorch 0.1.0.
    private struct Golden: Decodable {
        let patches: [Int]
        let columns: [Int]
        let values: [[Float]]
    }

    @Test(
        "blocks of the encoder are those of independent code: float32 within 1e-3, int8 cosine at least 0.98",
        .enabled(
            if: Bundles.exists(Bundles.float32) && Bundles.exists(Bundles.int8), Comment(rawValue: Bundles.missing)),
        arguments: [Bundles.float32, Bundles.int8])
    func blocks(_ name: String) throws {
        let golden = try JSONDecoder().decode(Golden.self, from: Data(Fixture.bytes("lite2-rocket-blocks.json")))
        let bundle = try ModelBundle(path: Bundles.path(name), verify: false)
        let compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 2)
        let image = try bundle.prepare(photo: Fixture.bytes("rocket.jpg"))
        let layers = FeatureLayers(blocks: [20, 19, 14].map { .init(index: $0, factor: 1) })
        #expect(bundle.vision.width(of: layers) == 680)
        let worker = VisionWorker(bundle.vision, compute: compute)
        let both = worker.encode(image.pixels.span, layers: [layers, .result])
        let rows = golden.patches.map { both[0].array(row: $0) }
        let found = rows.flatMap { row in golden.columns.map { row[$0] } }
        let expected = golden.values.flatMap { $0 }
        if name == Bundles.float32 {
            #expect(Distance.relativeL2(found, expected) < 1e-3)
        } else {
            #expect(Distance.cosine(found, expected) >= 0.98)
        }
        // The result is what it is without the blocks.
        let together = (0..<81).map { both[1].array(row: $0) }
        let result = worker.encode(image.pixels.span)
        #expect((0..<81).map { result.array(row: $0) } == together)
    }

    // MARK: With a tiny model

    private static let layers = FeatureLayers(blocks: [.init(index: 2, factor: 0.5), .init(index: 0, factor: 2)])

    /// An adapter of random values that reads `layers` of the tiny encoder.
    private static func write(_ layers: FeatureLayers, features: Int, base: BaseIdentity, to path: String) throws {
        var random = SeededGenerator(state: 3)
        try AdapterFile.write(
            Adapter.Configuration(
                features: features, hidden: 8, width: 32, slots: 4, lambda: 1, scale: 1, layers: layers),
            tensors: Adapter.Tensors(
                fc1Weight: random.floats(8 * features), fc1Bias: random.floats(8), fc2Weight: random.floats(32 * 8),
                fc2Bias: random.floats(32), e1: random.floats(4 * 32), e2: random.floats(4 * 32)),
            base: base, name: "b", to: path)
    }

    @Test("a factor that is no number makes no adapter")
    func factors() throws {
        func adapter(_ factor: Float) throws -> Adapter {
            let layers = FeatureLayers(blocks: [.init(index: 0, factor: factor)])
            let zeros = { [Float](repeating: 0, count: $0) }
            return try Adapter(
                Adapter.Configuration(features: 4, hidden: 2, width: 3, slots: 1, lambda: 1, scale: 1, layers: layers),
                tensors: Adapter.Tensors(
                    fc1Weight: zeros(8), fc1Bias: zeros(2), fc2Weight: zeros(6), fc2Bias: zeros(3), e1: zeros(3),
                    e2: zeros(3)), precision: .float32)
        }
        #expect(try adapter(0.5).configuration.layers.blocks.map(\.factor) == [0.5])
        for factor in [Float.nan, .infinity] {
            let failure = #expect(throws: Failure.self) { try adapter(factor) }
            #expect(failure?.code == .modelInvalid)
        }
    }

    private func refused(_ code: FailureCode, _ part: String, _ body: () throws -> Void) {
        let failure = #expect(throws: Failure.self) { try body() }
        #expect(failure?.code == code && failure?.description.contains(part) == true, "\(String(describing: failure))")
    }

    @Test(
        "an adapter that reads blocks answers beside one that reads the result as if alone", arguments: [true, false])
    func together(isInt8: Bool) throws {
        let workshop = try workshop.get()
        let path = try workshop.bundle("t", TinyLlama(), precision: isInt8 ? .int8 : .float32, adapter: true)
        try Self.write(
            Self.layers, features: 32, base: ModelBundle(path: path).base, to: "\(workshop.path)/b.gguf")
        try BundleBuilder.addAdapter("\(workshop.path)/b.gguf", name: "b", kinds: [], to: path)
        let bundle = try ModelBundle(path: path)
        #expect(bundle.adapters["b"]?.configuration.layers == Self.layers)
        let compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 1)
        func answers(_ adapters: [String], photo: String) throws -> [Double] {
            let answerer = try Answerer(bundle: bundle, compute: compute, batch: 4)
            let tasks = adapters.enumerated().map {
                TaskSpec.Task(
                    id: "t\($0.offset)", adapter: $0.element,
                    work: .ask(question: "z", answer: .choice(["he", "she", "it"])))
            }
            let image = try bundle.prepare(photo: Fixture.bytes(photo))
            _ = try answerer.submit(image: image, tasks: tasks, contentSeed: 1)
            while !answerer.isIdle {
                if let ended = answerer.step().first {
                    return ended.answers.answers.flatMap { $0.probabilities?.map(\.probability) ?? [] }
                }
            }
            return []
        }
        let (a, b) = try (answers(["a"], photo: "rocket.jpg"), answers(["b"], photo: "rocket.jpg"))
        #expect(a.count == 3 && b.count == 3 && a != b)
        #expect(try answers(["a", "b"], photo: "rocket.jpg") == a + b)
        #expect(try answers(["b", "a", "b"], photo: "rocket.jpg") == b + a + b)
        #expect(try answers(["b"], photo: "astronaut.jpg") != b)
    }

    @Test("a file says which blocks; half of it, other blocks than the encoder has, and other widths are refused")
    func files() throws {
        let workshop = try workshop.get()
        let bundle = try ModelBundle(path: workshop.bundle("f", TinyLlama(), adapter: true))
        let path = "\(workshop.path)/b.gguf"
        try Self.write(Self.layers, features: 32, base: bundle.base, to: path)
        #expect(try bundle.openAdapter(path: path).configuration.layers == Self.layers)
        #expect(try GGUFFile(path: "\(bundle.path)/adapters/a.gguf").metadata["memvp.feature.blocks"] == nil)

        let refusedLayers: [([(Int, Float)], Int)] = [([(3, 1)], 16), ([(1, 1), (1, 1)], 32), ([(0, 1)], 32)]
        for (blocks, features) in refusedLayers {
            let layers = FeatureLayers(blocks: blocks.map { .init(index: $0.0, factor: $0.1) })
            try Self.write(layers, features: features, base: bundle.base, to: path)
            refused(.adapterMismatch, "does not fit") { _ = try bundle.openAdapter(path: path) }
            refused(.adapterMismatch, "does not fit") {
                try BundleBuilder.addAdapter(path, name: "c", kinds: [], to: bundle.path)
            }
        }
        // What no file of 32 bits could say is refused wherever such a file is read.
        for blocks: [Int64] in [[1 << 40, 0], [-1, 0], [256, 0]] {
            try Self.write(Self.layers, features: 32, base: bundle.base, to: path)
            try rewrite(path, factors: [1, 1], blocks: blocks)
            refused(.modelInvalid, "memvp.feature") { _ = try bundle.openAdapter(path: path) }
            refused(.modelInvalid, "memvp.feature") {
                _ = try AdapterFile.mean(of: [path, path], base: bundle.base)
            }
        }
        for factors in [[Float](), [1], [1, .nan], [1, 1, 1]] {
            try Self.write(Self.layers, features: 32, base: bundle.base, to: path)
            try rewrite(path, factors: factors)
            refused(factors.isEmpty ? .modelMissing : .modelInvalid, "memvp.feature") {
                _ = try bundle.openAdapter(path: path)
            }
        }
    }

    /// The adapter file at `path` with other factors; none for no such key.
    private func rewrite(_ path: String, factors: [Float], blocks: [Int64]? = nil) throws {
        let file = try GGUFFile(path: path)
        var keys = file.metadata.filter { $0.0 != "memvp.feature.factors" }.map { ($0.0, $0.1) }
        if let blocks {
            keys.removeAll { $0.0 == "memvp.feature.blocks" }
            keys.append(("memvp.feature.blocks", .int64s(blocks)))
        }
        if !factors.isEmpty { keys.append(("memvp.feature.factors", .float32s(factors))) }
        let tensors = file.tensors.entries
        let values = try tensors.map { try file.floats(of: $0) }
        let writer = try GGUFWriter(
            path: path, metadata: keys,
            tensors: tensors.map { TensorDeclaration(name: $0.name, type: .float32, shape: $0.shape) })
        for tensor in values { try writer.write(tensor.span) }
        try writer.finish()
    }
}
