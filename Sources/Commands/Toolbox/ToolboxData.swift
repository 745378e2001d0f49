// `memvp data`: data sets made from others.

internal import ArgumentParser
internal import Diagnostics
internal import FineTuning

/// `memvp data`
struct ToolboxData: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "data", abstract: "Make data sets from others.",
        subcommands: [ToolboxDataDerive.self, ToolboxDataSplit.self, ToolboxDataImport.self])
}

/// What the commands that read rows and write others have in common.
struct ToolboxDataOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The rows to read, in JSON Lines.", valueName: "file.jsonl"))
    var data: String

    @Option(help: ArgumentHelp("The file to write; image paths will be relative to it.", valueName: "file.jsonl"))
    var out: String

    @Option(help: "What happens at a row that cannot be used: skip or stop.")
    var onBadRow = BadRowPolicy.skip

    @Flag(help: "Write what was made as JSON.")
    var json = false

    /// The rows with their lines, bad ones named and counted.
    ///
    /// - Throws: the reader's failures; `cannot_create` and the like where the file to write could not be, or is what is read.
    func lines(_ bad: inout Int, split: String? = nil, views: RowViews = .whole) throws(Failure) -> RowLines {
        try ToolboxOutput.check(out, reading: [data])
        var count = 0
        let wanted = ExampleRows.splits(split)
        let lines = try ExampleRows.lines(path: data, splits: wanted, views: views, badRows: onBadRow) { row in
            count += 1
            ToolboxEvalOptions.name(row)
        }
        bad += count
        try ToolboxOutput.spare(lines.rows.map(\.image), from: out)
        return lines
    }
}

/// How many rows a file has, by split, kind and answer.
struct ToolboxDataReport: Encodable {
    struct Kind: Encodable {
        var count = 0
        var photos = 0
        var answers: [String: Int] = [:]
    }

    var rows: Int
    /// Rows that were left out; nil where nothing is.
    var badRows: Int?
    /// Wordings with one answer only, left out; nil where rows are not balanced.
    var oneSided: Int?
    /// Split, kind.
    var splits: [String: [String: Kind]]

    enum CodingKeys: String, CodingKey {
        case rows, splits
        case badRows = "bad_rows"
        case oneSided = "one_sided"
    }

    init(_ rows: [ExampleRow], badRows: Int? = nil, oneSided: Int? = nil) {
        self.rows = rows.count
        self.badRows = badRows
        self.oneSided = oneSided
        splits = [:]
        var photos: [String: Set<String>] = [:]
        for row in rows {
            var answer: String?
            if case .question(_, let text) = row.task { answer = text }
            let kind = row.kind ?? (answer == nil ? "caption" : "question")
            splits[row.split, default: [:]][kind, default: Kind()].count += 1
            if let answer { splits[row.split, default: [:]][kind, default: Kind()].answers[answer, default: 0] += 1 }
            photos["\(row.split)\n\(kind)", default: []].insert(row.image)
        }
        for (split, kinds) in splits {
            for kind in kinds.keys {
                splits[split]?[kind]?.photos = photos["\(split)\n\(kind)"]?.count ?? 0
            }
        }
    }

    var text: String {
        var lines = ["\(rows) rows" + (badRows.map { ", \($0) bad rows left out" } ?? "")]
        if let oneSided, oneSided > 0 { lines[0] += ", \(oneSided) questions with one answer only left out" }
        for (split, kinds) in splits.sorted(by: { $0.key < $1.key }) {
            for (name, kind) in kinds.sorted(by: { $0.key < $1.key }) {
                let answers = kind.answers.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
                let common = answers.prefix(12).map { "\($0.key.harmless) \($0.value)" }.joined(separator: ", ")
                lines.append("  \(split.harmless), \(name.harmless): \(kind.count) on \(kind.photos) photos: \(common)")
            }
        }
        return lines.joined(separator: "\n")
    }
}

/// `memvp data derive`
struct ToolboxDataDerive: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "derive", abstract: "Derive questions from captions.",
        discussion: """
            Is there a …? What colour is the …? How many … are there? Each thing is affirmed as often as it is denied; \
            colours and numbers are asked for where captions agree. With --kinds also: Is this a …? Is this man …ing? Rows are \
            marked with "derived": true.
            """)

    @OptionGroup var options: ToolboxDataOptions

    @Option(help: "Captions of this split only.")
    var split: String?

    @Option(help: "Decides which questions are drawn where there are too many.")
    var seed: UInt64 = 1

    @Option(help: "The most things of one photo that are affirmed, 1 to 16.")
    var things = 3

    @Option(help: "Captions that must give a colour or a number for it to be asked, 1 to 5.")
    var agreeing = 2

    @Option(help: "What is asked: is-there, colour, how-many, is-this and doing, with commas between.")
    var kinds = "is-there,colour,how-many"

    private var wanted: Set<DerivedQuestions.Kind>? {
        let names = kinds.split(separator: ",", omittingEmptySubsequences: false)
        let kinds = names.compactMap { name in DerivedQuestions.Kind.allCases.first { $0.name == name } }
        return kinds.count == names.count ? Set(kinds) : nil
    }

    func validate() throws {
        guard wanted != nil else {
            let known = DerivedQuestions.Kind.allCases.map(\.name).joined(separator: ", ")
            throw ValidationError("--kinds is “\(kinds)”; it must name some of \(known), with commas between.")
        }
        guard (1...16).contains(things) else { throw ValidationError("--things is \(things); it must be 1 to 16.") }
        guard (1...5).contains(agreeing) else {
            throw ValidationError("--agreeing is \(agreeing); it must be 1 to 5.")
        }
    }

    func run() throws {
        var bad = 0
        let rows = DerivedQuestions.derive(
            from: try options.lines(&bad, split: split).rows,
            options: DerivedQuestions.Options(
                seed: seed, things: things, agreeing: agreeing, kinds: wanted ?? DerivedQuestions.Kind.usual))
        guard !rows.isEmpty else {
            throw Failure(.specInvalid, options.data, "has no captions that a question could be derived from")
        }
        try ExampleRows.write(rows, to: options.out)
        let report = ToolboxDataReport(rows, badRows: bad)
        try Output.write(options.json ? ToolboxJSON.line(report) : report.text)
    }
}

/// `memvp data split`
struct ToolboxDataSplit: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "split", abstract: "Hold a part of the photos out.",
        discussion: """
            Which photos are held out depends on their names alone, so all rows of a photo go together, and a photo that is \
            added moves no other. Rows keep all that they have but for image and split.
            """)

    @OptionGroup var options: ToolboxDataOptions

    @Option(help: "The split that photos are taken from; 'all' for any but the one they go to.")
    var from = "train"

    @Option(help: "The split that they go to.")
    var to = "dev"

    @Option(help: "The part of the photos that goes, above 0 and below 1.")
    var part = 0.1

    func validate() throws {
        guard part > 0, part < 1 else {
            throw ValidationError("--part is \(part); it must be above 0 and below 1.")
        }
        guard !to.allSatisfy(\.isWhitespace), to != "all" else {
            throw ValidationError("--to is '\(to)'; name the split that the photos go to, such as dev.")
        }
        guard from != to else { throw ValidationError("--from and --to are both '\(to)': no photo would move.") }
    }

    func run() throws {
        var bad = 0
        let lines = try options.lines(&bad, views: .any)
        let rows = try ExampleRows.holdOut(part, of: lines.rows, in: options.data, from: from, to: to)
        try ExampleRows.write(rows, in: lines, to: options.out)
        let report = ToolboxDataReport(rows, badRows: bad)
        try Output.write(options.json ? ToolboxJSON.line(report) : report.text)
    }
}

/// `memvp data import`
struct ToolboxDataImport: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Make rows from data sets of other forms.",
        subcommands: [ToolboxDataImportEasyVQA.self, ToolboxDataImportAsked.self])
}

/// `memvp data import easy-vqa`
struct ToolboxDataImportEasyVQA: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "easy-vqa", abstract: "The questions of PyPI's easy-vqa about drawn shapes.")

    @Argument(help: "The package's folder data, with train and test.")
    var folder: String

    @Option(help: ArgumentHelp("The file to write; image paths will be relative to it.", valueName: "file.jsonl"))
    var out: String

    @Option(help: "What the photos' names end in, should they have been converted.")
    var suffix = "png"

    @Flag(help: "Write what was made as JSON.")
    var json = false

    func run() throws {
        try ToolboxOutput.check(out, reading: ["train", "test"].map { "\(folder)/\($0)/questions.json" })
        let rows = try EasyVQA.rows(folder: folder, suffix: suffix)
        try ExampleRows.write(rows, to: out)
        let report = ToolboxDataReport(rows)
        try Output.write(json ? ToolboxJSON.line(report) : report.text)
    }
}

/// `memvp data import asked`
struct ToolboxDataImportAsked: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "asked", abstract: "Questions, a line each, with the photos of each answer.",
        discussion: """
            A line is {"question": "Is the cap on?", "answers": {"yes": ["a.jpg"], "no": ["b.jpg", "c.jpg"]}}, with split and \
            kind where wanted. A photo that two lines of one wording, but for case and spaces, answer differently in one split \
            counts for neither.
            """)

    @Argument(help: ArgumentHelp("The questions, in JSON Lines.", valueName: "questions.jsonl"))
    var questions: String

    @Option(help: ArgumentHelp("The file to write; image paths will be relative to it.", valueName: "file.jsonl"))
    var out: String

    @Option(
        help: ArgumentHelp(
            "A photo's path with {} for what the questions call it; by default they name paths relative to their file.",
            valueName: "path"))
    var images: String?

    @Flag(help: "As many rows of each answer to a wording: the rarest up to twice, the others as drawn.")
    var balance = false

    @Option(help: "Decides which photos are drawn where an answer has too many.")
    var seed: UInt64 = 1

    @Option(help: "What happens at a row that cannot be used: skip or stop.")
    var onBadRow = BadRowPolicy.skip

    @Flag(help: "Write what was made as JSON.")
    var json = false

    func validate() throws {
        guard images?.contains("{}") ?? true else {
            throw ValidationError("--images is “\(images ?? "")”; it needs {} where a photo's name belongs.")
        }
    }

    /// The rows, and what is said of them.
    func made() throws(Failure) -> (rows: [ExampleRow], report: ToolboxDataReport) {
        try ToolboxOutput.check(out, reading: [questions])
        var bad = 0
        let asked = try AskedQuestions(
            path: questions, options: AskedQuestions.Options(images: images, isBalanced: balance, seed: seed),
            badRows: onBadRow
        ) { row in
            bad += 1
            ToolboxEvalOptions.name(row)
        }
        try ToolboxOutput.spare(asked.photos, from: out)
        return (
            asked.rows, ToolboxDataReport(asked.rows, badRows: bad, oneSided: balance ? asked.oneSided : nil)
        )
    }

    func run() throws {
        let made = try made()
        try ExampleRows.write(made.rows, to: out)
        try Output.write(json ? ToolboxJSON.line(made.report) : made.report.text)
    }
}
