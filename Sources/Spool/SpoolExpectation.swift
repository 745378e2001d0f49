// Which waiting jobs are not handed out yet, because a spec in sight is about to join them (docs/QUEUE.md, "Pairing", rule 5).
//
// Invariants: a job is kept back only for a spec that can still join it; what ends that wait opens the gate, so that a worker who
// was refused the job looks again. Failure mode: an inbox that cannot be read or claimed from; after some attempts jobs go on.

internal import Diagnostics

extension Spool {
    /// What the waits of jobs for specs depend on: when it changes, workers look again.
    struct Outlook: Equatable {
        var inbox: UInt64
        var isIntakeStuck: Bool
        /// Specs in the making that are no longer waited for.
        var overdue: Int
    }

    /// What one look at the queue knows of specs on their way.
    struct SpecsOnTheirWay {
        let now: Duration
        /// Jobs that the spec of a claimed job is about to join.
        let claimed: Set<JobID>
        /// Jobs that a complete spec in the inbox is to join: planned when first asked for.
        var planned: Set<JobID>?
    }

    /// After how many faults in a row the intake no longer keeps anything waiting.
    static let stuckAfter = 3

    /// Whether nothing can be taken in for the time being, and has not been for some attempts.
    func isIntakeStuck(_ now: Duration) -> Bool { intakePause.tries >= Spool.stuckAfter && intakePause.until > now }

    func outlook(_ now: Duration) -> Outlook {
        Outlook(
            inbox: view.revision, isIntakeStuck: isIntakeStuck(now),
            overdue: view.unfinishedSpecs.count { $0.seenAt + pairing.timeout <= now })
    }

    /// When a spec that is still being written is no longer waited for.
    func nextOverdue(_ now: Duration) -> Duration? {
        view.unfinishedSpecs.map { $0.seenAt + pairing.timeout }.filter { $0 > now }.min()
    }

    func specsOnTheirWay(_ now: Duration) -> SpecsOnTheirWay {
        SpecsOnTheirWay(
            now: now,
            claimed: Set(
                entries.values.lazy.filter { $0.state == .claimed }.compactMap { $0.record.joins.flatMap { JobID($0) } }
            )
        )
    }

    /// Whether a spec may be about to join this job: one in the inbox, complete or not, or one on its way from there; or has
    /// joined it and is yet to be read.
    func isExpectingSpec(_ id: JobID, _ specs: inout SpecsOnTheirWay) -> Bool {
        guard let entry = entries[id], let image = entry.image else { return false }
        guard entry.spec == nil else { return entry.hasUnreadSpec }
        if specs.claimed.contains(id) { return true }
        guard !isIntakeStuck(specs.now) else { return false }
        switch view.specs(about: image, since: specs.now - pairing.timeout) {
        case .none: return false
        case .unfinished: return true
        case .complete:
            // It may be meant for another photo of that name: only pairing knows.
            let planned = specs.planned ?? plannedJoins(specs.now)
            specs.planned = planned
            return planned.contains(id)
        }
    }

    private func plannedJoins(_ now: Duration) -> Set<JobID> {
        let plan = pairing.plan(view.sightings.values, jobs: knownJobs, now: now)
        return Set(
            plan.decisions.compactMap { decision in
                if case .join(_, let id) = decision { return id }
                return nil
            })
    }
}
