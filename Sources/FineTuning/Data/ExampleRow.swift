// One row of a data set: a photo with a caption, or with a question and its answer. docs/DATA.md describes the file.
//
// Invariant: the texts of a row have something in them, and `answers` is empty exactly where the row is a caption.

internal import Diagnostics

/// A photo with what is to be said about it.
public struct ExampleRow: Sendable, Equatable {
    /// What is to be learned or asked.
    public enum Task: Sendable, Equatable {
        /// A caption of the photo.
        case caption(String)
        /// A question with the answer to learn.
        case question(String, answer: String)

        /// The caption; nil for a question.
        public var caption: String? { if case .caption(let text) = self { text } else { nil } }

        /// All its words.
        var text: String {
            switch self {
            case .caption(let caption): caption
            case .question(let question, let answer): "\(question) \(answer)"
            }
        }
    }

    /// Whether it is a caption, not a question.
    public var isCaption: Bool { task.caption != nil }

    /// The photo's path, ready to be opened; all rows of a photo that were read from one file have the same.
    public var image: String
    /// The photo's path as the file has it, relative to the file as a rule: the same on every machine. Of several spellings it
    /// is the first, without `.` and doubled slashes.
    public var imageName: String
    /// What is to be learned or asked.
    public var task: Task
    /// All answers that people gave to the question, the same one as often as it was given; empty for captions.
    public var answers: [String]
    /// The part of the data that the row belongs to: `train`, `dev`, `test`; `train` where the file names none.
    public var split: String
    /// The file that the row stands in; empty for one that was not read from a file.
    public var file: String
    /// The line of the file, from 1.
    public var line: Int
    /// The kind of question as the file names it (`type` or `kind`).
    public var kind: String?
    /// Whether a program made the row from others.
    public var isDerived: Bool
    /// The only view of the photo that the row is true of, as `PhotoViews` numbers them; nil for all.
    public var view: Int?

    /// A row; `answers` is the answer alone where it is left out.
    public init(
        image: String, imageName: String? = nil, task: Task, answers: [String]? = nil, split: String = "train",
        file: String = "", line: Int = 0, kind: String? = nil, isDerived: Bool = false, view: Int? = nil
    ) {
        self.image = image
        self.imageName = imageName ?? image
        self.task = task
        self.split = split
        self.file = file
        self.line = line
        self.kind = kind
        self.isDerived = isDerived
        self.view = view
        if case .question(_, let answer) = task { self.answers = answers ?? [answer] } else { self.answers = [] }
    }
}

/// A row that cannot be used, and why.
public struct BadRow: Sendable, Equatable, CustomStringConvertible {
    /// The file.
    public let file: String
    /// Its line, from 1.
    public let line: Int
    /// What is wrong with it, in words.
    public let reason: String

    /// A row of `file` that cannot be used.
    public init(file: String, line: Int, reason: String) {
        self.file = file
        self.line = line
        self.reason = reason
    }

    /// `file:line: reason`, in one line whatever the row holds.
    public var description: String { "\(file):\(line): \(reason)".harmless }
}

/// What happens at a row that cannot be used (`--on-bad-row`).
public enum BadRowPolicy: String, Sendable, CaseIterable {
    /// It is named and counted, and the work goes on without it.
    case skip
    /// The work ends with it.
    case stop

    /// A row that could not be used, as its failure says, to be left out.
    ///
    /// - Parameter file: where the row stands, if the row does not say.
    /// - Throws: `spec_invalid` naming file, line and reason under `stop`.
    func leavesOut(_ row: ExampleRow, of file: String = "", because failure: Failure) throws(Failure) -> BadRow {
        let reason = failure.object.isEmpty ? failure.cause : "\(failure.object): \(failure.cause)"
        let bad = BadRow(file: row.file.isEmpty ? file : row.file, line: row.line, reason: reason)
        guard self == .skip else {
            throw Failure(
                .specInvalid, "\(bad.file):\(bad.line)", reason,
                hint: (failure.hint.isEmpty ? "Mend the row." : failure.hint)
                    + " Or leave bad rows out with --on-bad-row skip.")
        }
        return bad
    }
}
