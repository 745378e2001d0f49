// Two adapters of one base on one data set: what decides whether the one may take the other's place.
//
// Invariants: both answer the same rows on the same engine, so equal adapters score equally to the bit; a score rests on at
// least one row that both could answer. Failure modes: `spec_invalid` for data that compares nothing, those of the evaluations.

public import Diagnostics
public import MemVP
public import Specification

/// A score that adapters are compared by.
public enum AdapterMetric: String, Sendable, CaseIterable {
    /// CIDEr-D of captions.
    case ciderD = "cider_d"
    /// BLEU-1 of captions.
    case bleu1 = "bleu_1"
    /// BLEU-4 of captions.
    case bleu4 = "bleu_4"
    /// ROUGE-L of captions.
    case rougeL = "rouge_l"
    /// VQA-style accuracy of answers.
    case accuracy
    /// Exact accuracy of answers.
    case exact

    /// The kind of task that it judges.
    public var kind: TaskKind {
        switch self {
        case .ciderD, .bleu1, .bleu4, .rougeL: .caption
        case .accuracy, .exact: .ask
        }
    }

    /// The scores there are: parts of 1, but for CIDEr-D, which is a likeness times 10.
    public var range: ClosedRange<Double> {
        switch self {
        case .ciderD: 0...10
        case .bleu1, .bleu4, .rougeL, .accuracy, .exact: 0...1
        }
    }
}

/// What an adapter must reach.
public struct AdapterDemand: Sendable, Equatable {
    /// The score.
    public var metric: AdapterMetric
    /// The least that the new adapter must score, whatever the present one does; nil for none.
    public var floor: Double?
    /// How much better than the present adapter it must be; 0 is no worse.
    public var margin: Double

    /// A demand.
    public init(metric: AdapterMetric, floor: Double? = nil, margin: Double = 0) {
        self.metric = metric
        self.floor = floor
        self.margin = margin
    }
}

/// How a new adapter does beside the present one.
public struct AdapterComparison: Sendable, Equatable {
    /// What both score.
    public let demand: AdapterDemand
    /// The new adapter's score.
    public let new: Double
    /// The present adapter's score; nil where there is none, or one that cannot answer.
    public let present: Double?
    /// Photos or questions that the scores rest on.
    public let count: Int

    /// Whether the demand is met.
    public var isMet: Bool {
        let isBetter = present.map { new >= $0 + demand.margin } ?? true
        return new.isFinite && isBetter && new >= demand.floor ?? -.infinity
    }

    init(demand: AdapterDemand, new: Double, present: Double?, count: Int) {
        self.demand = demand
        self.new = new
        self.present = present
        self.count = count
    }

    /// Evaluates both adapters, once for each kind of task that is judged.
    ///
    /// - Parameters:
    ///   - new: the new adapter's name in the answerer.
    ///   - present: the present adapter's name for a kind of task; nil where there is none.
    ///   - rows: captions and questions; those that no demand judges are passed over.
    ///   - broken: told the present adapter's name and why it cannot answer: it scores nothing then, and may be replaced.
    ///   - progress: called with the adapter's name and how far its evaluation is.
    /// - Returns: a comparison for each demand, and the rows that could not be used.
    /// - Throws: `spec_invalid` when no row could be answered for a demand, or for a bad row under `stop`; the failures of
    ///   the model.
    public static func run(
        _ demands: [AdapterDemand], new: String, present: (TaskKind) -> String?, rows: [ExampleRow],
        options: EvaluationOptions, answerer: Answerer, broken: (_ adapter: String, Failure) -> Void = { _, _ in },
        progress: (_ adapter: String, _ done: Int, _ total: Int) -> Void = { _, _, _ in }
    ) throws(Failure) -> (comparisons: [AdapterComparison], badRows: [BadRow]) {
        var comparisons: [AdapterComparison] = []
        var badRows: [BadRow] = []
        for kind in TaskKind.allCases {
            let judged = demands.filter { $0.metric.kind == kind }
            guard !judged.isEmpty else { continue }
            func scores(_ name: String) throws(Failure) -> Scores {
                var options = options
                options.adapter = name
                return try Scores(kind, rows, options, answerer) { progress(name, $0, $1) }
            }
            let own = try scores(new)
            var other: Scores?
            if let name = present(kind) {
                do throws(Failure) {
                    other = try scores(name)
                } catch {
                    // The new adapter has answered on this model: it is the present one that computes no number.
                    guard error.code == .modelInvalid else { throw error }
                    broken(name, error)
                }
            }
            if let other, other.count != own.count {
                let bad = [own, other].lazy.compactMap(\.badRows.first).first
                throw Failure(
                    .specInvalid, options.file,
                    "gives \(own.count) answers of the new adapter and \(other.count) of the present one: they cannot be compared",
                    hint: bad.map { "The first that could not be used is \($0)." } ?? "")
            }
            guard own.count > 1 || !judged.contains(where: { $0.metric == .ciderD }) else {
                throw Failure(
                    .specInvalid, options.file, "has one photo, on which cider_d is 0 whatever the caption",
                    hint: "It weighs words by how rare they are among photos: compare on more, or by another metric.")
            }
            badRows += own.badRows
            comparisons += judged.map { demand in
                AdapterComparison(
                    demand: demand, new: own[demand.metric], present: other?[demand.metric], count: own.count)
            }
        }
        return (comparisons, badRows)
    }
}

/// What one adapter scores in one kind of task.
private struct Scores {
    let count: Int
    let badRows: [BadRow]
    private let values: [AdapterMetric: Double]

    init(
        _ kind: TaskKind, _ rows: [ExampleRow], _ options: EvaluationOptions, _ answerer: Answerer,
        _ progress: EvaluationProgress
    ) throws(Failure) {
        switch kind {
        case .caption:
            let found = try CaptionEvaluation(rows, options: options, answerer: answerer, progress: progress)
            let scores = found.scores
            (count, badRows) = (scores.count, found.badRows)
            values = [
                .ciderD: scores.ciderD, .rougeL: scores.rougeL, .bleu1: scores.bleu.first ?? 0,
                .bleu4: scores.bleu.last ?? 0,
            ]
        case .ask:
            let found = try AnswerEvaluation(rows, options: options, answerer: answerer, progress: progress)
            (count, badRows) = (found.scores.all.count, found.badRows)
            values = [.accuracy: found.scores.all.accuracy, .exact: found.scores.all.exact]
        }
    }

    subscript(metric: AdapterMetric) -> Double { values[metric] ?? .nan }
}
