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
    /// Directories in the inbox; they stay.
    public let directories: [FileName]
    /// How each directory is watched.
    public let watched: [WatchedDirectory]
    /// The job that has been in the spool for longest.
    public let oldest: JobID?
    /// What went wrong last, and was or is tried again.
    public let lastTrouble: Failure?
    /// When that was, in microseconds since 1970.
    public let lastTroubleAt: Int64?
    /// `done` and `failed`; counting them takes a while after the start.
    public let finished: [JobState: Finished]
    /// Whether `finished` is counted to the end.
    public let isFinishedCounted: Bool
    /// Whether the queue is held.
    public let isQueueHeld: Bool
    /// Whether drops are taken in.
    public let takesIn: Bool
}

/// A job, for people.
public struct JobSummary: Sendable, Identifiable {
    /// The job.
    public let id: JobID
    /// Where it is.
    public let state: JobState
    /// Whether its outcome is fixed.
    public let isCommitted: Bool
    /// Its image or odd file.
    public let image: FileName?
    /// Its spec.
    public let spec: FileName?
    /// -10 … 10.
    public let priority: Int
    /// How many attempts a passing fault ended.
    public let attempts: Int
    /// How long until the next attempt.
    public let pause: Duration?
    /// What ended the last attempt, or the job.
    public let lastFailure: Failure?
    /// The job that this one retries.
    public let retryOf: JobID?
    /// Whether it must run alone, how often it crashed the process then, and how often the process just ended.
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
    /// The spool at this instant.
    public func snapshot() -> SpoolSnapshot {
        let now = clock.monotonic
        return SpoolSnapshot(
            jobs: Dictionary(grouping: entries.values, by: \.state).mapValues(\.count),
            unpublished: entries.values.count { $0.isSealed },
            inInbox: view.sightings.count,
            waiting: settling(now)
                + plan.waiting.compactMap { waiting in
                    view.sightings[waiting.name].flatMap { sighting in
                        sighting.isComplete
                            ? self.waiting(sighting, waiting.reason, until: waiting.until, now) : nil
                    }
                },
            ignored: view.ignored.count, directories: view.directories.sorted(),
            watched: [SpoolSnapshot.WatchedDirectory(path: watch.path, method: watch.method)],
            oldest: entries.keys.min(), lastTrouble: lastTrouble?.failure, lastTroubleAt: lastTrouble?.at,
            finished: census.counts.mapValues { SpoolSnapshot.Finished(jobs: $0.jobs, bytes: $0.bytes) },
            isFinishedCounted: census.isComplete, isQueueHeld: isQueueHeld, takesIn: takesIn)
    }

    private func settling(_ now: Duration) -> [SpoolSnapshot.Waiting] {
        view.sightings.values.filter { !$0.isComplete }.sorted { $0.order < $1.order }.map { sighting in
            waiting(
                sighting,
                view.rules.isBeingWritten(sighting) ? "is being written" : "must stand unchanged for a while",
                until: view.rules.deadline(sighting), now)
        }
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

    /// One job, in the spool or finished; nil when there is none of this name.
    public func job(named id: JobID) -> JobSummary? {
        if let entry = entries[id] { return summary(entry) }
        for state in [JobState.failed, .done] {
            guard let bytes = try? files.contents(home(id, state) / Layout.record, atMost: JobRecord.maximumBytes)
            else {
                continue
            }
            let record = JobRecord(bytes: bytes) ?? JobRecord()
            return summary(Entry(id: id, state: state, record: record, image: record.image, spec: record.spec))
        }
        return nil
    }

    private func summary(_ entry: Entry) -> JobSummary {
        JobSummary(
            id: entry.id, state: entry.state,
            isCommitted: entry.isSealed || entry.state == .done || entry.state == .failed,
            image: entry.image, spec: entry.spec, priority: entry.record.priority, attempts: entry.record.attempts,
            pause: entry.state == .deferred ? remainingPause(entry.record) : nil,
            lastFailure: entry.record.lastFailure?.failure, retryOf: entry.record.retryOf.flatMap { JobID($0) },
            alone: entry.record.alone, strikes: entry.record.strikes, uncleanEnds: entry.record.uncleanEnds,
            outcome: entry.record.outcomeName, directory: home(entry.id, entry.state).description,
            history: entry.record.history, starts: entry.record.starts, timing: entry.record.timing)
    }

    /// Whether nothing is left that would move by itself, soon: what `endWhenEmpty` waits for.
    var isEmpty: Bool {
        guard isRecovered, hasScanned else { return false }
        let stuck = 3
        let isIntakeQuiet =
            !takesIn || intakePause.tries >= stuck
            || Set(view.sightings.keys).isSubset(of: plan.waiting.filter(\.isLong).map(\.name))
        guard isIntakeQuiet, inHand.isEmpty else { return false }
        return entries.values.allSatisfy { entry in
            if let pause = unfinished[entry.id], pause.tries >= stuck { return true }
            guard entry.isWaiting else { return false }
            return entry.state != .queued || isQueueHeld
        }
    }
}
