// What every part of memvpd throws: a value that says what failed, on which object, why, and what to do about it.
// Codes are stable: scripts, metrics labels and `failed/JOB/reason.json` carry them. The table is `FailureCode`.

/// An explained error: code, object, cause and hint (DESIGN 3: "what, where, why, what to do").
public struct Failure: Error, Sendable, Equatable {
    /// The stable code; also the metrics label and the `error.code` of an answer.
    public let code: FailureCode
    /// The file, key, tensor, socket or job that the failure is about.
    public let object: String
    /// Why it failed, as one sentence without a closing full stop.
    public let cause: String
    /// What the reader can do about it; empty when there is nothing to do.
    public let hint: String

    /// Makes an explained error; `hint` may be left out where nothing can be done.
    public init(_ code: FailureCode, _ object: String, _ cause: String, hint: String = "") {
        self.code = code
        self.object = object
        self.cause = cause
        self.hint = hint
    }

    /// The same failure, about a more precise object: used where a caller knows the file and the callee only its part.
    public func about(_ outer: String) -> Failure {
        Failure(code, object.isEmpty ? outer : "\(outer): \(object)", cause, hint: hint)
    }

    /// The same failure with other advice.
    public func advising(_ hint: String) -> Failure { Failure(code, object, cause, hint: hint) }
}

extension Failure: CustomStringConvertible {
    /// `object: cause [code]. hint`, harmless to a terminal. Line feeds stay, for whoever parts the faults of a document.
    public var description: String {
        let head = object.isEmpty ? cause : "\(object): \(cause)"
        let text = hint.isEmpty ? "\(head) [\(code.rawValue)]" : "\(head) [\(code.rawValue)]. \(hint)"
        return text.harmlessLines
    }
}
