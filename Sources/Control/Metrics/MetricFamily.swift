// The kinds of metric: counters, gauges, histograms, and values sampled when they are asked for.
//
// Invariants: every series of a family exists from the start, at zero, so a rate never misses its first event; label values
// come from a closed set (`MetricLabel`), so no input can grow the memory; one lock guards each family's cells, and a read
// sees all of them at one instant. Amounts that are not finite are dropped: they could only come from a bug of ours and
// would spoil a sum for good.

import Synchronization

/// A closed set of label values: one enum per label, its raw values as Prometheus sees them.
public protocol MetricLabel: CaseIterable, Hashable, RawRepresentable, Sendable where RawValue == String {
    /// The label's name, e.g. `outcome`.
    static var labelName: String { get }
}

/// The label of a family without labels: it has one value, which is never written.
public enum NoLabel: String, MetricLabel {
    /// The only series.
    case only = ""

    /// Empty: nothing is written.
    public static let labelName = ""
}

/// What a family says of itself in the exposition and in docs/METRICS.md.
public struct MetricDescriptor: Sendable, Equatable {
    /// The kinds of Prometheus text format 0.0.4 that are used here.
    public enum Kind: String, Sendable {
        /// Only goes up; starts again at zero with the process.
        case counter
        /// Goes up and down.
        case gauge
        /// Observations counted in fixed, cumulative buckets.
        case histogram
    }

    /// The family's name, with its base unit.
    public let name: String
    /// One line on what is counted.
    public let help: String
    /// Counter, gauge or histogram.
    public let kind: Kind
    /// The labels' names, in the order written.
    public let labels: [String]
    /// Every value that the label can have; empty for no label or values fixed at start.
    public let labelValues: [String]
}

/// One line of the exposition: the family's name with a suffix, labels, and a value.
struct MetricSample: Sendable, Equatable {
    var suffix = ""
    var labels: [(name: String, value: String)] = []
    var value: Double

    static func == (left: MetricSample, right: MetricSample) -> Bool {
        left.suffix == right.suffix && left.value == right.value && left.labels.elementsEqual(right.labels, by: ==)
    }
}

/// A metric with all its series.
protocol MetricFamily: Sendable {
    var descriptor: MetricDescriptor { get }
    /// All series at one instant, in a fixed order.
    func samples() -> [MetricSample]
}

extension MetricLabel {
    static var names: [String] { labelName.isEmpty ? [] : [labelName] }
    static var values: [String] { labelName.isEmpty ? [] : allCases.map(\.rawValue) }
    var pairs: [(name: String, value: String)] { Self.labelName.isEmpty ? [] : [(Self.labelName, rawValue)] }

    static func zeros<Cell>(_ zero: Cell) -> [Self: Cell] {
        Dictionary(allCases.map { ($0, zero) }, uniquingKeysWith: { first, _ in first })
    }
}

/// A count that only goes up.
public final class Counter<Label: MetricLabel>: MetricFamily {
    let descriptor: MetricDescriptor
    // Guards the cells: every label value has one, and none ever shrinks.
    private let cells = Mutex<[Label: UInt64]>(Label.zeros(0))

    init(_ name: String, _ help: String) {
        descriptor = MetricDescriptor(
            name: name, help: help, kind: .counter, labels: Label.names, labelValues: Label.values)
    }

    /// Adds `amount` to the series of `label`.
    public func increment(_ label: Label, by amount: UInt64 = 1) {
        cells.withLock { $0[label, default: 0] &+= amount }
    }

    /// The present count of `label`.
    public func value(_ label: Label) -> UInt64 { cells.withLock { $0[label, default: 0] } }

    func samples() -> [MetricSample] {
        let now = cells.withLock { $0 }
        return Label.allCases.map { MetricSample(labels: $0.pairs, value: Double(now[$0, default: 0])) }
    }
}

extension Counter where Label == NoLabel {
    /// Adds `amount`.
    public func increment(by amount: UInt64 = 1) { increment(.only, by: amount) }
    /// The present count.
    public var value: UInt64 { value(.only) }
}

/// A value that goes up and down.
public final class Gauge<Label: MetricLabel>: MetricFamily {
    let descriptor: MetricDescriptor
    // Guards the cells: every label value has one, always finite.
    private let cells = Mutex<[Label: Double]>(Label.zeros(0))

    init(_ name: String, _ help: String) {
        descriptor = MetricDescriptor(
            name: name, help: help, kind: .gauge, labels: Label.names, labelValues: Label.values)
    }

    /// Sets the series of `label`; a value that is not finite is dropped.
    public func set(_ label: Label, _ value: Double) {
        guard value.isFinite else { return }
        cells.withLock { $0[label] = value }
    }

    /// The present value of `label`.
    public func value(_ label: Label) -> Double { cells.withLock { $0[label, default: 0] } }

    func samples() -> [MetricSample] {
        let now = cells.withLock { $0 }
        return Label.allCases.map { MetricSample(labels: $0.pairs, value: now[$0, default: 0]) }
    }
}

extension Gauge where Label == NoLabel {
    /// Sets the value; one that is not finite is dropped.
    public func set(_ value: Double) { set(.only, value) }
    /// The present value.
    public var value: Double { value(.only) }
}

/// Observations in fixed buckets, with exact quantiles of the latest ones for status.
public final class Histogram<Label: MetricLabel>: MetricFamily {
    private struct Cell {
        var buckets: [UInt64]
        var sum = 0.0
        var window: SampleWindow
    }

    let descriptor: MetricDescriptor
    private let bounds: [Double]
    // Guards the cells: in each, the buckets (the last is +Inf) add up to the count, and sum and window belong to them.
    private let cells: Mutex<[Label: Cell]>

    /// `bounds`: the buckets' inclusive upper ends, ascending and finite; +Inf is added.
    init(_ name: String, _ help: String, bounds: [Double], window: Int = 1024) {
        descriptor = MetricDescriptor(
            name: name, help: help, kind: .histogram, labels: Label.names, labelValues: Label.values)
        self.bounds = bounds
        let empty = Cell(
            buckets: Array(repeating: 0, count: bounds.count + 1), window: SampleWindow(capacity: window))
        cells = Mutex(Label.zeros(empty))
    }

    /// Counts one observation; one that is not finite is dropped.
    public func observe(_ label: Label, _ value: Double) {
        guard value.isFinite else { return }
        let bucket = bounds.firstIndex { value <= $0 } ?? bounds.count
        cells.withLock { cells in
            cells[label]?.buckets[bucket] &+= 1
            cells[label]?.sum += value
            cells[label]?.window.append(value)
        }
    }

    /// Exact quantiles (nearest rank) over the latest observations, at most 1,024; `nil` before the first.
    public func quantiles(_ label: Label, _ ranks: [Double]) -> [Double]? {
        // The copy is taken under the lock, the sorting is done outside it.
        cells.withLock { $0[label]?.window }?.quantiles(ranks)
    }

    /// How many observations there have been since the start.
    public func count(_ label: Label) -> UInt64 {
        cells.withLock { $0[label]?.buckets.reduce(0, &+) ?? 0 }
    }

    func samples() -> [MetricSample] {
        let now = cells.withLock { $0 }
        return Label.allCases.flatMap { label -> [MetricSample] in
            guard let cell = now[label] else { return [] }
            var cumulative: UInt64 = 0
            var lines = zip(bounds + [.infinity], cell.buckets).map { bound, count in
                cumulative &+= count
                return MetricSample(
                    suffix: "_bucket", labels: label.pairs + [("le", Exposition.text(bound))], value: Double(cumulative)
                )
            }
            lines.append(MetricSample(suffix: "_sum", labels: label.pairs, value: cell.sum))
            lines.append(MetricSample(suffix: "_count", labels: label.pairs, value: Double(cumulative)))
            return lines
        }
    }
}

/// A value read when the exposition is written; left out when it cannot be read.
final class SampledMetric: MetricFamily {
    let descriptor: MetricDescriptor
    private let read: @Sendable () -> Double?

    init(_ name: String, _ help: String, kind: MetricDescriptor.Kind, read: @escaping @Sendable () -> Double?) {
        descriptor = MetricDescriptor(name: name, help: help, kind: kind, labels: [], labelValues: [])
        self.read = read
    }

    func samples() -> [MetricSample] {
        guard let value = read(), value.isFinite else { return [] }
        return [MetricSample(value: value)]
    }
}

/// The constant 1 with labels fixed at start: Prometheus's way to publish text such as a version.
final class InfoMetric: MetricFamily {
    let descriptor: MetricDescriptor
    private let read: @Sendable () -> [String]

    init(_ name: String, _ help: String, labels: [String], read: @escaping @Sendable () -> [String]) {
        descriptor = MetricDescriptor(name: name, help: help, kind: .gauge, labels: labels, labelValues: [])
        self.read = read
    }

    func samples() -> [MetricSample] {
        let pairs = zip(descriptor.labels, read()).map { (name: $0, value: $1) }
        return [MetricSample(labels: pairs, value: 1)]
    }
}
