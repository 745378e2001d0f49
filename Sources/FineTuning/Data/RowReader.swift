// What a line of a data set says, as a row: the keys that are known, the photo that they name, and why a line is none.
//
// Invariants: the texts of a row have something in them and are bounded; all rows of a photo that one reader makes have its
// first row's path and name. Failure modes: RowFault, a reason in words.

internal import FoundationEssentials

/// Why a line is no row.
struct RowFault: Error {
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
struct RowReader {
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
        try row(JSONLine(bytes: line).object(RowRecord.self, decoder), number: number)
    }

    /// The row that a line's keys make; nil for a row of another split.
    mutating func row(_ record: RowRecord, number: Int) throws(RowFault) -> ExampleRow? {
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
            return (.caption(try Self.text(caption, "caption")), [])
        }
        guard let question = record.question else { throw RowFault(reason: "has neither caption nor question") }
        var answers: [String] = []
        for answer in record.answers ?? [] { answers.append(try Self.text(answer, "answer")) }
        guard let answer = record.answer ?? Self.commonest(answers) else { throw RowFault(reason: "has no answer") }
        let learned = try Self.text(answer, "answer")
        return (.question(try Self.text(question, "question"), answer: learned), answers.isEmpty ? [learned] : answers)
    }

    /// The text, if there is something in it and not too much.
    static func text(_ text: String, _ name: String) throws(RowFault) -> String {
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
}

/// The keys of a line; others are passed over.
struct RowRecord: Decodable {
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
