// The spool as operators see it, without waiting for a disk that stands still: the spool answers on the thread of its system calls.
//
// Invariant: one look at a time, however many ask; a look that begins after a question answers it, so that whoever has just changed
// something sees it.

internal import Spool
internal import Synchronization

/// Looks at the spool.
final class SpoolLook: Sendable {
    /// How long is waited, and what is well. memvpctl gives up after ten seconds.
    struct Patience: Sendable {
        /// For metrics and health, which have what the last look found.
        var glance: Duration = .seconds(2)
        /// For the status, which is of now or is not.
        var status: Duration = .seconds(8)
        /// From when on a standstill is a fault. Less is a directory of a million files.
        var fault: Duration = .seconds(10)
    }

    private struct State {
        /// How many looks were asked for, and which was the last that began.
        var asked: UInt64 = 0
        var begun: UInt64 = 0
        var since: ContinuousClock.Instant?
        var last: SpoolSnapshot?
    }

    private let state = Mutex(State())
    private let through = Milestone()
    private let take: @Sendable () async -> SpoolSnapshot

    init(_ take: @escaping @Sendable () async -> SpoolSnapshot) { self.take = take }

    /// What is seen, or of a look that does not come back in time the last one's; nil before the first. And for how long that look has
    /// been waited for.
    func snapshot(within patience: Duration) async -> (last: SpoolSnapshot?, standstill: Duration?) {
        let (number, begins) = state.withLock { state in
            state.asked += 1
            guard state.since == nil else { return (state.asked, false) }
            state.since = .now
            return (state.asked, true)
        }
        if begins { Task { await look() } }
        let isCurrent = await through.wait(for: number, within: patience)
        return state.withLock { ($0.last, isCurrent ? nil : $0.since?.duration(to: .now) ?? .zero) }
    }

    /// Looks until everybody who asked has been answered.
    private func look() async {
        while let number = next() {
            let found = await take()
            state.withLock { $0.last = found }
            through.reach(number)
        }
    }

    private func next() -> UInt64? {
        state.withLock { state in
            guard state.begun < state.asked else {
                state.since = nil
                return nil
            }
            (state.begun, state.since) = (state.asked, .now)
            return state.asked
        }
    }
}
