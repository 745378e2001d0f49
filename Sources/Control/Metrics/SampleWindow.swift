// The latest N observations, kept exactly: quantiles for the status page without a sketch's error.
//
// Invariant: at most `capacity` values; when full, the oldest is overwritten. Memory is fixed: 8 KiB for 1,024 values.

/// A ring of the latest values.
struct SampleWindow: Sendable {
    private var values: [Double] = []
    private var next = 0
    private let capacity: Int

    /// `capacity`: how many of the latest values count, at least one.
    init(capacity: Int) { self.capacity = max(1, capacity) }

    var count: Int { values.count }

    mutating func append(_ value: Double) {
        if values.count < capacity {
            values.append(value)
        } else {
            values[next] = value
        }
        next = (next + 1) % capacity
    }

    /// Nearest-rank quantiles: the smallest value that at least `rank` of all values do not exceed. `nil` when empty.
    func quantiles(_ ranks: [Double]) -> [Double]? {
        guard !values.isEmpty else { return nil }
        let sorted = values.sorted()
        return ranks.map { rank in
            let position = Int((min(max(rank, 0), 1) * Double(sorted.count)).rounded(.up))
            return sorted[min(max(position, 1), sorted.count) - 1]
        }
    }
}
