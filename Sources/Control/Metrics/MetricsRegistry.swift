// All metric families of a process, in the order they were declared.
//
// Invariant: families are only added (at start, by `MetricCatalog`), so a name once seen in the exposition stays.

import Synchronization

/// Makes metric families and writes them out.
public final class MetricsRegistry: Sendable {
    /// The media type of `exposition()`.
    public static let contentType = Exposition.contentType

    // Guards the list; the families guard their own values.
    private let families = Mutex<[any MetricFamily]>([])

    /// Makes an empty registry.
    public init() {}

    /// Declares a counter.
    public func counter<Label: MetricLabel>(
        _ name: String, _ help: String, by label: Label.Type = NoLabel.self
    ) -> Counter<Label> { add(Counter(name, help)) }

    /// Declares a gauge.
    public func gauge<Label: MetricLabel>(
        _ name: String, _ help: String, by label: Label.Type = NoLabel.self
    ) -> Gauge<Label> { add(Gauge(name, help)) }

    /// Declares a histogram; `bounds` are the buckets' inclusive upper ends, ascending.
    public func histogram<Label: MetricLabel>(
        _ name: String, _ help: String, by label: Label.Type = NoLabel.self, bounds: [Double]
    ) -> Histogram<Label> { add(Histogram(name, help, bounds: bounds)) }

    /// Declares a value that is read whenever the exposition is written; `nil` leaves it out.
    public func sampled(
        _ name: String, _ help: String, kind: MetricDescriptor.Kind = .gauge, read: @escaping @Sendable () -> Double?
    ) { _ = add(SampledMetric(name, help, kind: kind, read: read)) }

    /// Declares a constant 1 whose labels have the values that `read` gives, in order, whenever they are asked for.
    public func info(_ name: String, _ help: String, labels: [String], read: @escaping @Sendable () -> [String]) {
        _ = add(InfoMetric(name, help, labels: labels, read: read))
    }

    /// Every family's name, help, kind and labels, in order.
    public var descriptors: [MetricDescriptor] { families.withLock { $0 }.map(\.descriptor) }

    /// All metrics in Prometheus text format 0.0.4.
    public func exposition() -> String { Exposition.render(families.withLock { $0 }) }

    /// The metrics whose names begin with `memvpd_`, for node_exporter's textfile collector. The `process_…` ones are left
    /// out: node_exporter has the same names for itself, and one duplicate makes it refuse the whole scrape.
    public func textfileExposition() -> String {
        Exposition.render(families.withLock { $0 }.filter { $0.descriptor.name.hasPrefix("memvpd_") })
    }

    private func add<Family: MetricFamily>(_ family: Family) -> Family {
        families.withLock { $0.append(family) }
        return family
    }
}
