// `memvp eval perplexity`: how probable a bundle finds the captions of a data set, which judges its arithmetic better than
// greedy texts, where a near-tie flips a whole sentence.

internal import ArgumentParser
internal import Diagnostics
internal import FoundationEssentials
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
            Rows are lines of JSON {"image", "caption", "split"}, image paths relative to the file. Captions are written \
            as the bundle's template says, after its prompt, with the image's memory.
            """)

    @OptionGroup var model: ToolboxModelOptions

    @Option(help: ArgumentHelp("The rows.", valueName: "file.jsonl"))
    var data: String

    @Option(help: "Rows of this split only.")
    var split: String?

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
        let rows = try ToolboxCaptionRow.read(data, split: split, limit: limit)
        let scorer = try ToolboxCaptionScorer(bundle: model.bundle(), compute: model.compute(), adapter: adapter)
        var progress = ToolboxProgress()
        defer { progress.end() }
        let folder = URL(filePath: data).deletingLastPathComponent()
        var done = 0
        // Rows of one image stand together; should they not, the image is encoded again and the sum is the same.
        while done < rows.count {
            let group = rows[done...].prefix { $0.image == rows[done].image }
            let path = folder.appending(path: rows[done].image).path
            try scorer.score(captions: group.map(\.caption), image: noImage ? nil : path)
            done += group.count
            progress.show("captions", Double(done) / Double(rows.count))
        }
        progress.end()
        let report = ToolboxPerplexityReport(
            perplexity: exp(scorer.total / Double(max(1, scorer.tokens))), tokens: scorer.tokens, captions: rows.count,
            images: scorer.images, kernels: scorer.kernels, precision: scorer.precision)
        if json {
            print(try ToolboxJSON.line(report))
        } else {
            print(
                "perplexity \(ToolboxTime.rounded(report.perplexity, 4)) over \(report.tokens) tokens of "
                    + "\(report.captions) captions, \(report.images) images (\(report.precision), \(report.kernels))")
        }
    }
}

/// What `eval perplexity --json` prints.
struct ToolboxPerplexityReport: Encodable {
    var perplexity: Double
    var tokens: Int
    var captions: Int
    var images: Int
    var kernels: String
    var precision: String
}

/// A row of a data set of captions.
struct ToolboxCaptionRow: Decodable {
    var image: String
    var caption: String
    var split: String?

    /// Rows in file order.
    ///
    /// - Throws: `spec_invalid` naming the line that is no row, or when no row is of the split.
    static func read(_ path: String, split: String?, limit: Int?) throws(Failure) -> [ToolboxCaptionRow] {
        let bytes = try ToolboxFile.read(path)
        var rows: [ToolboxCaptionRow] = []
        let decoder = JSONDecoder()
        for (index, line) in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            if line.allSatisfy({ $0 == 0x20 || $0 == 0x0D || $0 == 0x09 }) { continue }
            guard let row = try? decoder.decode(ToolboxCaptionRow.self, from: Data(line)) else {
                throw Failure(
                    .specInvalid, "\(path):\(index + 1)", "is no row with image and caption",
                    hint: "Write one JSON object a line.")
            }
            if let split, row.split != split { continue }
            rows.append(row)
            if rows.count == limit { break }
        }
        guard !rows.isEmpty else {
            throw Failure(.specInvalid, path, "has no row\(split.map { " of the split \($0)" } ?? "")")
        }
        return rows
    }
}
