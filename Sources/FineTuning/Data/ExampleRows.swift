// The reader of data sets in JSON Lines (docs/DATA.md).
//
// Invariants: rows come in the order of the file; a bad row costs itself alone, and is named by file and line. All rows of a
// photo have one path and one name, those of the first of them, however the others spell it: whoever groups rows by `image`
// groups them by photo. A photo is looked for, not opened: whether it decodes is found out by whoever decodes it. Paths may lead
// anywhere: the file is its user's own, and is read with the user's own rights.
// Failure modes: `not_found`, `unreadable`, `not_regular_file` for the file; `spec_invalid` for one that is too large,
// for a bad row under `stop` and for a file without a row that can be used.

public import Diagnostics

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
        var reader = RowReader(path: path, splits: splits, views: views, needsPhotos: needsPhotos)
        var found = RowLines()
        var bad = 0
        for (number, line) in try DataLines(of: path) {
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
