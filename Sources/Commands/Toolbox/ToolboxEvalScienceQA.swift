// `memvp eval scienceqa`: the paper's nine accuracies.
//
// Invariants: a problem that cannot be asked, its image missing or broken for instance, is named, counted as failed and in no
// accuracy; the exit code is then that of the first of them. All others are asked and counted.

internal import ArgumentParser
internal import Diagnostics
internal import FineTuning
internal import FoundationEssentials
internal import MemVP
internal import Specification
internal import Tensor

/// `memvp eval scienceqa`
struct ToolboxEvalScienceQA: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "scienceqa", abstract: "The accuracies of ScienceQA's problems.",
        discussion: """
            The files are those that ScienceQA publishes; a problem's image is DIRECTORY/SPLIT/ID/image.png. Each option's \
            letter is scored as a whole answer with its end; --generate reads the letter out of generated text instead, as \
            the published code does.
            """)

    @OptionGroup var model: ToolboxModelOptions

    @Option(help: ArgumentHelp("The problems.", valueName: "problems.json"))
    var problems: String

    @Option(help: ArgumentHelp("The ids of each split.", valueName: "pid_splits.json"))
    var splits: String

    @Option(help: ArgumentHelp("The images.", valueName: "directory"))
    var images: String

    @Option(help: ArgumentHelp("Captions of the images, which join the context.", valueName: "captions.json"))
    var captions: String?

    @Option(help: "The split.")
    var split = "test"

    @Option(help: "At most so many problems, from the first of the split on.")
    var limit: Int?

    @Option(help: ArgumentHelp(stringLiteral: ToolboxModel.adapterHelp))
    var adapter: String?

    @Option(help: "The prompt's format; by default the bundle's, or QCM-A.")
    var format: String?

    @Flag(help: "Read the letter out of generated text, instead of scoring the letters.")
    var generate = false

    @Flag(help: "Write JSON.")
    var json = false

    func validate() throws {
        if let limit, limit < 1 { throw ValidationError("--limit is \(limit); it must be at least 1.") }
        if let format, QuestionFormat(named: format) == nil {
            throw ValidationError("--format \(format) is not one of memvp(1)'s formats, such as QCM-A.")
        }
    }

    func run() throws {
        let (report, failure) = try measure()
        try Output.write(json ? ToolboxJSON.line(report) : report.text)
        if let failure { throw ArgumentParser.ExitCode(failure.code.exitCode.rawValue) }
    }

    /// Asks every problem; with the report comes the first failure among them.
    func measure() throws -> (ToolboxScienceQAReport, Failure?) {
        let set = try ScienceQAProblems(
            problems: problems, splits: splits, split: split, limit: limit, captions: captions)
        let bundle = try model.bundle()
        let format =
            self.format.flatMap { QuestionFormat(named: $0) } ?? bundle.description.templates[.ask]?.format ?? .standard
        // Lectures are long; more than a thousand tokens of them are rare.
        let answerer = try Answerer(
            bundle: bundle, compute: model.compute(), batch: 16, promptTokens: 1_536,
            additional: ToolboxModel.additional(adapter, in: bundle))
        try answerer.requireAdapter(adapter, for: .ask)
        var progress = ToolboxProgress()
        defer { progress.end() }
        var report = ToolboxScienceQAReport(
            split: split, format: format.name, method: generate ? "generated" : "letters",
            model: bundle.description.name, precision: bundle.precision.rawValue, kernels: answerer.kernels)
        var (asked, reported) = (0, 0)
        let next: () -> ToolboxRequest? = {
            guard asked < set.rows.count else { return nil }
            asked += 1
            return request(set, asked - 1, format)
        }
        let failure = try ToolboxAnswering(answerer: answerer, window: 16).run(next) { _, outcome throws(Failure) in
            let (id, problem) = set.rows[reported]
            reported += 1
            switch (outcome, problem) {
            case (.success(let result), .success(let problem)): report.count(result.answer, problem)
            case (.failure(let failure), _):
                progress.end()
                ToolboxTerminal.complain(failure)
                report.failed.append(id)
            default: break
            }
            progress.show("problems", Double(reported) / Double(set.rows.count))
        }
        return (report, failure)
    }

    private func request(_ set: ScienceQAProblems, _ index: Int, _ format: QuestionFormat) -> ToolboxRequest {
        let (id, found) = set.rows[index]
        let problem: ScienceQAProblem
        switch found {
        case .success(let good): problem = good
        case .failure(let failure): return ToolboxRequest(image: "", task: .failure(failure))
        }
        let posed = TaskSpec.Problem(
            question: problem.question, context: format.has(.context) ? set.context(of: id, problem) : "",
            lecture: format.has(.lecture) ? problem.lecture ?? "" : "",
            solution: format.has(.solution) ? problem.solution ?? "" : "", options: problem.choices, format: format,
            generatedTokens: generate ? 1 : nil)
        return ToolboxRequest(
            image: problem.hasImage ? image(of: id, problem) : "",
            task: .success(TaskSpec.Task(id: id, adapter: adapter, work: .problem(posed))), isBlind: !problem.hasImage)
    }

    /// The folder of the split, or, for subsets such as `minitest`, of the split that the problem itself names.
    private func image(of id: String, _ problem: ScienceQAProblem) -> String {
        let paths = [split, problem.split ?? split].map { "\(images)/\($0)/\(id)/image.png" }
        return paths.first { FileManager.default.fileExists(atPath: $0) } ?? paths[0]
    }
}

/// What `eval scienceqa --json` prints.
struct ToolboxScienceQAReport: Encodable {
    private(set) var accuracies = ScienceQAAccuracy()
    /// Answers in which no option's letter was found; they count as wrong.
    private(set) var unreadable = 0
    /// The ids of problems that could not be asked.
    var failed: [String] = []
    let split: String
    let format: String
    let method: String
    let model: String
    let precision: String
    let kernels: String

    init(split: String, format: String, method: String, model: String, precision: String, kernels: String) {
        self.split = split
        self.format = format
        self.method = method
        self.model = model
        self.precision = precision
        self.kernels = kernels
    }

    mutating func count(_ answer: Answer, _ problem: ScienceQAProblem) {
        if answer.letter == nil { unreadable += 1 }
        accuracies.add(problem.facts, isCorrect: answer.option == problem.answer)
    }

    private enum CodingKeys: String, CodingKey {
        case accuracy, counts, unreadable, failed, split, format, method, model, precision, kernels
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        var (accuracy, counts): ([String: Double?], [String: Int]) = ([:], [:])
        for part in ScienceQAClass.allCases {
            accuracy[part.rawValue] = .some(accuracies[part].percent.map { ToolboxTime.rounded($0, 4) })
            counts[part.rawValue] = accuracies[part].count
        }
        try container.encode(accuracy, forKey: .accuracy)
        try container.encode(counts, forKey: .counts)
        try container.encode(unreadable, forKey: .unreadable)
        try container.encode(failed, forKey: .failed)
        try container.encode(split, forKey: .split)
        try container.encode(format, forKey: .format)
        try container.encode(method, forKey: .method)
        try container.encode(model, forKey: .model)
        try container.encode(precision, forKey: .precision)
        try container.encode(kernels, forKey: .kernels)
    }

    /// Percent by class with the problems of each, for people.
    var text: String {
        let columns = ScienceQAClass.allCases.map { part in
            let percent = accuracies[part].percent.map { Self.hundredths($0) } ?? "-"
            let cells = [part.rawValue, percent, "\(accuracies[part].count)"]
            let width = cells.map(\.count).max() ?? 0
            return cells.map { String(repeating: " ", count: width - $0.count) + $0 }
        }
        var lines = (0..<3).map { row in columns.map { $0[row] }.joined(separator: "  ") }
        if unreadable > 0 { lines.append("\(unreadable) answers name no option and count as wrong") }
        if !failed.isEmpty { lines.append("\(failed.count) problems could not be asked and count nowhere") }
        lines.append("(\(split), \(format), \(method), \(precision), \(kernels))")
        return lines.joined(separator: "\n")
    }

    /// With two decimals, as the paper writes it.
    static func hundredths(_ percent: Double) -> String {
        let whole = Int((percent * 100).rounded())
        return "\(whole / 100).\(whole % 100 < 10 ? "0" : "")\(whole % 100)"
    }
}

extension Answer {
    /// The index that the letter stands for; nil without one.
    fileprivate var option: Int? {
        letter?.unicodeScalars.first.map { Int($0.value) - Int(UnicodeScalar("A").value) }
    }
}
