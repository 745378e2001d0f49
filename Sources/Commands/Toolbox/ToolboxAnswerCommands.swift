// `memvp caption` and `memvp ask`.

internal import ArgumentParser
internal import Diagnostics
internal import FoundationEssentials
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

    /// Answers every photo; `task` makes a photo's task from its record, if it came with one.
    func run(_ task: (ToolboxInputRecord?) -> Result<TaskSpec.Task, Failure>) throws {
        let bundle = try model.bundle()
        let answerer = try Answerer(
            bundle: bundle, compute: model.compute(), batch: 16,
            additional: ToolboxModel.additional(adapter, in: bundle))
        // A program that writes one record and waits for its answer must get it, so records are not gathered.
        let answering = ToolboxAnswering(answerer: answerer, window: readsRecords ? 1 : 16)
        var rest = photos[...]
        let next: () -> ToolboxRequest? = {
            if readsRecords { return ToolboxInputRecord.next().map { $0.request(task) } }
            return rest.popFirst().map { ToolboxRequest(image: $0, task: task(nil)) }
        }
        let failure = try answering.run(next) { request, outcome throws(Failure) in
            try report(request, outcome, kernels: answerer.kernels)
        }
        if let failure { throw ArgumentParser.ExitCode(failure.code.exitCode.rawValue) }
    }

    private func report(
        _ request: ToolboxRequest, _ outcome: ToolboxAnswering.Outcome, kernels: String
    ) throws(Failure) {
        let writesJSON = json || readsRecords
        switch outcome {
        case .success(let result) where writesJSON:
            let record = ToolboxRecord(
                image: request.image, answer: result.answer, kernels: kernels, warnings: result.warnings)
            try Output.write(ToolboxJSON.line(record))
        case .success(let result):
            let name = photos.count > 1 ? "\(request.image): " : ""
            let certainty =
                result.answer.probabilities == nil ? "" : " (\(ToolboxTime.rounded(result.answer.confidence, 3)))"
            try Output.write("\(name)\(result.answer.text)\(certainty)\n")
            for warning in result.warnings { ToolboxTerminal.write("memvp: \(request.image): \(warning)\n") }
        case .failure(let failure):
            if writesJSON {
                let record = ToolboxRecord(image: request.image, failure: failure)
                try Output.write(ToolboxJSON.line(record))
            } else {
                ToolboxTerminal.complain(failure)
            }
        }
    }
}

/// A line of standard input: `image`, and for questions `question` and `choices`.
struct ToolboxInputRecord: Decodable {
    var image: String
    var question: String?
    var choices: [String]?
    var context: String?
    var format: String?

    /// The next line that is not blank, read or refused; nil at the end.
    static func next() -> Result<ToolboxInputRecord, Failure>? {
        while let line = readLine() {
            if line.allSatisfy(\.isWhitespace) { continue }
            return parse(line)
        }
        return nil
    }

    /// Reads one line.
    static func parse(_ line: String) -> Result<ToolboxInputRecord, Failure> {
        guard let record = try? JSONDecoder().decode(ToolboxInputRecord.self, from: Data(line.utf8)) else {
            return .failure(
                Failure(
                    .specInvalid, "standard input", "has a line that is no record",
                    hint: "Write one JSON object a line: {\"image\": \"photo.jpg\"}."))
        }
        return .success(record)
    }
}

extension Result where Success == ToolboxInputRecord, Failure == Diagnostics.Failure {
    /// The record's request; a line that could not be read keeps its place in the order.
    fileprivate func request(
        _ task: (ToolboxInputRecord?) -> Result<TaskSpec.Task, Failure>
    ) -> ToolboxRequest {
        switch self {
        case .success(let record): ToolboxRequest(image: record.image, task: task(record))
        case .failure(let failure): ToolboxRequest(image: "", task: .failure(failure))
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
        try options.run { _ in .success(task) }
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

    @Option(help: "How question and choices are put, each choice with a letter: a format such as QCM-A.")
    var format: String?

    func validate() throws {
        if let format, QuestionFormat(named: format) == nil {
            throw ValidationError("--format \(format) is not one of memvp(1)'s formats, such as QCM-A.")
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

    func run() throws {
        let listed = listedChoices
        try options.run { record in
            guard let asked = record?.question ?? question, !asked.isEmpty else {
                return .failure(
                    Failure(.specInvalid, record?.image ?? "", "has no question", hint: "Add \"question\"."))
            }
            let context = record?.context ?? context
            let format = record?.format ?? format
            guard let choices = record?.choices ?? listed else {
                if let stray = context.map({ _ in "context" }) ?? format.map({ _ in "format" }) {
                    return .failure(
                        Failure(.specInvalid, record?.image ?? "", "has a \(stray) and no choices", hint: "Add them."))
                }
                let generation = TaskSpec.Generation(
                    maximumTokens: options.maxTokens ?? TaskSpec.Generation.answer.maximumTokens)
                return .success(task(asked, .free(generation)))
            }
            if let fault = Self.fault(inChoices: choices) {
                return .failure(Failure(.specInvalid, record?.image ?? "", "choices: \(fault)"))
            }
            guard context != nil || format != nil else { return .success(task(asked, .choice(choices))) }
            let known = format.flatMap { QuestionFormat(named: $0) }
            if let format, known == nil {
                return .failure(Failure(.specInvalid, record?.image ?? "", "has the unknown format \(format)"))
            }
            let problem = TaskSpec.Problem(question: asked, context: context ?? "", options: choices, format: known)
            return .success(TaskSpec.Task(id: "ask", adapter: options.adapter, work: .problem(problem)))
        }
    }

    private func task(_ question: String, _ answer: TaskSpec.Answer) -> TaskSpec.Task {
        TaskSpec.Task(id: "ask", adapter: options.adapter, work: .ask(question: question, answer: answer))
    }
}
