// The configuration as it comes out of a file and the defaults, and where each value is from.
//
// Reading is strict: unknown keys, wrong types, values out of range, relative paths and directories that lie in one another
// are faults, all reported at once with line and column. An empty file is all defaults; `key:` with nothing
// after it is a fault, since it may have been meant to say something.
// Failure modes: `configuration_invalid` (exit 78).
public import Diagnostics

/// A configuration and the source of each of its values.
public struct EffectiveConfiguration: Sendable, Equatable {
    /// The values.
    public let configuration: DaemonConfiguration
    /// The file that was read; nil for the defaults alone.
    public let file: String?
    /// Where the keys that the file has stand in it, by name (`limits.tasks`).
    private let positions: [String: Position]

    /// The defaults, from no file.
    public init() {
        configuration = DaemonConfiguration()
        file = nil
        positions = [:]
    }

    /// Reads a configuration file.
    ///
    /// - Parameters:
    ///   - bytes: The file's content, at most 64 KiB.
    ///   - name: What the failure and the printed configuration call the file.
    /// - Throws: `configuration_invalid` with every fault and its line and column.
    public init(yaml bytes: [UInt8], named name: String) throws(Failure) {
        do {
            let decoded = try ConfigurationDecoder.decode(bytes)
            configuration = decoded.configuration
            positions = decoded.positions
            file = name
        } catch {
            throw error.failure(.configurationInvalid, in: name)
        }
    }

    /// The whole configuration as a document that could itself be read, each value with its source as a comment:
    /// what `memvpd --check-config` prints.
    public var description: String {
        var lines = [
            file.map { "# From \(quoted($0)); keys that it does not have are at their defaults." } ?? "# Defaults."
        ]
        var group: String?
        for key in ConfigurationKey.all {
            if let entered = key.group, entered != group { lines.append("\(entered):") }
            group = key.group
            let entry = "\(group == nil ? "" : "  ")\(key.leaf): \(key.write(configuration))"
            let source = positions[key.name].map { "line \($0.line)" } ?? "default"
            lines.append("\(entry)\(String(repeating: " ", count: max(1, 44 - entry.count)))# \(source)")
        }
        return lines.joined(separator: "\n") + "\n"
    }
}

extension EffectiveConfiguration: CustomStringConvertible {}

extension EffectiveConfiguration {
    /// The keys whose values differ, in the order of the file.
    public static func differences(between one: DaemonConfiguration, and other: DaemonConfiguration) -> [String] {
        ConfigurationKey.all.filter { $0.write(one) != $0.write(other) }.map(\.name)
    }
}

/// Decodes one configuration file.
struct ConfigurationDecoder {
    /// Twenty times the shipped file with its comments would not be more.
    static let maximumBytes = 65_536

    private(set) var configuration = DaemonConfiguration()
    private(set) var positions: [String: Position] = [:]
    private var reader = FieldReader()

    static func decode(_ bytes: [UInt8]) throws(Faults) -> ConfigurationDecoder {
        var decoder = ConfigurationDecoder()
        guard let root = try YAMLTree.parse(bytes, limit: maximumBytes) else { return decoder }
        decoder.take(root)
        // Faults between values are looked for even after faults of single values: those keep their defaults, which
        // are good, so nothing is reported that is not there.
        decoder.compare()
        try decoder.reader.throwFaults()
        return decoder
    }

    private mutating func take(_ root: Node) {
        let names = ConfigurationKey.all.map { $0.group ?? $0.name }
        let known = names.enumerated().filter { $0.offset == names.firstIndex(of: $0.element) }.map(\.element)
        guard let top = reader.mapping(root, "the document", keys: known, expected: "a mapping of settings") else {
            return
        }
        for (name, _) in ConfigurationKey.groups {
            guard let field = top[name] else { continue }
            let keys = ConfigurationKey.all.filter { $0.group == name }
            let fields = reader.mapping(field.value, name, keys: keys.map(\.leaf), expected: "a mapping of settings")
            for key in keys { take(key, fields?[key.leaf]) }
        }
        for key in ConfigurationKey.all where key.group == nil { take(key, top[key.name]) }
    }

    private mutating func take(_ key: ConfigurationKey, _ field: Node.Field?) {
        guard let field, key.read(field.value, &reader, &configuration) else { return }
        positions[key.name] = field.value.position
    }

    // MARK: Values that must agree

    private mutating func compare() {
        let places = places()
        for (index, inner) in places.enumerated() {
            for outer in places[..<index] { comparePlaces(inner, outer) }
        }
        compareOrder("pairing.grace", configuration.pairing.grace, "pairing.timeout", configuration.pairing.timeout)
        compareOrder("settle", configuration.settle, "writing_timeout", configuration.writingTimeout)
        compareOrder("retry.initial", configuration.retry.initial, "retry.maximum", configuration.retry.maximum)
        if let textfile = configuration.metrics.textfile, !textfile.hasSuffix(".prom") {
            reader.report(
                positions["metrics.textfile"], "metrics.textfile: \(quoted(textfile)) does not end in .prom",
                hint: "node_exporter reads no other files.")
        }
    }

    /// Something at a path: a directory of ours, or a file that must not stand in one.
    private struct Place {
        let key: String
        let path: String
        let isDirectory: Bool
    }

    private func places() -> [Place] {
        let directories = configuration.directories
        var places = [
            ("directories.inbox", directories.inbox), ("directories.spool", directories.spool),
            ("directories.outbox", directories.outbox), ("directories.failed", directories.failed),
            ("directories.done", directories.done), ("model", configuration.model),
        ].map { Place(key: $0.0, path: $0.1, isDirectory: true) }
        places.append(Place(key: "sockets.control", path: configuration.sockets.control, isDirectory: false))
        places.append(Place(key: "sockets.metrics", path: configuration.sockets.metrics, isDirectory: false))
        if let textfile = configuration.metrics.textfile {
            places.append(Place(key: "metrics.textfile", path: textfile, isDirectory: false))
        }
        return places
    }

    private mutating func comparePlaces(_ first: Place, _ second: Place) {
        let subject: Place
        let object: Place
        switch (first.path, second.path) {
        case let (inner, outer) where inner == outer,
            let (inner, outer) where second.isDirectory && inner.hasPrefix(outer + "/"):
            (subject, object) = (first, second)
        case let (outer, inner) where first.isDirectory && inner.hasPrefix(outer + "/"):
            (subject, object) = (second, first)
        default: return
        }
        let words = subject.path == object.path ? "is the same as" : "lies inside"
        // Blame what the file says, not a default.
        let position = positions[subject.key] ?? positions[object.key]
        reader.report(
            position, "\(subject.key) \(quoted(subject.path)) \(words) \(object.key) \(quoted(object.path))",
            hint: "Give each a place of its own.")
    }

    private mutating func compareOrder(_ lower: String, _ low: Duration, _ upper: String, _ high: Duration) {
        guard low > high else { return }
        reader.report(positions[lower] ?? positions[upper], "\(lower) is longer than \(upper)")
    }
}
