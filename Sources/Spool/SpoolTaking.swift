// Workers: how jobs are handed out and what becomes of them (S3 and S5 to S6, and from there on).
//
// Invariants: `running/` holds a job before a worker has it; a job that must run alone is handed out only when no other is in
// hand, and no other while it is; every job handed out ends in exactly one of the calls below.

public import Diagnostics
internal import SystemPackage

extension Spool {
    // MARK: Taking

    /// Hands out jobs, at most so many; none when there are none now. In order: jobs that must run alone, then fresh and
    /// retried ones in turn, each by priority and arrival.
    public func takeJobs(atMost limit: Int) -> [Job] {
        guard isRecovered, hasScanned, !isClosed, !isQueueHeld, limit > 0 else { return [] }
        let now = clock.monotonic
        // A spec that has come by now joins before its photo is decoded (SpoolExpectation.swift).
        lookAtInbox(now)
        completeSightings(now)
        thread.wake()
        queue.admitDue(now: now)

        guard !inHand.contains(where: { entries[$0]?.record.alone == true }) else { return [] }
        var specs = specsOnTheirWay(now)
        while let suspect = queue.nextSuspect(), !isExpectingSpec(suspect, &specs) {
            guard inHand.isEmpty else { return [] }
            queue.remove(suspect)
            if let job = handOut(suspect) { return announce([job]) }
        }
        var jobs: [Job] = []
        while jobs.count < limit, let id = queue.next(where: { !isExpectingSpec($0, &specs) }) {
            if let job = handOut(id) { jobs.append(job) }
        }
        return announce(jobs)
    }

    /// Waits for jobs and hands them out, at most so many. Empty once the spool is closed, the task cancelled, or, after
    /// `endWhenEmpty`, nothing is left to do.
    public func nextJobs(atMost limit: Int) async -> [Job] {
        while !isClosed, !Task.isCancelled, limit > 0 {
            let turn = gate.turn
            let jobs = takeJobs(atMost: limit)
            if !jobs.isEmpty || (endsWhenEmpty && isEmpty) { return jobs }
            await gate.wait(after: turn)
        }
        return []
    }

    /// Moves a job to `running/`; nil when it cannot be handed out now after all.
    private func handOut(_ id: JobID) -> Job? {
        do {
            guard try isImageStill(id) else { return nil }
            try move(id, to: .running)
            inHand.insert(id)
            entries[id]?.record.starts += 1
            note(id, .running)
            return job(id)
        } catch {
            note(error)
            putInQueue(id, at: clock.monotonic + Spool.pause(afterTry: 1))
            return nil
        }
    }

    /// Makes the set in flight durable before any work starts.
    private func announce(_ jobs: [Job]) -> [Job] {
        guard !jobs.isEmpty else { return [] }
        do {
            try files.syncDirectory(directory(.running))
        } catch {
            // It is on disk for a crash of the process; only a power cut could lose it, and that never counts.
            note(error)
        }
        noteSuspect(jobs.first(where: \.aloneRequired)?.id)
        for job in jobs { report(.taken(job.id)) }
        return jobs
    }

    /// Whether a job's image is as it was; if not, its writer goes on writing: the job waits until it has settled.
    private func isImageStill(_ id: JobID) throws(FileFault) -> Bool {
        guard let entry = entries[id] else { return false }
        // A job without any image is one whose end a fault put off when it was recovered.
        guard let image = entry.image, let status = try files.status(home(id, entry.state) / Layout.input / image)
        else {
            try conclude(id, Failure.vanished(id))
            return false
        }
        if let known = entry.record.imageContent, known != status.content {
            entries[id]?.record.imageContent = status.content
            entries[id]?.record.settled = true
            putInQueue(id, at: clock.monotonic + configuration.settle)
            thread.wake()
            return false
        }
        entries[id]?.record.imageContent = status.content
        return true
    }

    private func job(_ id: JobID) -> Job? {
        guard let entry = entries[id], let image = entry.image else { return nil }
        return Job(
            id: id, claimedAt: entry.claimedAt, image: image, spec: entry.spec, priority: entry.record.priority,
            attempts: entry.record.attempts,
            retryOf: entry.record.retryOf.flatMap { JobID($0) }, aloneRequired: entry.record.alone,
            location: home(id, .running), imageContent: entry.record.imageContent, limits: configuration.limits,
            files: files)
    }

    // MARK: Giving back

    /// Ends a job with its answer; `timing` is the milliseconds in each stage, for `job(named:)`. Once this returns `published` or `committed`, the outcome is fixed and durable.
    ///
    /// - Throws: `internal_error` when the job is not in hand.
    @discardableResult
    public func commit(_ job: Job, answer: [UInt8], timing: [String: Double] = [:]) throws(Failure) -> Disposition {
        try end(job, document: answer, nil, timing)
    }

    /// Ends a job with a failure and the document that explains it.
    ///
    /// - Throws: `internal_error` when the job is not in hand.
    @discardableResult
    public func fail(
        _ job: Job, _ failure: Failure, document: [UInt8], timing: [String: Double] = [:]
    ) throws(Failure) -> Disposition {
        try end(job, document: document, failure, timing)
    }

    private func end(
        _ job: Job, document: [UInt8], _ failure: Failure?, _ timing: [String: Double]
    ) throws(Failure) -> Disposition {
        try requireInHand(job.id)
        defer { released(job.id) }
        // JSON has no form for other numbers, and the record is worth more than one of its figures.
        entries[job.id]?.record.timing = timing.filter(\.value.isFinite)
        do {
            try conclude(job.id, document: document, failure)
        } catch {
            note(error)
            postpone(job.id, error.failure)
            return .deferred(error.failure)
        }
        guard entries[job.id] == nil, let name = recentOutcome(job) else { return .committed }
        return .published(name)
    }

    private func recentOutcome(_ job: Job) -> FileName? {
        for known in recent.jobs(job.image.stem).reversed() where known.id == job.id {
            if case .ended(let outcome, _) = known.stage { return outcome }
        }
        return nil
    }

    /// Gives a job back undone, to be taken again at once: at shutdown, say.
    ///
    /// - Throws: `internal_error` when the job is not in hand.
    public func requeue(_ job: Job) throws(Failure) {
        try requireInHand(job.id)
        putBack(job.id)
    }

    /// Gives a job back after a passing fault (`FailureCode.isPassing`): it is tried again after a pause that doubles each time.
    /// After the last attempt the failure is the outcome.
    ///
    /// - Throws: `internal_error` when the job is not in hand.
    public func deferJob(_ job: Job, _ failure: Failure) throws(Failure) {
        try requireInHand(job.id)
        postpone(job.id, failure)
        released(job.id)
    }

    /// Gives a job back if its image may not have been whole yet when it was read: it has changed since, or it was
    /// taken without settling and has not been given back for that before. For a decoder that met an early end.
    ///
    /// - Returns: whether the job was given back; if not, it is still in hand.
    /// - Throws: `internal_error` when the job is not in hand.
    public func returnIfChanging(_ job: Job) throws(Failure) -> Bool {
        try requireInHand(job.id)
        guard var entry = entries[job.id] else { return false }
        let content: FileStatus.Content?
        do {
            content = try files.status(job.location / Layout.input / job.image)?.content
        } catch {
            note(error)
            return false
        }
        let hasChanged = content != entry.record.imageContent
        guard hasChanged || (!entry.record.settled && !entry.hasSettledAgain) else { return false }
        entry.record.imageContent = content
        entry.hasSettledAgain = true
        remember(entry)
        putBack(job.id, after: configuration.settle)
        return true
    }

    /// Back to the queue; a fault leaves it to `advance`, which defers it.
    func putBack(_ id: JobID, after pause: Duration? = nil) {
        inHand.remove(id)
        released(id)
        note(id, .requeued)
        do {
            // An end that was clean breaks a row of unclean ones.
            if entries[id]?.record.uncleanEnds != 0 {
                entries[id]?.record.uncleanEnds = 0
                if let record = entries[id]?.record { try write(record, in: home(id, .running), durable: false) }
            }
            try move(id, to: .queued)
            putInQueue(id, at: pause.map { clock.monotonic + $0 })
            report(.requeued(id))
            thread.wake()
        } catch {
            note(error)
            advance(id)
        }
    }

    /// Counts an attempt and defers the job, or ends it after the last one.
    private func postpone(_ id: JobID, _ failure: Failure) {
        inHand.remove(id)
        guard var entry = entries[id] else { return }
        entry.record.attempts += 1
        entry.record.lastFailure = RecordedFailure(failure)
        let pause = configuration.retry.pause(afterAttempt: entry.record.attempts)
        entry.record.notBefore = clock.unixMicroseconds + pause.microseconds
        remember(entry)
        note(id, .deferred, "\(failure)")
        if configuration.retry.attempts > 0, entry.record.attempts >= configuration.retry.attempts {
            do {
                return try conclude(id, failure)
            } catch {
                note(error)
            }
        }
        report(.deferred(id, failure, pause: pause))
        advance(id)
        thread.wake()
    }

    /// S6 to S5, for a job that is in no worker's hands.
    func deferStranded(_ id: JobID) throws(FileFault) {
        guard let entry = entries[id] else { return }
        do {
            try write(entry.record, in: home(id, .running), durable: false)
        } catch {
            // The count of attempts is worth less than the move: memory has it, and a full disk may still take a rename.
            note(error)
        }
        try move(id, to: .deferred)
        putInQueue(id, at: clock.monotonic + remainingPause(entry.record))
    }

    /// How long a deferred job still waits, however the wall clock was set meanwhile.
    func remainingPause(_ record: JobRecord) -> Duration {
        guard let notBefore = record.notBefore else { return .zero }
        let remaining = notBefore.subtractingReportingOverflow(clock.unixMicroseconds)
        guard !remaining.overflow else { return .zero }
        return max(.zero, min(.microseconds(remaining.partialValue), configuration.retry.maximum))
    }

    /// Tells the crash handler which job runs alone. The note is the process's: only the spool that installed the handler writes it.
    func noteSuspect(_ id: JobID?) {
        if strikes != nil { SystemBridge.noteForCrashHandler(id?.description) }
    }

    private func requireInHand(_ id: JobID) throws(Failure) {
        guard inHand.contains(id), !isClosed else {
            throw Failure(.internalError, "job \(id)", "is not in a worker's hands")
        }
    }

    private func released(_ id: JobID) {
        if inHand.isEmpty { noteSuspect(nil) }
        // A job that waited to run alone may go now.
        gate.open()
    }
}
