// `memvp eval captions` and `memvp eval vqa`: how good an adapter is on a data set, and how much of it is the photo.

public import ArgumentParser
internal import Diagnostics
public import FineTuning
internal import MemVP
internal import Specification
internal import Tensor

/// What the evaluations of captions and of answers have in common.
struct ToolboxEvalOptions: ParsableArguments {
    @OptionGroup var model: ToolboxModelOptions

    @Option(help: ArgumentHelp("The rows, in JSON Lines.", valueName: "file.jsonl"))
    var data: String

    @Option(help: "Rows of this split only; 'all' for every row, as without.")
    var split: String?

    @Option(help: ArgumentHelp(stringLiteral: ToolboxModel.adapterHelp))
    var adapter: String?

    @Flag(help: "No image: the memory is E₁ and E₂ alone.")
    var noImage = false

    @Option(help: "What happens at a row that cannot be used: skip or stop.")
    var onBadRow = BadRowPolicy.skip

    @Flag(help: "Write JSON.")
    var json = false

    @Option(
        help: ArgumentHelp(
            "Also write what was said of each photo, with what is right and its score.", valueName: "file.jsonl"))
    var answers: String?

    /// Whether `--answers` can be written, before the work on `rows`.
    func checkAnswers(_ rows: [ExampleRow]) throws(Failure) {
        guard let answers else { return }
        let inputs = [data] + [ToolboxModel.file(of: adapter)].compactMap { $0 } + Set(rows.map(\.image)).sorted()
        try ToolboxOutput.check(answers, of: "--answers", reading: inputs, bundle: model.model)
    }

    /// The rows of the split, bad ones named and counted.
    func rows(_ bad: inout Int) throws(Failure) -> [ExampleRow] {
        var count = 0
        let rows = try ExampleRows.read(path: data, splits: ExampleRows.splits(split), badRows: onBadRow) { row in
            count += 1
            Self.name(row)
        }
        bad += count
        return rows
    }

    /// What a command ends with whose data has rows, but none that it evaluates.
    static func none(of kind: String, in data: String, others: String) -> Failure {
        Failure(.specInvalid, data, "has no \(kind)", hint: "The rows that were read are \(others).")
    }

    /// Writes a bad row to standard error.
    static func name(_ row: BadRow) { ToolboxTerminal.write("memvp: \(row) (left out)\n") }

    /// A worker on the bundle, which has the adapter.
    func answerer(for kind: TaskKind) throws(Failure) -> Answerer {
        let bundle = try model.bundle()
        let additional = try ToolboxModel.additional(adapter, in: bundle)
        if additional.isEmpty { _ = try ToolboxModel.adapter(adapter, for: kind, in: bundle) }
        return try Answerer(bundle: bundle, compute: model.compute(), batch: 32, additional: additional)
    }

    /// How the rows are evaluated.
    var evaluation: EvaluationOptions {
        EvaluationOptions(adapter: adapter, isBlind: noImage, badRows: onBadRow, file: data)
    }

    /// `blind` or `with images`, for people.
    var sight: String { noImage ? "blind" : "with images" }
}

extension BadRowPolicy: ExpressibleByArgument {}

/// `memvp eval captions`
struct ToolboxEvalCaptions: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "captions", abstract: "BLEU, ROUGE-L and CIDEr-D of captions.",
        discussion: """
            All rows of one photo are its references; words are runs of [a-z0-9'] after lower-casing; document \
            frequencies come from the evaluated references.
            """)

    @OptionGroup var options: ToolboxEvalOptions

    @Option(help: "At most so many photos, from the first on.")
    var limit: Int?

    func validate() throws {
        if let limit, limit < 1 { throw ValidationError("--limit is \(limit); it must be at least 1.") }
    }

    func run() throws {
        var bad = 0
        let rows = ExampleRows.captions(in: try options.rows(&bad), photos: limit)
        guard !rows.isEmpty else {
            throw ToolboxEvalOptions.none(
                of: "caption", in: options.data, others: "questions, which memvp eval vqa scores")
        }
        try options.checkAnswers(rows)
        let answerer = try options.answerer(for: .caption)
        var progress = ToolboxProgress()
        defer { progress.end() }
        let evaluation = try CaptionEvaluation(rows, options: options.evaluation, answerer: answerer) {
            progress.show("captions", $0, of: $1, unit: "photos")
        }
        progress.end()
        evaluation.badRows.forEach(ToolboxEvalOptions.name)
        if let answers = options.answers { try evaluation.write(to: answers) }
        let report = ToolboxCaptionReport(evaluation, badRows: bad, options: options, answerer: answerer)
        try Output.write(options.json ? ToolboxJSON.line(report) : report.text(options.sight))
    }
}

/// What `eval captions --json` prints.
struct ToolboxCaptionReport: Encodable {
    var ciderD: Double
    var bleu: [Double]
    var rougeL: Double
    var count: Int
    var references: Int
    var badRows: Int
    var image: Bool
    var kernels: String
    var precision: String

    enum CodingKeys: String, CodingKey {
        case ciderD = "cider_d"
        case bleu
        case rougeL = "rouge_l"
        case count
        case references
        case badRows = "bad_rows"
        case image
        case kernels
        case precision
    }

    init(_ evaluation: CaptionEvaluation, badRows: Int, options: ToolboxEvalOptions, answerer: Answerer) {
        ciderD = evaluation.scores.ciderD
        bleu = evaluation.scores.bleu
        rougeL = evaluation.scores.rougeL
        count = evaluation.scores.count
        references = evaluation.photos.reduce(0) { $0 + $1.references.count }
        self.badRows = badRows + evaluation.badRows.count
        image = !options.noImage
        kernels = answerer.kernels
        precision = answerer.bundle.precision.rawValue
    }

    func text(_ sight: String) -> String {
        let steps = bleu.map { "\(ToolboxTime.rounded($0, 4))" }.joined(separator: " ")
        return """
            CIDEr-D \(ToolboxTime.rounded(ciderD, 4))
            BLEU-1 to 4 \(steps)
            ROUGE-L \(ToolboxTime.rounded(rougeL, 4))
            \(count) photos with \(references) references, \(sight), \(badRows) bad rows (\(precision), \(kernels))
            """
    }
}

/// `memvp eval vqa`
struct ToolboxEvalVQA: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vqa", abstract: "Exact and VQA-style accuracy of answers.",
        discussion: """
            Beside the accuracy stands that of always giving the commonest answer: of the file's rows of the split train, \
            or where it has none, of the evaluated rows.
            """)

    @OptionGroup var options: ToolboxEvalOptions

    @Option(help: "At most so many questions, from the first on.")
    var limit: Int?

    func validate() throws {
        if let limit, limit < 1 { throw ValidationError("--limit is \(limit); it must be at least 1.") }
    }

    /// The training rows of a file, for the commonest answer: their answers count, whether or not their photos are on this machine.
    /// What is wrong with those rows is not this command's matter.
    static func training(_ file: String) -> [ExampleRow] {
        (try? ExampleRows.read(path: file, splits: ["train"], needsPhotos: false)) ?? []
    }

    func run() throws {
        var bad = 0
        let rows = ExampleRows.questions(in: try options.rows(&bad), first: limit)
        guard !rows.isEmpty else {
            throw ToolboxEvalOptions.none(
                of: "question", in: options.data, others: "captions, which memvp eval captions scores")
        }
        try options.checkAnswers(rows)
        let answerer = try options.answerer(for: .ask)
        let training = ExampleRows.questions(in: Self.training(options.data))
        var progress = ToolboxProgress()
        defer { progress.end() }
        let evaluation = try AnswerEvaluation(
            rows, training: training, options: options.evaluation, answerer: answerer
        ) { progress.show("questions", $0, of: $1, unit: options.noImage ? "questions" : "photos") }
        progress.end()
        evaluation.badRows.forEach(ToolboxEvalOptions.name)
        if let answers = options.answers { try evaluation.write(to: answers) }
        let report = ToolboxAnswerReport(
            evaluation, majorityFrom: training.isEmpty ? "evaluated" : "train", badRows: bad, options: options,
            answerer: answerer)
        try Output.write(options.json ? ToolboxJSON.line(report) : report.text(options.sight))
    }
}

/// What `eval vqa --json` prints.
struct ToolboxAnswerReport: Encodable {
    struct Part: Encodable {
        var accuracy: Double
        var exact: Double
        var majority: Double
        var majorityAnswer: String
        var count: Int

        enum CodingKeys: String, CodingKey {
            case accuracy
            case exact
            case majority
            case majorityAnswer = "majority_answer"
            case count
        }

        init(_ part: AnswerScores.Part) {
            accuracy = part.accuracy
            exact = part.exact
            majority = part.majority
            majorityAnswer = part.majorityAnswer
            count = part.count
        }

        var text: String {
            let percent = [accuracy, exact, majority].map { "\(ToolboxTime.rounded($0 * 100, 2)) %" }
            let always = "always \"\(majorityAnswer.harmless)\" \(percent[2])"
            return "accuracy \(percent[0]) (exact \(percent[1])); \(always); \(count)"
        }
    }

    var accuracy: Double
    var exact: Double
    var majority: Double
    var majorityAnswer: String
    var majorityFrom: String
    var byType: [String: Part]
    var count: Int
    var badRows: Int
    var image: Bool
    var kernels: String
    var precision: String

    enum CodingKeys: String, CodingKey {
        case accuracy
        case exact
        case majority
        case majorityAnswer = "majority_answer"
        case majorityFrom = "majority_from"
        case byType = "by_type"
        case count
        case badRows = "bad_rows"
        case image
        case kernels
        case precision
    }

    private let all: AnswerScores.Part

    init(
        _ evaluation: AnswerEvaluation, majorityFrom: String, badRows: Int, options: ToolboxEvalOptions,
        answerer: Answerer
    ) {
        all = evaluation.scores.all
        accuracy = all.accuracy
        exact = all.exact
        majority = all.majority
        majorityAnswer = all.majorityAnswer
        self.majorityFrom = majorityFrom
        byType = evaluation.scores.byType.mapValues { Part($0) }
        count = all.count
        self.badRows = badRows + evaluation.badRows.count
        image = !options.noImage
        kernels = answerer.kernels
        precision = answerer.bundle.precision.rawValue
    }

    func text(_ sight: String) -> String {
        let types = byType.sorted { $0.key < $1.key }.map { "  \($0.key.harmless): \($0.value.text)" }
        let from = majorityFrom == "train" ? "the training rows" : "the evaluated rows"
        return
            (["\(Part(all).text) questions, \(sight), \(badRows) bad rows (\(precision), \(kernels))"] + types
            + ["Commonest answers are those of \(from)."]).joined(separator: "\n")
    }
}
