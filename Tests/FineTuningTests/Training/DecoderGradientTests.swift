// The hand-written backward pass against finite differences of its own forward pass, on every kernel path, and the int8 gradients
// against float32 ones on the same, dequantised weights.

import Language
import Tensor
import Testing

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

    @Test("float32: memory gradients equal finite differences", arguments: paths)
    func finiteDifferences(kernels: Kernels) throws {
        let compute = try Compute(kernels: kernels, threads: 2)
        let model = try TinyDecoder.model(.float32)
        let decoder = try gradient(model, compute)
        let bank = TinyDecoder.bank(compute, rounded: false)
        _ = decoder.run(TinyDecoder.batch, bank: bank, gradients: true)
        let rows = 3 * TinyDecoder.slots
        let keyGradients = TinyDecoder.array(bank.keyGradients, rows)
        let valueGradients = TinyDecoder.array(bank.valueGradients, rows)
        var random = TrainingRandom(seed: 9)
        // A random direction sees every component; several see different mixtures.
        for trial in 0..<6 {
            let onKeys = trial % 2 == 0
            let direction = (0..<rows * TinyDecoder.width).map { _ in Float(random.normal()) }
            let analytic = zip(onKeys ? keyGradients : valueGradients, direction).reduce(0.0) {
                $0 + Double($1.0) * Double($1.1)
            }
            let step: Float = 2e-3
            let numeric =
                (loss(decoder, compute, along: direction, by: step, onKeys: onKeys)
                    - loss(decoder, compute, along: direction, by: -step, onKeys: onKeys)) / Double(2 * step)
            #expect(abs(numeric - analytic) <= 5e-3 * max(0.05, abs(analytic)), "\(numeric) against \(analytic)")
        }
    }

    private func loss(
        _ decoder: DecoderGradient, _ compute: Compute, along direction: [Float], by step: Float, onKeys: Bool
    ) -> Double {
        let bank = TinyDecoder.bank(compute, rounded: false)
        let rows = onKeys ? bank.keys : bank.values
        for row in 0..<3 * TinyDecoder.slots {
            let old = rows.array(row: row)
            let moved = old.indices.map { old[$0] + step * direction[row * TinyDecoder.width + $0] }
            rows.setRow(row, moved.span)
        }
        bank.finish(3, rounded: false, compute: compute)
        let losses = decoder.run(TinyDecoder.batch, bank: bank, gradients: false)
        return losses.reduce(0) { $0 + 0.2 * $1 }
    }

    @Test("int8 gradients stand within 1 % of float32 ones on the same weights", arguments: paths)
    func reference(kernels: Kernels) throws {
        let compute = try Compute(kernels: kernels, threads: 2)
        let model = try TinyDecoder.model(.int8)
        let fast = try gradient(model, compute)
        let exact = try gradient(model, compute, reference: true)
        let rows = 3 * TinyDecoder.slots
        let bank = TinyDecoder.bank(compute, rounded: true)
        let losses = fast.run(TinyDecoder.batch, bank: bank, gradients: true)
        let keys = TinyDecoder.array(bank.keyGradients, rows)
        let values = TinyDecoder.array(bank.valueGradients, rows)
        let other = TinyDecoder.bank(compute, rounded: true)
        #expect(exact.run(TinyDecoder.batch, bank: other, gradients: true) == losses)
        #expect(TinyDecoder.distance(keys, TinyDecoder.array(other.keyGradients, rows)) < 0.01)
        #expect(TinyDecoder.distance(values, TinyDecoder.array(other.valueGradients, rows)) < 0.01)
    }

    @Test("gradients and losses do not depend on the number of threads")
    func threads() throws {
        var results: [[Float]] = []
        for threads in [1, 2, 3] {
            let compute = try Compute(kernels: Kernels.choose(forced: nil), threads: threads)
            let decoder = try gradient(try TinyDecoder.model(.int8), compute)
            let bank = TinyDecoder.bank(compute, rounded: true)
            let losses = decoder.run(TinyDecoder.batch, bank: bank, gradients: true)
            results.append(
                losses.map { Float($0) } + TinyDecoder.array(bank.keyGradients, 15)
                    + TinyDecoder.array(bank.valueGradients, 15))
        }
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
