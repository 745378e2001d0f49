// Answers every question of a data set and scores the answers.

public import Diagnostics
public import MemVP
internal import Specification

/// Given answers with their scores.
public struct AnswerEvaluation: Sendable {
    /// A question with what was answered.
    public struct Question: Sendable, Equatable {
        /// The photo's path.
        public var image: String
        /// Its path as the data has it.
        public var imageName: String
        /// The question.
        public var question: String
        /// What the model said.
        public var given: String
        /// What is right.
        public var expected: String
        /// VQA-style accuracy, 0 to 1.
        public var accuracy: Double
        /// The type of question.
        public var type: String
    }

    /// Accuracy, as a whole and by type, beside the majority answer's.
    public let scores: AnswerScores
    /// The questions, in the order of the data.
    public let questions: [Question]
    /// Rows that could not be evaluated.
    public let badRows: [BadRow]

    /// Questions that were answered and scored elsewhere.
    init(scores: AnswerScores, questions: [Question], badRows: [BadRow]) {
        self.scores = scores
        self.questions = questions
        self.badRows = badRows
    }

    /// Answers the questions of `rows`; captions among the rows are passed over.
    ///
    /// - Parameter training: the rows that the majority answers come from; none takes them from `rows`.
    /// - Throws: `model_missing` for an adapter that is not there, before a photo is opened; `spec_invalid` when there
    ///   is no question or none that could be answered, or for a bad row under `stop`.
    public init(
        _ rows: [ExampleRow], training: [ExampleRow] = [], options: EvaluationOptions, answerer: Answerer,
        progress: EvaluationProgress = { _, _ in }
    ) throws(Failure) {
        let asked = rows.compactMap { row -> Asked? in Asked(row) }
        guard !asked.isEmpty else { throw Failure(.specInvalid, options.file, "has no question") }
        try answerer.requireAdapter(options.adapter, for: .ask)
        let outcomes = Self.outcomes(asked, options, answerer, progress)
        var samples: [AnswerSample] = []
        var found: [Question] = []
        var bad: [BadRow] = []
        for (asked, outcome) in zip(asked, outcomes) {
            switch outcome {
            case .success(let answer):
                let sample = AnswerSample(
                    given: answer.text, expected: asked.answer, answers: asked.row.answers, type: asked.type)
                samples.append(sample)
                found.append(asked.answered(sample))
            case .failure(let failure): bad.append(try options.bad(asked.row, failure))
            }
        }
        guard !samples.isEmpty else { throw options.nothing(bad) }
        scores = AnswerScores(
            samples, training: training.compactMap { Asked($0) }.map { (type: $0.type, answer: $0.answer) })
        questions = found
        badRows = bad
    }

    /// What came of each question, in their order. Those of a photo are put together, however the data has them.
    private static func outcomes(
        _ asked: [Asked], _ options: EvaluationOptions, _ answerer: Answerer, _ progress: EvaluationProgress
    ) -> [BatchedAnswers.Outcome] {
        // Blind, a question has one answer whatever the photo.
        let groups = asked.indices.grouped { options.isBlind ? asked[$0].question : asked[$0].row.image }
        let photos = groups.map { group in
            PhotoTasks(
                image: options.isBlind ? nil : asked[group[0]].row.image,
                tasks: (options.isBlind ? [group[0]] : group).map { index in
                    TaskSpec.Task(
                        id: "ask", adapter: options.adapter,
                        work: .ask(question: asked[index].question, answer: .free(.answer)))
                })
        }
        let found = BatchedAnswers(answerer: answerer).run(photos) { progress($0, photos.count) }
        var outcomes: [(index: Int, outcome: BatchedAnswers.Outcome)] = []
        for (group, results) in zip(groups, found) {
            for (place, index) in group.enumerated() {
                outcomes.append((index, results[options.isBlind ? 0 : place]))
            }
        }
        return outcomes.sorted { $0.index < $1.index }.map(\.outcome)
    }
}

/// A row that asks something.
private struct Asked {
    let row: ExampleRow
    let question: String
    let answer: String
    let type: String

    init?(_ row: ExampleRow) {
        guard case .question(let question, let answer) = row.task else { return nil }
        self.row = row
        self.question = question
        self.answer = answer
        type = row.kind ?? AnswerScores.type(of: answer)
    }

    func answered(_ sample: AnswerSample) -> AnswerEvaluation.Question {
        AnswerEvaluation.Question(
            image: row.image, imageName: row.imageName, question: question, given: sample.given,
            expected: answer, accuracy: AnswerScores.agreement(sample.given, with: sample.answers), type: type)
    }
}
