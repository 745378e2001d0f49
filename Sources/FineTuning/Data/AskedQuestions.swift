// Data sets with a question a line and the photos that have each answer: what somebody has who sorts photos. docs/DATA.md describes
// the file.
//
// Invariants: rows come in the order of the file, a line's answers by name, or where they are balanced by wording; a photo has one
// answer to a wording, or none: where two lines contradict each other neither counts. Balanced rows have each answer to a wording
// equally often, so that words alone give nothing away, and the same rows wherever the photos stand.
// Failure modes: `not_found`, `unreadable`, `not_regular_file` for the file; `spec_invalid` for one that is too large, for what is
// wrong with it under `stop`, and for a file that leaves no row.

public import Diagnostics
internal import FoundationEssentials

/// Reads questions that are asked of many photos each.
public struct AskedQuestions {
    /// How they are read.
    public struct Options {
        /// A photo's path with `{}` for what the file calls it; nil for paths as they stand, relative to the file.
        public var images: String?
        /// Whether each wording has all its answers equally often.
        public var isBalanced: Bool
        /// Decides which photos are drawn where an answer has too many.
        public var seed: UInt64

        /// Options.
        public init(images: String? = nil, isBalanced: Bool = false, seed: UInt64 = 1) {
            self.images = images
            self.isBalanced = isBalanced
            self.seed = seed
        }
    }

    /// The rows.
    public private(set) var rows: [ExampleRow] = []
    /// All photos that are asked of, those too that no row is left of.
    public var photos: [String] { found.map(\.row.image) }
    /// Wordings with one answer only, which balanced rows leave out.
    public private(set) var oneSided = 0
    private let found: [Answered]

    /// A row with what it is known by.
    private struct Answered {
        let row: ExampleRow
        /// The question, but for case and spaces, and its number in the file.
        let words: String
        let wording: Int
        /// The answer, but for case and spaces.
        let answer: String
        /// What the file calls the photo.
        let name: String
    }

    /// Reads a file.
    ///
    /// - Parameters:
    ///   - badRows: whether what is wrong is left out or ends the reading.
    ///   - report: is told all that is left out.
    /// - Throws: the failures above.
    public init(
        path: String, options: Options = Options(), badRows: BadRowPolicy = .skip, report: (BadRow) -> Void = { _ in }
    ) throws(Failure) {
        var bad = 0
        func leaveOut(_ line: Int, _ reason: String) throws(Failure) {
            guard badRows == .skip else {
                throw Failure(
                    .specInvalid, "\(path):\(line)", reason,
                    hint: "Mend the line, or leave bad rows out with --on-bad-row skip.")
            }
            bad += 1
            report(BadRow(file: path, line: line, reason: reason))
        }
        let decoder = JSONDecoder()
        var answers = Answers(path: path, images: options.images)
        for (number, line) in try DataLines(of: path) {
            let asked: AskedRecord
            do throws(RowFault) {
                asked = try AskedRecord(line, decoder)
            } catch {
                try leaveOut(number, error.reason)
                continue
            }
            for reason in answers.add(asked, number: number) { try leaveOut(number, reason) }
        }
        found = answers.found
        let kept = found.indices.filter { !answers.contradicted.contains($0) }.map { found[$0] }
        rows = kept.map(\.row)
        if options.isBalanced { balance(kept, seed: options.seed) }
        guard rows.isEmpty else { return }
        let leftOut = bad > 0 ? "; \(bad) bad rows were left out" : ""
        guard oneSided == 0 else {
            throw Failure(
                .specInvalid, path, "has no question with more than one answer, so nothing to balance\(leftOut)",
                hint: "Add photos with another answer, or leave --balance out.")
        }
        throw Failure(
            .specInvalid, path, "has no question that can be used\(leftOut)",
            hint: bad > 0 ? "Each is named, with its reason." : "docs/DATA.md describes the format.")
    }

    /// What the lines of a file say so far.
    private struct Answers {
        /// A question but for case and spaces, in its split.
        private struct Wording: Hashable {
            let split: String
            let words: String
        }

        /// A photo that a wording asks about.
        private struct Asked: Hashable {
            let wording: Int
            let image: String
        }

        private(set) var found: [Answered] = []
        /// Those that other lines contradict.
        private(set) var contradicted: Set<Int> = []
        private var reader: RowReader
        private let images: String?
        private var wordings: [Wording: Int] = [:]
        private var places: [Asked: Int] = [:]
        private var spellings: [String: String] = [:]  // the first of each answer

        init(path: String, images: String?) {
            reader = RowReader(path: path, splits: nil, views: .whole, needsPhotos: true)
            // Nothing of it is tidied: the file system goes up from where a link leads.
            self.images = images.map {
                $0.hasPrefix("/") ? $0 : "\(FileManager.default.currentDirectoryPath)/\($0)"
            }
        }

        /// Adds what a line says; returns why some of it is left out.
        mutating func add(_ asked: AskedRecord, number: Int) -> [String] {
            var reasons: [String] = []
            let key = Wording(split: asked.split, words: AskedQuestions.words(asked.question))
            let wording = wordings[key] ?? wordings.count
            wordings[key] = wording
            for (spelled, names) in asked.answers.sorted(by: { $0.key < $1.key }) {
                let answer = AskedQuestions.words(spelled)
                let first = spellings[answer] ?? spelled
                spellings[answer] = first
                for name in names {
                    let image = name.isEmpty ? name : images?.replacing("{}", with: name) ?? name
                    let record = RowRecord(
                        image: image, question: asked.question, answer: first, split: asked.split, kind: asked.kind)
                    do throws(RowFault) {
                        guard let row = try reader.row(record, number: number) else { continue }
                        let added = Answered(
                            row: row, words: key.words, wording: wording, answer: answer, name: name)
                        if let other = add(added) {
                            reasons.append(
                                "answers “\(asked.question)” of \(name) with \(first), line \(other.row.line) with "
                                    + "\(other.row.answers[0]): neither counts")
                        }
                    } catch { reasons.append(error.reason) }
                }
            }
            return reasons
        }

        /// Adds an answer that is new; returns the one that it contradicts.
        private mutating func add(_ answered: Answered) -> Answered? {
            let asked = Asked(wording: answered.wording, image: answered.row.image)
            guard let place = places[asked] else {
                places[asked] = found.count
                found.append(answered)
                return nil
            }
            guard found[place].answer != answered.answer else { return nil }
            contradicted.insert(place)
            return found[place]
        }
    }

    /// A text but for case and spaces.
    private static func words(_ text: String) -> String {
        text.lowercased().split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }

    /// As many rows of each answer to a wording as of its others: of the rarest all, each up to twice, of the others as many as
    /// those make.
    private mutating func balance(_ kept: [Answered], seed: UInt64) {
        rows = []
        for wording in kept.grouped(by: \.wording) {
            let sides = wording.grouped(by: \.answer).sorted { $0[0].answer < $1[0].answer }
            let counts = sides.map(\.count)
            guard sides.count > 1, let fewest = counts.min(), let most = counts.max() else {
                oneSided += 1
                continue
            }
            let wanted = min(most, 2 * fewest)
            for side in sides {
                let drawn = side.map { ($0, StableHash.of($0.name, $0.words, seed: seed)) }
                    .sorted { ($0.1, $0.0.name) < ($1.1, $1.0.name) }.map(\.0.row)
                for place in 0..<wanted { rows.append(drawn[place % drawn.count]) }
            }
        }
    }
}

/// The keys of a line; others are passed over.
private struct AskedRecord {
    let question: String
    /// The photos of each answer.
    let answers: [String: [String]]
    let split: String
    let kind: String?

    init(_ line: ArraySlice<UInt8>, _ decoder: JSONDecoder) throws(RowFault) {
        let line = JSONLine(bytes: line)
        let read = try line.object(Lenient.self, decoder)
        guard let question = read.question else { throw RowFault(reason: "has no question") }
        guard let answers = read.answers, !answers.isEmpty else { throw RowFault(reason: "has no answers") }
        guard answers.contains(where: { !$0.value.isEmpty }) else {
            throw RowFault(reason: "has no photo under any answer")
        }
        // The decoder takes one of two values of a key without a word.
        let spelled = line.members()?.first { $0.key == "answers" }
        if let fault = spelled.flatMap({ JSONLine(bytes: $0.value).memberFault }) {
            throw RowFault(reason: "has answers of which one \(fault)")
        }
        for answer in answers.keys { _ = try RowReader.text(answer, "answer") }
        self.question = try RowReader.text(question, "question")
        self.answers = answers
        split = read.split ?? "train"
        kind = read.kind ?? read.type
    }

    /// The same, some of it missing.
    private struct Lenient: Decodable {
        var question: String?
        var answers: [String: [String]]?
        var split: String?
        var kind: String?
        var type: String?
    }
}
