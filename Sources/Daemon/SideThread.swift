// Work that may wait for a disk, away from actors and the cooperative pool: a file server that stands still holds up nobody but who
// asked for that very work, and those only for a while.
//
// Invariants of `SideThread`: one thread at a time, and none while there is nothing to do; of work that has not begun only the
// newest is kept, so that what stands still gathers neither threads nor work. Failure mode: without a thread to be had, the work is
// not done.

internal import Diagnostics
internal import Synchronization

/// Does work of one kind, of which only the newest matters.
final class SideThread: Sendable {
    private struct State {
        /// How often work was given.
        var given: UInt64 = 0
        var next: (@Sendable () -> Void)?
        var isAtWork = false
    }

    private let state = Mutex(State())
    /// Starts a thread; whether there was one.
    private let start: @Sendable (@escaping @Sendable () -> Void) -> Bool
    /// What was given before and replaced is through as well.
    private let through = Milestone()

    init(start: @escaping @Sendable (@escaping @Sendable () -> Void) -> Bool = { ThreadBridge.start($0) }) {
        self.start = start
    }

    /// Has work done; returns when it, or newer work, is through, or after `patience`: it then goes on by itself.
    func run(within patience: Duration, _ work: @escaping @Sendable () -> Void) async {
        _ = await through.wait(for: give(work), within: patience)
    }

    private func give(_ work: @escaping @Sendable () -> Void) -> UInt64 {
        let (number, begins) = state.withLock { state in
            state.given += 1
            state.next = work
            defer { state.isAtWork = true }
            return (state.given, !state.isAtWork)
        }
        if begins, !start({ [self] in workOff() }) { giveUp() }
        return number
    }

    /// Drops what there is no thread for: nobody waits for it.
    private func giveUp() {
        let dropped = state.withLock { state in
            (state.next, state.isAtWork) = (nil, false)
            return state.given
        }
        through.reach(dropped)
    }

    // MARK: The thread

    private func workOff() {
        while let (work, number) = take() {
            work()
            through.reach(number)
        }
    }

    private func take() -> (work: @Sendable () -> Void, number: UInt64)? {
        state.withLock { state -> (work: @Sendable () -> Void, number: UInt64)? in
            guard let work = state.next else {
                state.isAtWork = false
                return nil
            }
            state.next = nil
            return (work, state.given)
        }
    }
}

/// Work that is done once and waited for to its end.
enum Aside {
    /// The body's result; it runs on a thread of its own.
    ///
    /// - Throws: what the body throws; `temporary` when there is no thread to be had.
    static func run<Value: Sendable>(
        _ body: @escaping @Sendable () throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        let result = await withCheckedContinuation { (done: CheckedContinuation<Result<Value, Failure>, Never>) in
            let isStarted = ThreadBridge.start { done.resume(returning: Result(catching: body)) }
            guard !isStarted else { return }
            done.resume(returning: .failure(Failure.noThread("thread")))
        }
        return try result.get()
    }
}

extension Failure {
    /// There is no thread to be had.
    static func noThread(_ object: String) -> Failure {
        Failure(.temporary, object, "no thread can be started", hint: "Look at the limits on tasks.")
    }
}
