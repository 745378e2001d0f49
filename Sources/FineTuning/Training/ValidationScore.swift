// What the adapter in training answers to validation rows, scored as `memvp eval` does: a loss falls long before or after answers
// get better. Greedy, from stored features.

internal import Diagnostics
internal import Language
internal import MemVP
internal import Text

/// Validation rows as requests, with what their answers are held against.
struct ValidationScore {
    private let tokenizer: any Tokenizer
    private let captions: [(request: DrawingRequest, references: [String])]
    private let questions: [(request: DrawingRequest, expected: String)]

    /// All of `rows`; captions of one photo count together.
    init(bundle: ModelBundle, rows: [(row: ExampleRow, example: PreparedExample)]) {
        tokenizer = bundle.tokenizer
        var captions: [(example: PreparedExample, text: String)] = []
        var questions: [(request: DrawingRequest, expected: String)] = []
        for (row, example) in rows {
            switch row.task {
            case .caption(let text): captions.append((example, text))
            case .question(_, let answer): questions.append((Self.request(example), answer))
            }
        }
        self.captions = captions.grouped { $0.example.photo }.map { group in
            (Self.request(group[0].example), group.map(\.text))
        }
        self.questions = questions
    }

    private static func request(_ example: PreparedExample) -> DrawingRequest {
        DrawingRequest(
            photo: example.photo, prompt: Array(example.tokens.prefix(example.promptCount)),
            end: example.tokens.last ?? 0, samplings: [.greedy])
    }

    /// How the adapter's answers score.
    struct Result {
        /// CIDEr-D of captions; nil without captions.
        let ciderD: Double?
        /// The part of questions answered exactly; nil without questions.
        let exact: Double?
        /// What every answer is, where the rows' own differ: the adapter then looks at no photo and reads no question.
        let onlyAnswer: String?
    }

    /// How many answers that takes.
    var count: Int { captions.count + questions.count }

    /// Answers every row.
    ///
    /// - Parameter after: is told how many more are answered; what it throws ends the work.
    func score(
        _ adapter: TrainableAdapter, _ drawing: AnswerDrawing, after: (Int) throws(Failure) -> Void
    ) throws(Failure) -> Result {
        let captioned = try answers(captions.map(\.request), adapter, drawing, after)
        let answered = try answers(questions.map(\.request), adapter, drawing, after)
        let samples = zip(captions, captioned).map { CaptionSample(caption: $1, references: $0.references) }
        let right = zip(questions, answered).count {
            AnswerScores.normalised($0.expected) == AnswerScores.normalised($1)
        }
        return Result(
            ciderD: samples.isEmpty ? nil : CaptionScores(samples).ciderD,
            exact: questions.isEmpty ? nil : Double(right) / Double(questions.count),
            onlyAnswer: Self.onlyAnswer(
                among: captioned + answered, to: captions.compactMap(\.references.first) + questions.map(\.expected)))
    }

    /// What all answers are, where they are alike and what was expected is not.
    static func onlyAnswer(among answers: [String], to expected: [String]) -> String? {
        Set(answers).count == 1 && Set(expected).count > 1 ? answers.first : nil
    }

    private func answers(
        _ requests: [DrawingRequest], _ adapter: TrainableAdapter, _ drawing: AnswerDrawing,
        _ after: (Int) throws(Failure) -> Void
    ) throws(Failure) -> [String] {
        let results = try drawing.answers(requests, of: adapter, after: after)
        return results.map { tokenizer.decode($0.first?.tokens ?? []) }
    }
}
