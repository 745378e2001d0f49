// What operators may do to jobs: hold, release, remove, retry. No verb deletes an original.
//
// Invariants: a verb works on jobs that no worker has; its one decisive step is a rename, and it reports success only after it and
// once it is durable.

public import Diagnostics
internal import SystemPackage

extension Spool {
    // MARK: Hold and release

    /// Keeps a waiting job back until it is released.
    ///
    /// - Throws: `not_found`; `temporary` when the job is in a worker's hands or already has its outcome.
    public func hold(_ id: JobID) throws(Failure) {
        try requireWaiting(id)
        if entries[id]?.state != .held {
            try attempt { () throws(FileFault) in try move(id, to: .held) }
            queue.remove(id)
            note(id, .held)
            report(.held(id, true))
        }
        try makeStepDurable(directory(.held))
    }

    /// Lets a held job go on; a deferred one is tried again at once.
    ///
    /// - Throws: as `hold`.
    public func release(_ id: JobID) throws(Failure) {
        try requireWaiting(id)
        if entries[id]?.state != .queued {
            try attempt { () throws(FileFault) in try move(id, to: .queued) }
        }
        putInQueue(id)
        note(id, .released)
        report(.held(id, false))
        try makeStepDurable(directory(.queued))
    }

    /// Hands out no jobs until `releaseQueue`, also after a restart. Drops are taken in all the same.
    public func holdQueue() throws(Failure) {
        try attempt { () throws(FileFault) in try files.writeWhole(spool / Layout.hold, [], durable: true) }
        isQueueHeld = true
        try makeStepDurable(spool.here)
    }

    /// Ends `holdQueue`.
    public func releaseQueue() throws(Failure) {
        try attempt { () throws(FileFault) in try files.remove(spool / Layout.hold) }
        isQueueHeld = false
        gate.open()
        try makeStepDurable(spool.here)
    }

    // MARK: Remove

    /// Ends a waiting job, or one that a fault keeps from being taken in, with the outcome `removed`; its inputs go to `failed`.
    ///
    /// - Throws: as `hold`.
    public func remove(_ id: JobID) throws(Failure) {
        let name = entries[id]?.image?.description ?? "job \(id)"
        if let entry = entries[id], entry.state == .claimed, !entry.isSealed, unfinished[id]?.fault != nil {
            let removed = Failure(
                .removed, name, "an operator removed the job", hint: "Drop it again to have it answered.")
            guard try attempt({ () throws(FileFault) in try endClaim(id, removed) }) else {
                throw Failure(
                    .temporary, "job \(id)", "has none of its files yet", hint: "Take them out of the inbox instead.")
            }
            return
        }
        try requireWaiting(id)
        try attempt { () throws(FileFault) in
            try conclude(
                id,
                Failure(.removed, name, "an operator removed the job", hint: "memvpctl retry \(id) takes it up again."))
        }
    }

    // MARK: Retry

    /// Makes a new job of a finished one's inputs; the finished one stays as it is. Returns the new job.
    ///
    /// - Throws: `not_found` when no finished job has this name or its image is gone; faults of the file system.
    public func retry(_ id: JobID) throws(Failure) -> JobID {
        guard entries[id] == nil else {
            throw Failure(.temporary, "job \(id)", "has not ended yet", hint: "Only ended jobs are retried.")
        }
        let new = ids.next(unixMicroseconds: clock.unixMicroseconds)
        let refusal: Failure?
        do throws(FileFault) {
            refusal = try makeRetry(new, of: id)
        } catch {
            note(error)
            undoRetry(new)
            throw error.refusal
        }
        if let refusal { throw refusal }
        return new
    }

    /// What became of `retryFailed`.
    public struct RetriedJobs: Sendable {
        /// The new jobs by the old ones.
        public var retried: [JobID: JobID] = [:]
        /// Jobs that could not be retried, and why.
        public var refused: [JobID: Failure] = [:]
    }

    /// Retries every failed job that has not been retried and has an image. One that cannot be retried does not keep the others,
    /// and between two jobs others have the thread.
    ///
    /// - Throws: faults of the file system that keep the failed jobs from being listed.
    public func retryFailed() async throws(Failure) -> RetriedJobs {
        var result = RetriedJobs()
        let names = try attempt { () throws(FileFault) in
            try followFinished(.failed)
            return try files.list(failed.here)
        }
        for id in names.compactMap({ JobID($0) }) {
            do throws(Failure) {
                guard try attempt({ () throws(FileFault) in try isRetriable(id) }) else { continue }
                result.retried[id] = try retry(id)
            } catch {
                result.refused[id] = error
            }
            await Task.yield()
            if isClosed { break }
        }
        return result
    }

    private func isRetriable(_ id: JobID) throws(FileFault) -> Bool {
        let home = home(id, .failed)
        guard try !files.exists(home / Layout.retried) else { return false }
        // A crash may have come between the new job and the mark; it is made when that job ends.
        guard !entries.values.contains(where: { $0.record.retryOf == id.description }) else { return false }
        return try files.list(home / Layout.input).contains { !view.rules.isSpec($0) }
    }

    /// Makes the new job; why not, if there is nothing to make it of. It exists from the rename to `queued/` on.
    private func makeRetry(_ new: JobID, of old: JobID) throws(FileFault) -> Failure? {
        for state in [JobState.failed, .done] { try followFinished(state) }
        guard let state = try finishedState(old) else {
            return Failure(
                .notFound, "job \(old)", "is not among the finished jobs",
                hint: "memvpctl queue lists the jobs, with --state failed those that failed.")
        }
        let source = home(old, state)
        let names = try files.list(source / Layout.input)
        guard let image = names.first(where: { !view.rules.isSpec($0) }) else {
            return Failure(
                .imageMissing, "job \(old)", "has no image to try again", hint: "Drop the photo and its spec again.")
        }
        var entry = Entry(id: new, state: .queued, record: JobRecord())
        (entry.image, entry.spec) = (image, names.first { view.rules.isSpec($0) })
        entry.record = try retryRecord(entry, of: old, source)

        let target = home(new, .claimed)
        try files.makeDirectory(target, exclusively: true)
        try files.makeDirectory(target / Layout.input)
        try write(entry.record, in: target, durable: false)
        for name in [entry.spec, image].compactMap(\.self) {
            try duplicate(source / Layout.input / name, target / Layout.input / name, target)
        }
        entry.record.imageContent = try files.status(target / Layout.input / image)?.content
        try write(entry.record, in: target, durable: true)
        try files.syncDirectory(target / Layout.input)
        try files.syncDirectory(target)
        try files.rename(target, home(new, .queued))
        remember(entry)
        report(.queued(new, image: image, spec: entry.spec))
        putInQueue(new)
        advance(new)
        do {
            // The verb is about to report success: a power cut must not undo it.
            try files.syncDirectory(directory(.queued))
            try mark(source, retriedAs: new)
        } catch {
            // The new job goes on all the same, and makes up for the mark when it ends.
            note(error)
        }
        return nil
    }

    /// Marks a finished job as retried: `retryFailed` passes over it.
    private func mark(_ old: Location, retriedAs new: JobID) throws(FileFault) {
        try files.writeWhole(old / Layout.retried, Array("\(new)\n".utf8), durable: false)
    }

    /// Marks the job that this one retries, if a kill or a fault has kept that from being done: once this one has left the
    /// spool, nothing but the mark tells.
    func markRetried(by entry: Entry) throws(FileFault) {
        do {
            guard let old = entry.record.retryOf.flatMap({ JobID($0) }), let state = try finishedState(old),
                try !files.exists(home(old, state) / Layout.retried)
            else { return }
            try mark(home(old, state), retriedAs: entry.id)
        } catch let fault where fault.isDenied || fault.isOfMedium {
            // What is short for a while is waited for. A directory that takes no mark for good must not keep this job from
            // its end.
            note(fault)
        }
    }

    private func retryRecord(_ entry: Entry, of old: JobID, _ source: Location) throws(FileFault) -> JobRecord {
        var record = JobRecord()
        record.claimedAt = clock.unixMicroseconds
        record.image = entry.image
        record.retryOf = old.description
        record.settled = true
        record.add(.queued, "retry of \(old)", at: clock.unixMicroseconds)
        if let bytes = try files.contents(source / Layout.record, atMost: JobRecord.maximumBytes),
            let before = JobRecord(bytes: bytes), let name = before.outcomeName, let stem = entry.image?.stem
        {
            record.firstOrdinal = OutcomeName.ordinal(of: name, stem: stem) + 1
        }
        return record
    }

    /// A second name for a file, or a copy of it where the kernel refuses that (protected_hardlinks, other owners).
    private func duplicate(_ from: Location, _ to: Location, _ home: Location) throws(FileFault) {
        do {
            try files.link(from, to)
        } catch {
            try files.copyWhole(from, to, temporary: home / Layout.incoming)
        }
    }

    private func undoRetry(_ new: JobID) {
        let home = home(new, .claimed)
        do {
            for name in try files.list(home / Layout.input) { try files.remove(home / Layout.input / name) }
            try discard(home)
        } catch {
            // Recovery removes it: it is an S2 with `retry_of`.
            note(error)
        }
        forget(new)
    }

    // MARK: Helpers

    private func requireWaiting(_ id: JobID) throws(Failure) {
        guard let entry = entries[id] else {
            throw Failure(.notFound, "job \(id)", "is not in the queue", hint: "memvpctl queue lists the jobs.")
        }
        guard entry.isWaiting else {
            throw Failure(
                .temporary, "job \(id)", "is \(entry.isSealed ? "being published" : entry.state.rawValue)",
                hint: "Try again when it waits, or let it end.")
        }
    }

    /// A verb that reports success is not undone by a power cut. Where this fails, the step is made all the same: asked again, the verb
    /// has only this left to do.
    private func makeStepDurable(_ directory: Location) throws(Failure) {
        try attempt { () throws(FileFault) in try files.syncDirectory(directory) }
    }

    private func attempt<Value>(_ body: () throws(FileFault) -> Value) throws(Failure) -> Value {
        do {
            return try body()
        } catch {
            note(error)
            throw error.refusal
        }
    }
}
