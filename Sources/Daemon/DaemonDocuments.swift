// The daemon and its jobs as the documents of docs/CONTROL.md.

internal import Control
internal import Diagnostics
internal import Glibc
internal import MemVP
internal import Specification
internal import Spool
internal import Tensor

extension SpoolSnapshot {
    /// The jobs by the states that the metrics name.
    var queueJobs: [QueueState: Int] {
        var counts = Dictionary(uniqueKeysWithValues: QueueState.allCases.map { ($0, 0) })
        counts[.waiting] = inInbox
        for (state, count) in jobs { if let state = QueueState(rawValue: state.rawValue) { counts[state] = count } }
        counts[.failed] = finished[.failed]?.jobs ?? 0
        return counts
    }

    /// The age of the oldest job in the spool, whatever it waits for.
    var oldestSeconds: Double? {
        oldestSince.map { max(0, Double(SystemClock().unixMicroseconds - $0) / 1e6) }
    }

    /// What stands still for a fault, in words.
    var troubles: [Failure] {
        var all: [Failure] = []
        if let intakeTrouble {
            all.append(
                Failure(
                    intakeTrouble.code, "inbox",
                    "nothing is taken in: \(intakeTrouble.object): \(intakeTrouble.cause)", hint: intakeTrouble.hint))
        }
        if let (id, fault) = stopped.min(by: { $0.key < $1.key }) {
            let who = stopped.count == 1 ? "job \(id)" : "\(stopped.count) jobs, \(id) first"
            all.append(
                Failure(fault.code, who, "waits for a fault to pass: \(fault.object): \(fault.cause)", hint: fault.hint)
            )
        }
        if let outboxTrouble { all.append(outboxTrouble) }
        return all
    }
}

extension DaemonService {
    /// The status.
    func document(_ snapshot: SpoolSnapshot) -> StatusDocument {
        let up = started.duration(to: .now).milliseconds / 1e3
        let catalog = reporter.catalog
        return StatusDocument(
            state: state(snapshot),
            daemon: .init(version: memvpdVersion, processID: getpid(), startedAt: startedAt, uptimeSeconds: up),
            model: .init(
                name: bundle.description.name, precision: bundle.precision.rawValue, kernels: kernels.name,
                threads: threads, workers: workers.count, batch: configuration.batch, adapters: adapters),
            queue: .init(
                jobs: Dictionary(uniqueKeysWithValues: snapshot.queueJobs.map { ($0.key.rawValue, $0.value) }),
                held: snapshot.isQueueHeld, oldestSeconds: snapshot.oldestSeconds),
            throughput: .init(
                perMinute: reporter.rate.perMinute(), answered: catalog.jobs.value(.answered),
                errors: catalog.jobs.value(.error)),
            stages: catalog.stageTimes(),
            lastError: reporter.lastError.map {
                .init(
                    at: $0.at, job: $0.job.description, file: $0.file.map { FileLabel($0.bytes) },
                    error: ErrorDetail($0.failure))
            },
            directories: directories(snapshot),
            inbox: .init(
                ignored: Dictionary(
                    uniqueKeysWithValues: snapshot.ignoredByReason.map { ($0.key.rawValue, $0.value) }),
                directories: snapshot.directories.prefix(20).map { FileLabel($0.bytes) },
                waiting: snapshot.waiting.prefix(20).map {
                    .init(
                        file: FileLabel($0.name.bytes), reason: $0.reason.onOneLine,
                        remainingSeconds: $0.remaining.map { $0.milliseconds / 1e3 })
                }),
            troubles: snapshot.troubles.isEmpty ? nil : snapshot.troubles.map { ErrorDetail($0) }, warnings: warnings)
    }

    private func state(_ snapshot: SpoolSnapshot) -> String {
        guard condition == .running else { return condition.rawValue }
        if snapshot.isQueueHeld { return "held" }
        return snapshot.takesIn ? condition.rawValue : "draining"
    }

    private var adapters: [String: String] {
        var names: [String: String] = [:]
        for kind in TaskKind.allCases {
            if case .named(let name) = configuration.adapters[kind] {
                names[kind.rawValue] = name
            } else {
                names[kind.rawValue] = bundle.description.adapters[kind]
            }
        }
        return names
    }

    private func directories(_ snapshot: SpoolSnapshot) -> [StatusDocument.Directory] {
        let paths = configuration.directories
        let (watch, note): (String?, String?) =
            switch snapshot.watched.first?.method {
            case .inotify: ("inotify", nil)
            case .polled(let reason): ("poll", reason)
            case .unavailable(let reason): ("unavailable", reason)
            case nil: (nil, nil)
            }
        func finished(_ role: String, _ path: String, _ state: JobState) -> StatusDocument.Directory {
            .init(
                role: role, path: path, jobs: snapshot.finished[state]?.jobs, bytes: snapshot.finished[state]?.bytes,
                note: snapshot.isFinishedCounted ? nil : "still being counted")
        }
        return [
            .init(role: "inbox", path: paths.inbox, watch: watch, note: note),
            .init(role: "spool", path: paths.spool), .init(role: "outbox", path: paths.outbox),
            finished("failed", paths.failed, .failed), finished("done", paths.done, .done),
        ]
    }

    func entry(_ job: JobSummary, position: Int? = nil) -> QueueEntry {
        QueueEntry(
            job: job.id.description, state: job.state.rawValue,
            image: job.image.map { FileLabel($0.bytes) }, spec: job.spec.map { FileLabel($0.bytes) },
            priority: job.priority, since: Timestamp(milliseconds: job.claimedAt / 1000),
            position: position, note: note(job))
    }

    private func note(_ job: JobSummary) -> String? {
        if let trouble = job.trouble { return "stands still: \(trouble.onOneLine)" }
        if let pause = job.pause { return "tried again in \(Int(pause.milliseconds / 1e3)) s" }
        if job.isCommitted, let outcome = job.outcome {
            let isError = job.history.contains { $0.kind == .failed }
            return "\(isError ? "error" : "answered") as \(outcome)"
        }
        return job.alone ? "runs alone after an unclean end" : nil
    }

    func document(_ job: JobSummary, isQueueHeld: Bool) -> JobDocument {
        let claimed = Timestamp(milliseconds: job.claimedAt / 1000)
        return JobDocument(
            entry: entry(job),
            explanation: explanation(job, isQueueHeld)
                + (job.trouble.map { " A fault keeps it there, and it is tried again: \(sentence($0))" } ?? ""),
            history: [.init(at: claimed, event: "claimed")]
                + job.history.map {
                    .init(at: Timestamp(milliseconds: $0.at / 1000), event: $0.kind.rawValue, note: $0.note)
                },
            attempts: job.starts, strikes: job.strikes, retryOf: job.retryOf?.description,
            answer: job.isCommitted ? job.outcome.map { FileLabel($0.bytes) } : nil,
            // What ended an earlier attempt is in the history; an answered job has no error.
            error: job.state == .done ? nil : job.lastFailure.map { ErrorDetail($0) }, timing: job.timing)
    }

    private func explanation(_ job: JobSummary, _ isQueueHeld: Bool) -> String {
        let reason = job.lastFailure.map { " The last attempt ended with: \(sentence($0))" } ?? ""
        let hold = isQueueHeld ? " The whole queue is held: no job starts until memvpctl release." : ""
        switch job.state {
        case .claimed: return "It is being taken in from the inbox."
        case .queued:
            let wait = isQueueHeld ? "The queue is held: memvpctl release lets it go on." : "It waits for a worker."
            return "\(wait)\(reason)"
        case .held: return "An operator keeps it back: memvpctl release \(job.id) lets it go on.\(hold)"
        case .deferred:
            return "A passing fault ended its last attempt; it is tried again after a pause.\(hold)\(reason)"
        case .running: return "A worker has it."
        case .answered: return "Its outcome is fixed and is being published."
        case .done: return "It was answered. Its originals are in \(job.directory)/input."
        case .failed: return failed(job)
        }
    }

    private func failed(_ job: JobSummary) -> String {
        let error = job.lastFailure.map { "It ended with an error: \(sentence($0))" } ?? "It ended with an error."
        let reason = "\(job.directory)/reason.json"
        // What could not be copied is not there; the hint says where it stays.
        guard job.inputs != .none else { return "\(error) The reason is in \(reason)." }
        // A retry needs the photo, and some hints say it already.
        let saysRetry = job.lastFailure?.hint.contains("memvpctl retry \(job.id)") ?? false
        let retry = job.inputs != .withImage || saysRetry ? "" : "; memvpctl retry \(job.id) tries it again"
        return "\(error) Its originals are in \(job.directory)/input, the reason in \(reason)\(retry)."
    }

    /// A failure as sentences: a hint has its full stop, a failure without one has none.
    private func sentence(_ failure: Failure) -> String {
        let text = "\(failure.onOneLine)"
        return [".", "?", "!"].contains { text.hasSuffix($0) } ? text : text + "."
    }
}
