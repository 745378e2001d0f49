// BLEU (Papineni et al., 2002) over a corpus, with the constants of pycocoevalcap that keep zero counts from dividing.

internal import Glibc

/// What BLEU counts of one caption, or of all captions of a corpus: counts add up, scores do not.
struct BLEUCounts {
    /// Added to matches, so that none is not the logarithm of zero.
    private static let tiny = 1e-15
    /// Added to counts, so that none does not divide by zero.
    private static let small = 1e-9

    /// n-grams that a reference has too, at most as often as there, by order.
    private var matches: SIMD4<Double> = .zero
    /// n-grams, by order.
    private var guesses: SIMD4<Double> = .zero
    /// Words.
    private var length = 0.0
    /// Words of the reference whose length is nearest.
    private var referenceLength = 0.0

    /// What there is before the first caption.
    init() {}

    /// What is counted of one caption; one without references counts for nothing.
    init(_ caption: NGramCounts, against references: [NGramCounts]) {
        guard !references.isEmpty else { return }
        length = Double(caption.length)
        referenceLength = Double(Self.closest(to: caption.length, references.map(\.length)))
        for (gram, count) in zip(caption.grams, caption.counts) {
            let most = references.map { $0.count(of: gram) }.max() ?? 0
            matches[gram.order - 1] += Double(min(count, most))
            guesses[gram.order - 1] += Double(count)
        }
    }

    /// Adds what was counted elsewhere.
    static func += (sum: inout BLEUCounts, other: BLEUCounts) {
        sum.matches += other.matches
        sum.guesses += other.guesses
        sum.length += other.length
        sum.referenceLength += other.referenceLength
    }

    /// BLEU-1 to BLEU-4: the modified precision of n-grams, times a penalty for captions shorter than their references.
    var scores: [Double] {
        guard guesses != .zero else { return [0, 0, 0, 0] }
        let ratio = (length + Self.tiny) / (referenceLength + Self.small)
        let penalty = ratio < 1 ? exp(1 - 1 / ratio) : 1
        var product = 1.0
        return (0..<4).map { index in
            product *= (matches[index] + Self.tiny) / (guesses[index] + Self.small)
            return pow(product, 1 / Double(index + 1)) * penalty
        }
    }

    /// How fast this corpus's ln BLEU-4 grows as a caption is counted once more.
    ///
    ///     ln BLEU-4 = ¼ Σₙ (ln Mₙ − ln Gₙ) + min(0, 1 − R / L),
    ///     slope     = ¼ Σₙ (mₙ / Mₙ − gₙ / Gₙ) + [R > L] · (R l / L² − r / L)
    ///
    /// for matches m, n-grams g, length l and reference length r of the caption, capitals for the corpus. Slopes along all captions of a
    /// corpus add up to 0. An order of which the corpus has no match is left out.
    func slope(along caption: BLEUCounts) -> Double {
        var slope = 0.0
        for index in 0..<4 where matches[index] > 0 {
            slope += (caption.matches[index] / matches[index] - caption.guesses[index] / guesses[index]) / 4
        }
        guard referenceLength > length, length > 0 else { return slope }
        return slope + (referenceLength / length * caption.length - caption.referenceLength) / length
    }

    /// The reference length nearest to `length`, of two the shorter.
    private static func closest(to length: Int, _ lengths: [Int]) -> Int {
        lengths.min { (abs($0 - length), $0) < (abs($1 - length), $1) } ?? 0
    }
}

/// BLEU of captions that are compared once.
enum BLEU {
    /// BLEU-1 to BLEU-4.
    static func corpus(_ samples: [NumberedSample]) -> [Double] {
        var sum = BLEUCounts()
        for sample in samples {
            sum += BLEUCounts(NGramCounts(sample.hypothesis), against: sample.references.map { NGramCounts($0) })
        }
        return sum.scores
    }
}
