// An instant as the documents write it: RFC 3339 in UTC with milliseconds, `2026-11-23T11:22:33.456Z`.

import FoundationEssentials

/// A point in time, in whole milliseconds since 1970.
public struct Timestamp: Sendable, Hashable, Comparable {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    public let milliseconds: Int64

    /// Makes an instant from milliseconds since 1970.
    public init(milliseconds: Int64) { self.milliseconds = milliseconds }

    /// The present instant of the system's clock.
    public static var now: Timestamp {
        Timestamp(milliseconds: Int64((Date().timeIntervalSince1970 * 1000).rounded()))
    }

    /// Whether `left` is the earlier one.
    public static func < (left: Timestamp, right: Timestamp) -> Bool { left.milliseconds < right.milliseconds }

    private static let fractions = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
    private static let wholeSeconds = Date.ISO8601FormatStyle()
}

extension Timestamp: Codable {
    /// Reads RFC 3339, with or without fractions of a second.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let date = (try? Self.fractions.parse(text)) ?? (try? Self.wholeSeconds.parse(text)),
            let milliseconds = Int64(exactly: (date.timeIntervalSince1970 * 1000).rounded())
        else { throw DecodingError.dataCorruptedError(in: container, debugDescription: "\(text) is not a time") }
        self.init(milliseconds: milliseconds)
    }

    /// Writes RFC 3339 in UTC with milliseconds.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

extension Timestamp: CustomStringConvertible {
    /// `2026-11-23T11:22:33.456Z`.
    public var description: String {
        // The style would cut fractions of a Double, and .356 may lie just below: the milliseconds are written as they are.
        let (seconds, rest) = milliseconds.quotientAndRemainder(dividingBy: 1000)
        let digits = String(rest < 0 ? rest + 1000 : rest)
        let date = Date(timeIntervalSince1970: Double(rest < 0 ? seconds - 1 : seconds)).formatted(Self.wholeSeconds)
        return date.dropLast() + "." + String(repeating: "0", count: 3 - digits.count) + digits + "Z"
    }
}
