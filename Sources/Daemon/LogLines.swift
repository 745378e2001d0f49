// The daemon's log on standard error: one line an event, as text for people and the journal or as JSON for machines.
//
// Invariants: one line is one write; control characters never reach a terminal, so a file's name cannot forge a line.

internal import Control
internal import Diagnostics
public import Logging
public import Specification
internal import SystemPackage

/// Writes log lines to standard error.
public struct LogLines: LogHandler {
    /// Added to every line.
    public var metadata: Logger.Metadata = [:]
    /// The least level that is written.
    public var logLevel: Logger.Level
    private let format: LogFormat

    /// A logger as the configuration wants it.
    public static func logger(_ log: DaemonConfiguration.Log) -> Logger {
        Logger(label: "memvpd") { _ in
            LogLines(logLevel: Logger.Level(rawValue: log.level.rawValue) ?? .info, format: log.format)
        }
    }

    init(logLevel: Logger.Level, format: LogFormat) {
        (self.logLevel, self.format) = (logLevel, format)
    }

    /// One value of the metadata.
    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// Writes one line.
    public func log(event: LogEvent) {
        let values = metadata.merging(event.metadata ?? [:]) { _, new in new }.mapValues { "\($0)" }
        let line = line(event.level, "\(event.message)", values)
        // A log that cannot be written is no reason to stop working.
        _ = try? FileDescriptor.standardError.writeAll(line)
    }

    /// One line. A line feed in the message may be a file name's, so none means anything here: what parts the faults of a
    /// document is made "; " before (`Failure.onOneLine`).
    func line(_ level: Logger.Level, _ message: String, _ values: [String: String]) -> [UInt8] {
        if format == .json {
            var object = values
            object["time"] = Timestamp.now.description
            object["level"] = level.rawValue
            object["message"] = message
            return (try? ControlJSON.encode(object)) ?? []
        }
        let suffix = values.sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }.joined()
        let text = "\(level.rawValue): \(message)\(suffix)".unicodeScalars.map { scalar in
            scalar.properties.generalCategory == .control ? Character("\u{FFFD}") : Character(scalar)
        }
        return Array((String(text) + "\n").utf8)
    }
}
