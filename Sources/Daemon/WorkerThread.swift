// The thread on which one worker's actor runs: the model's buffers are used by one thread only, and no pass through the model
// ever holds up the cooperative pool.
//
// Invariants: one thread runs all jobs, in order; each job enqueued is one signal of the semaphore. The thread ends after
// `stop`, once no job is left. Failure modes: no thread to be had (`temporary`).

internal import Diagnostics
internal import Dispatch
internal import Synchronization

final class WorkerThread: SerialExecutor {
    private struct State {
        var jobs: [UnownedJob] = []
        var isStopped = false
    }

    private let state = Mutex(State())
    private let ready = DispatchSemaphore(value: 0)

    init() throws(Failure) {
        guard ThreadBridge.start({ [self] in run() }) else { throw Failure.noThread("worker") }
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        state.withLock { $0.jobs.append(job) }
        ready.signal()
    }

    /// Lets the thread end once its jobs are done.
    func stop() {
        state.withLock { $0.isStopped = true }
        ready.signal()
    }

    private func run() {
        while true {
            ready.wait()
            let jobs = state.withLock { state in
                defer { state.jobs = [] }
                return state.jobs
            }
            for job in jobs { unsafe job.runSynchronously(on: asUnownedSerialExecutor()) }
            if jobs.isEmpty, state.withLock({ $0.isStopped && $0.jobs.isEmpty }) { return }
        }
    }
}
