// Housekeeping: what the finished jobs take up, and their removal after a retention that is off by default.
//
// Invariants: only directories named like jobs are touched; an expiring job is renamed out of sight before its first file
// goes, so a half-removed one is never taken for a whole one; each step does a bounded amount.

internal import Diagnostics
internal import SystemPackage

/// What finished jobs take up: counted once at leisure, kept up to date from then on.
struct Census: Sendable {
    struct Count: Sendable, Equatable {
        var jobs = 0
        var bytes: Int64 = 0
    }

    var counts: [JobState: Count] = [:]
    /// Directories still to be walked, and the one under way.
    var remaining: [JobState] = [.done, .failed]
    var walk: (state: JobState, directory: DirectoryHandle)?
    /// Jobs that were added or removed while the walk is not over: it passes them by.
    var alreadyCounted: Set<JobID> = []
    var nextSweep: Duration?

    var isComplete: Bool { remaining.isEmpty && walk == nil }

    mutating func add(_ id: JobID, _ state: JobState, bytes: Int64) {
        counts[state, default: Count()].jobs += 1
        counts[state, default: Count()].bytes += bytes
        if !isComplete { alreadyCounted.insert(id) }
    }
}

extension Spool {
    private static let sweepInterval: Duration = .seconds(3600)
    private static let removalsPerSweep = 256

    /// Does a bounded amount; returns whether there is more to do at once.
    func keepHouse(_ now: Duration) -> Bool {
        do throws(FileFault) {
            if configuration.retention.done != nil || configuration.retention.failed != nil,
                census.nextSweep.map({ $0 <= now }) ?? true
            {
                census.nextSweep = now + Spool.sweepInterval
                let moreDone = try sweep(.done, configuration.retention.done)
                let moreFailed = try sweep(.failed, configuration.retention.failed)
                if moreDone || moreFailed { census.nextSweep = now }
            }
            return try count()
        } catch {
            note(error)
            return false
        }
    }

    // MARK: Counting

    private func count() throws(FileFault) -> Bool {
        if census.walk == nil, let state = census.remaining.popLast() {
            census.walk = (state, try files.openDirectory(directory(state)))
        }
        guard let walk = census.walk else { return false }
        guard let names = try files.nextBatch(walk.directory) else {
            census.walk = nil
            if census.isComplete { census.alreadyCounted = [] }
            return !census.isComplete
        }
        for name in names {
            guard let id = JobID(name), !census.alreadyCounted.contains(id) else { continue }
            census.counts[walk.state, default: Census.Count()].jobs += 1
            census.counts[walk.state, default: Census.Count()].bytes += try size(home(id, walk.state))
        }
        return true
    }

    /// The size of a job's inputs.
    func size(_ home: Location) throws(FileFault) -> Int64 {
        var sum: Int64 = 0
        for name in try files.list(home / Layout.input) {
            sum += try files.status(home / Layout.input / name)?.size ?? 0
        }
        return sum
    }

    // MARK: Retention

    private func sweep(_ state: JobState, _ retention: Duration?) throws(FileFault) -> Bool {
        guard let retention else { return false }
        let limit = clock.unixMicroseconds - retention.microseconds
        var expired: [JobID] = []
        try files.forEachBatch(directory(state)) { (names) throws(FileFault) in
            for name in names where expired.count < Spool.removalsPerSweep {
                // A name from the future was made while the clock was wrong.
                guard let id = JobID(name), id.unixMicroseconds < limit || id.unixMicroseconds > clock.unixMicroseconds,
                    // The inode's change time is that of the rename that brought the job here: when it ended.
                    let status = try files.status(home(id, state)), status.changed / 1000 < limit
                else { continue }
                expired.append(id)
            }
        }
        var removed = 0
        for id in expired {
            do {
                try expire(id, state)
                removed += 1
            } catch {
                // One that resists does not keep the others; it is tried again with the next sweep.
                note(error)
            }
        }
        return removed == Spool.removalsPerSweep
    }

    private func expire(_ id: JobID, _ state: JobState) throws(FileFault) {
        let bytes = try size(home(id, state))
        let hidden = directory(state) / Layout.expiring(id)
        try files.rename(home(id, state), hidden)
        try removeTree(hidden)
        if census.isComplete {
            census.counts[state]?.jobs -= 1
            census.counts[state]?.bytes -= bytes
        }
        report(.expired(id, state))
    }

    /// Removes a job's directory with what a job's directory can hold: files, and `input/` with files.
    func removeTree(_ home: Location) throws(FileFault) {
        for name in try files.list(home / Layout.input) { try files.remove(home / Layout.input / name) }
        try files.removeDirectory(home / Layout.input)
        for name in try files.list(home) { try files.remove(home / name) }
        try files.removeDirectory(home)
    }
}
