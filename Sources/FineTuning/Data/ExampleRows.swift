// The reader of data sets in JSON Lines (docs/DATA.md).
//
// Invariants: rows come in the order of the file; a bad row costs itself alone, and is named by file and line. All rows of a
// photo have one path and one name, those of the first of them, however the others spell it: whoever groups rows by `image`
// groups them by photo. A photo is looked for, not opened: whether it decodes is found out by whoever decodes it. Paths may lead
// anywhere: the file is its user's own, and is read with the user's own rights.
// Failure modes: `not_found`, `unreadable`, `not_regular_file` for the file; `spec_invalid` for one that is too large,
// for a bad row under `stop` and for a file without a row that can be used.

public import Diagnostics
internal import Files
internal import FoundationEssentials

/// Reads data sets.
public enum ExampleRows {
    /// The longest text of a row, in bytes: more than any prompt that a model reads.
    static let textLimit = 65_536
    /// The largest file, in bytes.
    static let fileLimit = 1 << 30

    /// Reads the rows of a file.
    ///
    /// - Parameters:
    ///   - splits: the splits that are wanted; nil for all. Of rows in other splits only the syntax is checked.
    ///   - views: which rows of one view alone are wanted.
    ///   - needsPhotos: whether a row whose photo is missing is a bad one; not where its words alone count.
    ///   - badRows: whether a bad row is left out or ends the reading.
    ///   - report: is told each bad row that is left out.
    /// - Throws: `not_found`, `unreadable`, `not_regular_file` for the file; `spec_invalid` naming file, line and reason
    ///   of a bad row under `stop`, or a file in which no row can be used.
    public static func read(
        path: String, splits: Set<String>? = nil, views: RowViews = .whole, needsPhotos: Bool = true,
        badRows: BadRowPolicy = .skip, report: (BadRow) -> Void = { _ in }
    ) throws(Failure) -> [ExampleRow] {
        try lines(
            path: path, splits: splits, views: views, needsPhotos: needsPhotos, badRows: badRows, report: report
        ).rows
    }

    /// Reads the rows of a file with the lines that they stand in; arguments and failures are those of `read`.
    public static func lines(
        path: String, splits: Set<String>? = nil, views: RowViews = .whole, needsPhotos: Bool = true,
        badRows: BadRowPolicy = .skip, report: (BadRow) -> Void = { _ in }
    ) throws(Failure) -> RowLines {
        var bytes = try InputFile.read(path, limit: fileLimit, tooLarge: .specInvalid)[...]
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes = bytes.dropFirst(3) }
        var reader = RowReader(path: path, splits: splits, views: views, needsPhotos: needsPhotos)
        var found = RowLines()
        var bad = 0
        var number = 0
        while !bytes.isEmpty {
            let end = bytes.firstIndex(of: UInt8(ascii: "\n")) ?? bytes.endIndex
            let line = bytes[bytes.startIndex..<end]
            bytes = bytes[min(end + 1, bytes.endIndex)...]
            number += 1
            if line.allSatisfy({ $0 == 0x20 || $0 == 0x0D || $0 == 0x09 }) { continue }
            do throws(RowFault) {
                if let row = try reader.row(line, number: number) {
                    found.rows.append(row)
                    found.lines.append(line)
                }
            } catch {
                guard badRows == .skip else {
                    throw Failure(
                        .specInvalid, "\(path):\(number)", error.reason,
                        hint: "Mend the line, or leave bad rows out with --on-bad-row skip.")
                }
                bad += 1
                report(BadRow(file: path, line: number, reason: error.reason))
            }
        }
        guard !found.rows.isEmpty else {
            let of = splits.map { " of the split \($0.sorted().joined(separator: ", "))" } ?? ""
            var why = bad == 0 ? "" : "; \(bad) bad rows were left out"
            if reader.ofOtherViews > 0 { why += "; \(reader.ofOtherViews) are true of one view alone" }
            let others = reader.others.sorted { $0.key < $1.key }.map { "\($0.key) (\($0.value) rows)" }
            throw Failure(
                .specInvalid, path, "has no row\(of)\(why)",
                hint: others.isEmpty
                    ? "docs/DATA.md describes the format."
                    : "It has \(others.prefix(8).joined(separator: ", ")): name one of them as the split, or all.")
        }
        return found
    }

    /// The splits that an option names: nil, which is all of them, for none and for `all`.
    public static func splits(_ name: String?) -> Set<String>? { name.flatMap { $0 == "all" ? nil : [$0] } }

    /// Moves the rows of some photos of one split to another. A photo's name alone decides whether it goes, but for one that has
    /// rows there already: the others follow them, so that no photo is on both sides.
    ///
    /// - Parameters:
    ///   - part: the part of the photos that goes, 0 to 1.
    ///   - file: where the rows stand, for the failure.
    ///   - from: the split, or `all`.
    /// - Throws: `spec_invalid` when no row goes.
    public static func holdOut(
        _ part: Double, of rows: [ExampleRow], in file: String, from: String = "train", to: String = "dev"
    ) throws(Failure) -> [ExampleRow] {
        let wanted = splits(from)
        let held = Set(rows.filter { $0.split == to }.map(\.image))
        var moves = 0
        let after = rows.map { row in
            guard wanted?.contains(row.split) ?? true, row.split != to,
                held.contains(row.image) || StableHash.fraction(of: row.imageName) < part
            else { return row }
            var moved = row
            moved.split = to
            moves += 1
            return moved
        }
        guard moves > 0 else {
            let there = Set(rows.map(\.split)).sorted().prefix(8).joined(separator: ", ")
            throw Failure(
                .specInvalid, file, "has no photo of the split \(from) that would go to \(to)",
                hint: "It has \(there). Name another --from, or hold a greater --part out.")
        }
        return after
    }

    /// The captions among `rows`, of the first `count` photos that have any; all captions for nil.
    public static func captions(in rows: [ExampleRow], photos count: Int? = nil) -> [ExampleRow] {
        ofFirstPhotos(count, in: rows.filter(\.isCaption))
    }

    /// The first `count` questions among `rows`; all questions for nil.
    public static func questions(in rows: [ExampleRow], first count: Int? = nil) -> [ExampleRow] {
        let questions = rows.filter { !$0.isCaption }
        return Array(questions.prefix(count ?? questions.count))
    }

    /// The rows of the first `count` photos, in their order; all rows for nil.
    public static func ofFirstPhotos(_ count: Int?, in rows: [ExampleRow]) -> [ExampleRow] {
        guard let count else { return rows }
        var photos: Set<String> = []
        return rows.filter { row in
            if photos.contains(row.image) { return true }
            guard photos.count < count else { return false }
            photos.insert(row.image)
            return true
        }
    }
}

/// Rows with the lines that they were read from, for whoever writes them again with keys that nobody here knows.
public struct RowLines: Sendable {
    /// The rows.
    public fileprivate(set) var rows: [ExampleRow] = []
    /// The line of each row: parts of one copy of the file.
    fileprivate(set) var lines: [ArraySlice<UInt8>] = []

    fileprivate init() {}
}

/// Which rows are read of those that are true of one view of their photo alone.
public enum RowViews: Sendable, Equatable {
    /// Those of the whole photo; others are passed over, like those of another split.
    case whole
    /// Those of the views that a run shows, so many from 0 on; others are bad rows.
    case shown(Int)
    /// All of them.
    case any
}

/// Why a line is no row.
private struct RowFault: Error {
    let reason: String
}

/// What rows of one photo have in common.
private struct RowPhoto {
    /// Its path, ready to be opened.
    let path: String
    /// Its path as the file has it.
    let name: String
    /// Why it cannot be used; nil for one that is there.
    let fault: String?
}

/// Reads lines of one file; remembers which photos are there.
private struct RowReader {
    let path: String
    let folder: String
    let splits: Set<String>?
    let views: RowViews
    let needsPhotos: Bool
    /// Rows that are passed over for being of one view.
    private(set) var ofOtherViews = 0
    /// Rows of other splits than those wanted.
    private(set) var others: [String: Int] = [:]
    private let decoder = JSONDecoder()
    /// By path, as the file spells it.
    private var photos: [String: RowPhoto] = [:]
    /// By what a photo is known by: as the first row of it has it.
    private var first: [String: RowPhoto] = [:]

    init(path: String, splits: Set<String>?, views: RowViews, needsPhotos: Bool) {
        self.path = path
        folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
        self.splits = splits
        self.views = views
        self.needsPhotos = needsPhotos
    }

    /// The row of a line; nil for a row of another split.
    mutating func row(_ line: ArraySlice<UInt8>, number: Int) throws(RowFault) -> ExampleRow? {
        let record = try record(line)
        let split = record.split ?? "train"
        if let splits, !splits.contains(split) {
            others[split, default: 0] += 1
            return nil
        }
        guard let name = record.image, !name.isEmpty else { throw RowFault(reason: "has no image") }
        guard !name.utf8.contains(0) else { throw RowFault(reason: "has an image path with a zero byte in it") }
        let (task, answers) = try task(record)
        let view = try record.view.map { (view) throws(RowFault) in try self.view(view) }
        if let view {
            if case .shown(let count) = views, let fault = PhotoViews.fault(view, of: count) {
                throw RowFault(reason: fault)
            }
            if views == .whole, view > 0 {
                ofOtherViews += 1
                return nil
            }
        }
        let photo = photo(name)
        if needsPhotos, let fault = photo.fault { throw RowFault(reason: "the photo \(name) \(fault)") }
        return ExampleRow(
            image: photo.path, imageName: photo.name, task: task, answers: answers, split: split, file: path,
            line: number, kind: record.kind ?? record.type, isDerived: record.derived ?? false, view: view)
    }

    private func view(_ view: Double) throws(RowFault) -> Int {
        guard let number = Int(exactly: view), number >= 0 else {
            throw RowFault(reason: "has a view that is no number of one: the whole photo is 0")
        }
        return number
    }

    private func task(_ record: RowRecord) throws(RowFault) -> (ExampleRow.Task, [String]) {
        if let caption = record.caption {
            guard record.question == nil else { throw RowFault(reason: "has both a caption and a question") }
            return (.caption(try text(caption, "caption")), [])
        }
        guard let question = record.question else { throw RowFault(reason: "has neither caption nor question") }
        var answers: [String] = []
        for answer in record.answers ?? [] { answers.append(try text(answer, "answer")) }
        guard let answer = record.answer ?? Self.commonest(answers) else { throw RowFault(reason: "has no answer") }
        let learned = try text(answer, "answer")
        return (.question(try text(question, "question"), answer: learned), answers.isEmpty ? [learned] : answers)
    }

    /// The text, if there is something in it and not too much.
    private func text(_ text: String, _ name: String) throws(RowFault) -> String {
        guard !text.allSatisfy(\.isWhitespace) else { throw RowFault(reason: "has an empty \(name)") }
        let size = text.utf8.count
        guard size <= ExampleRows.textLimit else {
            throw RowFault(reason: "has a \(name) of \(size) bytes; at most \(ExampleRows.textLimit) are read")
        }
        return text
    }

    /// The answer that was given most often, of several the first.
    private static func commonest(_ answers: [String]) -> String? {
        var counts: [String: Int] = [:]
        for answer in answers { counts[answer, default: 0] += 1 }
        let most = counts.values.max()
        return answers.first { counts[$0] == most }
    }

    /// The photo that a row names. Other spellings of its path, and links to it, are the photo that was there first.
    private mutating func photo(_ spelled: String) -> RowPhoto {
        if let known = photos[spelled] { return known }
        let path = spelled.hasPrefix("/") ? spelled : folder + spelled
        var photo = RowPhoto(path: path, name: RealPath.tidy(spelled), fault: DataFile.fault(path))
        if photo.fault == nil || !needsPhotos {
            let identity = RealPath.identity(path)
            photo = first[identity] ?? photo
            first[identity] = photo
        }
        photos[spelled] = photo
        return photo
    }

    private func record(_ line: ArraySlice<UInt8>) throws(RowFault) -> RowRecord {
        let text = JSONLine(bytes: line)
        guard !text.hasZero else { throw RowFault(reason: "is not an object in JSON: it has a zero byte") }
        let record: RowRecord
        do {
            record = try decoder.decode(RowRecord.self, from: Data(line))
        } catch let error as DecodingError {
            if case .typeMismatch(_, let context) = error, let key = context.codingPath.first {
                throw RowFault(reason: "has a \(key.stringValue) of the wrong type")
            }
            if case .valueNotFound(_, let context) = error, let key = context.codingPath.first {
                throw RowFault(reason: "has a null in \(key.stringValue)")
            }
            throw RowFault(reason: "is not an object in JSON" + (text.fault.map { ": \($0)" } ?? ""))
        } catch { throw RowFault(reason: "is not an object in JSON") }
        if let fault = text.memberFault { throw RowFault(reason: fault) }
        return record
    }
}

/// The keys of a line; others are passed over.
private struct RowRecord: Decodable {
    var image: String?
    var caption: String?
    var question: String?
    var answer: String?
    var answers: [String]?
    var split: String?
    var type: String?
    var kind: String?
    var derived: Bool?
    /// Whole, or the row is a bad one.
    var view: Double?
}
