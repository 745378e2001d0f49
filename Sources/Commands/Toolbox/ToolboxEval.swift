// `memvp eval perplexity`: how probable a bundle finds the captions of a data set, which judges its arithmetic better than
// greedy texts, where a near-tie flips a whole sentence.

internal import ArgumentParser
internal import Diagnostics
internal import FineTuning
internal import Glibc
internal import Language
internal import MemVP
internal import Specification
internal import Tensor
internal import Text
internal import Vision

/// `memvp eval`
struct ToolboxEval: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "eval", abstract: "Measure a bundle on a data set.",
        subcommands: [
            ToolboxEvalCaptions.self, ToolboxEvalVQA.self, ToolboxEvalScienceQA.self, ToolboxEvalPerplexity.self,
        ])
}

/// `memvp eval perplexity`
struct ToolboxEvalPerplexity: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "perplexity", abstract: "The perplexity of captions, their end tokens counted.",
        discussion: """
            Captions are written as the bundle's template says, after its prompt, with the image's memory; questions among \
            the rows are passed over.
            """)

    @OptionGroup var model: ToolboxModelOptions

    @Option(help: ArgumentHelp("The rows.", valueName: "file.jsonl"))
    var data: String

    @Option(help: "Rows of this split only; 'all' for every row, as without.")
    var split: String?

    @Option(help: "What happens at a row that cannot be used: skip or stop.")
    var onBadRow = BadRowPolicy.skip

    @Option(help: "At most so many captions, from the first on.")
    var limit: Int?

    @Option(help: ArgumentHelp(stringLiteral: ToolboxModel.adapterHelp))
    var adapter: String?

    @Flag(help: "No image: the memory is E₁ and E₂ alone.")
    var noImage = false

    @Flag(help: "Write JSON.")
    var json = false

    func validate() throws {
        if let limit, limit < 1 { throw ValidationError("--limit is \(limit); it must be at least 1.") }
    }

    func run() throws {
        var bad: [BadRow] = []
        let rows = try captions(&bad)
        let scorer = try ToolboxCaptionScorer(bundle: model.bundle(), compute: model.compute(), adapter: adapter)
        var progress = ToolboxProgress()
        defer { progress.end() }
        var (done, count) = (0, 0)
        // Rows of one image stand together; should they not, the image is encoded again and the sum is the same.
        while done < rows.count {
            let group = rows[done...].prefix { $0.row.image == rows[done].row.image }
            // A photo that does not decode costs all its captions, one that is too long itself alone.
            var failures: [Failure?]
            do throws(Failure) {
                failures = try scorer.score(
                    captions: group.map(\.text), image: noImage ? nil : rows[done].row.image)
            } catch { failures = [Failure?](repeating: error, count: group.count) }
            for (entry, failure) in zip(group, failures) {
                guard let failure else { continue }
                let row = try EvaluationOptions(badRows: onBadRow, file: data).bad(entry.row, failure)
                ToolboxEvalOptions.name(row)
                bad.append(row)
            }
            count += failures.count { $0 == nil }
            done += group.count
            progress.show("captions", Double(done) / Double(rows.count))
        }
        progress.end()
        guard count > 0 else { throw EvaluationOptions(file: data).nothing(bad) }
        let report = ToolboxPerplexityReport(
            perplexity: try scorer.perplexity(), tokens: scorer.tokens, captions: count,
            images: scorer.images, badRows: bad.count, kernels: scorer.kernels, precision: scorer.precision)
        if json {
            try Output.write(ToolboxJSON.line(report))
        } else {
            try Output.write(
                "perplexity \(ToolboxTime.rounded(report.perplexity, 4)) over \(report.tokens) tokens of "
                    + "\(report.captions) captions, \(report.images) images, \(report.badRows) bad rows (\(report.precision), "
                    + "\(report.kernels))")
        }
    }

    /// The captions that the options ask for.
    private func captions(_ bad: inout [BadRow]) throws(Failure) -> [(row: ExampleRow, text: String)] {
        var found: [BadRow] = []
        let rows = try ExampleRows.read(path: data, splits: ExampleRows.splits(split), badRows: onBadRow) {
            found.append($0)
            ToolboxEvalOptions.name($0)
        }
        bad += found
        let captions = rows.compactMap { row in row.task.caption.map { (row: row, text: $0) } }
        guard !captions.isEmpty else {
            throw ToolboxEvalOptions.none(of: "caption", in: data, others: "questions, which memvp eval vqa scores")
        }
        return Array(captions.prefix(limit ?? captions.count))
    }
}

/// What `eval perplexity --json` prints.
struct ToolboxPerplexityReport: Encodable {
    var perplexity: Double
    var tokens: Int
    var captions: Int
    var images: Int
    var badRows: Int
    var kernels: String
    var precision: String

    enum CodingKeys: String, CodingKey {
        case perplexity
        case tokens
        case captions
        case images
        case badRows = "bad_rows"
        case kernels
        case precision
    }
}
