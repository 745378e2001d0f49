// How much of what is said of a photo each of its captions says: its CIDEr-D against the photo's other captions (Phan et al., arXiv
// 1712.09532). Learning captions by that weight leads to what most people would say, and away from what one of them did.
//
//     L = Σ_i w_i · −ln p(c_i),    w_i = r(c_i) / mean of r, r its CIDEr-D against the others

internal import Diagnostics

/// Weights of captions by what they have in common with others of their photo.
enum CaptionConsensus {
    /// The weight of each row, 1 in the mean; 1 for a question and for a photo's only caption.
    static func weights(_ rows: [(photo: String, task: ExampleRow.Task)]) -> [Float] {
        var words = WordNumbers()
        var captions: [(row: Int, photo: String, grams: NGramCounts)] = []
        for (row, entry) in rows.enumerated() {
            guard let text = entry.task.caption else { continue }
            captions.append((row, entry.photo, NGramCounts(words.number(CaptionTokens.words(text)))))
        }
        let groups = captions.grouped { $0.photo }
        let metric = CIDErD(references: groups.map { $0.map(\.grams) })
        var scores: [(row: Int, score: Double)] = []
        for group in groups where group.count > 1 {
            for (index, caption) in group.enumerated() {
                let others = group.indices.filter { $0 != index }.map { group[$0].grams }
                scores.append((caption.row, metric.score(caption.grams, against: others)))
            }
        }
        let mean = scores.reduce(0) { $0 + $1.score } / Double(max(1, scores.count))
        var weights = [Float](repeating: 1, count: rows.count)
        // Where no caption has anything in common with another, nothing tells them apart.
        if mean > 0 { for (row, score) in scores { weights[row] = Float(score / mean) } }
        return weights
    }
}
