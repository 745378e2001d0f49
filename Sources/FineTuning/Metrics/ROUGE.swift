// ROUGE-L (Lin, 2004): the longest common subsequence of caption and reference.

/// An F measure, β = 1.2, of the best recall and the best precision over the references.
enum ROUGE {
    private static let beta = 1.2

    /// The mean over the samples.
    static func mean(_ samples: [NumberedSample]) -> Double {
        samples.isEmpty ? 0 : samples.reduce(0) { $0 + score($1) } / Double(samples.count)
    }

    /// The score of one caption.
    static func score(_ sample: NumberedSample) -> Double {
        var precision = 0.0
        var recall = 0.0
        for reference in sample.references where !reference.isEmpty && !sample.hypothesis.isEmpty {
            let common = Double(commonSubsequence(sample.hypothesis, reference))
            precision = max(precision, common / Double(sample.hypothesis.count))
            recall = max(recall, common / Double(reference.count))
        }
        guard precision > 0, recall > 0 else { return 0 }
        return (1 + beta * beta) * precision * recall / (recall + beta * beta * precision)
    }

    /// The length of the longest common subsequence.
    static func commonSubsequence(_ a: [Int32], _ b: [Int32]) -> Int {
        var row = [Int](repeating: 0, count: b.count + 1)
        for word in a {
            var diagonal = 0
            for index in b.indices {
                let above = row[index + 1]
                row[index + 1] = b[index] == word ? diagonal + 1 : max(above, row[index])
                diagonal = above
            }
        }
        return row[b.count]
    }
}
