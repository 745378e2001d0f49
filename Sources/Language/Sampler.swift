// Choosing the next token. Greedy by default; with a temperature the choice is random but repeatable: the generator is
// seeded by the request, so the same request gives the same tokens in any batch, on any number of threads.

import Glibc
internal import HeapModule
public import Tensor

/// How tokens are chosen.
public struct Sampling: Sendable, Equatable {
    /// Divides the logits; 0 means greedy.
    public var temperature: Float
    /// Only the most likely tokens whose probabilities reach this sum take part (nucleus sampling, arXiv 1904.09751).
    public var topP: Float
    /// Seeds the generator.
    public var seed: UInt64

    /// Greedy unless a temperature is given.
    public init(temperature: Float = 0, topP: Float = 1, seed: UInt64 = 0) {
        self.temperature = temperature
        self.topP = topP
        self.seed = seed
    }

    /// The most likely token, always.
    public static let greedy = Sampling()
}

/// A token that was chosen.
public struct TokenChoice: Sendable, Equatable {
    /// The token.
    public let token: Int32
    /// The natural logarithm of its probability under the model (before temperature and top-p).
    public let logProbability: Float
}

/// A token with what its probability is proportional to; the greatest is the likeliest, of equal ones the lowest token.
private struct Candidate: Comparable {
    let token: Int
    let weight: Double

    static func < (a: Candidate, b: Candidate) -> Bool {
        a.weight != b.weight ? a.weight < b.weight : a.token > b.token
    }
}

/// The tokens that a choice is made among; its memory serves one choice after another.
public final class SamplingCandidates {
    fileprivate var weights: [Double] = []
    // A nucleus is some tens of a vocabulary of tens of thousands: a heap gives them out without sorting the rest.
    fileprivate var heap = Heap<Candidate>()
    fileprivate var nucleus: [Candidate] = []

    /// Without memory yet: greedy choices need none.
    public init() {}
}

/// Chooses tokens for one sequence.
public struct Sampler: Sendable {
    private let sampling: Sampling
    private var generator: SplitMix64

    /// A sampler at the start of its sequence of random numbers.
    public init(_ sampling: Sampling) {
        self.sampling = sampling
        generator = SplitMix64(state: sampling.seed)
    }

    /// Chooses a token from row `row` of `logits`; of equal logits the lowest token wins.
    public mutating func choose(
        _ logits: FloatRows, row: Int, among candidates: SamplingCandidates, compute: Compute
    ) -> TokenChoice {
        let best = compute.greedy(logits, row: row)
        guard sampling.temperature > 0 else {
            return TokenChoice(token: Int32(best.index), logProbability: best.logit - best.logSumExp)
        }
        let row = logits.row(row)
        let token =
            sampling.topP < 1
            ? nucleus(row, best: best.logit, among: candidates)
            : any(row, best: best.logit, among: &candidates.weights)
        return TokenChoice(token: Int32(token), logProbability: row[token] - best.logSumExp)
    }

    /// A token by its probability, of all of them: no order is needed, so none is made.
    private mutating func any(_ logits: Span<Float>, best: Float, among weights: inout [Double]) -> Int {
        weights.removeAll(keepingCapacity: true)
        weights.reserveCapacity(logits.count)
        for token in logits.indices { weights.append(exp(Double(logits[token] - best) / Double(sampling.temperature))) }
        return Self.token(at: generator.nextUnit() * weights.reduce(0, +), of: weights)
    }

    /// The token whose share of the sum of weights holds `point`.
    static func token(at point: Double, of weights: [Double]) -> Int {
        var rest = point
        for token in weights.indices {
            rest -= weights[token]
            if rest < 0 { return token }
        }
        // Rounding may leave a rest behind the last; it is not given to a token that cannot come.
        return weights.lastIndex { $0 > 0 } ?? 0
    }

    /// A token by its probability, of the likeliest whose probabilities reach `topP`.
    private mutating func nucleus(_ logits: Span<Float>, best: Float, among candidates: SamplingCandidates) -> Int {
        candidates.heap.removeAll { _ in true }  // keeps its memory
        candidates.heap.reserveCapacity(logits.count)
        candidates.nucleus.removeAll(keepingCapacity: true)
        candidates.nucleus.reserveCapacity(logits.count)
        var total = 0.0
        for token in logits.indices {
            let weight = exp(Double(logits[token] - best) / Double(sampling.temperature))
            guard weight > 1e-12 else { continue }
            candidates.heap.insert(Candidate(token: token, weight: weight))
            total += weight
        }
        var kept = 0.0
        repeat {
            guard let likeliest = candidates.heap.popMax() else { break }
            candidates.nucleus.append(likeliest)
            kept += likeliest.weight
        } while kept < Double(sampling.topP) * total
        var point = generator.nextUnit() * kept
        var token = 0
        for candidate in candidates.nucleus {
            token = candidate.token
            point -= candidate.weight
            if point < 0 { break }
        }
        return token
    }
}

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014).
struct SplitMix64: Sendable {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// Uniform in 0 ..< 1.
    mutating func nextUnit() -> Double { Double(next() >> 11) * 0x1p-53 }
}
