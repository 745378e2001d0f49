// BLEU (Papineni et al., 2002) over a corpus, with the constants of pycocoevalcap that keep zero counts from dividing.

internal import Glibc

/// The modified precision of n-grams, times a penalty for captions shorter than their references.
enum BLEU {
    /// Added to matches, so that none is not the logarithm of zero.
    private static let tiny = 1e-15
    /// Added to counts, so that none does not divide by zero.
    private static let small = 1e-9

    /// BLEU-1 to BLEU-4.
    static func corpus(_ samples: [NumberedSample]) -> [Double] {
        guard !samples.isEmpty else { return [0, 0, 0, 0] }
        var matches = [0, 0, 0, 0]
        var guesses = [0, 0, 0, 0]
        var length = 0
        var referenceLength = 0
        for sample in samples where !sample.references.isEmpty {
            let words = sample.hypothesis.count
            length += words
            referenceLength += closest(to: words, sample.references.map(\.count))
            for order in 1...4 { guesses[order - 1] += max(0, words - order + 1) }
            let counts = NGramCounts(sample.hypothesis)
            let references = sample.references.map { NGramCounts($0) }
            for (gram, count) in zip(counts.grams, counts.counts) {
                let most = references.map { $0.count(of: gram) }.max() ?? 0
                matches[gram.order - 1] += min(count, most)
            }
        }
        let ratio = (Double(length) + tiny) / (Double(referenceLength) + small)
        let penalty = ratio < 1 ? exp(1 - 1 / ratio) : 1
        var product = 1.0
        return (0..<4).map { index in
            product *= (Double(matches[index]) + tiny) / (Double(guesses[index]) + small)
            return pow(product, 1 / Double(index + 1)) * penalty
        }
    }

    /// The reference length nearest to `length`, of two the shorter.
    private static func closest(to length: Int, _ lengths: [Int]) -> Int {
        lengths.min { (abs($0 - length), $0) < (abs($1 - length), $1) } ?? 0
    }
}
