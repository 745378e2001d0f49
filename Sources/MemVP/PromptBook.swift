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
    /// Whether the choices have letters.
    var isLettered = false
    /// The question that is asked again with the explanation that the model gave first; nil for all else.
    var explained: QuestionPrompt?
}

/// The templates of a bundle.
struct PromptBook {
    private let entries: [TaskKind: TaskTemplate]
    private let tokenizer: any Tokenizer
    private let adapters: [TaskKind: String]
    private let explanationTokens: Int

    /// Reads the bundle's templates.
    ///
    /// - Parameter answerTokens: what the engine has room for after a prompt.
    /// - Throws: `model_invalid` when a template or its end token does not fit.
    init(_ bundle: ModelBundle, answerTokens: Int) throws(Failure) {
        // An explanation leaves room for "The answer is A."
        explanationTokens = max(1, answerTokens - 16)
        tokenizer = bundle.tokenizer
        adapters = bundle.description.adapters
        entries = try bundle.taskTemplates()
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
                .specInvalid, "task \(task.id)", "has no adapter: the model bundle names none for \(kind.rawValue)",
                hint: "Add one with `memvp convert adapter`.")
        }
        if let (problem, format) = try problem(task, entry) {
            return plan(problem, in: format, task: task, adapter: adapter, end: entry.form.endToken)
        }
        var values: [String: String] = [:]
        if case .ask(let question, _) = task.work { values["question"] = question }
        let parts = try entry.prompt.parts(values)
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
        case .problem: throw Self.withoutFormat(task)
        }
        return TaskPlan(
            id: task.id, kind: kind, adapter: adapter, promptText: parts.map(\.text).joined(), prompt: prompt,
            goal: goal,
            choices: choices)
    }

    // MARK: Questions with lettered options

    /// The problem that a task poses, and its format; nil for tasks without letters.
    private func problem(
        _ task: TaskSpec.Task, _ entry: TaskTemplate
    ) throws(Failure) -> (TaskSpec.Problem, QuestionFormat)? {
        let posed: TaskSpec.Problem
        switch task.work {
        case .ask(let question, .choice(let options)): posed = TaskSpec.Problem(question: question, options: options)
        case .problem(let problem): posed = problem
        default: return nil
        }
        guard let format = posed.format ?? entry.format else {
            if case .problem = task.work { throw Self.withoutFormat(task) }
            return nil
        }
        guard (1...QuestionPrompt.maximumOptions).contains(posed.options.count) else {
            throw Failure(
                .specInvalid, "task \(task.id)",
                "has \(posed.options.count) choices; there are letters for \(QuestionPrompt.maximumOptions)")
        }
        let texts: [(QuestionFormat.Field, String)] = [
            (.context, posed.context), (.lecture, posed.lecture), (.solution, posed.solution),
        ]
        if let stray = texts.first(where: { !$0.1.isEmpty && !format.has($0.0) })?.0 {
            throw Failure(
                .specInvalid, "task \(task.id)", "has a \(stray.rawValue), for which \(format.name) has no place")
        }
        return (posed, format)
    }

    private static func withoutFormat(_ task: TaskSpec.Task) -> Failure {
        Failure(
            .specInvalid, "task \(task.id)",
            "has options with letters, for which this model's template names no format",
            hint: "Name one: `format: \(QuestionFormat.standard.name)`.")
    }

    private func plan(
        _ problem: TaskSpec.Problem, in format: QuestionFormat, task: TaskSpec.Task, adapter: String, end: Int32
    ) -> TaskPlan {
        let prompt = QuestionPrompt(problem, format: format)
        let goal: TokenTask.Goal
        if let tokens = problem.generatedTokens {
            goal = .generate(
                maximumTokens: prompt.explainsFirst ? explanationTokens : tokens, end: end, sampling: .greedy)
        } else if prompt.explainsFirst {
            goal = .generate(maximumTokens: explanationTokens, end: end, sampling: .greedy)
        } else {
            goal = letters(of: prompt, after: prompt.text, end: end)
        }
        return TaskPlan(
            id: task.id, kind: .ask, adapter: adapter, promptText: prompt.text,
            prompt: tokenizer.prompt([.value(prompt.text)]), goal: goal, choices: problem.options, isLettered: true,
            explained: prompt.explainsFirst && problem.generatedTokens == nil ? prompt : nil)
    }

    /// The letters as choices after a prompt that ends in "The answer is".
    private func letters(of prompt: QuestionPrompt, after text: String, end: Int32) -> TokenTask.Goal {
        var choices = prompt.answers.map { tokenizer.encode([.value($0)], after: [.value(text)]) }
        // What goes on after the letter ends, for all alike, in a token of its own instead of the end token.
        if prompt.goesOn, let last = choices.first?.last, choices.allSatisfy({ $0.count > 1 && $0.last == last }) {
            choices = choices.map { Array($0.dropLast()) }
            return .choose(choices, end: last)
        }
        return .choose(choices, end: end)
    }

    /// The second half of a task whose explanation has been generated: the letters after it. Nil for all other tasks.
    func continuation(_ plan: TaskPlan, _ result: TokenResult) -> TaskPlan? {
        guard let question = plan.explained, let entry = entries[plan.kind] else { return nil }
        let text = question.continued(tokenizer.decode(result.tokens))
        return TaskPlan(
            id: plan.id, kind: plan.kind, adapter: plan.adapter, promptText: text,
            prompt: tokenizer.prompt([.value(text)]),
            goal: letters(of: question, after: text, end: entry.form.endToken), choices: plan.choices, isLettered: true)
    }

    // MARK: Answers

    /// The answer that the tokens spell.
    func answer(_ plan: TaskPlan, _ result: TokenResult) -> Answer {
        var answer = Answer(
            id: plan.id, task: plan.kind, prompt: plan.promptText, text: "", confidence: 0, probabilities: nil,
            finish: result.finish.rawValue, adapter: plan.adapter, tokens: result.tokens)
        if plan.isLettered, result.choiceScores.isEmpty {
            answer.text = tokenizer.decode(result.tokens)
            answer.confidence = Self.geometricMean(result.logProbabilities)
            guard let option = QuestionPrompt.option(in: answer.text, of: plan.choices.count) else { return answer }
            answer.text = plan.choices[option]
            answer.letter = QuestionPrompt.letters(plan.choices.count)[option]
            return answer
        }
        guard plan.choices.isEmpty else {
            let probabilities = Self.softmax(result.choiceScores)
            answer.probabilities = zip(plan.choices, probabilities).map {
                ChoiceProbability(choice: $0, probability: $1)
            }
            let best = result.choiceScores.firstIndex(of: result.choiceScores.max() ?? 0) ?? 0
            answer.text = plan.choices[best]
            answer.letter = plan.isLettered ? QuestionPrompt.letters(plan.choices.count)[best] : nil
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
