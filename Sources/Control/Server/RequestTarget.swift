// The path and query of a request (RFC 3986, RFC 9112 section 3.2), decoded strictly.
//
// Invariants: a segment is never empty, `.` or `..`, and holds no slash, no control character and nothing but valid UTF-8;
// no query name comes twice. What does not fit is refused, never mended.

import Diagnostics

/// A decoded request target.
struct RequestTarget: Sendable, Equatable {
    let segments: [String]
    let query: [String: String]

    /// Takes the origin form (`/v1/queue?limit=5`), or the absolute form with any authority (`http://memvpd/v1/queue`).
    ///
    /// - Throws: `protocol_violation`.
    init(_ target: String) throws(Failure) {
        guard target.utf8.allSatisfy({ (0x21...0x7E).contains($0) }), !target.utf8.contains(UInt8(ascii: "#")) else {
            throw Self.failure("has characters that must be percent-encoded")
        }
        var rest = target[...]
        if rest.lowercased().hasPrefix("http://") {
            rest = rest.dropFirst(7)
            rest = rest.firstIndex(where: { $0 == "/" || $0 == "?" }).map { rest[$0...] } ?? "/"
        }
        guard rest.hasPrefix("/") else { throw Self.failure("does not begin with a slash") }
        let parts = rest.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        segments = try Self.segments(parts[0].dropFirst())
        query = parts.count == 2 ? try Self.query(parts[1]) : [:]
    }

    private static func segments(_ path: Substring) throws(Failure) -> [String] {
        if path.isEmpty { return [] }
        var segments: [String] = []
        for raw in path.split(separator: "/", omittingEmptySubsequences: false) {
            let segment = try decode(raw, plusIsSpace: false)
            guard !segment.isEmpty, segment != ".", segment != "..", !segment.contains("/") else {
                throw failure("has an empty, `.`, `..` or slashed segment")
            }
            segments.append(segment)
        }
        return segments
    }

    private static func query(_ text: Substring) throws(Failure) -> [String: String] {
        var query: [String: String] = [:]
        for pair in text.split(separator: "&", omittingEmptySubsequences: false) where !text.isEmpty {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = try decode(parts[0], plusIsSpace: true)
            guard !name.isEmpty else { throw failure("has a query without a name") }
            let value = parts.count == 2 ? try decode(parts[1], plusIsSpace: true) : ""
            guard query.updateValue(value, forKey: name) == nil else { throw failure("names `\(name)` twice") }
        }
        return query
    }

    private static func decode(_ text: Substring, plusIsSpace: Bool) throws(Failure) -> String {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "%"):
                guard let high = rest.popFirst().flatMap(digit), let low = rest.popFirst().flatMap(digit) else {
                    throw failure("has a % without two hexadecimal digits")
                }
                bytes.append(high << 4 | low)
            case UInt8(ascii: "+") where plusIsSpace: bytes.append(UInt8(ascii: " "))
            default: bytes.append(byte)
            }
        }
        guard let decoded = String(validating: bytes, as: UTF8.self) else { throw failure("is not UTF-8") }
        guard !decoded.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else {
            throw failure("has control characters")
        }
        return decoded
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    private static func failure(_ cause: String) -> Failure {
        Failure(.protocolViolation, "request target", cause, hint: "Write it as in /v1/status.")
    }
}
