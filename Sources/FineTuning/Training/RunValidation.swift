// A validation: losses with and without images, scored answers, and a few answers to read, of what the adapter is between two
// steps.
//
// Invariant: nothing of it changes the run, and it tells what it found at its end alone. So one that is stopped or killed
// leaves no trace, and a run that goes on from its step makes it from the beginning.

internal import Diagnostics
internal import MemVP

/// Validates adapters in training.
struct RunValidation {
    /// What is validated on; none makes no validation.
    let rows: [(row: ExampleRow, example: PreparedExample)]
    let samples: SampleWriter
    let score: ValidationScore
    let drawing: AnswerDrawing

    /// The records of a validation after `step` steps, for the log.
    ///
    /// - Parameter progress: is told now and then how much of how much is done, in rows; what it throws ends the work.
    func records(
        _ adapter: TrainableAdapter, _ runner: TrainingStep, step: Int,
        progress: (_ done: Int, _ all: Int) throws(Failure) -> Void
    ) throws(Failure) -> [TrainingRecord] {
        let examples = rows.map(\.example)
        let all = 2 * examples.count + score.count
        var done = 0
        try progress(done, all)
        var record = TrainingRecord("validation", step: step)
        record.validationLoss = try runner.loss(examples) { (count) throws(Failure) in
            done += count
            try progress(done, all)
        }
        record.blindLoss = try runner.loss(examples, blind: true) { (count) throws(Failure) in
            done += count
            try progress(done, all)
        }
        let result = try score.score(adapter, drawing) { (count) throws(Failure) in
            done += count
            try progress(done, all)
        }
        (record.ciderD, record.exact) = (result.ciderD, result.exact)
        var records = [record]
        if let answer = result.onlyAnswer { records.append(Self.warning(answer, step: step)) }
        let some = Set([0, rows.count / 3, 2 * rows.count / 3]).sorted().map { rows[$0].row }
        records += try samples.answers(adapter, some, step: step)
        return records
    }

    private static func warning(_ answer: String, step: Int) -> TrainingRecord {
        var warning = TrainingRecord("warning", step: step)
        warning.note =
            "every answer is \"\(answer)\". If that stays so, the rate is too high: begin again with a tenth of the "
            + "--learning-rate, or with an adapter (--initial)."
        return warning
    }
}
