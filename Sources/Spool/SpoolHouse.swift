// Housekeeping: what the finished jobs take up, and their removal after a retention that is off by default.
//
// Invariants: only directories named like jobs are touched; an expiring job is renamed out of sight before its first file
// goes, so a half-removed one is never taken for a whole one; each step does a bounded amount.
// Failure mode: a fault puts the count off, or leaves a job to the next sweep; neither loses its place.

internal import Diagnostics
internal import SystemPackage

/// What finished jobs take up: counted once at leisure, kept up to date from then on.
struct Census: Sendable {
    struct Count: Sendable, Equatable {
        var jobs = 0
        var bytes: Int64 = 0
    }

    var counts: [JobState: Count] = [:]
    /// Directories still to be walked.
    var remaining: [JobState] = [.done, .failed]
    /// The one under way, and the names that were read of it and are yet to be counted.
    var walk: (state: JobState, directory: DirectoryHandle, names: [FileName])?
    /// Jobs that were added while the walk is not over, and are there still: it passes them by.
    var alreadyCounted: Set<JobID> = []
    /// After a fault: when to count on.
    var nextCount: Duration?
    var nextSweep: Duration?

    var isComplete: Bool { remaining.isEmpty && walk == nil }

    mutating func add(_ id: JobID, _ state: JobState, bytes: Int64) {
        count(state, bytes: bytes)
        if !isComplete { alreadyCounted.insert(id) }
    }

    mutating func count(_ state: JobState, bytes: Int64) {
        counts[state, default: Count()].jobs += 1
        counts[state, default: Count()].bytes += bytes
    }

    /// A job goes whose directory is not being walked now: what was not counted yet is not taken off.
    mutating func remove(_ id: JobID, _ state: JobState, bytes: Int64) {
        guard alreadyCounted.remove(id) != nil || !remaining.contains(state), let count = counts[state] else { return }
        // Of a job that could not be measured no bytes were counted.
        counts[state] = Count(jobs: max(0, count.jobs - 1), bytes: max(0, count.bytes - bytes))
    }
}

extension Spool {
    private static let sweepInterval: Duration = .seconds(3600)
    private static let removalsPerSweep = 256
    /// How long a fault puts off the count.
    private static let countPause: Duration = .seconds(60)

    /// Does a bounded amount; returns whether there is more to do at once.
    func keepHouse(_ now: Duration) -> Bool {
        // What is about to go is not counted first.
        if sweepWhenDue(now) { return true }
        return countOn(now)
    }

    // MARK: Counting

    private func countOn(_ now: Duration) -> Bool {
        guard !census.isComplete, census.nextCount.map({ $0 <= now }) ?? true else { return false }
        census.nextCount = nil
        do {
            try countBatch()
        } catch {
            // It goes on where it stopped: nothing is left out, and nothing counted twice.
            note(error)
            census.nextCount = now + Spool.countPause
            return false
        }
        return !census.isComplete
    }

    private func countBatch() throws(FileFault) {
        if census.walk == nil, let state = census.remaining.last {
            census.walk = (state, try files.openDirectory(directory(state)), [])
            census.remaining.removeLast()
        }
        guard let walk = census.walk else { return }
        if walk.names.isEmpty {
            guard let names = try files.nextBatch(walk.directory) else {
                census.walk = nil
                if census.isComplete { census.alreadyCounted = [] }
                return
            }
            census.walk?.names = names
        }
        while let name = census.walk?.names.last {
            if let id = JobID(name), !census.alreadyCounted.contains(id) {
                let bytes = try measure(home(id, walk.state))
                census.count(walk.state, bytes: bytes)
            }
            census.walk?.names.removeLast()
        }
    }

    /// The size of a job's inputs; none where a disk will not tell it for good. Throws what is short for a while.
    private func measure(_ home: Location) throws(FileFault) -> Int64 {
        do {
            return try size(home)
        } catch let fault where !fault.isShortage {
            note(fault)
            return 0
        }
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

    /// Removes what has expired, a number of jobs of each state; returns whether there is more.
    private func sweepWhenDue(_ now: Duration) -> Bool {
        let periods: [(JobState, Duration?)] = [
            (.done, configuration.retention.done), (.failed, configuration.retention.failed),
        ]
        guard periods.contains(where: { $0.1 != nil }), census.nextSweep.map({ $0 <= now }) ?? true else {
            return false
        }
        census.nextSweep = now + Spool.sweepInterval
        var hasMore = false
        for (state, period) in periods {
            // Of a directory that is being walked nobody knows what is counted: it has time until the next sweep.
            guard let period, census.walk?.state != state else { continue }
            do {
                try followFinished(state)
                if try sweep(state, period) { hasMore = true }
            } catch {
                note(error)
            }
        }
        if hasMore { census.nextSweep = now }
        return hasMore
    }

    private func sweep(_ state: JobState, _ retention: Duration) throws(FileFault) -> Bool {
        let limit = clock.unixMicroseconds - retention.microseconds
        var expired: [JobID] = []
        var leftovers: [JobID] = []
        try files.forEachBatch(directory(state)) { (names) throws(FileFault) in
            for name in names where expired.count < Spool.removalsPerSweep {
                if let id = Layout.job(ofExpiring: name), leftovers.count < Spool.removalsPerSweep {
                    leftovers.append(id)
                }
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
        // What resisted after it was renamed is found by its hidden name.
        for id in leftovers {
            do {
                try clear(id, state)
            } catch {
                note(error)
            }
        }
        return removed == Spool.removalsPerSweep
    }

    private func expire(_ id: JobID, _ state: JobState) throws(FileFault) {
        let bytes = try size(home(id, state))
        try files.rename(home(id, state), directory(state) / Layout.expiring(id))
        // It is no job any more, however long its files resist.
        census.remove(id, state, bytes: bytes)
        try clear(id, state)
    }

    /// Removes what stands under an expired job's hidden name.
    private func clear(_ id: JobID, _ state: JobState) throws(FileFault) {
        try removeTree(directory(state) / Layout.expiring(id))
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
