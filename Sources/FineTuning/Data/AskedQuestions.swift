// Data sets with a question a line and the photos that have each answer: what somebody has who sorts photos. docs/DATA.md describes
// the file.
//
// Invariants: rows come in the order of the file, a line's answers by name; a photo has one answer to a wording, or none: where two
// lines contradict each other neither counts. Balanced rows have each answer to a wording equally often, so that words alone
// give nothing away.
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
    /// Wordings with one answer only, which balanced rows leave out.
    public private(set) var oneSided = 0

    /// A row's wording within its split.
    private struct Wording: Hashable {
        let split: String
        let words: String

        init(_ row: ExampleRow, _ question: String) {
            split = row.split
            words = question.lowercased().split(whereSeparator: \.isWhitespace).joined(separator: " ")
        }
    }

    /// A photo that a wording asks about.
    private struct Asked: Hashable {
        let wording: Wording
        let image: String
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
        func leaveOut(_ line: Int, _ reason: String) throws(Failure) {
            guard badRows == .skip else {
                throw Failure(
                    .specInvalid, "\(path):\(line)", reason,
                    hint: "Mend the line, or leave bad rows out with --on-bad-row skip.")
            }
            report(BadRow(file: path, line: line, reason: reason))
        }
        let decoder = JSONDecoder()
        var reader = RowReader(path: path, splits: nil, views: .whole, needsPhotos: true)
        var found: [ExampleRow] = []
        var places: [Asked: Int] = [:]
        var contradicted: Set<Int> = []
        for (number, line) in try DataLines(of: path) {
            let records: [RowRecord]
            do throws(RowFault) {
                records = try Self.records(JSONLine(bytes: line).object(AskedRecord.self, decoder), options.images)
            } catch {
                try leaveOut(number, error.reason)
                continue
            }
            for record in records {
                let row: ExampleRow?
                do throws(RowFault) {
                    row = try reader.row(record, number: number)
                } catch {
                    try leaveOut(number, error.reason)
                    continue
                }
                guard let row, let question = record.question else { continue }
                let asked = Asked(wording: Wording(row, question), image: row.image)
                guard let place = places[asked] else {
                    places[asked] = found.count
                    found.append(row)
                    continue
                }
                guard found[place].answers != row.answers else { continue }
                contradicted.insert(place)
                let other = found[place]
                try leaveOut(
                    number,
                    "answers “\(question)” of \(row.imageName) with \(row.answers[0]), line \(other.line) with "
                        + "\(other.answers[0]): neither counts")
            }
        }
        rows = found.indices.filter { !contradicted.contains($0) }.map { found[$0] }
        if options.isBalanced { balance(seed: options.seed) }
        guard rows.isEmpty else { return }
        guard oneSided == 0 else {
            throw Failure(
                .specInvalid, path, "has no question with more than one answer, so nothing to balance",
                hint: "Add photos with another answer, or leave --balance out.")
        }
        throw Failure(
            .specInvalid, path, "has no question that can be used", hint: "docs/DATA.md describes the format.")
    }

    /// What a line says of each photo.
    private static func records(_ asked: AskedRecord, _ images: String?) throws(RowFault) -> [RowRecord] {
        guard let question = asked.question else { throw RowFault(reason: "has no question") }
        guard let answers = asked.answers, !answers.isEmpty else { throw RowFault(reason: "has no answers") }
        var records: [RowRecord] = []
        for (answer, names) in answers.sorted(by: { $0.key < $1.key }) {
            for name in names {
                let image = name.isEmpty ? name : path(name, images)
                records.append(
                    RowRecord(
                        image: image, question: question, answer: answer, split: asked.split, kind: asked.kind))
            }
        }
        guard !records.isEmpty else { throw RowFault(reason: "has no photo under any answer") }
        return records
    }

    private static func path(_ name: String, _ images: String?) -> String {
        guard let images else { return name }
        return RealPath.absolute(images.replacing("{}", with: name))
    }

    /// As many rows of each answer to a wording as of its others: of the rarest all, each up to twice, of the others as many as
    /// those make.
    private mutating func balance(seed: UInt64) {
        var order: [Wording] = []
        var answers: [Wording: [String: [ExampleRow]]] = [:]
        for row in rows {
            guard case .question(let question, let answer) = row.task else { continue }
            let wording = Wording(row, question)
            if answers[wording] == nil { order.append(wording) }
            answers[wording, default: [:]][answer, default: []].append(row)
        }
        var balanced: [ExampleRow] = []
        for wording in order {
            let sides = (answers[wording] ?? [:]).sorted { $0.key < $1.key }.map(\.value)
            let counts = sides.map(\.count)
            guard sides.count > 1, let fewest = counts.min(), let most = counts.max() else {
                oneSided += 1
                continue
            }
            let wanted = min(most, 2 * fewest)
            for side in sides {
                let drawn = side.map { ($0, StableHash.of($0.imageName, wording.words, seed: seed)) }
                    .sorted { ($0.1, $0.0.imageName) < ($1.1, $1.0.imageName) }.map(\.0)
                for place in 0..<wanted { balanced.append(drawn[place % drawn.count]) }
            }
        }
        rows = balanced
    }
}

/// The keys of a line; others are passed over.
private struct AskedRecord: Decodable {
    var question: String?
    /// The photos of each answer.
    var answers: [String: [String]]?
    var split: String?
    var kind: String?
}
