// What the adapter answers at this moment: a few validation rows, through serving's own answerer.

internal import Diagnostics
internal import MemVP
internal import Specification
internal import Tensor

/// Answers rows with an adapter in training.
struct SampleWriter {
    /// The adapter's name in the answerer, in place of the bundle's own.
    private static let name = "in-training"

    let bundle: ModelBundle
    let compute: Compute

    /// One record a row that could be answered: photo, prompt, answer, reference.
    ///
    /// - Throws: `model_invalid` when a parameter is not a number.
    func answers(_ adapter: TrainableAdapter, _ rows: [ExampleRow], step: Int) throws(Failure) -> [TrainingRecord] {
        let present = try Adapter(adapter.configuration, tensors: adapter.tensors, precision: bundle.precision)
        let answerer = try Answerer(
            bundle: bundle, compute: compute, batch: rows.count, additional: [Self.name: present])
        let photos = rows.map { PhotoTasks(image: $0.image, tasks: [Self.task($0.task)]) }
        let outcomes = BatchedAnswers(answerer: answerer).run(photos) { _ in }
        return zip(rows, outcomes).compactMap { row, outcome in
            guard case .success(let answer)? = outcome.first else { return nil }
            var record = TrainingRecord("sample", step: step)
            record.image = row.imageName
            record.answer = answer.text
            switch row.task {
            case .caption(let caption): (record.prompt, record.reference) = ("caption", caption)
            case .question(let question, let reference): (record.prompt, record.reference) = (question, reference)
            }
            return record
        }
    }

    private static func task(_ task: ExampleRow.Task) -> TaskSpec.Task {
        switch task {
        case .caption: TaskSpec.Task(id: "caption", adapter: name, work: .caption(.caption))
        case .question(let question, _):
            TaskSpec.Task(id: "ask", adapter: name, work: .ask(question: question, answer: .free(.answer)))
        }
    }
}
