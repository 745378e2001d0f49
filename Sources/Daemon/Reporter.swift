// What happened, for the log and the metrics: told by the spool's and the workers' threads.
//
// Invariants: nothing here waits for a disk or another actor but the log's own write to standard error. Where names are hidden, no
// line has anything of a dropped file in it: what may, a name or a failure's words, goes through `shown`.

internal import Control
internal import Diagnostics
internal import Logging
internal import Specification
internal import Spool
internal import Synchronization

final class Reporter: Sendable {
    /// The latest error that was published.
    struct LastError: Sendable {
        let at: Timestamp
        let job: JobID
        /// What was dropped: its outcome may be called otherwise.
        let file: FileName?
        let failure: Failure
    }

    private struct State {
        var lastError: LastError?
        var busySince: [ObjectIdentifier: ContinuousClock.Instant] = [:]
    }

    let catalog: MetricCatalog
    let rate = RateMeter()
    private let log: Logger
    private let names: LogNames
    private let state = Mutex(State())

    init(catalog: MetricCatalog, log: Logger, names: LogNames) {
        (self.catalog, self.log, self.names) = (catalog, log, names)
    }

    var lastError: LastError? { state.withLock(\.lastError) }

    /// For how long the slowest worker has been at one pass; nil when none is at any.
    var stall: Duration? { state.withLock { $0.busySince.values.min()?.duration(to: .now) } }

    /// A worker begins a pass of the model, or what goes before one; or it is through. Waiting for a disk or for the spool is no pass.
    func beat(_ worker: ModelWorker, isBusy: Bool) {
        state.withLock { $0.busySince[ObjectIdentifier(worker)] = isBusy ? .now : nil }
    }

    func batch(of jobs: Int) { catalog.batchJobs.observe(.only, Double(jobs)) }

    func answered(_ timing: AnswerDocument.Timing, prompt: Int, generated: Int) {
        for (stage, time) in timing.milliseconds {
            if let stage = Stage(rawValue: stage) { catalog.stages.observe(stage, time / 1e3) }
        }
        catalog.tokens.increment(.prompt, by: UInt64(max(0, prompt)))
        catalog.tokens.increment(.generated, by: UInt64(max(0, generated)))
    }

    func fault(_ failure: Failure) { log.error("\(shown(failure))") }

    /// A failure as the log may have it, on one line: object, cause and hint may all name a file, the code cannot.
    func shown(_ failure: Failure) -> String {
        names == .show ? "\(failure.onOneLine)" : "[\(failure.code.rawValue)]"
    }

    /// A name as the log may have it, or what stands for it.
    private func shown(_ name: FileName, or other: String) -> String { names == .show ? "\(name)" : other }

    // MARK: The spool's events

    func handle(_ event: SpoolEvent) {
        switch event {
        case .published(let job, let name, let file, let failure): published(job, name, of: file, failure)
        case .overflowed:
            catalog.watchOverflows.increment()
            log.notice("the kernel dropped events of the inbox; it was scanned")
        case .recovered(let jobs, let clean):
            let found = jobs.filter { $0.value > 0 }.map { "\($0.value) \($0.key.rawValue)" }.sorted()
            log.notice(
                "recovered after \(clean ? "a clean" : "an unclean") end: \(found.isEmpty ? "no jobs" : found.joined(separator: ", "))"
            )
        case .watching(let path, let method):
            switch method {
            case .inotify: log.info("watching \(path)")
            case .polled(let reason): log.notice("polling \(path): \(reason)")
            case .unavailable(let reason): log.error("\(path) cannot be watched: \(reason)")
            }
        case .specRefused(let spec, let failure):
            log.notice("\(shown(spec, or: "a spec")) is refused: \(shown(failure))")
        case .queued(let job, let image, let spec):
            let beside = spec.map { " with \(shown($0, or: "a spec"))" } ?? ""
            log.info("\(shown(image, or: "a photo")) is queued\(beside)", metadata: ["job": "\(job)"])
        case .joined(let job, let spec):
            log.info("\(shown(spec, or: "a spec")) joined", metadata: ["job": "\(job)"])
        case .deferred(let job, let failure, let pause):
            log.warning("tried again in \(pause): \(shown(failure))", metadata: ["job": "\(job)"])
        case .held(let job, let isHeld):
            log.notice("\(isHeld ? "held" : "released")", metadata: ["job": "\(job)"])
        case .struck(let job, let strikes):
            catalog.strikes.increment()
            log.error("crashed the process while it ran alone; strike \(strikes)", metadata: ["job": "\(job)"])
        case .trouble(let failure): log.warning("\(shown(failure))")
        case .taken(let job): log.debug("taken", metadata: ["job": "\(job)"])
        case .requeued(let job): log.debug("given back", metadata: ["job": "\(job)"])
        case .expired(let job, let state): log.info("expired from \(state.rawValue)", metadata: ["job": "\(job)"])
        }
    }

    private func published(_ job: JobID, _ name: FileName, of file: FileName?, _ failure: Failure?) {
        rate.record()
        let now = Timestamp.now
        guard let failure else {
            catalog.jobs.increment(.answered)
            catalog.lastAnswer.set(Double(now.milliseconds) / 1e3)
            return log.info("answered\(suffix(name))", metadata: ["job": "\(job)"])
        }
        guard failure.code != .removed else {
            catalog.jobs.increment(.removed)
            return log.notice("removed\(suffix(name))", metadata: ["job": "\(job)"])
        }
        catalog.jobs.increment(.error)
        catalog.errors.increment(failure.code)
        state.withLock { $0.lastError = LastError(at: now, job: job, file: file, failure: failure) }
        log.notice("error\(suffix(name)): \(shown(failure))", metadata: ["job": "\(job)"])
    }

    /// Under what name an outcome was published, where that may be said.
    private func suffix(_ name: FileName) -> String { names == .show ? " as \(name)" : "" }
}
