// systemd's watchdog (sd_watchdog_enabled(3)), fed while no pass of the model takes too long.
//
// Invariant: it is fed from a thread of its own that asks the workers alone, and they count their passes alone (`Reporter.beat`): a
// disk or a file server that stands still for a minute is no reason to end a process that goes on when that does, and whose jobs
// would be blamed for it. Failure mode: no thread to be had (`temporary`).

internal import Diagnostics
internal import Dispatch

/// Feeds the watchdog until it is stopped.
final class Watchdog: Sendable {
    /// How long one pass of the model may take before the watchdog is left to bark.
    static let longestPass: Duration = .seconds(120)

    private let ended = DispatchSemaphore(value: 0)

    /// Begins to feed, every `interval`.
    ///
    /// - Parameters:
    ///   - stall: for how long the slowest worker has been at one pass.
    ///   - feed: must not wait for a disk.
    init(
        every interval: Duration, stall: @escaping @Sendable () -> Duration?, feed: @escaping @Sendable () -> Void
    ) throws(Failure) {
        let ended = ended
        let isStarted = ThreadBridge.start {
            repeat {
                if stall() ?? .zero < Watchdog.longestPass { feed() }
            } while ended.wait(timeout: .now() + interval.milliseconds / 1e3) == .timedOut
        }
        guard isStarted else { throw Failure.noThread("watchdog") }
    }

    /// Feeds no more.
    func stop() { ended.signal() }
}
