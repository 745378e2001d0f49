// `memvp report`: a page about an adapter for people.

internal import ArgumentParser
internal import Diagnostics
internal import FineTuning
internal import MemVP
internal import Specification
internal import Tensor

/// `memvp report`
struct ToolboxReport: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report", abstract: "Write a page about an adapter: loss, metrics, photos.",
        discussion: """
            The page is one file that loads nothing. Each data set is evaluated with images and blind; of its photos some \
            that went well are shown and some that did not.
            """)

    @OptionGroup var model: ToolboxModelOptions

    @Option(help: ArgumentHelp("Rows to evaluate; may be given several times.", valueName: "file.jsonl"))
    var data: [String]

    @Option(
        name: .customLong("run"),
        help: ArgumentHelp("The training's directory, for its loss.", valueName: "adapter.train"))
    var training: String?

    @Option(help: ArgumentHelp("The page to write.", valueName: "report.html"))
    var out: String

    @Option(help: "Rows of this split only.")
    var split: String?

    @Option(help: ArgumentHelp(stringLiteral: ToolboxModel.adapterHelp))
    var adapter: String?

    @Option(help: "What happens at a row that cannot be used: skip or stop.")
    var onBadRow = BadRowPolicy.skip

    @Option(help: "At most so many photos of each file are evaluated, from the first on.")
    var limit: Int?

    @Option(help: "At most so many photos of each evaluation are shown, 0 to 200.")
    var photos = 24

    @Option(help: "The page's title.")
    var title: String?

    @Flag(help: "Write what the page says as JSON.")
    var json = false

    func validate() throws {
        if data.isEmpty { throw ValidationError("Give --data.") }
        if let limit, limit < 1 { throw ValidationError("--limit is \(limit); it must be at least 1.") }
        guard (0...200).contains(photos) else {
            throw ValidationError("--photos is \(photos); it must be 0 to 200.")
        }
    }

    func run() throws {
        let inputs = data + [training.map { "\($0)/log.jsonl" }, ToolboxModel.file(of: adapter)].compactMap { $0 }
        try ToolboxOutput.check(out, reading: inputs, bundle: model.model)
        let log = try training.map { (path) throws(Failure) in try TrainingLog(run: path) }
        let bundle = try model.bundle()
        let answerer = try Answerer(
            bundle: bundle, compute: model.compute(), batch: 32,
            additional: ToolboxModel.additional(adapter, in: bundle))
        var contents = ReportContents(
            title: title ?? "\(adapter ?? bundle.description.name): report",
            facts: [
                ("model", bundle.description.name), ("bundle", model.model),
                ("adapter", adapter ?? "the bundle's"), ("precision", bundle.precision.rawValue),
                ("kernels", answerer.kernels), ("split", split ?? "all"),
            ], log: log)
        contents.photos = photos
        var progress = ToolboxProgress()
        defer { progress.end() }
        for file in data { try evaluate(file, answerer, &contents, &progress) }
        progress.end()
        let size = try ReportPage.write(contents, to: out)
        let summary = ToolboxReportSummary(
            contents, report: out, bytes: size, kernels: answerer.kernels, precision: bundle.precision.rawValue)
        try Output.write(json ? ToolboxJSON.line(summary) : "\(out): \(size) bytes")
    }

    private func evaluate(
        _ file: String, _ answerer: Answerer, _ contents: inout ReportContents, _ progress: inout ToolboxProgress
    ) throws(Failure) {
        var bad = 0
        let read = try ExampleRows.read(path: file, splits: ExampleRows.splits(split), badRows: onBadRow) { row in
            bad += 1
            ToolboxEvalOptions.name(row)
        }
        let rows = ExampleRows.ofFirstPhotos(limit, in: read)
        try ToolboxOutput.spare(rows.map(\.image), from: out)
        var bar = progress
        defer { progress = bar }
        func options(blind: Bool) -> EvaluationOptions {
            EvaluationOptions(adapter: adapter, isBlind: blind, badRows: onBadRow, file: file)
        }
        let hasCaptions = rows.contains(where: \.isCaption)
        let hasQuestions = rows.contains { if case .question = $0.task { true } else { false } }
        if hasCaptions {
            let seeing = try CaptionEvaluation(rows, options: options(blind: false), answerer: answerer) {
                bar.show("captions", $0, of: $1, unit: "photos")
            }
            let blind = try CaptionEvaluation(
                Self.rows(rows, without: seeing.badRows), options: options(blind: true), answerer: answerer)
            seeing.badRows.forEach(ToolboxEvalOptions.name)
            contents.captions.append(
                ReportContents.Captions(name: file, seeing: seeing, blind: blind, unreadRows: bad))
        }
        if hasQuestions {
            let training = ToolboxEvalVQA.training(file)
            let seeing = try AnswerEvaluation(
                rows, training: training, options: options(blind: false), answerer: answerer
            ) { bar.show("questions", $0, of: $1, unit: "photos") }
            let blind = try AnswerEvaluation(
                Self.rows(rows, without: seeing.badRows), training: training, options: options(blind: true),
                answerer: answerer
            ) { bar.show("blind", $0, of: $1, unit: "questions") }
            seeing.badRows.forEach(ToolboxEvalOptions.name)
            contents.answers.append(
                ReportContents.Answers(
                    name: file, seeing: seeing, blind: blind, unreadRows: hasCaptions ? 0 : bad))
        }
    }

    /// The rows that were evaluated with images, so that both columns of the page say something of the same ones.
    private static func rows(_ rows: [ExampleRow], without bad: [BadRow]) -> [ExampleRow] {
        let lines = Set(bad.map(\.line))
        let photos = Set(rows.filter { lines.contains($0.line) && $0.isCaption }.map(\.image))
        return rows.filter { !lines.contains($0.line) && !($0.isCaption && photos.contains($0.image)) }
    }
}
