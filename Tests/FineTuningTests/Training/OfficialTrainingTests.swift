// Gradients and ten steps of AdamW against MemVP's official code (float32, dropout off): Fixtures/official-tiny-training.safetensors
// holds its batch and gradients, from a small random model in the released file formats (Tests/ModelFileTests/Fixtures).

import Diagnostics
import Foundation
import MemVP
import ModelFile
import Tensor
import Testing
import Vision

@testable import FineTuning

/// The official model, converted, with its training batch.
private final class OfficialTraining {
    /// The losses of ten steps: `adamw.losses` of the oracle's golden.json.
    static let losses = [
        8.248376846313477, 8.003203392028809, 7.758871555328369, 7.513817310333252, 7.266180515289307,
        7.014216899871826, 6.756783962249756, 6.4936442375183105, 6.225681781768799, 5.954980850219727,
    ]

    let compute: Compute
    let adapter: TrainableAdapter
    let runner: TrainingStep
    let examples: [PreparedExample]
    let golden: SafetensorsFile
    private let official: OfficialBundle

    init(_ precision: Precision, kernels: Kernels) throws {
        official = try OfficialBundle(precision)
        let path = official.path
        let bundle = try ModelBundle(path: path)
        compute = try Compute(kernels: kernels, threads: 2)
        let (shape, tensors) = try AdapterFile.tensors(path: "\(path)/adapters/official.gguf", base: bundle.base)
        adapter = TrainableAdapter(shape, tensors: tensors, freezesVision: false)
        golden = try SafetensorsFile(
            path: OfficialBundle.tests.appendingPathComponent(
                "FineTuningTests/Fixtures/official-tiny-training.safetensors"
            ).path)
        let side = bundle.vision.side
        let planes = try golden.floats(named: "train.pixels")
        guard case .clip(let encoder) = bundle.vision, let vision = adapter.vision else {
            throw Failure(.internalError, "official bundle", "has no vision transformer")
        }
        let photos = PhotoSource.trained(
            try VisionGradient(model: encoder, compute: compute, adapters: vision)
        ) { photo throws(Failure) in
            // The official code keeps colours apart: [3, side, side].
            let first = (Int(photo) ?? 0) * 3 * side * side
            return (0..<side * side * 3).map { planes[first + $0 % 3 * side * side + $0 / 3] }
        }
        runner = try TrainingStep(
            bundle: bundle, compute: compute, adapter: adapter, photos: photos, rows: 256, sequences: 4)
        examples = try Self.examples(golden)
    }

    /// Rows of the official batch: zeros pad, labels that are not zero are learned, the third row has no image.
    private static func examples(_ golden: SafetensorsFile) throws -> [PreparedExample] {
        let tokens = try golden.integers(of: golden.tensor(named: "train.examples"))
        let labels = try golden.integers(of: golden.tensor(named: "train.labels"))
        return try (0..<3).map { row in
            let part = labels[row * 64..<(row + 1) * 64]
            let first = try #require(part.firstIndex { $0 != 0 }) - row * 64
            let last = try #require(part.lastIndex { $0 != 0 }) - row * 64
            return PreparedExample(
                tokens: tokens[row * 64...row * 64 + last].map { Int32($0) }, promptCount: first, photo: "\(row)",
                isBlind: row == 2)
        }
    }
}

@Suite("Training against the official code")
struct OfficialTrainingTests {
    @Test("float32: every gradient within 1e-3", arguments: Kernels.available)
    func gradients(kernels: Kernels) throws {
        let official = try OfficialTraining(.float32, kernels: kernels)
        let result = try official.runner.gradient(official.examples)
        #expect(abs(result.loss - OfficialTraining.losses[0]) < 1e-4)
        #expect(official.adapter.parameters.count == 10)
        for parameter in official.adapter.parameters {
            let expected = try official.golden.floats(named: Self.officialName(parameter.name))
            let distance = TinyDecoder.distance(parameter.gradientValues(), expected)
            #expect(distance < 1e-3, "\(parameter.name): \(distance)")
        }
    }

    @Test("float32: ten losses within 1e-3")
    func trajectory() throws {
        let official = try OfficialTraining(.float32, kernels: .choose(forced: nil))
        for (step, loss) in try losses(official).enumerated() {
            #expect(abs(loss - OfficialTraining.losses[step]) < 1e-3, "step \(step): \(loss)")
        }
    }

    @Test("int8: the ten losses stay near those of float32")
    func trajectoryInt8() throws {
        let official = try OfficialTraining(.int8, kernels: .choose(forced: nil))
        for (step, loss) in try losses(official).enumerated() {
            #expect(abs(loss - OfficialTraining.losses[step]) < 0.1, "step \(step): \(loss)")
        }
    }

    private func losses(_ official: OfficialTraining) throws -> [Double] {
        let configuration = TrainingConfiguration(clip: 0)
        return try (1...10).map { step in
            try official.runner.step(
                official.examples, step: step, learningRate: 0.009, configuration: configuration
            ).loss
        }
    }

    private static func officialName(_ name: String) -> String {
        switch name {
        case "e1": return "grad.adapter_emb1"
        case "e2": return "grad.adapter_emb2"
        case _ where name.hasPrefix("vision.blk."):
            return "grad.backbone.visual.transformer.resblocks."
                + name.dropFirst("vision.blk.".count).replacingOccurrences(of: ".fc", with: ".adapter_mlp.fc")
        default: return "grad.adapter_proj.\(name)"
        }
    }
}
