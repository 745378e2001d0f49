// From a task to tokens and from tokens to an answer: the bundle's templates, applied.

internal import Diagnostics
internal import Language
internal import Specification
internal import Text

/// A task in tokens, with what its answer needs.
struct TaskPlan {
    let id: String
    let kind: TaskKind
    let adapter: String
    let promptText: String
    let prompt: [Int32]
    let goal: TokenTask.Goal
    let choices: [String]
}

/// The templates of a bundle.
struct PromptBook {
    private struct Entry {
        let template: PromptTemplate
        let form: AnswerForm
    }

    private let entries: [TaskKind: Entry]
    private let tokenizer: any Tokenizer
    private let adapters: [TaskKind: String]

    /// Reads the bundle's templates.
    ///
    /// - Throws: `model_invalid` when a template or its end token does not fit.
    init(_ bundle: ModelBundle) throws(Failure) {
        tokenizer = bundle.tokenizer
        adapters = bundle.description.adapters
        var entries: [TaskKind: Entry] = [:]
        for (kind, template) in bundle.description.templates {
            guard let style = AnswerForm.Style(rawValue: template.style) else {
                throw Failure(.modelInvalid, "\(bundle.path)/model.yaml: style", "is \(template.style)")
            }
            let placeholders = kind == .ask ? ["question"] : []
            entries[kind] = Entry(
                template: try PromptTemplate(template.prompt, placeholders: placeholders),
                form: try AnswerForm(separator: template.separator, end: template.end, style: style, tokenizer))
        }
        self.entries = entries
    }

    /// The task in tokens.
    ///
    /// - Throws: `spec_invalid` when the bundle has no template or adapter for it.
    func plan(_ task: TaskSpec.Task, overrides: [TaskKind: String], seed: UInt64) throws(Failure) -> TaskPlan {
        let kind = task.work.kind
        guard let entry = entries[kind] else {
            throw Failure(
                .specInvalid, "task \(task.id)", "is a kind (\(kind.rawValue)) that this model has no template for")
        }
        guard let adapter = task.adapter ?? overrides[kind] ?? adapters[kind] else {
            throw Failure(
                .modelMissing, "task \(task.id)", "has no adapter: the model bundle names none for \(kind.rawValue)",
                hint: "Add one with `memvp convert adapter`.")
        }
        var values: [String: String] = [:]
        if case .ask(let question, _) = task.work { values["question"] = question }
        let parts = try entry.template.parts(values)
        let prompt = tokenizer.prompt(parts)
        guard !prompt.isEmpty else { throw Failure(.specInvalid, "task \(task.id)", "has an empty prompt") }
        var choices: [String] = []
        let goal: TokenTask.Goal
        switch task.work {
        case .caption(let generation), .ask(_, .free(let generation)):
            goal = .generate(
                maximumTokens: generation.maximumTokens, end: entry.form.endToken,
                sampling: Sampling(generation.sampling, contentSeed: seed))
        case .ask(_, .choice(let texts)):
            choices = texts
            goal = .choose(texts.map { entry.form.tokens($0, after: parts, tokenizer) }, end: entry.form.endToken)
        }
        return TaskPlan(
            id: task.id, kind: kind, adapter: adapter, promptText: parts.map(\.text).joined(), prompt: prompt,
            goal: goal,
            choices: choices)
    }

    /// The answer that the tokens spell.
    func answer(_ plan: TaskPlan, _ result: TokenResult) -> Answer {
        var answer = Answer(
            id: plan.id, task: plan.kind, prompt: plan.promptText, text: "", confidence: 0, probabilities: nil,
            finish: result.finish.rawValue, adapter: plan.adapter, tokens: result.tokens)
        guard plan.choices.isEmpty else {
            let probabilities = Self.softmax(result.choiceScores)
            answer.probabilities = zip(plan.choices, probabilities).map {
                ChoiceProbability(choice: $0, probability: $1)
            }
            let best = result.choiceScores.firstIndex(of: result.choiceScores.max() ?? 0) ?? 0
            answer.text = plan.choices[best]
            answer.confidence = probabilities[best]
            return answer
        }
        let text = tokenizer.decode(result.tokens)
        answer.text = entries[plan.kind]?.form.answer(in: text) ?? text
        answer.confidence = Self.geometricMean(result.logProbabilities)
        return answer
    }

    private static func softmax(_ scores: [Double]) -> [Double] {
        let largest = scores.max() ?? 0
        let weights = scores.map { exponential($0 - largest) }
        let total = weights.reduce(0, +)
        return weights.map { $0 / total }
    }

    private static func geometricMean(_ logarithms: [Float]) -> Double {
        guard !logarithms.isEmpty else { return 0 }
        return exponential(logarithms.reduce(0.0) { $0 + Double($1) } / Double(logarithms.count))
    }
}

extension Sampling {
    fileprivate init(_ specified: TaskSpec.Sampling, contentSeed: UInt64) {
        switch specified {
        case .greedy: self = .greedy
        case .random(let temperature, let topP, let seed):
            self.init(temperature: Float(temperature), topP: Float(topP), seed: seed ?? contentSeed)
        }
    }
}
