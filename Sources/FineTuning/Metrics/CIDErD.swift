// CIDEr-D (Vedantam, Zitnick and Parikh, arXiv 1411.5726): the likeness of TF-IDF vectors of 1- to 4-grams, clipped, with
// a Gaussian penalty on lengths, times 10.
//
// As in pycocoevalcap the length that the penalty compares is the number of 2-grams, and with one photo alone every
// weight is ln(1/1) = 0, and so is the score.

internal import Glibc

/// Scores captions by what sets a photo's references apart from those of other photos.
struct CIDErD {
    private static let sigma = 6.0

    /// Photos that have the n-gram in a reference.
    private let frequencies: [NGram: Int]
    /// ln of the number of photos.
    private let documents: Double

    /// A sentence as TF-IDF weights.
    private struct Vector {
        let counts: NGramCounts
        let weights: [Double]  // [n-grams of the sentence]
        let norms: [Double]  // [4], by order
        let length: Int
    }

    /// Document frequencies from the references of each photo.
    init(references: [[NGramCounts]]) {
        var frequencies: [NGram: Int] = [:]
        for counted in references {
            for gram in Set(counted.flatMap(\.grams)) { frequencies[gram, default: 0] += 1 }
        }
        self.frequencies = frequencies
        documents = log(Double(max(1, references.count)))
    }

    /// The score of each caption; document frequencies come from all references.
    static func scores(_ samples: [NumberedSample]) -> [Double] {
        let references = samples.map { $0.references.map { NGramCounts($0) } }
        let metric = CIDErD(references: references)
        return zip(samples, references).map { metric.score(NGramCounts($0.hypothesis), against: $1) }
    }

    /// The score of a caption against a photo's references.
    func score(_ caption: NGramCounts, against references: [NGramCounts]) -> Double {
        guard !references.isEmpty else { return 0 }
        let hypothesis = vector(caption)
        let sum = references.reduce(0.0) { $0 + Self.likeness(hypothesis, vector($1)) }
        return 10 * sum / 4 / Double(references.count)
    }

    private func vector(_ counts: NGramCounts) -> Vector {
        var norms = [0.0, 0, 0, 0]
        var length = 0
        var weights: [Double] = []
        for (gram, count) in zip(counts.grams, counts.counts) {
            let weight = Double(count) * (documents - log(Double(max(1, frequencies[gram] ?? 0))))
            weights.append(weight)
            norms[gram.order - 1] += weight * weight
            if gram.order == 2 { length += count }
        }
        return Vector(counts: counts, weights: weights, norms: norms.map { $0.squareRoot() }, length: length)
    }

    /// Σ over orders of the clipped cosine, times the penalty on the difference of lengths.
    private static func likeness(_ hypothesis: Vector, _ reference: Vector) -> Double {
        var products = [0.0, 0, 0, 0]
        for (gram, weight) in zip(hypothesis.counts.grams, hypothesis.weights) {
            guard let place = reference.counts.place(of: gram) else { continue }
            products[gram.order - 1] += min(weight, reference.weights[place]) * reference.weights[place]
        }
        var sum = 0.0
        for order in 0..<4 {
            let norm = hypothesis.norms[order] * reference.norms[order]
            if norm > 0 { sum += products[order] / norm }
        }
        let difference = Double(hypothesis.length - reference.length)
        return sum * exp(-(difference * difference) / (2 * sigma * sigma))
    }
}
