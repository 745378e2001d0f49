import Glibc
import Tensor
import Testing

@testable import Language

@Suite("Sampler")
struct SamplerTests {
    static func logits(_ values: [Float]) -> FloatRows {
        let rows = FloatRows(capacity: 1, columns: values.count)
        rows.setRow(0, values.span)
        return rows
    }

    static func compute() throws -> Compute { try Compute(kernels: Kernels.choose(forced: nil), threads: 1) }

    @Test("greedy takes the first of equal maxima and reports its log probability")
    func greedy() throws {
        var sampler = Sampler(.greedy)
        let choice = sampler.choose(
            Self.logits([0, 2, 2, -1]), row: 0, among: SamplingCandidates(), compute: try Self.compute())
        #expect(choice.token == 1)
        #expect(abs(choice.logProbability - -0.781_672) < 1e-4)
    }

    @Test("one seed gives one sequence, another seed another")
    func seeds() throws {
        let compute = try Self.compute()
        let logits = Self.logits((0..<64).map { Float($0 % 7) / 3 })
        func draw(_ seed: UInt64) -> [Int32] {
            var sampler = Sampler(Sampling(temperature: 1, topP: 1, seed: seed))
            return (0..<32).map { _ in
                sampler.choose(logits, row: 0, among: SamplingCandidates(), compute: compute).token
            }
        }
        #expect(draw(3) == draw(3))
        #expect(draw(3) != draw(4))
    }

    @Test("tokens come as often as they are likely, at the temperature, with all of them or the likeliest")
    func frequencies() throws {
        let compute = try Self.compute()
        let logits = Self.logits([0, 2 * Float(log(2.0)), -.infinity, 2 * Float(log(5.0))])
        for topP: Float in [1, 0.999] {
            var sampler = Sampler(Sampling(temperature: 2, topP: topP, seed: 9))
            var counts = [0, 0, 0, 0]
            for _ in 0..<8_000 {
                counts[Int(sampler.choose(logits, row: 0, among: SamplingCandidates(), compute: compute).token)] += 1
            }
            #expect(counts[2] == 0)
            for (token, part) in [(0, 0.125), (1, 0.25), (3, 0.625)] {
                #expect(abs(Double(counts[token]) / 8_000 - part) < 0.02)
            }
        }
    }

    @Test(
        "a point belongs to the token whose share holds it; what rounding leaves behind the last, to the last that can come",
        arguments: [(0, 1), (0.99, 1), (1, 2), (2.99, 2), (3, 2), (3.5, 2)] as [(Double, Int)])
    func shares(point: Double, token: Int) {
        #expect(Sampler.token(at: point, of: [0, 1, 2, 0]) == token)
        #expect(Sampler.token(at: point, of: [0, 0]) == 0)
    }

    @Test("top-p leaves the tail out")
    func nucleus() throws {
        let compute = try Self.compute()
        let logits = Self.logits([5, 4, 0, 0, 0, 0])
        var sampler = Sampler(Sampling(temperature: 1, topP: 0.9, seed: 1))
        for _ in 0..<200 {
            #expect(sampler.choose(logits, row: 0, among: SamplingCandidates(), compute: compute).token < 2)
        }
    }

    @Test("top-p draws what sorting all tokens would, equal weights by number, one choice after another")
    func nucleusBySorting() throws {
        let compute = try Self.compute()
        let candidates = SamplingCandidates()
        let cases: [(size: Int, sampling: Sampling)] = [
            (1, Sampling(temperature: 1, topP: 0.5, seed: 5)), (7, Sampling(temperature: 0.5, topP: 0.3, seed: 6)),
            (300, Sampling(temperature: 1, topP: 0.9, seed: 7)), (50, Sampling(temperature: 2, topP: 0.999, seed: 8)),
        ]
        for (size, sampling) in cases {
            // Many of them are equal.
            let values = (0..<size).map { Float(($0 * 7) % 11) / 3 }
            let sorted = values.indices.sorted { values[$0] != values[$1] ? values[$0] > values[$1] : $0 < $1 }
            let highest = values[sorted[0]]
            func weight(_ token: Int) -> Double { exp(Double(values[token] - highest) / Double(sampling.temperature)) }
            let enough = Double(sampling.topP) * values.indices.reduce(0) { $0 + weight($1) }
            var sum = 0.0
            var count = 0
            while count == 0 || sum < enough {
                sum += weight(sorted[count])
                count += 1
            }
            var generator = SplitMix64(state: sampling.seed)
            let expected = (0..<200).map { _ -> Int32 in
                var point = generator.nextUnit() * sum
                let place = sorted[..<count].firstIndex { token in
                    point -= weight(token)
                    return point < 0
                }
                return Int32(sorted[place ?? count - 1])
            }
            var sampler = Sampler(sampling)
            let logits = Self.logits(values)
            let drawn = (0..<200).map { _ in
                sampler.choose(logits, row: 0, among: candidates, compute: compute).token
            }
            #expect(drawn == expected)
        }
    }
}
