// `memvp caption` and `memvp ask`.

internal import ArgumentParser
internal import Diagnostics
internal import MemVP
internal import Specification

/// What caption and ask have in common: photos in, records out.
struct ToolboxPhotoOptions: ParsableArguments {
    @OptionGroup var model: ToolboxModelOptions

    @Option(help: ArgumentHelp(stringLiteral: ToolboxModel.adapterHelp))
    var adapter: String?

    @Option(help: "The most tokens of an answer, 1 to 256.")
    var maxTokens: Int?

    @Flag(help: "Write one line of JSON for each photo.")
    var json = false

    @Argument(
        help: ArgumentHelp(
            "Photos; - alone reads lines of JSON {\"image\": path} from standard input.", valueName: "photo"))
    var photos: [String]

    var readsRecords: Bool { photos == ["-"] }

    func validate() throws {
        if let maxTokens, !(1...256).contains(maxTokens) {
            throw ValidationError("--max-tokens is \(maxTokens); it must be 1 to 256.")
        }
        if photos.count > 1, photos.contains("-") {
            throw ValidationError("- reads photos from standard input and stands alone.")
        }
    }

    /// Answers every photo; `task` makes a photo's task of the kind from its record, if it came with one.
    func run(_ kind: TaskKind, _ task: (ToolboxInputRecord?) -> Result<TaskSpec.Task, Failure>) throws {
        let bundle = try model.bundle()
        let answerer = try Answerer(
            bundle: bundle, compute: model.compute(), batch: 16,
            additional: ToolboxModel.additional(adapter, in: bundle))
        try answerer.requireAdapter(adapter, for: kind)
        let answering = ToolboxAnswering(answerer: answerer, window: 16)
        func tell(_ request: ToolboxRequest, _ outcome: ToolboxAnswering.Outcome) throws(Failure) {
            try report(request, outcome, kernels: answerer.kernels)
        }
        if readsRecords { return try runRecords(kind, task, through: answering, tell) }
        var rest = photos[...]
        let failure = try answering.run(
            { () throws(Failure) in rest.popFirst().map { ToolboxRequest(image: $0, task: task(nil)) } }, report: tell)
        if let failure { throw ArgumentParser.ExitCode(failure.code.exitCode.rawValue) }
    }

    /// Answers lines of standard input. What is wrong with one stands in its own line of output, which whoever reads it
    /// has; the status says only whether each had one (Spark's `pipe` drops a partition for any other).
    private func runRecords(
        _ kind: TaskKind, _ task: (ToolboxInputRecord?) -> Result<TaskSpec.Task, Failure>,
        through answering: ToolboxAnswering,
        _ tell: (ToolboxRequest, ToolboxAnswering.Outcome) throws(Failure) -> Void
    ) throws(Failure) {
        let lines = InputLines()
        var number = 0
        // A program that writes one record and waits for its answer must get it: only what is there is gathered.
        _ = try answering.run(
            { () throws(Failure) in
                guard let line = try lines.next() else { return nil }
                number += 1
                return ToolboxInputLine.read(line, number, for: kind).request(task)
            }, isReady: { lines.isReady }, report: tell)
    }

    /// An answer for people: files and models bring text that a terminal would obey.
    static func line(_ image: String, _ answer: Answer, isNamed: Bool) -> String {
        let name = isNamed ? "\(image.harmless): " : ""
        let certainty = answer.probabilities == nil ? "" : " (\(ToolboxTime.rounded(answer.confidence, 3)))"
        return "\(name)\(answer.text.harmlessLines)\(certainty)"
    }

    private func report(
        _ request: ToolboxRequest, _ outcome: ToolboxAnswering.Outcome, kernels: String
    ) throws(Failure) {
        let writesJSON = json || readsRecords
        switch outcome {
        case .success(let result) where writesJSON:
            let record = ToolboxRecord(
                image: request.image, id: request.id, answer: result.answer, kernels: kernels,
                warnings: result.warnings)
            try Output.write(record.line())
        case .success(let result):
            try Output.write(Self.line(request.image, result.answer, isNamed: photos.count > 1) + "\n")
            for warning in result.warnings {
                ToolboxTerminal.write("memvp: \(request.image): \(warning)".harmless + "\n")
            }
        case .failure(let failure):
            if writesJSON {
                try Output.write(ToolboxRecord(image: request.image, id: request.id, failure: failure).line())
            } else {
                ToolboxTerminal.complain(failure)
            }
        }
    }
}

/// `memvp caption`
struct ToolboxCaption: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "caption", abstract: "Say in a sentence what is to be seen on photos.")

    @OptionGroup var options: ToolboxPhotoOptions

    func run() throws {
        let generation = TaskSpec.Generation(
            maximumTokens: options.maxTokens ?? TaskSpec.Generation.caption.maximumTokens)
        let task = TaskSpec.Task(id: "caption", adapter: options.adapter, work: .caption(generation))
        try options.run(.caption) { _ in .success(task) }
    }
}

/// `memvp ask`
struct ToolboxAsk: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ask", abstract: "Answer a question about photos.",
        discussion: "With choices the answer is one of them, with a probability for each.")

    @OptionGroup var options: ToolboxPhotoOptions

    @Option(help: "The question; records of standard input may have their own.")
    var question: String?

    @Option(help: "2 to 64 answers to choose from, between commas.")
    var choices: String?

    @Option(help: "What is to be known for the question; needs --choices.")
    var context: String?

    @Option(help: "What the subject teaches about it; needs --choices and a format with a place for it.")
    var lecture: String?

    @Option(help: "Why the answer is right; needs --choices and a format with a place for it.")
    var solution: String?

    @Option(help: "How question and choices are put, each choice with a letter: a format such as QCM-A.")
    var format: String?

    func validate() throws {
        if let format {
            guard let known = QuestionFormat(named: format) else {
                throw ValidationError("--format \(format) is not one of memvp(1)'s formats, such as QCM-A.")
            }
            if !options.readsRecords, let missing = Self.missing(in: texts(for: nil), of: known) {
                throw ValidationError("--format \(format) needs a \(missing): give it with --\(missing).")
            }
        }
        if question == nil, !options.readsRecords { throw ValidationError("Give a --question.") }
        if let question, question.allSatisfy(\.isWhitespace) { throw ValidationError("--question is empty.") }
        if let listed = listedChoices, let fault = Self.fault(inChoices: listed) {
            throw ValidationError("--choices \(fault).")
        }
    }

    /// The choices without the spaces around them.
    private var listedChoices: [String]? {
        choices?.split(separator: ",", omittingEmptySubsequences: false).map {
            let words = $0.drop(while: \.isWhitespace)
            let end = words.lastIndex { !$0.isWhitespace }
            return end.map { String(words[...$0]) } ?? ""
        }
    }

    /// What is wrong with a list of choices.
    static func fault(inChoices choices: [String]) -> String? {
        if !(2...64).contains(choices.count) { return "needs 2 to 64 answers; there are \(choices.count)" }
        if choices.contains("") { return "has an empty answer" }
        if Set(choices).count != choices.count { return "has an answer twice" }
        return nil
    }

    /// The text that a format needs and that is not given; the prompt would have an empty place.
    static func missing(in texts: [QuestionFormat.Field: String], of format: QuestionFormat) -> String? {
        [QuestionFormat.Field.lecture, .solution].first { field in
            format.has(field) && texts[field]?.allSatisfy(\.isWhitespace) ?? true
        }?.rawValue
    }

    /// What is given beside question and choices; what a record says goes before the options.
    private func texts(for record: ToolboxInputRecord?) -> [QuestionFormat.Field: String] {
        var texts: [QuestionFormat.Field: String] = [:]
        texts[.context] = record?.context ?? context
        texts[.lecture] = record?.lecture ?? lecture
        texts[.solution] = record?.solution ?? solution
        return texts
    }

    func run() throws {
        try options.run(.ask) { record in
            do throws(Failure) { return .success(try task(for: record)) } catch { return .failure(error) }
        }
    }

    /// The task of a photo, with its record if it came with one.
    ///
    /// - Throws: `spec_invalid` naming the photo.
    func task(for record: ToolboxInputRecord?) throws(Failure) -> TaskSpec.Task {
        func refusal(_ cause: String, hint: String = "") -> Failure {
            Failure(.specInvalid, record?.image ?? "", cause, hint: hint)
        }
        guard let asked = record?.question ?? question, !asked.isEmpty else {
            throw refusal("has no question", hint: "Add \"question\".")
        }
        let given = texts(for: record)
        let name = record?.format ?? format
        guard let listed = record?.choices ?? listedChoices else {
            if let stray = given.keys.map(\.rawValue).min() ?? name.map({ _ in "format" }) {
                throw refusal("has a \(stray) and no choices", hint: "Add them.")
            }
            let generation = TaskSpec.Generation(
                maximumTokens: options.maxTokens ?? TaskSpec.Generation.answer.maximumTokens)
            return task(.ask(question: asked, answer: .free(generation)))
        }
        if let fault = Self.fault(inChoices: listed) { throw refusal("choices: \(fault)") }
        guard !given.isEmpty || name != nil else { return task(.ask(question: asked, answer: .choice(listed))) }
        let known = name.flatMap { QuestionFormat(named: $0) }
        if let name, known == nil { throw refusal("has the unknown format \(name)") }
        if let known, let missing = Self.missing(in: given, of: known) {
            throw refusal("has the format \(known.name), which needs a \(missing)", hint: "Add \"\(missing)\".")
        }
        return task(
            .problem(
                TaskSpec.Problem(
                    question: asked, context: given[.context] ?? "", lecture: given[.lecture] ?? "",
                    solution: given[.solution] ?? "", options: listed, format: known)))
    }

    private func task(_ work: TaskSpec.Work) -> TaskSpec.Task {
        TaskSpec.Task(id: "ask", adapter: options.adapter, work: work)
    }
}
