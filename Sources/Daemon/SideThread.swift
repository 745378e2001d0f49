// Work that may wait for a disk, away from actors and the cooperative pool: a file server that stands still holds up nobody but who
// asked for that very work, and those only for a while.
//
// Invariants of `SideThread`: one thread at a time, and none while there is nothing to do; of work that has not begun only the
// newest is kept, so that what stands still gathers neither threads nor work. Failure mode: no thread to be had is like work that
// takes too long.

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
    /// What was given before and replaced is through as well.
    private let through = Milestone()

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
        if begins, !ThreadBridge.start({ [self] in workOff() }) {
            state.withLock { $0.isAtWork = false }
        }
        return number
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
