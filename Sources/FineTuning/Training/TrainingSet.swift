// Rows of data as sequences with features: what the trainer draws its batches from.

internal import Diagnostics
internal import MemVP
internal import Specification
internal import Tensor
internal import Text
internal import Vision

/// One example: a tokenised row and the photo it belongs to.
struct PreparedExample {
    /// Prompt, answer and end token.
    let tokens: [Int32]
    /// How many of them are the prompt.
    let promptCount: Int
    /// The photo's key in its source: SHA-256 of the photo or of a view of it.
    var photo: String
    /// The keys of all views that the example is true of, the whole first; empty for the whole alone.
    var views: [String] = []
    /// Whether the sequence has no image: V = 0, and E₁ and E₂ stay.
    var isBlind = false
    /// What its part in the loss is multiplied by; below 0 it is made less likely.
    var advantage: Float = 1

    /// The sequence to learn from, each target with the same weight.
    func sequence(weight: Float) -> TrainingSequence {
        TrainingSequence(
            input: Array(tokens.dropLast()),
            targets: (promptCount..<tokens.count).map { ($0 - 1, tokens[$0]) }, weight: weight * advantage)
    }

    /// The example with one of its views.
    func seen(_ random: inout TrainingRandom) -> PreparedExample {
        guard views.count > 1 else { return self }
        var example = self
        example.photo = views[Int(random.next() % UInt64(views.count))]
        return example
    }

    /// Tokens that are predicted.
    var targetCount: Int { tokens.count - promptCount }
}

/// Turns rows into examples.
struct ExampleBuilder {
    private let bundle: ModelBundle
    private let templates: [TaskKind: TaskTemplate]

    /// Reads the bundle's templates.
    ///
    /// - Throws: `model_invalid` for a template that cannot be used.
    init(_ bundle: ModelBundle) throws(Failure) {
        self.bundle = bundle
        templates = try bundle.taskTemplates()
    }

    /// The row in tokens.
    ///
    /// - Throws: `model_missing` when the bundle has no template for such a row.
    func example(_ row: ExampleRow, photo: String, views: [String] = []) throws(Failure) -> PreparedExample {
        let (prompt, answer, form) = try parts(row.task)
        let example = form.example(answer, after: prompt, bundle.tokenizer)
        return PreparedExample(tokens: example.tokens, promptCount: example.promptCount, photo: photo, views: views)
    }

    private func parts(_ task: ExampleRow.Task) throws(Failure) -> ([TextPart], String, AnswerForm) {
        let kind: TaskKind
        let answer: String
        var values: [String: String] = [:]
        switch task {
        case .caption(let caption): (kind, answer) = (.caption, caption)
        case .question(let question, let text):
            (kind, answer) = (.ask, text)
            values["question"] = question
        }
        guard let entry = templates[kind] else {
            throw Failure(
                .modelMissing, bundle.path, "has no template for \(kind.rawValue)", hint: "Convert the model again.")
        }
        return (try entry.prompt.parts(values), answer, entry.form)
    }
}
