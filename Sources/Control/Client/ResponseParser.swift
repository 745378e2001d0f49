// Reads one HTTP/1.1 response from bytes as they come (RFC 9112): what memvpctl needs, and nothing it does not ask for.
//
// Invariants: head and body are bounded before they are kept; a body ends by its Content-Length or by the close of the
// connection; informational responses (1xx) are skipped. Anything else is a `protocol_violation`.

import Diagnostics

/// An HTTP response being put together.
struct ResponseParser {
    /// A whole response.
    struct Response: Sendable, Equatable {
        var status: Int
        var contentType: String
        var body: [UInt8]
    }

    private struct Head {
        var status: Int
        var contentType: String
        var length: Int?
    }

    static let headLimit = 16 << 10

    private let bodyLimit: Int
    private var buffer: [UInt8] = []
    private var head: Head?

    init(bodyLimit: Int) { self.bodyLimit = bodyLimit }

    /// Takes bytes; gives the response once it is whole.
    mutating func feed(_ bytes: some Collection<UInt8>) throws(Failure) -> Response? {
        guard bytes.count <= bodyLimit + Self.headLimit - buffer.count else { throw Self.tooLong(bodyLimit) }
        buffer += bytes
        while head == nil {
            guard let end = Self.headEnd(buffer) else {
                guard buffer.count <= Self.headLimit else { throw Self.failure("has a head of more than 16 KiB") }
                return nil
            }
            let parsed = try Self.parseHead(buffer[..<end])
            buffer.removeSubrange(..<(end + 4))
            // 100 Continue and its like announce the answer; they are not it.
            if !(100..<200).contains(parsed.status) { head = parsed }
        }
        guard let head else { return nil }
        if let length = head.length {
            guard length <= bodyLimit else { throw Self.tooLong(bodyLimit) }
            guard buffer.count >= length else { return nil }
            return Response(status: head.status, contentType: head.contentType, body: Array(buffer[..<length]))
        }
        guard buffer.count <= bodyLimit else { throw Self.tooLong(bodyLimit) }
        return nil
    }

    /// The peer has closed: that ends a body without a length, and is an error before or within any other.
    func finish() throws(Failure) -> Response {
        guard let head else {
            throw Self.failure(
                buffer.isEmpty ? "did not come: the daemon closed the connection" : "ends within its head")
        }
        guard let length = head.length else {
            return Response(status: head.status, contentType: head.contentType, body: buffer)
        }
        throw Self.failure("ends after \(buffer.count) of \(length) bytes")
    }

    private static func headEnd(_ buffer: [UInt8]) -> Int? {
        let mark: [UInt8] = [13, 10, 13, 10]
        guard buffer.count >= 4 else { return nil }
        return (0...min(buffer.count - 4, headLimit)).first { buffer[$0..<($0 + 4)].elementsEqual(mark) }
    }

    private static func parseHead(_ bytes: ArraySlice<UInt8>) throws(Failure) -> Head {
        // By bytes: in a String, CR LF is one Character.
        var lines = bytes.split(separator: 10, omittingEmptySubsequences: false).map { line in
            String(decoding: line.last == 13 ? line.dropLast() : line, as: UTF8.self)
        }
        let first = lines.removeFirst().split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
        guard first.count >= 2, first[0] == "HTTP/1.1" || first[0] == "HTTP/1.0", first[1].utf8.count == 3,
            let status = Int(first[1]), (100...599).contains(status)
        else { throw failure("does not begin with an HTTP/1.1 status line") }
        var contentType = ""
        var length: Int?
        for line in lines {
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else { throw failure("has a header line without a colon") }
            let value = parts[1].drop { $0 == " " || $0 == "\t" }
            switch parts[0].lowercased() {
            case "content-type": contentType = String(value)
            case "content-length":
                guard length == nil, value.utf8.allSatisfy({ (48...57).contains($0) }), let number = Int(value) else {
                    throw failure("has a Content-Length that is no number")
                }
                length = number
            case "transfer-encoding": throw failure("has a Transfer-Encoding, which memvpd does not send")
            default: break
            }
        }
        return Head(status: status, contentType: contentType, length: length)
    }

    private static func tooLong(_ limit: Int) -> Failure { failure("has more than \(limit) bytes") }

    private static func failure(_ cause: String) -> Failure {
        Failure(.protocolViolation, "response", cause, hint: "Is the socket really memvpd's?")
    }
}
