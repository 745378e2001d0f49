// What the spool shows of itself: for `status`, `queue`, `show` and `explain`, and for metrics.

public import Diagnostics
internal import SystemPackage

/// The spool at one instant.
public struct SpoolSnapshot: Sendable {
    /// A file that stands in the inbox and waits for something.
    public struct Waiting: Sendable {
        /// The file.
        public let name: FileName
        /// Whether it is a task spec.
        public let isSpec: Bool
        /// When it was first seen, in microseconds since 1970.
        public let since: Int64
        /// What for.
        public let reason: String
        /// How much longer at most; nil: until something else happens.
        public let remaining: Duration?
    }

    /// What finished jobs take up.
    public struct Finished: Sendable, Equatable {
        /// How many there are.
        public let jobs: Int
        /// What their inputs take up, in bytes.
        public let bytes: Int64
    }

    /// How the inbox is watched.
    public struct WatchedDirectory: Sendable, Equatable {
        /// The directory.
        public let path: String
        /// How, and if not by inotify, why not.
        public let method: WatchMethod
    }

    /// Jobs in the spool by state; `done` and `failed` are in `finished`.
    public let jobs: [JobState: Int]
    /// Jobs whose outcome is fixed but not in the outbox yet.
    public let unpublished: Int
    /// Files in the inbox that are not taken yet.
    public let inInbox: Int
    /// Files in the inbox, and what they wait for.
    public let waiting: [Waiting]
    /// How many names are ignored: dot files, `*.part` and the like.
    public let ignored: Int
    /// The same by the reason.
    public let ignoredByReason: [IgnoredReason: Int]
    /// Directories in the inbox; they stay.
    public let directories: [FileName]
    /// How each directory is watched.
    public let watched: [WatchedDirectory]
    /// Since when the job that has been in the spool for longest is there, in microseconds since 1970.
    public let oldestSince: Int64?
    /// Why nothing can be taken in for the time being.
    public let intakeTrouble: Failure?
    /// Jobs that a fault keeps from being taken in or published, and what the fault is; all are tried again.
    public let stopped: [JobID: Failure]
    /// The fault that keeps an outcome that is fixed from being published.
    public let publishingTrouble: Failure?
    /// Why readers cannot read what is published.
    public let outboxTrouble: Failure?
    /// The fault that keeps a drop from being taken in or an outcome from being published (`Spool.undelivered`).
    public let undelivered: Failure?
    /// `done` and `failed`; counting them takes a while after the start.
    public let finished: [JobState: Finished]
    /// Whether `finished` is counted to the end.
    public let isFinishedCounted: Bool
    /// Whether the queue is held.
    public let isQueueHeld: Bool
    /// Whether drops are taken in.
    public let takesIn: Bool
}

/// What of a drop stands with its finished job.
public enum FinishedInputs: Sendable {
    /// Nothing, or the job has not ended.
    case none
    /// Files, but no photo to try again.
    case withoutImage
    /// All that `retry` needs.
    case withImage
}

/// A job, for people.
public struct JobSummary: Sendable, Identifiable {
    /// The job.
    public let id: JobID
    /// Where it is.
    public let state: JobState
    /// Whether its outcome is fixed.
    public let isCommitted: Bool
    /// When it was claimed, in microseconds since 1970.
    public let claimedAt: Int64
    /// Its image or odd file.
    public let image: FileName?
    /// Its spec.
    public let spec: FileName?
    /// Of a finished job, what its `input/` has: a file that could not be copied stays beside the inbox.
    public let inputs: FinishedInputs
    /// -10 … 10.
    public let priority: Int
    /// How many attempts a passing fault ended.
    public let attempts: Int
    /// How long until the next attempt.
    public let pause: Duration?
    /// What ended the last attempt, or the job.
    public let lastFailure: Failure?
    /// The fault that keeps it from being taken in or published; it is tried again.
    public let trouble: Failure?
    /// The job that this one retries.
    public let retryOf: JobID?
    /// Whether it must run alone: it was in flight at an unclean end.
    public let alone: Bool
    /// Crashes while it ran alone.
    public let strikes: Int
    /// Unclean ends in a row while it ran alone.
    public let uncleanEnds: Int
    /// The outcome's name in the outbox.
    public let outcome: FileName?
    /// Where its directory is.
    public let directory: String
    /// What happened to it since it was claimed, the oldest first.
    public let history: [JobStep]
    /// How often a worker had it.
    public let starts: Int
    /// Milliseconds in each stage, once it has ended.
    public let timing: [String: Double]
}

extension Spool {
    /// The spool at this instant, with at most so many of the files that wait in the inbox. What each waits for is put into words:
    /// of a full inbox that is a lot of work, so whoever wants counts alone asks for none.
    public func snapshot(waiting limit: Int = .max) -> SpoolSnapshot {
        SpoolSnapshot(
            jobs: Dictionary(grouping: entries.values, by: \.state).mapValues(\.count),
            unpublished: entries.values.count { $0.isSealed },
            inInbox: view.sightings.count,
            waiting: waiting(atMost: limit, clock.monotonic),
            ignored: view.ignored.count, ignoredByReason: ignoredByReason, directories: view.directories.sorted(),
            watched: [SpoolSnapshot.WatchedDirectory(path: watch.path, method: watch.method)],
            oldestSince: entries.values.map(\.claimedAt).min(), intakeTrouble: intakePause.fault?.failure,
            stopped: unfinished.compactMapValues { $0.fault?.failure },
            publishingTrouble: publishingTrouble, outboxTrouble: outboxTrouble, undelivered: undelivered,
            finished: census.counts.mapValues { SpoolSnapshot.Finished(jobs: $0.jobs, bytes: $0.bytes) },
            isFinishedCounted: census.isComplete, isQueueHeld: isQueueHeld, takesIn: takesIn)
    }

    private var ignoredByReason: [IgnoredReason: Int] {
        Dictionary(view.ignored.compactMap { view.rules.ignoredReason($0) }.map { ($0, 1) }, uniquingKeysWith: +)
    }

    private var publishingTrouble: Failure? {
        entries.values.first { $0.isSealed && unfinished[$0.id]?.fault != nil }
            .flatMap { unfinished[$0.id]?.fault?.failure }
    }

    /// The files that are not taken yet, at most so many: those that are not complete, then the complete ones, with who waits for
    /// whom and what keeps the others from being taken in.
    private func waiting(atMost limit: Int, _ now: Duration) -> [SpoolSnapshot.Waiting] {
        guard limit > 0 else { return [] }
        let first = view.sightings.values
            .sorted { ($0.isComplete ? 1 : 0, $0.order) < ($1.isComplete ? 1 : 0, $1.order) }.prefix(limit)
        let planned = Dictionary(plan.waiting.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        let obstacle = obstacle
        return first.map { sighting in
            guard sighting.isComplete else {
                return waiting(
                    sighting,
                    view.rules.isBeingWritten(sighting) ? "is being written" : "must stand unchanged for a while",
                    until: view.rules.deadline(sighting), now)
            }
            guard let wait = planned[sighting.name], wait.until.map({ $0 > now }) ?? true else {
                return waiting(sighting, obstacle, until: nil, now)
            }
            return waiting(sighting, wait.reason, until: wait.until, now)
        }
    }

    /// Why a file that nothing else is awaited for is still in the inbox.
    private var obstacle: String {
        if let fault = intakePause.fault { return "cannot be taken in: \(fault.failure)" }
        if !takesIn { return "nothing is taken in while the queue is drained" }
        let limit = configuration.limits.jobs
        return entries.count >= limit ? "the queue is full (\(limit) jobs)" : "is about to be taken in"
    }

    private func waiting(
        _ sighting: Sighting, _ reason: String, until: Duration?, _ now: Duration
    ) -> SpoolSnapshot.Waiting {
        SpoolSnapshot.Waiting(
            name: sighting.name, isSpec: sighting.isSpec,
            since: clock.unixMicroseconds - (now - sighting.seenAt).microseconds, reason: reason,
            remaining: until.map { max(.zero, $0 - now) })
    }

    /// The jobs in the spool, in order of arrival.
    public func jobs() -> [JobSummary] {
        entries.values.sorted { $0.id < $1.id }.map { summary($0) }
    }

    /// The failed jobs that ended last, at most so many, in order of arrival; and how many there are.
    ///
    /// - Throws: faults of the file system that keep them from being listed.
    public func failedJobs(atMost limit: Int) throws(Failure) -> (jobs: [JobSummary], total: Int) {
        do {
            try followFinished(.failed)
            let ids = try files.list(failed.here).compactMap { JobID($0) }
            return (ids.suffix(limit).compactMap { job(named: $0) }, ids.count)
        } catch {
            throw error.refusal
        }
    }

    /// One job, in the spool or finished; nil when there is none of this name.
    public func job(named id: JobID) -> JobSummary? {
        if let entry = entries[id] { return summary(entry) }
        for state in [JobState.failed, .done] {
            try? followFinished(state)
            guard let bytes = try? files.contents(home(id, state) / Layout.record, atMost: JobRecord.maximumBytes)
            else {
                continue
            }
            let record = JobRecord(bytes: bytes) ?? JobRecord()
            let names = (try? files.list(home(id, state) / Layout.input)) ?? []
            let inputs: FinishedInputs =
                names.isEmpty ? .none : names.allSatisfy(view.rules.isSpec) ? .withoutImage : .withImage
            return summary(
                Entry(id: id, state: state, record: record, image: record.image, spec: record.spec), inputs)
        }
        return nil
    }

    private func summary(_ entry: Entry, _ inputs: FinishedInputs = .none) -> JobSummary {
        JobSummary(
            id: entry.id, state: entry.state,
            isCommitted: entry.isSealed || entry.state == .done || entry.state == .failed,
            claimedAt: entry.claimedAt, image: entry.image, spec: entry.spec, inputs: inputs,
            priority: entry.record.priority,
            attempts: entry.record.attempts, pause: entry.state == .deferred ? remainingPause(entry.record) : nil,
            lastFailure: entry.record.lastFailure?.failure, trouble: unfinished[entry.id]?.fault?.failure,
            retryOf: entry.record.retryOf.flatMap { JobID($0) }, alone: entry.record.alone,
            strikes: entry.record.strikes, uncleanEnds: entry.record.uncleanEnds,
            outcome: entry.record.outcomeName, directory: home(entry.id, entry.state).description,
            history: entry.record.history, starts: entry.record.starts, timing: entry.record.timing)
    }

    // MARK: The end

    /// The fault that keeps an outcome from the outbox, a claimed drop from going on or the inbox from being taken in; nil when there
    /// is none. For whoever ran the spool until nothing moved any more (`endWhenEmpty`): then not everything has been answered.
    public var undelivered: Failure? {
        guard !isClosed else { return undeliveredAtEnd }
        return unpublished ?? stoppedJobs ?? untaken
    }

    private var unpublished: Failure? {
        let count = entries.values.count { $0.isSealed }
        guard count > 0 else { return nil }
        let trouble = publishingTrouble
        let what = count == 1 ? "an outcome waits" : "\(count) outcomes wait"
        return Failure(
            trouble?.code ?? .temporary, configuration.directories.outbox,
            "\(what) to be put there" + (trouble.map { ": one \($0.cause)" } ?? ""),
            hint: "They are kept in the spool; the next start publishes them when that is mended.")
    }

    private var stoppedJobs: Failure? {
        let stopped = unfinished.compactMapValues { $0.fault?.ending }
        guard let (id, fault) = stopped.min(by: { $0.key < $1.key }) else { return nil }
        return Failure(
            fault.code, stopped.count == 1 ? "job \(id)" : "\(stopped.count) jobs, \(id) first",
            "waits for a fault to pass: \(fault.object): \(fault.cause)", hint: fault.hint)
    }

    private var untaken: Failure? {
        if case .unavailable(let reason) = watch.method {
            return Failure(
                .unavailable, watch.path, "nothing can be taken in from there: \(reason)",
                hint: "Make it or mount it, then start memvpd again.")
        }
        guard let fault = intakePause.fault?.ending else { return nil }
        return Failure(
            fault.code, watch.path, "not everything can be taken in: \(fault.object): \(fault.cause)",
            hint: fault.hint)
    }

    /// Whether nothing is left that would move by itself, soon: what `endWhenEmpty` waits for.
    var isEmpty: Bool {
        guard isRecovered, hasScanned, isIntakeQuiet, inHand.isEmpty else { return false }
        return entries.values.allSatisfy { entry in
            if let pause = unfinished[entry.id], pause.tries >= Spool.stuckAfter { return true }
            guard entry.isWaiting else { return false }
            return entry.state != .queued || isQueueHeld
        }
    }

    /// Whether nothing would be taken in soon, or the inbox has met so many faults in a row that nobody waits for it.
    private var isIntakeQuiet: Bool {
        guard takesIn, max(intakePause.tries, watch.failedOpens) < Spool.stuckAfter else { return true }
        // What could not be looked at yet may be a drop.
        guard intakePause.tries == 0, watch.failedOpens == 0, view.unexamined.isEmpty else { return false }
        return Set(view.sightings.keys).isSubset(of: plan.waiting.filter(\.isLong).map(\.name))
    }
}
