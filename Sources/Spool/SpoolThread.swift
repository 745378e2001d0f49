// The thread on which everything of the Spool actor runs, so that no system call that waits for a disk ever holds up the
// cooperative pool. The same thread waits for the inbox.
//
// Invariants: one thread runs all jobs, in order; it blocks only in poll(2), and an eventfd ends that wait. A wake-up that
// comes before the wait is not lost: it is a flag under the lock. The thread ends after `stop`, once no job is left.

internal import Glibc
internal import Synchronization
internal import SystemPackage

final class SpoolThread: SerialExecutor {
    private struct Wait {
        let descriptor: Int32?
        let until: Duration?
        let continuation: CheckedContinuation<Void, Never>
    }

    private struct State {
        var jobs: [UnownedJob] = []
        var wait: Wait?
        var isWoken = false
        var isStopped = false
    }

    private let state = Mutex(State())
    private let event: Int32
    private let clock = SystemClock()

    init() throws(Errno) {
        event = try SystemBridge.makeEvent()
        try SystemBridge.startThread { [self] in run() }
    }

    deinit { SystemBridge.close(event) }

    // MARK: SerialExecutor

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        state.withLock { $0.jobs.append(job) }
        SystemBridge.signalEvent(event)
    }

    // MARK: Waiting

    /// Waits until the descriptor is readable, the time (CLOCK_MONOTONIC) has come, `wake` is called or the task is cancelled.
    func wait(descriptor: Int32?, until: Duration?) async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isWoken = state.withLock { state in
                    guard !state.isWoken, !state.isStopped else {
                        state.isWoken = false
                        return true
                    }
                    // There is one waiter: Spool.run. A second would end the first one's wait early, which it survives.
                    state.wait?.continuation.resume()
                    state.wait = Wait(descriptor: descriptor, until: until, continuation: continuation)
                    return false
                }
                if isWoken { continuation.resume() } else { SystemBridge.signalEvent(event) }
            }
        } onCancel: {
            wake()
        }
    }

    /// Ends the present wait, or the next one.
    func wake() {
        state.withLock { $0.isWoken = true }
        SystemBridge.signalEvent(event)
    }

    /// Lets the thread end once its jobs are done.
    func stop() {
        state.withLock { $0.isStopped = true }
        SystemBridge.signalEvent(event)
    }

    // MARK: The thread

    private func run() {
        // Without a stack of its own, the handler cannot note an overflow of this thread's; all else it can.
        try? SystemBridge.prepareThreadForCrash()
        while true {
            let jobs = state.withLock { state in
                defer { state.jobs = [] }
                return state.jobs
            }
            for job in jobs { unsafe job.runSynchronously(on: asUnownedSerialExecutor()) }
            guard jobs.isEmpty else { continue }

            let (wait, isStopped) = state.withLock { state in
                if state.isWoken || state.isStopped, let wait = state.wait {
                    (state.wait, state.isWoken) = (nil, false)
                    wait.continuation.resume()
                }
                return (state.wait, state.isStopped && state.jobs.isEmpty)
            }
            if isStopped { return }
            sleep(wait)
        }
    }

    private func sleep(_ wait: Wait?) {
        let remaining = wait?.until.map { $0 - clock.monotonic }
        // Rounded up, so that a time that has come by the clock has come when poll returns.
        let milliseconds = remaining.map { Int32(clamping: max(0, ($0.microseconds + 999) / 1000)) }
        let readable = SystemBridge.poll([event] + (wait?.descriptor.map { [$0] } ?? []), milliseconds: milliseconds)
        if readable[0] { SystemBridge.clearEvent(event) }
        let isDue = wait?.until.map { $0 <= clock.monotonic } ?? false
        guard isDue || readable.dropFirst().contains(true) else { return }
        state.withLock { state in
            state.wait?.continuation.resume()
            state.wait = nil
        }
    }
}

/// A door that opens for everybody who waits at it; what happens between a look at `turn` and the wait is not missed.
final class Gate: Sendable {
    private struct State {
        var turn: UInt64 = 0
        var waiting: [UInt64: CheckedContinuation<Void, Never>] = [:]
        var nextKey: UInt64 = 0
    }

    private let state = Mutex(State())

    var turn: UInt64 { state.withLock { $0.turn } }

    func open() {
        let waiting = state.withLock { state in
            state.turn += 1
            defer { state.waiting = [:] }
            return Array(state.waiting.values)
        }
        for continuation in waiting { continuation.resume() }
    }

    /// Waits until the door has opened since `turn` was read, or the task is cancelled.
    func wait(after turn: UInt64) async {
        let key = state.withLock { state in
            state.nextKey += 1
            return state.nextKey
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let mayPass = state.withLock { state in
                    if state.turn != turn || Task.isCancelled { return true }
                    state.waiting[key] = continuation
                    return false
                }
                if mayPass { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.waiting.removeValue(forKey: key) }?.resume()
        }
    }
}
