// Failures of several lines where one line is wanted: in the log, in status, in a job's explanation.
//
// Invariant: only the line feeds of a cause or a hint become "; ". Those are ours: they part the faults of a document, whose
// quoted texts have theirs escaped. One in an object is a file name's; it stays, and is made harmless where it is shown, so
// that no name can look like a fault of its own.

public import Diagnostics

extension String {
    /// The lines of the text as parts of one: each line feed, with the blanks around it, is "; ". Not for file names.
    public var onOneLine: String {
        guard unicodeScalars.contains(where: { $0 == "\n" }) else { return self }
        let lines = unicodeScalars.split { $0 == "\n" }.map { line -> String in
            let start = line.drop { $0 == " " }
            guard let last = start.lastIndex(where: { $0 != " " }) else { return "" }
            return String(start[...last])
        }
        return lines.filter { !$0.isEmpty }.joined(separator: "; ")
    }
}

extension Failure {
    /// The same failure with its cause and its hint on one line; its object stays as it is.
    public var onOneLine: Failure { Failure(code, object, cause.onOneLine, hint: hint.onOneLine) }
}
