// The report of an adapter: one HTML page with the loss curve, the metrics and photos with what was said about them.
//
// Invariants: the page loads nothing (its own policy forbids it, photos are data: addresses of bounded size), and every
// text from outside is escaped. Its file appears whole or not at all.

public import Diagnostics
internal import Vision

/// What a report tells.
public struct ReportContents: Sendable {
    /// An evaluation with images and, beside it, without.
    public struct Captions: Sendable {
        /// The data's name.
        public var name: String
        /// With images.
        public var seeing: CaptionEvaluation
        /// Without; nil where it was not made.
        public var blind: CaptionEvaluation?
        /// Rows that were left out when the file was read.
        public var unreadRows: Int

        /// An evaluation of captions.
        public init(name: String, seeing: CaptionEvaluation, blind: CaptionEvaluation?, unreadRows: Int = 0) {
            self.unreadRows = unreadRows
            self.name = name
            self.seeing = seeing
            self.blind = blind
        }
    }

    /// An evaluation with images and, beside it, without.
    public struct Answers: Sendable {
        /// The data's name.
        public var name: String
        /// With images.
        public var seeing: AnswerEvaluation
        /// Without; nil where it was not made.
        public var blind: AnswerEvaluation?
        /// Rows that were left out when the file was read.
        public var unreadRows: Int

        /// An evaluation of answers.
        public init(name: String, seeing: AnswerEvaluation, blind: AnswerEvaluation?, unreadRows: Int = 0) {
            self.unreadRows = unreadRows
            self.name = name
            self.seeing = seeing
            self.blind = blind
        }
    }

    /// The page's title.
    public var title: String
    /// What was measured, and where: name and value.
    public var facts: [(name: String, value: String)]
    /// The run's log.
    public var log: TrainingLog?
    /// Evaluations of captions.
    public var captions: [Captions] = []
    /// Evaluations of answers.
    public var answers: [Answers] = []
    /// The most photos of one evaluation.
    public var photos = 24

    /// A report without evaluations.
    public init(title: String, facts: [(name: String, value: String)], log: TrainingLog?) {
        self.title = title
        self.facts = facts
        self.log = log
    }
}

/// Writes reports.
public enum ReportPage {
    /// Bytes of a photo that is embedded as it is; of a larger one a copy is.
    static let photoLimit = 512 << 10
    /// Pixels along the longer side of a copy: twice what a figure of the page has.
    static let copySide = 640
    /// Bytes of all embedded photos.
    static let pageLimit = 16 << 20

    /// Writes the page to a file; returns its size in bytes.
    ///
    /// - Throws: `cannot_create`, `permission_denied`, `no_space`, `input_output`.
    public static func write(_ contents: ReportContents, to path: String) throws(Failure) -> Int {
        let page = Array(html(contents).utf8)
        try DataFile.write(page, to: path)
        return page.count
    }

    /// The page.
    public static func html(_ contents: ReportContents) -> String {
        var budget = pageLimit
        var parts = [head(contents.title), "<h1>\(HTMLText.escaped(contents.title))</h1>", table(contents.facts)]
        if let log = contents.log { parts.append(training(log)) }
        for captions in contents.captions { parts.append(section(captions, contents.photos, &budget)) }
        for answers in contents.answers { parts.append(section(answers, contents.photos, &budget)) }
        parts.append("</main></body></html>\n")
        return parts.joined(separator: "\n")
    }

    private static func head(_ title: String) -> String {
        """
        <!DOCTYPE html>
        <html lang="en"><head><meta charset="utf-8">
        <meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>\(HTMLText.escaped(title))</title>
        <style>
        :root { color-scheme: light dark; --line: #8884; --soft: #8881; --right: #1f7a3d; --wrong: #b3372f; }
        @media (prefers-color-scheme: dark) { :root { --right: #6fcf8f; --wrong: #f0857d; } }
        body { margin: 0; font: 15px/1.45 system-ui, sans-serif; }
        main { max-width: 1080px; margin: 0 auto; padding: 24px 20px 60px; }
        h1 { font-size: 1.5em; margin: 0 0 .6em; overflow-wrap: anywhere } h2 { font-size: 1.2em; margin: 2em 0 .6em }
        h3 { font-size: 1em; margin: 1.6em 0 .6em }
        table { border-collapse: collapse } td, th { padding: 3px 18px 3px 0; text-align: left; vertical-align: top }
        tr + tr > * { border-top: 1px solid var(--line) } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
        .wide { overflow-x: auto } svg { width: 100%; max-width: 860px; height: auto; display: block }
        .sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); gap: 16px }
        figure { margin: 0; border: 1px solid var(--line); border-radius: 6px; overflow: hidden; background: var(--soft) }
        figure img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: #8882 }
        figure .none { aspect-ratio: 1; display: grid; place-items: center; padding: 12px; text-align: center }
        figcaption { padding: 8px 10px 10px; overflow-wrap: anywhere } figcaption p { margin: 0 0 4px }
        .right { color: var(--right) } .wrong { color: var(--wrong) } .note, details { color: #777; font-size: .88em }
        details ul { margin: 4px 0 0; padding-left: 18px }
        </style></head><body><main>
        """
    }

    private static func table(_ facts: [(name: String, value: String)]) -> String {
        let rows = facts.map { fact in
            "<tr><th>\(HTMLText.escaped(fact.name))</th><td>\(HTMLText.isolated(fact.value))</td></tr>"
        }
        return rows.isEmpty ? "" : "<div class=\"wide\"><table>\(rows.joined())</table></div>"
    }

    private static func training(_ log: TrainingLog) -> String {
        var facts = log.facts
        if let last = log.training.last { facts.append(("steps", "\(last.step)")) }
        if let best = log.validation.min(by: { $0.loss < $1.loss }) {
            facts.append(("lowest validation loss", "\(HTMLText.number(best.loss, 4)) at step \(best.step)"))
        }
        if let seconds = log.seconds { facts.append(("minutes", HTMLText.number(seconds / 60, 1))) }
        let note = log.badLines > 0 ? "<p class=\"note\">\(log.badLines) lines of the log are no records.</p>" : ""
        return "<h2>Training</h2>\(LossCurve.svg(log))\(note)\(table(facts))"
    }

    // MARK: Captions

    private static func section(_ captions: ReportContents.Captions, _ limit: Int, _ budget: inout Int) -> String {
        let seeing = captions.seeing.scores
        let blind = captions.blind?.scores
        var rows: [(String, Double, Double?)] = [("CIDEr-D", seeing.ciderD, blind?.ciderD)]
        for order in 0..<4 { rows.append(("BLEU-\(order + 1)", seeing.bleu[order], blind?.bleu[order])) }
        rows.append(("ROUGE-L", seeing.rougeL, blind?.rougeL))
        let cells = rows.map { name, with, without in
            "<tr><th>\(name)</th>\(cell(HTMLText.number(with, 4)))\(cell(without.map { HTMLText.number($0, 4) } ?? "–"))</tr>"
        }
        let ordered = captions.seeing.photos.sorted { ($0.ciderD, $0.imageName) > ($1.ciderD, $1.imageName) }
        // Of a single photo none is farther than another.
        let half = min(limit / 2, ordered.count / 2)
        let near = limit == 0 ? 0 : max(half, min(1, ordered.count))
        return """
            <h2>Captions: \(HTMLText.escaped(captions.name))</h2>
            <div class="wide"><table><tr><th></th><th class="n">with images</th><th class="n">blind</th></tr>\
            \(cells.joined())</table></div>
            <p class="note">\(seeing.count) photos, \(captions.unreadRows + captions.seeing.badRows.count) bad rows. \
            \(captions.blind?.photos.first.map { "Blind, every caption is “\(HTMLText.isolated($0.caption))”" } ?? "")</p>
            <h3 class="right">Nearest to the references</h3>
            \(sheet(ordered.prefix(near).map { figure($0, "right", &budget) }))
            <h3 class="wrong">Farthest from the references</h3>
            \(sheet(ordered.suffix(half).reversed().map { figure($0, "wrong", &budget) }))
            """
    }

    private static func figure(_ photo: CaptionEvaluation.Photo, _ kind: String, _ budget: inout Int) -> String {
        let references = photo.references.map { "<li>\(HTMLText.isolated($0))</li>" }.joined()
        return """
            <figure>\(image(photo.image, photo.imageName, &budget))<figcaption>
            <p class="\(kind)">\(HTMLText.isolated(photo.caption))</p>
            <p class="note">CIDEr-D \(HTMLText.number(photo.ciderD, 2))</p>
            <details><summary>\(photo.references.count) references</summary><ul>\(references)</ul></details>
            </figcaption></figure>
            """
    }

    // MARK: Answers

    private static func section(_ answers: ReportContents.Answers, _ limit: Int, _ budget: inout Int) -> String {
        let seeing = answers.seeing.scores
        var parts: [(String, AnswerScores.Part, AnswerScores.Part?)] = [("all", seeing.all, answers.blind?.scores.all)]
        for (type, part) in seeing.byType.sorted(by: { $0.key < $1.key }) {
            parts.append((type, part, answers.blind?.scores.byType[type]))
        }
        func percent(_ value: Double) -> String { HTMLText.number(100 * value, 1) + " %" }
        let cells = parts.map { name, part, blind in
            "<tr><th>\(HTMLText.isolated(name))</th>\(cell(percent(part.accuracy)))\(cell(percent(part.exact)))"
                + cell(blind.map { percent($0.accuracy) } ?? "–") + cell(percent(part.majority))
                + "<td>\(HTMLText.isolated(part.majorityAnswer))</td>\(cell("\(part.count)"))</tr>"
        }
        // Spread over the data by their names, not the first of the file.
        let drawn = answers.seeing.questions.sorted {
            StableHash.of($0.imageName, $0.question) < StableHash.of($1.imageName, $1.question)
        }
        let right = drawn.filter { $0.accuracy >= 0.5 }.prefix(limit / 2)
        let wrong = drawn.filter { $0.accuracy < 0.5 }.prefix(limit / 2)
        return """
            <h2>Answers: \(HTMLText.escaped(answers.name))</h2>
            <div class="wide"><table><tr><th>type</th><th class="n">accuracy</th><th class="n">exact</th>\
            <th class="n">blind</th><th class="n">commonest answer</th><th></th><th class="n">questions</th></tr>\
            \(cells.joined())</table></div>
            <p class="note">\(answers.unreadRows + answers.seeing.badRows.count) bad rows.</p>
            <h3 class="right">Right</h3>
            \(sheet(right.map { figure($0, &budget) }))
            <h3 class="wrong">Wrong</h3>
            \(sheet(wrong.map { figure($0, &budget) }))
            """
    }

    private static func figure(_ question: AnswerEvaluation.Question, _ budget: inout Int) -> String {
        let isRight = question.accuracy >= 0.5
        return """
            <figure>\(image(question.image, question.imageName, &budget))<figcaption>
            <p>\(HTMLText.isolated(question.question))</p>
            <p class="\(isRight ? "right" : "wrong")">\(isRight ? "✓" : "✗") \(HTMLText.isolated(question.given))</p>
            <p class="note">expected: \(HTMLText.isolated(question.expected))</p>
            </figcaption></figure>
            """
    }

    // MARK: Parts

    private static func cell(_ text: String) -> String { "<td class=\"n\">\(text)</td>" }

    private static func sheet(_ figures: [String]) -> String {
        figures.isEmpty
            ? "<p class=\"note\">None.</p>" : "<div class=\"sheet\">\(figures.joined(separator: "\n"))</div>"
    }

    /// The photo, or words in its place that say why it is not shown.
    private static func image(_ path: String, _ name: String, _ budget: inout Int) -> String {
        do throws(Failure) {
            let full = Failure(.imageTooLarge, "", "the photos before it are all that a page has room for")
            guard budget > 0 else { throw full }
            let bytes = try shown(path)
            guard bytes.count <= budget, let address = HTMLText.address(ofPhoto: bytes) else {
                // Nor is any other looked at.
                budget = 0
                throw full
            }
            budget -= bytes.count
            return "<img src=\"\(address)\" alt=\"\(HTMLText.escaped(name))\">"
        } catch {
            return "<div class=\"none note\"><p>\(HTMLText.isolated(name)) is not shown: "
                + "\(HTMLText.escaped(error.cause))</p></div>"
        }
    }

    /// The photo's bytes, or a small copy's.
    private static func shown(_ path: String) throws(Failure) -> [UInt8] {
        let bytes = try DataFile.photo(path)
        guard bytes.count > photoLimit || HTMLText.address(ofPhoto: bytes) == nil else { return bytes }
        return try PhotoCopy.jpeg(of: bytes, side: copySide)
    }
}
