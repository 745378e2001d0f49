// What happened to a job, for `memvpctl show`: kept in memory, written with the record whenever that is written anyway.
//
// Invariant: bounded, however often a job is deferred: the first steps and the latest stay. Failure mode: a process that dies
// takes the steps since the last write of the record along; nothing else depends on them.

/// A step in a job's life.
public struct JobStep: Codable, Sendable, Equatable {
    /// What happened.
    public enum Kind: String, Codable, Sendable, CaseIterable {
        /// It waits for a worker.
        case queued
        /// A spec joined it.
        case joined
        /// An operator kept it back.
        case held
        /// An operator let it go on.
        case released
        /// A worker took it.
        case running
        /// A worker gave it back undone.
        case requeued
        /// A passing fault ended an attempt.
        case deferred
        /// The process ended uncleanly while a worker had it.
        case interrupted
        /// Its answer was fixed.
        case answered
        /// Its error was fixed.
        case failed
        /// Its outcome went to the outbox.
        case published
    }

    /// When, in microseconds since 1970.
    public let at: Int64
    /// What.
    public let kind: Kind
    /// More about it, of at most some hundred bytes.
    public let note: String?
}

extension JobRecord {
    /// The most steps that are kept; those after the first eight go first.
    static let maximumSteps = 64

    /// Adds a step, unless it is the last one again (a transition that a fault cut off is gone through anew).
    mutating func add(_ kind: JobStep.Kind, _ note: String?, at: Int64) {
        let note = note.map { String(decoding: $0.utf8.prefix(300), as: UTF8.self) }
        guard history.last?.kind != kind || history.last?.note != note else { return }
        history.append(JobStep(at: at, kind: kind, note: note))
        if history.count > JobRecord.maximumSteps { history.remove(at: 8) }
    }
}

extension Spool {
    /// Notes a step of a job that is in the spool.
    func note(_ id: JobID, _ kind: JobStep.Kind, _ words: String? = nil) {
        entries[id]?.record.add(kind, words, at: clock.unixMicroseconds)
        entries[id]?.hasUnwrittenSteps = true
    }

    /// Writes what was noted of jobs since their records were written last: before the end, as well as may be.
    func writeSteps() {
        for entry in entries.values where entry.hasUnwrittenSteps && !entry.isSealed {
            try? write(entry.record, in: home(entry.id, entry.state), durable: false)
        }
    }

    /// Milliseconds since the job was claimed.
    func age(_ id: JobID) -> Double {
        let claimed = entries[id]?.claimedAt ?? id.unixMicroseconds
        return Double(max(0, clock.unixMicroseconds - claimed)) / 1e3
    }
}
