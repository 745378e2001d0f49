// What a handler is given and what it gives back: plain values, no NIO in sight.

public import Diagnostics

/// One HTTP request, whole and within the limits.
public struct ControlRequest: Sendable {
    /// The method, of which only GET, HEAD and POST have routes.
    public enum Method: Sendable, Hashable {
        /// Reads.
        case get
        /// Reads, without the body.
        case head
        /// Acts.
        case post
        /// Any other, by name.
        case other(String)

        /// The method's name as on the wire.
        public var name: String {
            switch self {
            case .get: "GET"
            case .head: "HEAD"
            case .post: "POST"
            case .other(let name): name
            }
        }

        init(_ name: String) {
            switch name {
            case "GET": self = .get
            case "HEAD": self = .head
            case "POST": self = .post
            default: self = .other(name)
            }
        }
    }

    /// What is asked: read or act.
    public let method: Method
    /// The path's parts, decoded.
    public let segments: [String]
    /// The query's values by name, decoded.
    public let query: [String: String]
    /// The body's bytes, at most `ServerLimits.bodyBytes`.
    public let body: [UInt8]
    /// Which socket it came through.
    public let socket: SocketRole
    /// Who asks, for the log; `nil` when the kernel does not say.
    public let peer: PeerCredentials?
    /// The values of the route's `:name` parts; filled in by the router.
    public internal(set) var parameters: [String: String] = [:]

    /// The path, for messages.
    public var path: String { "/" + segments.joined(separator: "/") }

    /// The value of the route's part `:name`.
    ///
    /// - Throws: `internal_error` when the route has no such part.
    public func parameter(_ name: String) throws(Failure) -> String {
        guard let value = parameters[name] else {
            throw Failure(
                .internalError, path, "the route has no parameter \(name)",
                hint: "Report it; it is a fault of memvpd itself.")
        }
        return value
    }

    /// A number from the query, `standard` when it is not given.
    ///
    /// - Throws: `usage` when it is no whole number within `range`.
    public func number(_ name: String, standard: Int, in range: ClosedRange<Int>) throws(Failure) -> Int {
        guard let text = query[name] else { return standard }
        guard let value = Int(text), range.contains(value) else {
            throw Failure(
                .usage, name, "should be a whole number, but is \(text)",
                hint: "Give one from \(range.lowerBound) to \(range.upperBound).")
        }
        return value
    }
}

/// The answer to a request.
public struct ControlResponse: Sendable, Equatable {
    /// The HTTP status code.
    public var status: Int
    /// The body's media type.
    public var contentType: String
    /// The body's bytes.
    public var body: [UInt8]
    /// Further header fields.
    public var headers: [String: String] = [:]

    /// An answer with a text.
    public static func text(_ text: String, contentType: String = "text/plain; charset=utf-8") -> ControlResponse {
        ControlResponse(status: 200, contentType: contentType, body: Array(text.utf8))
    }

    /// An answer with a document as JSON, ended by a line feed.
    public static func json(_ document: some Encodable, status: Int = 200) -> ControlResponse {
        do throws(Failure) {
            return ControlResponse(
                status: status, contentType: "application/json", body: try ControlJSON.encode(document))
        } catch {
            return failure(error)
        }
    }

    /// An explained error; the status follows from its code.
    public static func failure(_ failure: Failure, status: Int? = nil) -> ControlResponse {
        let status = status ?? failure.code.httpStatus
        // Encoding three strings does not fail; were it to, the status alone would still say what matters.
        let body = (try? ControlJSON.encode(ErrorDocument(failure))) ?? []
        return ControlResponse(status: status, contentType: "application/json", body: body)
    }
}

extension FailureCode {
    /// The HTTP status (RFC 9110 section 15) that goes with the code.
    var httpStatus: Int {
        switch self {
        case .notFound, .imageMissing: 404
        case .permissionDenied, .unreadable: 403
        case .unavailable, .temporary: 503
        case .noSpace: 507
        case .internalError, .inputOutput, .cannotCreate: 500
        case .modelInvalid, .modelUnsupported, .modelMissing, .adapterMismatch, .adapterWorse, .configurationInvalid:
            422
        case .emptyFile, .unsupportedType, .corruptImage, .imageTooLarge, .notRegularFile, .specInvalid, .specLate,
            .specConflict, .promptTooLong, .usage, .poison, .removed, .protocolViolation:
            400
        }
    }
}
