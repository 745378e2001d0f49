// Time, injected, so that waits of hours are tested in no time. Waits are measured on the monotonic clock: the wall clock
// may be set. The wall clock names jobs and dates what must survive a restart.

internal import Glibc

/// The two clocks that the spool reads.
public protocol SpoolClock: Sendable {
    /// Time since an arbitrary instant, never set back.
    var monotonic: Duration { get }
    /// Microseconds since 1970-01-01 UTC.
    var unixMicroseconds: Int64 { get }
}

/// The system's clocks: CLOCK_MONOTONIC and CLOCK_REALTIME.
public struct SystemClock: SpoolClock {
    /// The system's clocks.
    public init() {}

    /// CLOCK_MONOTONIC.
    public var monotonic: Duration {
        let time = SystemBridge.time(of: CLOCK_MONOTONIC)
        return .seconds(time.seconds) + .nanoseconds(time.nanoseconds)
    }

    /// CLOCK_REALTIME.
    public var unixMicroseconds: Int64 {
        let time = SystemBridge.time(of: CLOCK_REALTIME)
        return time.seconds * 1_000_000 + time.nanoseconds / 1000
    }
}

extension Duration {
    /// Whole microseconds, saturating.
    var microseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000)
        return overflow ? (seconds < 0 ? .min : .max) : product + attoseconds / 1_000_000_000_000
    }

    /// For messages: `2s`, `90s`, `0.5s`.
    var text: String {
        let milliseconds = microseconds / 1000
        let (seconds, rest) = milliseconds.quotientAndRemainder(dividingBy: 1000)
        guard rest != 0 else { return "\(seconds)s" }
        var decimals = String(rest)
        decimals = String(repeating: "0", count: max(0, 3 - decimals.count)) + decimals
        while decimals.hasSuffix("0") { decimals.removeLast() }
        return "\(seconds).\(decimals)s"
    }
}
