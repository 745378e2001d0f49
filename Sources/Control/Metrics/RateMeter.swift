// Events in the last minute, for `rate` on the status page.
//
// Invariant: slot i counts the events of the one second s with s % 60 == i that is named in it; a slot whose second is more
// than a minute old counts as empty, so nothing needs to tick.

import Synchronization

/// Counts events over the trailing 60 seconds, in whole seconds.
public final class RateMeter: Sendable {
    private struct Slot {
        var second: Int64 = .min
        var count = 0
    }

    private let start: ContinuousClock.Instant
    private let slots = Mutex<[Slot]>(Array(repeating: Slot(), count: 60))

    /// `start`: the instant from which seconds are counted.
    public init(start: ContinuousClock.Instant = .now) { self.start = start }

    /// Counts one event at `now`.
    public func record(at now: ContinuousClock.Instant = .now) {
        let second = seconds(now)
        slots.withLock { slots in
            let index = Int(((second % 60) + 60) % 60)
            if slots[index].second != second { slots[index] = Slot(second: second) }
            slots[index].count += 1
        }
    }

    /// How many events the 60 seconds up to `now` had.
    public func perMinute(at now: ContinuousClock.Instant = .now) -> Int {
        let second = seconds(now)
        return slots.withLock { slots in
            slots.reduce(0) { $0 + ($1.second > second - 60 && $1.second <= second ? $1.count : 0) }
        }
    }

    private func seconds(_ now: ContinuousClock.Instant) -> Int64 { start.duration(to: now).components.seconds }
}
