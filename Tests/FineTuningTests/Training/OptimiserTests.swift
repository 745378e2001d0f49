// AdamW and the learning-rate schedule against values worked out elsewhere.

import Testing

@testable import FineTuning

@Suite("AdamW")
struct OptimiserTests {
    @Test("three steps equal torch.optim.AdamW")
    func againstTorch() {
        // torch 2.x: p = [0.5, -1, 2]; AdamW(lr=0.1, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.02); g = p * [1, 2, -3].
        var p: [Float] = [0.5, -1, 2]
        var moments = AdamWMoments(count: 3)
        let adamW = AdamWConfiguration()
        for step in 1...3 {
            let g = [p[0], 2 * p[1], -3 * p[2]]
            adamW.update(&p, gradient: g, moments: &moments, step: step, learningRate: 0.1, decays: true)
        }
        let expected: [Float] = [0.2015017569065094, -0.6957351565361023, 2.287554979324341]
        for (value, wanted) in zip(p, expected) { #expect(abs(value - wanted) < 1e-6) }
    }

    @Test("one-dimensional tensors do not decay")
    func noDecay() {
        var p: [Float] = [4]
        var moments = AdamWMoments(count: 1)
        AdamWConfiguration().update(
            &p, gradient: [0], moments: &moments, step: 1, learningRate: 0.1, decays: false)
        #expect(p == [4])
        AdamWConfiguration().update(
            &p, gradient: [0], moments: &moments, step: 2, learningRate: 0.1, decays: true)
        #expect(p == [4 * (1 - 0.1 * 0.02)])
    }

    @Test("the rate climbs, peaks after the warm-up, and falls to 0")
    func schedule() {
        let rate = LearningRate(peak: 1, warmUp: 4, steps: 104)
        #expect(rate.rate(at: 0) == 0.25)
        #expect(rate.rate(at: 3) == 1)
        #expect(rate.rate(at: 4) == 1)
        #expect(abs(rate.rate(at: 54) - 0.5) < 1e-6)
        #expect(abs(rate.rate(at: 104)) < 1e-6)
        #expect(rate.rate(at: 1_000) == rate.rate(at: 104))
    }
}
