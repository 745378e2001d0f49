// What a run says when it goes where runs are known to come to nothing (docs/TRAINING.md): questions from random values at a
// rate for captions, and steps from which nothing is learned.

internal import Glibc

/// Watches a run.
struct RunWarnings {
    /// The rate above which questions from random values collapse.
    private static let questionRate: Float = 0.002
    /// Steps without a gradient, one after another, that are no accident.
    private static let patience = 3
    /// A norm below which there is no gradient: rounding leaves some.
    private static let vanishing = 1e-4

    /// The loss of an adapter for which all tokens are alike.
    private let guessing: Double
    private var still = 0
    private var worst = 0.0
    private var isTold = false

    /// Warnings of a run on a model of so many tokens.
    init(vocabulary: Int) { guessing = log(Double(vocabulary)) }

    /// What is wrong with a beginning, if anything.
    static func ofBeginning(
        _ tasks: [ExampleRow.Task], initial: String?, rate: Float, weighsConsensus: Bool = false
    ) -> String? {
        if weighsConsensus, tasks.allSatisfy({ $0.caption == nil }) {
            return "--reward consensus weighs captions, and all rows are questions: each counts alike, as without it."
        }
        guard initial == nil, rate > questionRate, tasks.allSatisfy({ $0.caption == nil }) else { return nil }
        return
            "all rows are questions, the run begins with random values, and --learning-rate is \(rate): at such rates every "
            + "answer becomes the same. Questions take --learning-rate 0.001 and --projector-rate 0.001, or an adapter to "
            + "begin with (--initial)."
    }

    /// What is wrong after a step, if anything; it is said once.
    ///
    /// A reward that all captions of a step share has no gradient either, but no such loss.
    mutating func after(_ result: StepResult) -> String? {
        guard result.gradientNorm < Self.vanishing else {
            still = 0
            worst = 0
            return nil
        }
        still += 1
        worst = max(worst, result.loss)
        guard still >= Self.patience, worst >= 0.99 * guessing, !isTold else { return nil }
        isTold = true
        return
            "there is no gradient any more, and the loss is that of guessing: nothing is learned. Begin again with a lower "
            + "--learning-rate, --lambda or --scale and another --out."
    }
}
