// Errors on the wire: {"error":{"code":…,"message":…,"hint":…}}, open for codes that this version does not know.

public import Diagnostics

/// A failure code as it comes over the wire: one that this version knows, or text.
public enum ErrorCode: Sendable, Hashable {
    /// In this version's table.
    case known(FailureCode)
    /// From a newer version; kept as it came.
    case other(String)

    /// The code's text.
    public var text: String {
        switch self {
        case .known(let code): code.rawValue
        case .other(let text): text
        }
    }
}

extension ErrorCode: Codable {
    /// Any string is a code.
    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        self = FailureCode(rawValue: text).map(ErrorCode.known) ?? .other(text)
    }

    /// Writes the code's text.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(text)
    }
}

/// An explained error inside a document.
public struct ErrorDetail: Codable, Sendable, Equatable {
    /// The stable code.
    public var code: ErrorCode
    /// What failed and why, as one sentence.
    public var message: String
    /// What to do about it; empty when there is nothing.
    public var hint: String

    /// Makes the detail of a failure, on one line.
    public init(_ failure: Failure) { self.init(lines: failure.onOneLine) }

    /// Makes the detail of a failure, with its lines.
    init(lines failure: Failure) {
        code = .known(failure.code)
        message = failure.object.isEmpty ? failure.cause : "\(failure.object): \(failure.cause)"
        hint = failure.hint
    }

    /// Reads a detail; a hint may be missing.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        code = try container.decode(ErrorCode.self, forKey: .code)
        message = try container.decode(String.self, forKey: .message)
        hint = try container.decodeIfPresent(String.self, forKey: .hint) ?? ""
    }
}

/// The body of every answer that is not a success.
public struct ErrorDocument: Codable, Sendable, Equatable {
    /// What failed.
    public var error: ErrorDetail

    /// Makes the document of a failure. It keeps its lines: clients write it to a terminal, a fault a line.
    public init(_ failure: Failure) { error = ErrorDetail(lines: failure) }

    /// The failure to throw at a client that got this document with HTTP status `status`: a code of a newer version is kept
    /// in the words, and the status decides what kind of failure it is.
    public func failure(status: Int) -> Failure {
        switch error.code {
        case .known(let code): return Failure(code, "", error.message, hint: error.hint)
        case .other(let text):
            let code: FailureCode =
                switch status {
                case 403: .permissionDenied
                case 404: .notFound
                case 503, 504: .unavailable
                case 400..<500: .usage
                default: .internalError
                }
            return Failure(code, text, error.message, hint: error.hint)
        }
    }
}
