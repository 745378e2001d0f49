// Recovery: what an end, clean or not, has left, and what becomes of it (docs/QUEUE.md, "What a crash leaves").
//
// Invariants: nothing is handed out before it is through; each job is moved on by the same `advance` as in life, so a fault
// here leaves it to a later step. It may be cut off anywhere and begun again: counts in `job.json` carry the session they
// were made for, and the session's mark is replaced last.

public import Diagnostics
internal import Glibc
internal import SystemPackage

extension Spool {
    static let strikesToPoison = 2
    static let uncleanEndsToPoison = 5

    /// Finds every job in the spool and moves on what was cut off. Call once, before `run`.
    ///
    /// - Throws: what makes the spool unusable: its directories cannot be listed, its session cannot be marked; or
    ///   `temporary`, when there are no descriptors or no memory left to read what is there.
    public func recover() throws(Failure) {
        guard !isRecovered, !isClosed else { return }
        do {
            try recoverAll()
        } catch {
            throw error.ending
        }
        isRecovered = true
        thread.wake()
    }

    private func recoverAll() throws(FileFault) {
        let ended = try endedSession()
        isQueueHeld = try files.exists(spool / Layout.hold)
        try recallFinished()

        var found: [JobState: [JobID]] = [:]
        for state in JobState.inSpool {
            found[state] = try files.list(directory(state)).compactMap { JobID($0) }
            for id in found[state] ?? [] {
                ids.follow(id)
                try load(id, state)
            }
        }
        // The inbox is opened only now: files beside it belong to jobs that must be known.
        lookAtInbox(clock.monotonic)
        for id in found[.answered] ?? [] { advance(id) }
        for id in found[.running] ?? [] { recoverRunning(id, ended) }
        for id in (found[.queued] ?? []) + (found[.held] ?? []) + (found[.deferred] ?? []) { recoverWaiting(id) }
        for id in found[.claimed] ?? [] { recoverClaimed(id) }
        try sweepOutbox()
        checkOutboxGroup()
        try beginSession()
        report(.recovered(jobs: found.mapValues(\.count), clean: ended == nil))
    }

    // MARK: Jobs

    /// Reads what the disk tells of a job.
    private func load(_ id: JobID, _ state: JobState) throws(FileFault) {
        let home = home(id, state)
        let record = try readRecord(home)
        var entry = Entry(id: id, state: state, record: record)
        let inputs = try files.list(home / Layout.input)
        entry.image = inputs.first { !view.rules.isSpec($0) } ?? record.image
        entry.spec = inputs.first { view.rules.isSpec($0) } ?? record.spec
        entry.isSealed = try files.exists(home / Layout.answer)
        remember(entry)
    }

    /// The record of a job; an empty one where there is none that can be read: no job's record is worth a start.
    private func readRecord(_ home: Location) throws(FileFault) -> JobRecord {
        do {
            guard let bytes = try files.contents(home / Layout.record, atMost: JobRecord.maximumBytes) else {
                return JobRecord()
            }
            return JobRecord(bytes: bytes) ?? JobRecord()
        } catch let fault where !fault.isShortage {
            // For a shortage the counts are not given up: the record is whole, and the next start reads it.
            note(fault)
            return JobRecord()
        }
    }

    private func recoverWaiting(_ id: JobID) {
        guard let entry = entries[id], !entry.isSealed else { return advance(id) }
        do {
            let input = home(id, entry.state) / Layout.input
            guard let image = entry.image, try files.exists(input / image) else {
                return try conclude(id, Failure.vanished(id))
            }
        } catch {
            note(error)
        }
        switch entry.state {
        case .deferred: putInQueue(id, at: clock.monotonic + remainingPause(entry.record))
        case .queued: putInQueue(id)
        default: break
        }
        advance(id)
    }

    private func recoverClaimed(_ id: JobID) {
        guard let entry = entries[id] else { return }
        guard entry.record.retryOf != nil, !entry.isSealed else { return advance(id) }
        // A retry that was cut off: links and copies only, the originals stand where they stood.
        do {
            let home = home(id, .claimed)
            for name in try files.list(home / Layout.input) { try files.remove(home / Layout.input / name) }
            try discard(home)
        } catch {
            note(error)
        }
        forget(id)
    }

    /// S6: back to the queue; after an unclean end alone, and counted.
    private func recoverRunning(_ id: JobID, _ ended: EndedSession?) {
        guard var entry = entries[id], !entry.isSealed else { return advance(id) }
        let home = home(id, .running)
        do {
            if let ended, entry.record.countedSession != ended.id {
                if entry.record.alone {
                    entry.record.uncleanEnds += 1
                    if ended.struck.contains(id) {
                        entry.record.strikes += 1
                        report(.struck(id, strikes: entry.record.strikes))
                    }
                }
                if entry.record.history.last?.kind != .running {
                    // The start was not written any more; the rename to `running/` tells when it was.
                    let taken = (try files.status(home))?.changed
                    entry.record.starts += 1
                    entry.record.add(.running, nil, at: taken.map { $0 / 1000 } ?? clock.unixMicroseconds)
                }
                entry.record.add(
                    .interrupted, ended.struck.contains(id) ? "the process crashed" : nil, at: clock.unixMicroseconds)
                entry.record.alone = true
                entry.record.countedSession = ended.id
                remember(entry)
                try write(entry.record, in: home, durable: true)
            }
            guard poison(entry.record, id) == nil else { return advance(id) }
            try move(id, to: .queued)
            putInQueue(id)
        } catch {
            note(error)
            advance(id)
        }
    }

    /// Why a job must not run again, if so.
    func poison(_ record: JobRecord, _ id: JobID) -> Failure? {
        if record.strikes >= Spool.strikesToPoison {
            return Failure(
                .poison, "job \(id)", "the process crashed \(record.strikes) times while this job ran alone",
                hint: "Keep the files in failed/\(id)/input and report the crash; memvpctl retry \(id) tries it again.")
        }
        if record.uncleanEnds >= Spool.uncleanEndsToPoison {
            return Failure(
                .poison, "job \(id)",
                "the process was killed \(record.uncleanEnds) times in a row while this job ran alone",
                hint: "It may need more memory than there is; see the kernel's log. "
                    + "memvpctl retry \(id) tries it again.")
        }
        return nil
    }

    // MARK: Sessions

    /// An end that was not clean.
    struct EndedSession {
        let id: String
        /// The jobs that the crash handler named.
        let struck: Set<JobID>
    }

    private func endedSession() throws(FileFault) -> EndedSession? {
        guard let mark = try files.contents(spool / Layout.session, atMost: 128) else { return nil }
        let notes = try files.contents(spool / Layout.strikes, atMost: 64 << 10) ?? []
        let struck = String(decoding: notes, as: UTF8.self).split(separator: "\n")
            .compactMap { $0.split(separator: " ").last.flatMap { JobID(String($0)) } }
        return EndedSession(id: String(decoding: mark, as: UTF8.self), struck: Set(struck))
    }

    /// Marks that a session has begun; with the mark in place, the last one's strikes are history.
    private func beginSession() throws(FileFault) {
        let mark = String(UInt64.random(in: .min ... .max), radix: 16)
        try files.writeWhole(spool / Layout.session, Array(mark.utf8), durable: true)
        try files.writeWhole(spool / Layout.strikes, [], durable: true)
        try files.syncDirectory(spool.here)
        guard configuration.notesCrashes else { return }
        let at = spool / Layout.strikes
        let descriptor = try files.perform(.open, at) { () throws(Errno) in
            try SystemBridge.open(at.root.descriptor, at.path, O_WRONLY | O_APPEND | O_NOFOLLOW)
        }
        strikes = DirectoryHandle(descriptor: descriptor, path: at.description)
        try files.perform(.open, at) { () throws(Errno) in
            try SystemBridge.installCrashHandler(writingTo: descriptor)
        }
    }

    // MARK: What else a crash leaves

    /// A finished job that pairing is to remember.
    private struct FinishedJob {
        let id: JobID
        /// When it ended, in microseconds since 1970.
        let ended: Int64
        let image: FileName
        let spec: FileName?
        let outcome: FileName?
    }

    /// Finished jobs: names stay in order, recent ones are remembered, half-removed ones removed.
    private func recallFinished() throws(FileFault) {
        let oldest = clock.unixMicroseconds - configuration.pairing.timeout.microseconds
        var finished: [FinishedJob] = []
        for state in [JobState.failed, .done] {
            var young: [JobID] = []
            try files.forEachBatch(directory(state)) { (names) throws(FileFault) in
                for name in names {
                    if Layout.job(ofExpiring: name) != nil { removeRest(directory(state) / name) }
                    guard let id = JobID(name) else { continue }
                    ids.follow(id)
                    if id.unixMicroseconds > oldest { young.append(id) }
                }
            }
            finished += young.compactMap { finishedJob($0, state) }
        }
        // Pairing goes by the job that ended last, in whichever of the two directories it is.
        finished.sort { ($0.ended, $0.id) < ($1.ended, $1.id) }
        let (now, unixNow) = (clock.monotonic, clock.unixMicroseconds)
        // The name is from before the end, or from a future that was none.
        for job in finished where job.ended > oldest {
            let age = Duration.microseconds(max(0, unixNow - job.ended))
            recent.add(job.id, image: job.image, spec: job.spec, outcome: job.outcome, at: now - age)
        }
    }

    /// What the record tells of a finished job; nil when it tells nothing or cannot be read: it is as if long past.
    private func finishedJob(_ id: JobID, _ state: JobState) -> FinishedJob? {
        do {
            guard let bytes = try files.contents(home(id, state) / Layout.record, atMost: JobRecord.maximumBytes),
                let record = JobRecord(bytes: bytes), let image = record.image
            else { return nil }
            return FinishedJob(
                id: id, ended: record.history.last?.at ?? record.claimedAt ?? id.unixMicroseconds, image: image,
                spec: record.spec, outcome: record.outcomeName)
        } catch {
            note(error)
            return nil
        }
    }

    /// Removes what retention has begun to remove. What resists stays: no leftover is worth a start.
    private func removeRest(_ home: Location) {
        do {
            try removeTree(home)
        } catch {
            note(error)
        }
    }

    /// Hidden copies of jobs of this spool that are not about to be published belong to nobody. Any other may be that of another daemon
    /// with the same outbox, which takes the answer for published when its copy is gone.
    private func sweepOutbox() throws(FileFault) {
        try files.forEachBatch(outbox.here) { (names) throws(FileFault) in
            for name in names {
                if let id = Layout.job(ofHidden: name) { removeCopy(outbox / name, of: id) }
            }
        }
    }

    /// Removes such a copy. What resists stays here as well.
    private func removeCopy(_ hidden: Location, of id: JobID) {
        do {
            let finished = try finishedState(id)
            guard let state = entries[id]?.state ?? finished, state != .answered else { return }
            try files.remove(hidden)
        } catch {
            note(error)
        }
    }
}
