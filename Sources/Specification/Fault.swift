// What is wrong with a document, and where: one `Fault` each, all of them in a `Faults`.
//
// Invariants: a `Faults` holds at least one fault, in the order of the text; texts quoted from the document are cut and
// have their control characters escaped, so that a hostile document cannot forge lines in a log.
public import Diagnostics

/// A place in a text: line and column, both from 1; columns count characters.
public struct Position: Sendable, Equatable, Comparable {
    /// The line, from 1.
    public let line: Int
    /// The column in characters, from 1.
    public let column: Int

    /// Makes a position from a line and a column, both from 1.
    public init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }

    /// Earlier in the text comes first.
    public static func < (left: Position, right: Position) -> Bool {
        (left.line, left.column) < (right.line, right.column)
    }
}

/// One thing that is wrong with a document.
public struct Fault: Sendable, Equatable {
    /// Where; `nil` when it is about the document as a whole.
    public let position: Position?
    /// What is wrong and what is allowed, as one sentence without a full stop.
    public let cause: String
    /// What to do about it; may be empty.
    public let hint: String

    init(at position: Position?, _ cause: String, hint: String = "") {
        self.position = position
        self.cause = cause
        self.hint = hint
    }

    /// `3:5: unknown key "prority". Did you mean "priority"?`
    var line: String {
        let place = position.map { "\($0.line):\($0.column): " } ?? ""
        return hint.isEmpty ? place + cause : "\(place)\(cause). \(hint)"
    }
}

/// Every fault that was found in a document, in the order of its text.
public struct Faults: Error, Sendable, Equatable {
    /// At least one fault.
    public let all: [Fault]

    /// How many faults a `Failure` spells out; a document can be wrong in thousands of places.
    static let spelledOut = 20

    init(_ first: Fault, _ others: [Fault] = []) {
        // Stable: faults of one place stay in the order of their discovery.
        all = ([first] + others).enumerated().sorted { left, right in
            let start = Position(line: 0, column: 0)
            let (a, b) = (left.element.position ?? start, right.element.position ?? start)
            return a == b ? left.offset < right.offset : a < b
        }.map(\.element)
    }

    /// The same as a failure about the file `name`: `name:3:5: …` for one fault, one line each for several.
    public func failure(_ code: FailureCode, in name: String) -> Failure {
        if let only = all.first, all.count == 1 {
            let object = only.position.map { "\(name):\($0.line):\($0.column)" } ?? name
            return Failure(code, object, only.cause, hint: only.hint)
        }
        var lines = ["has \(all.count) faults"]
        lines += all.prefix(Self.spelledOut).map { "\n  \($0.line)" }
        if all.count > Self.spelledOut { lines.append("\n  and \(all.count - Self.spelledOut) more") }
        return Failure(code, name, lines.joined())
    }
}

/// `text` in quotation marks, at most 60 characters of it, control characters escaped.
func quoted(_ text: String) -> String {
    var shown = "\""
    for scalar in text.unicodeScalars.prefix(60) {
        switch scalar {
        case "\n": shown += "\\n"
        case "\t": shown += "\\t"
        case "\"", "\\": shown += "\\" + String(scalar)
        case _ where isControl(scalar): shown += "\\u{" + String(scalar.value, radix: 16) + "}"
        default: shown.unicodeScalars.append(scalar)
        }
    }
    return text.unicodeScalars.count > 60 ? shown + "…\"" : shown + "\""
}

/// Whether a character steers a terminal or a text's direction or lines instead of being seen.
func isControl(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator: true
    default: false
    }
}
