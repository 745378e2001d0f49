// How a value is written: the text forms of numbers, durations, sizes, names, paths and words.
//
// A `Syntax` reads and writes one kind of value and says in words what it allows, so that every complaint can read
// `KEY: TEXT is not EXPECTED`. Quotation marks never change a meaning. Invariant: read(write(value)) is value for every
// value that read can give. Failure modes: text outside the form or the range reads as nil; nothing overflows.

/// The text form of one kind of value.
struct Syntax<Value: Sendable>: Sendable {
    /// What is allowed, such as `a whole number from 1 to 64`; completes "is not …".
    let expected: String
    let read: @Sendable (String) -> Value?
    let write: @Sendable (Value) -> String
}

// MARK: Numbers

extension Syntax where Value == Int {
    /// Decimal digits, perhaps after a minus sign; no leading zeros, which YAML 1.1 takes for octal.
    static func wholeNumber(_ range: ClosedRange<Int>, note: String = "") -> Syntax<Int> {
        Syntax<Int>(
            expected: "a whole number from \(range.lowerBound) to \(range.upperBound)\(note)",
            read: { text in digits(text, signed: true).flatMap { range.contains($0) ? $0 : nil } },
            write: { String($0) })
    }

    /// The `version:` of a document; each kind of document has had one so far.
    static var version: Syntax<Int> {
        Syntax<Int>(expected: "1, the only version there is", read: { $0 == "1" ? 1 : nil }, write: { String($0) })
    }

    /// Bytes: `65536`, `64KiB` or `20MB`.
    static func size(_ range: ClosedRange<Int>) -> Syntax<Int> {
        Syntax<Int>(
            expected:
                "a size from \(sizeText(range.lowerBound)) to \(sizeText(range.upperBound)), such as 64KiB or 20MB",
            read: { text in
                guard let (count, factor) = measure(text, units: sizeUnits, bare: 1) else { return nil }
                let (bytes, overflow) = count.multipliedReportingOverflow(by: factor)
                return !overflow && range.contains(bytes) ? bytes : nil
            },
            write: sizeText)
    }
}

private let sizeUnits: [(name: String, factor: Int)] = [
    ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("KB", 1_000), ("MB", 1_000_000),
    ("GB", 1_000_000_000),
]

/// The shortest exact form.
private func sizeText(_ bytes: Int) -> String {
    sizeUnits.filter { bytes > 0 && bytes % $0.factor == 0 && $0.factor > 1 }
        .map { "\(bytes / $0.factor)\($0.name)" }
        .min { $0.count < $1.count } ?? String(bytes)
}

extension Syntax where Value == Double {
    /// Digits with at most one decimal point among them: `0.7`, `1`.
    static func decimal(_ range: ClosedRange<Double>, expected: String) -> Syntax<Double> {
        Syntax<Double>(
            expected: expected,
            read: { text in
                let parts = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
                guard (1...2).contains(parts.count), text.utf8.count <= 24 else { return nil }
                guard parts.allSatisfy({ !$0.isEmpty && $0.allSatisfy(isDigit) }) else { return nil }
                return Double(text).flatMap { range.contains($0) ? $0 : nil }
            },
            write: { String($0) })
    }
}

// MARK: Durations

/// How long something is kept.
public enum Retention: Sendable, Equatable {
    /// Never deleted unasked.
    case forever
    /// Deleted when this much time has passed.
    case after(Duration)
}

private let timeUnits: [(name: String, factor: Int)] = [
    ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1),
]

/// `0`, or a whole number and its unit.
private func duration(_ text: String, in range: ClosedRange<Duration>) -> Duration? {
    guard let (count, factor) = measure(text, units: timeUnits, bare: nil) else { return nil }
    let (milliseconds, overflow) = count.multipliedReportingOverflow(by: factor)
    guard !overflow else { return nil }
    let value = Duration.milliseconds(milliseconds)
    return range.contains(value) ? value : nil
}

/// The largest unit that is exact; `0` needs none.
private func durationText(_ duration: Duration) -> String {
    let milliseconds = duration / .milliseconds(1)
    guard milliseconds > 0, let count = Int(exactly: milliseconds.rounded()) else { return "0" }
    let unit = timeUnits.first { count % $0.factor == 0 } ?? ("ms", 1)
    return "\(count / unit.factor)\(unit.name)"
}

extension Syntax where Value == Duration {
    /// `500ms`, `1s`, `2m`, `1h`, `7d`; `0` if the range has it.
    static func time(_ range: ClosedRange<Duration>) -> Syntax<Duration> {
        Syntax<Duration>(
            expected:
                "a duration from \(durationText(range.lowerBound)) to \(durationText(range.upperBound)), such as 500ms or 2m",
            read: { duration($0, in: range) }, write: durationText)
    }
}

extension Syntax where Value == Retention {
    /// `forever` or a duration.
    static func retention(_ range: ClosedRange<Duration>) -> Syntax<Retention> {
        Syntax<Retention>(
            expected:
                "`forever` or a duration from \(durationText(range.lowerBound)) to \(durationText(range.upperBound))",
            read: { $0 == "forever" ? .forever : duration($0, in: range).map { .after($0) } },
            write: { if case .after(let time) = $0 { durationText(time) } else { "forever" } })
    }
}

// MARK: Words and texts

extension Syntax where Value: CaseIterable & RawRepresentable, Value.RawValue == String {
    /// One of the words that an enumeration lists.
    static var word: Syntax<Value> {
        let words = Value.allCases.map(\.rawValue)
        let expected = words.count == 1 ? words.joined() : "one of \(words.joined(separator: ", "))"
        return Syntax<Value>(expected: expected, read: { Value(rawValue: $0) }, write: { $0.rawValue })
    }
}

extension Syntax where Value == String {
    /// A name that can stand in file names, labels and URLs: ids of tasks, names of adapters.
    static func identifier(_ what: String) -> Syntax<String> {
        Syntax<String>(
            expected: "\(what): 1 to 64 of A-Z, a-z, 0-9, `.`, `_` and `-`, the first a letter or digit",
            read: { isIdentifier($0) ? $0 : nil }, write: { $0 })
    }

    /// An absolute path; doubled and final slashes are dropped.
    static func path(maximum: Int = 4_000) -> Syntax<String> {
        Syntax<String>(
            expected: "an absolute path of at most \(maximum) bytes without `.`, `..` and control characters",
            read: { absolutePath($0, maximum: maximum) }, write: { $0 })
    }
}

extension Syntax where Value == String? {
    /// `none`, or a path as above.
    static var optionalPath: Syntax<String?> {
        let path = Syntax<String>.path()
        return Syntax<String?>(
            expected: "`none` or \(path.expected)",
            read: { text in text == "none" ? .some(nil) : path.read(text).map { .some($0) } },
            write: { $0 ?? "none" })
    }
}

extension Syntax where Value == AdapterChoice {
    /// `default`, or the name of an adapter.
    static var adapter: Syntax<AdapterChoice> {
        let name = Syntax<String>.identifier("`default` or the name of an adapter")
        return Syntax<AdapterChoice>(
            expected: name.expected,
            read: { text in text == "default" ? .bundleDefault : name.read(text).map { .named($0) } },
            write: { if case .named(let name) = $0 { name } else { "default" } })
    }
}

// MARK: Parts

private func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

/// The number that `text` is in decimal, unless it overflows, has a sign unasked or begins with a needless zero.
private func digits(_ text: String, signed: Bool) -> Int? {
    let magnitude = signed && text.utf8.first == UInt8(ascii: "-") ? text.utf8.dropFirst() : text.utf8[...]
    guard !magnitude.isEmpty, magnitude.allSatisfy(isDigit) else { return nil }
    guard magnitude.count == 1 || magnitude.first != UInt8(ascii: "0") else { return nil }
    return Int(text)
}

/// The count and the factor of the unit in a text such as `64KiB`; `bare` is the factor of a number without a unit.
private func measure(_ text: String, units: [(name: String, factor: Int)], bare: Int?) -> (count: Int, factor: Int)? {
    let number = text.utf8.prefix(while: isDigit)
    guard let count = digits(String(decoding: number, as: UTF8.self), signed: false) else { return nil }
    let unit = String(decoding: text.utf8.dropFirst(number.count), as: UTF8.self)
    if unit.isEmpty { return count == 0 ? (0, 1) : bare.map { (count, $0) } }
    return units.first { $0.name == unit }.map { (count, $0.factor) }
}

private func isIdentifier(_ text: String) -> Bool {
    func isAlphanumeric(_ byte: UInt8) -> Bool {
        isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }
    let marks: [UInt8] = [UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-")]
    guard let first = text.utf8.first, isAlphanumeric(first), text.utf8.count <= 64 else { return false }
    return text.utf8.allSatisfy { isAlphanumeric($0) || marks.contains($0) }
}

private func absolutePath(_ text: String, maximum: Int) -> String? {
    guard text.utf8.first == UInt8(ascii: "/"), text.utf8.count <= maximum else { return nil }
    guard !text.unicodeScalars.contains(where: isControl) else { return nil }
    let parts = text.utf8.split(separator: UInt8(ascii: "/")).map { String(decoding: $0, as: UTF8.self) }
    guard !parts.isEmpty, !parts.contains("."), !parts.contains("..") else { return nil }
    return "/" + parts.joined(separator: "/")
}
