import Glibc
import Language
import Tensor
import Testing

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
        let choice = sampler.choose(Self.logits([0, 2, 2, -1]), row: 0, compute: try Self.compute())
        #expect(choice.token == 1)
        #expect(abs(choice.logProbability - -0.781_672) < 1e-4)
    }

    @Test("one seed gives one sequence, another seed another")
    func seeds() throws {
        let compute = try Self.compute()
        let logits = Self.logits((0..<64).map { Float($0 % 7) / 3 })
        func draw(_ seed: UInt64) -> [Int32] {
            var sampler = Sampler(Sampling(temperature: 1, topP: 1, seed: seed))
            return (0..<32).map { _ in sampler.choose(logits, row: 0, compute: compute).token }
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
            for _ in 0..<8_000 { counts[Int(sampler.choose(logits, row: 0, compute: compute).token)] += 1 }
            #expect(counts[2] == 0)
            for (token, part) in [(0, 0.125), (1, 0.25), (3, 0.625)] {
                #expect(abs(Double(counts[token]) / 8_000 - part) < 0.02)
            }
        }
    }

    @Test("top-p leaves the tail out")
    func nucleus() throws {
        let compute = try Self.compute()
        let logits = Self.logits([5, 4, 0, 0, 0, 0])
        var sampler = Sampler(Sampling(temperature: 1, topP: 0.9, seed: 1))
        for _ in 0..<200 { #expect(sampler.choose(logits, row: 0, compute: compute).token < 2) }
    }
}
