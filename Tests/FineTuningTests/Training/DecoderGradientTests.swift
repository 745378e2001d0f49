// The hand-written backward pass against finite differences of its own forward pass, on every kernel path, and the int8 gradients
// against float32 ones on the same, dequantised weights.

import Foundation
import Language
import MemVP
import Tensor
import Testing
import Text

@testable import FineTuning

@Suite("Gradients through the decoder")
struct DecoderGradientTests {
    static let paths = Kernels.available

    private func gradient(
        _ model: LlamaModel, _ compute: Compute, reference: Bool = false
    ) throws -> DecoderGradient {
        try DecoderGradient(
            model: model, compute: compute, rows: 32, sequenceCapacity: 4, slots: TinyDecoder.slots,
            reference: reference)
    }

    @Test(
        "float32: gradients of memories and of image tokens equal finite differences", arguments: paths,
        Adapter.Prompting.allCases)
    func finiteDifferences(kernels: Kernels, prompting: Adapter.Prompting) throws {
        let compute = try Compute(kernels: kernels, threads: 2)
        let model = try TinyDecoder.model(.float32)
        let decoder = try gradient(model, compute)
        let images = TinyDecoder.images(prompting, compute, rounded: false)
        _ = decoder.run(TinyDecoder.batch, images: images, gradients: true)
        let gradients = TinyDecoder.gradients(images)
        var random = TrainingRandom(seed: 9)
        // A random direction sees every component; several see different mixtures.
        for trial in 0..<6 {
            let part = trial % gradients.count
            let direction = gradients[part].map { _ in Float(random.normal()) }
            let analytic = zip(gradients[part], direction).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
            let step: Float = 2e-3
            func loss(_ step: Float) -> Double {
                self.loss(decoder, TinyDecoder.images(prompting, compute, rounded: false), compute) { images in
                    Self.move(images.projections[part].rows, along: direction, by: step)
                }
            }
            let numeric = (loss(step) - loss(-step)) / Double(2 * step)
            #expect(abs(numeric - analytic) <= 5e-3 * max(0.05, abs(analytic)), "\(numeric) against \(analytic)")
        }
    }

    private func loss(
        _ decoder: DecoderGradient, _ images: VisualBank, _ compute: Compute, after move: (VisualBank) -> Void
    ) -> Double {
        move(images)
        images.finish(3, rounded: false, compute: compute)
        let losses = decoder.run(TinyDecoder.batch, images: images, gradients: false)
        return losses.reduce(0) { $0 + 0.2 * $1 }
    }

    private static func move(_ rows: FloatRows, along direction: [Float], by step: Float) {
        for row in 0..<3 * TinyDecoder.slots {
            let old = rows.array(row: row)
            let moved = old.indices.map { old[$0] + step * direction[row * TinyDecoder.width + $0] }
            rows.setRow(row, moved.span)
        }
    }

    @Test(
        "int8 gradients stand within 1 % of float32 ones on the same weights", arguments: paths,
        Adapter.Prompting.allCases)
    func reference(kernels: Kernels, prompting: Adapter.Prompting) throws {
        let compute = try Compute(kernels: kernels, threads: 2)
        let model = try TinyDecoder.model(.int8)
        let fast = try gradient(model, compute)
        let exact = try gradient(model, compute, reference: true)
        let images = TinyDecoder.images(prompting, compute, rounded: true)
        let losses = fast.run(TinyDecoder.batch, images: images, gradients: true)
        let other = TinyDecoder.images(prompting, compute, rounded: true)
        #expect(exact.run(TinyDecoder.batch, images: other, gradients: true) == losses)
        for (found, expected) in zip(TinyDecoder.gradients(images), TinyDecoder.gradients(other)) {
            #expect(TinyDecoder.distance(found, expected) < 0.01)
        }
    }

    private static let bundle = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("build/models/default").path

    @Test(
        "int8 gradients stand within 4 % of float32 ones through the thirty blocks of the default model",
        .enabled(if: FileManager.default.fileExists(atPath: "\(bundle)/model.yaml"), "no bundle: run `make models`"))
    func defaultModel() throws {
        let compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 2)
        let bundle = try ModelBundle(path: Self.bundle, verify: false)
        let text = bundle.tokenizer.encode("Caption: a brown dog runs over the grass with a red ball.")
        let batch = [text, Array(text.reversed())].map { tokens in
            TrainingSequence(
                input: Array(tokens.dropLast()), targets: (2..<tokens.count - 1).map { ($0, tokens[$0 + 1]) },
                weight: 0.05)
        }
        let (slots, width) = (12, bundle.language.configuration.width)
        func gradients(reference: Bool) throws -> [[Float]] {
            let shape = Adapter.Configuration(
                features: 1, hidden: 1, width: width, slots: slots, lambda: 1, scale: 1)
            let images = VisualBank(shape, capacity: 2)
            var random = TrainingRandom(seed: 4)
            // As large as keys and values of trained adapters.
            for ((rows, _), deviation) in zip(images.projections, [0.3, 0.03]) {
                for row in 0..<2 * slots {
                    let values = (0..<width).map { _ in Float(deviation * random.normal()) }
                    rows.setRow(row, values.span)
                }
            }
            images.finish(2, rounded: true, compute: compute)
            let decoder = try DecoderGradient(
                model: bundle.language, compute: compute, rows: 2 * text.count, sequenceCapacity: 2, slots: slots,
                reference: reference)
            _ = decoder.run(batch, images: images, gradients: true)
            return images.projections.map { TinyDecoder.array($0.gradients, 2 * slots) }
        }
        for (found, expected) in zip(try gradients(reference: false), try gradients(reference: true)) {
            let distance = TinyDecoder.distance(found, expected)
            #expect(distance < 0.04, "\(distance)")
        }
    }

    /// The larger batch has so much of everything that every training kernel cuts it up among threads (WORTH_A_THREAD).
    @Test(
        "gradients and losses do not depend on the number of threads", arguments: Adapter.Prompting.allCases, [1, 48])
    func threads(prompting: Adapter.Prompting, copies: Int) throws {
        let batch = (0..<copies).flatMap { _ in TinyDecoder.batch }
        var results: [[Float]] = []
        for threads in [1, 2, 3] {
            let compute = try Compute(kernels: Kernels.choose(forced: nil), threads: threads)
            let decoder = try DecoderGradient(
                model: try TinyDecoder.model(.int8), compute: compute, rows: 32 * copies,
                sequenceCapacity: 4 * copies, slots: TinyDecoder.slots)
            let images = TinyDecoder.images(prompting, compute, rounded: true, count: batch.count)
            let losses = decoder.run(batch, images: images, gradients: true)
            results.append(
                losses.map { Float($0) } + TinyDecoder.gradients(images, count: batch.count).joined())
        }
        let areNumbers = results[0].allSatisfy { $0.isFinite }
        #expect(areNumbers)
        #expect(results[0] == results[1])
        #expect(results[0] == results[2])
    }

    @Test("the comparer refuses what is wrong")
    func comparer() {
        #expect(TinyDecoder.distance([1, 2], [1, 2]) == 0)
        #expect(TinyDecoder.distance([.nan, 2], [1, 2]) == .infinity)
        #expect(TinyDecoder.distance([1, 2], [1, 2, 3]) == .infinity)
        #expect(TinyDecoder.distance([-1, -2], [1, 2]) == 2)
    }
}
