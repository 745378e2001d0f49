// The durable inbox and outbox: every drop ends in exactly one answer or one explained error (docs/QUEUE.md).
//
// Invariants: one Spool a spool directory (flock); all state and all system calls belong to one thread of its own, the
// actor's executor; on disk, a transition is one rename, and memory follows the disk, never the other way round. For each
// state there is one function that moves a job on; recovery and retries after a fault call the same one.
// Failure modes: faults are told to the listener (`trouble`) and in `snapshot()`, and tried again after growing pauses.

public import Diagnostics
internal import Synchronization
internal import SystemPackage

/// The queue between an inbox and an outbox. Make it, call `recover`, keep `run` running, take jobs, `close` it.
public actor Spool {
    /// Composes the outcome document of a drop that the spool found at fault. Called on the spool's thread.
    public typealias Renderer = @Sendable (FailedDrop) -> [UInt8]
    /// Is told what happens. Called on the spool's thread.
    public typealias Listener = @Sendable (SpoolEvent) -> Void

    /// A job that is in the spool.
    struct Entry: Sendable {
        let id: JobID
        var state: JobState
        var record: JobRecord
        var image: FileName?
        var spec: FileName?
        /// `answer.json` is in the job's directory: S7. Nothing but publication is left.
        var isSealed = false
        /// The inputs as they were when they last changed after the claim.
        var watched: (contents: [FileStatus.Content?], since: Duration)?
        /// Whether steps were noted that `job.json` does not have.
        var hasUnwrittenSteps = false
        /// Whether `returnIfChanging` has let the job settle once.
        var hasSettledAgain = false
        /// Whether this process knows that the outcome's copy in an outbox elsewhere was not renamed: gone, somebody removed it.
        var hasUnrenamedCopy = false

        /// When it was claimed, in microseconds since 1970.
        var claimedAt: Int64 { record.claimedAt ?? id.unixMicroseconds }
        /// A spec has joined and is yet to be read.
        var hasUnreadSpec: Bool { spec != nil && record.spec != spec }
        /// A spec may join, an operator may remove.
        var isWaiting: Bool { state.isWaiting && !isSealed }
    }

    /// A job that a fault has stopped, and when it is moved on again.
    struct Pause: Sendable {
        var until: Duration
        var tries: Int
        /// What stopped it; nil where it just waits.
        var fault: FileFault?
    }

    let configuration: SpoolConfiguration
    let inspector: any SpecInspector
    let clock: any SpoolClock
    let files: FileSystem
    let render: Renderer
    let report: Listener
    let pairing: Pairing

    let spool: DirectoryHandle
    /// Opened again by their paths, since they may have been replaced.
    var failed: DirectoryHandle
    var done: DirectoryHandle
    var outbox: DirectoryHandle
    private var lock: DirectoryHandle?
    var strikes: DirectoryHandle?

    var watch: InboxWatch
    var view: InboxView
    var entries: [JobID: Entry] = [:]
    var jobsByStem: [FileName: [JobID]] = [:]
    var queue = JobQueue()
    var inHand: Set<JobID> = []
    var unfinished: [JobID: Pause] = [:]
    var recent: RecentJobs
    var ids = JobIDSource()

    var isRecovered = false
    /// Whether the inbox has been seen whole, or could not be. Before, no job is handed out: a spec may be there for it.
    var hasScanned = false
    var isQueueHeld = false
    var takesIn = true
    var endsWhenEmpty = false
    var isClosed = false
    var nextScan: Duration?
    /// When to ask for inotify again, if it was refused.
    var nextRewatch = Duration.zero
    var intakePause = Pause(until: .zero, tries: 0)
    var plan = Pairing.Plan()
    /// What is left to carry out of the plan, and the state of the inbox that it was made for.
    var decisions: ArraySlice<Pairing.Decision> = []
    var plannedVersion: UInt64?
    /// When pairing may decide something new by time alone.
    var nextPairing: Duration?
    /// What kept jobs from being handed out at the last step.
    private var lastOutlook: Outlook?
    /// Why readers cannot read what is published.
    var outboxTrouble: Failure?
    var lastOrdinals = LastOrdinals()
    /// What `undelivered` was when the spool was closed.
    private(set) var undeliveredAtEnd: Failure?
    var census = Census()
    let gate = Gate()
    nonisolated let thread: SpoolThread

    /// The spool's own thread.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe thread.asUnownedSerialExecutor() }

    /// Opens the directories and takes the lock; moves nothing yet.
    ///
    /// - Throws: `configuration_invalid` when directories are the same or do not allow renames, `not_found`, `permission_denied`,
    ///   `unavailable` when another process has the spool.
    public init(
        configuration: SpoolConfiguration, inspector: any SpecInspector, clock: any SpoolClock = SystemClock(),
        render: @escaping Renderer, report: @escaping Listener = { _ in }
    ) throws(Failure) {
        try self.init(
            configuration: configuration, inspector: inspector, clock: clock, files: FileSystem(), render: render,
            report: report)
    }

    init(
        configuration: SpoolConfiguration, inspector: any SpecInspector, clock: any SpoolClock, files: FileSystem,
        render: @escaping Renderer, report: @escaping Listener
    ) throws(Failure) {
        try configuration.check()
        let opened = try OpenedDirectories(configuration.directories, files)
        (spool, outbox, failed, done, lock) = (opened.spool, opened.outbox, opened.failed, opened.done, opened.lock)
        (self.configuration, self.inspector, self.clock, self.files) = (configuration, inspector, clock, files)
        (self.render, self.report) = (render, report)
        pairing = Pairing(grace: configuration.pairing.grace, timeout: configuration.pairing.timeout)
        watch = InboxWatch(path: configuration.directories.inbox, configured: configuration.watch)
        view = InboxView(rules: SightingRules(configuration))
        recent = RecentJobs(window: configuration.pairing.timeout)
        do {
            thread = try SpoolThread()
        } catch {
            throw Failure(.temporary, configuration.directories.spool, "no thread for the spool: \(error)")
        }
    }

    deinit { thread.stop() }

    // MARK: Running

    /// Watches, scans, pairs, claims and publishes until the task is cancelled or the spool is closed.
    public func run() async {
        while !Task.isCancelled, !isClosed {
            let next = step()
            // A step has its limits: what is left goes on after whatever else wants the thread.
            if let next, next <= clock.monotonic {
                await Task.yield()
                continue
            }
            await thread.wait(descriptor: watch.inotify?.descriptor, until: next)
        }
    }

    /// Does what can be done now, and returns when there will be more to do by time alone.
    @discardableResult
    public func step() -> Duration? {
        guard isRecovered, !isClosed else { return nil }
        let now = clock.monotonic
        lookAtInbox(now)
        completeSightings(now)
        advanceUnfinished(now)
        let hasMore = pairAndClaim(now)
        if queue.admitDue(now: now) { gate.open() }
        let outlook = outlook(now)
        if outlook != lastOutlook {
            lastOutlook = outlook
            if queue.count > 0 { gate.open() }
        }
        let isCounting = keepHouse(now)
        if endsWhenEmpty, isEmpty { gate.open() }
        if hasMore || isCounting { return now }
        return [
            nextScan, view.nextDeadline, nextPairing, queue.nextAlarm(),
            unfinished.values.map(\.until).min(), census.nextSweep, census.nextCount, nextOverdue(now),
        ].compactMap(\.self).min()
    }

    /// Stops: jobs in workers' hands go back to the queue, and the end is noted as clean.
    public func close() {
        guard !isClosed else { return }
        for id in inHand.sorted() { putBack(id) }
        writeSteps()
        do {
            if isRecovered, entries.values.allSatisfy({ $0.state != .running }) {
                try files.remove(spool / Layout.session)
                try files.syncDirectory(spool.here)
            }
        } catch {
            note(error)
        }
        abandon()
    }

    /// Lets go of everything as it is: what the end of the process would do.
    func abandon() {
        undeliveredAtEnd = undelivered
        isClosed = true
        watch.close()
        if strikes != nil {
            noteSuspect(nil)
            // The descriptor closes now, and its number may become another file's: a later crash must not write to that.
            try? SystemBridge.installCrashHandler(writingTo: -1)
        }
        if let lock { SystemBridge.unlock(lock.descriptor) }
        (lock, strikes) = (nil, nil)
        gate.open()
        thread.wake()
    }

    /// Whether drops are taken in from the inbox; jobs in the spool go on in any case.
    public func setIntake(_ isOpen: Bool) {
        takesIn = isOpen
        thread.wake()
    }

    /// From now on `nextJobs` returns nothing once there is nothing left that would move by itself: for `--once`, and, with
    /// the intake closed, for `drain`. Specs that wait for a photo, held and deferred jobs stay for the next start.
    public func endWhenEmpty() {
        endsWhenEmpty = true
        gate.open()
        thread.wake()
    }

    /// Prepares a thread that works on jobs for the crash handler: a stack of its own, so that a stack overflow is noted as well.
    ///
    /// - Throws: `temporary` when there is no memory for the stack.
    public static func prepareWorkerThread() throws(Failure) {
        do {
            try SystemBridge.prepareThreadForCrash()
        } catch {
            throw Failure(.temporary, "crash handler", "no stack for this thread: \(error)")
        }
    }

    // MARK: Helpers that every part uses

    /// Where a job's directory is in a state.
    func home(_ id: JobID, _ state: JobState) -> Location {
        switch state {
        case .done: done / id.fileName
        case .failed: failed / id.fileName
        default: directory(state) / id.fileName
        }
    }

    /// Where a job is that is no longer in the spool; nil when it is neither in `failed` nor in `done`.
    func finishedState(_ id: JobID) throws(FileFault) -> JobState? {
        for state in [JobState.failed, .done] where try files.exists(home(id, state)) { return state }
        return nil
    }

    func directory(_ state: JobState) -> Location {
        switch state {
        case .done: done.here
        case .failed: failed.here
        default: spool / state.fileName
        }
    }

    func note(_ fault: FileFault) { note(fault.failure) }

    func note(_ failure: Failure) { report(.trouble(failure)) }

    /// Adds a job to what the spool knows, or changes what it knows of it.
    func remember(_ entry: Entry) {
        if let image = entry.image, entries[entry.id]?.image != image {
            jobsByStem[image.stem, default: []].append(entry.id)
        }
        entries[entry.id] = entry
    }

    func forget(_ id: JobID) {
        // A spec on its way to another job: whatever became of it, that job is free to go.
        if entries[id]?.record.joins != nil { gate.open() }
        if let stem = entries[id]?.image?.stem {
            jobsByStem[stem]?.removeAll { $0 == id }
            if jobsByStem[stem]?.isEmpty == true { jobsByStem[stem] = nil }
        }
        entries[id] = nil
        unfinished[id] = nil
        queue.remove(id)
        inHand.remove(id)
        // There may be room for another drop now, and a spec that waited for this job is late.
        thread.wake()
    }

    func write(_ record: JobRecord, in home: Location, durable: Bool) throws(FileFault) {
        try files.writeWhole(home / Layout.record, record.bytes, durable: durable)
    }

    /// Renames a job's directory into another state; memory follows.
    func move(_ id: JobID, to state: JobState) throws(FileFault) {
        guard let from = entries[id]?.state else { return }
        try files.rename(home(id, from), home(id, state))
        entries[id]?.state = state
    }

    // MARK: Moving on

    /// How far a job was moved on.
    enum Progress: Sendable, Equatable {
        case finished
        /// The job is in another state now, and goes on from there.
        case onward
        case again(after: Duration)
    }

    /// Moves a job on from whatever state it is in; a fault is noted, and the job is moved on again after a pause.
    func advance(_ id: JobID) {
        do {
            var progress = try advanceOnce(id)
            while progress == .onward { progress = try advanceOnce(id) }
            unfinished[id] = nil
            if case .again(let pause) = progress {
                unfinished[id] = Pause(until: clock.monotonic + pause, tries: 0)
            }
        } catch {
            note(error)
            let tries = (unfinished[id]?.tries ?? 0) + 1
            if hasTriedEnough(tries), isOfInput(error, id), end(id, error.outcome) { return }
            unfinished[id] = Pause(
                until: clock.monotonic + Spool.pause(afterTry: tries), tries: tries, fault: error)
        }
    }

    private func advanceOnce(_ id: JobID) throws(FileFault) -> Progress {
        guard let entry = entries[id] else { return .finished }
        switch entry.state {
        case .answered:
            try advanceAnswered(id)
            return .finished
        case _ where entry.isSealed:
            try promote(id)
            return .onward
        case .claimed: return try advanceClaim(id)
        case .running where !inHand.contains(id):
            if let failure = poison(entry.record, id) {
                try seal(id, failing: failure)
                return .onward
            }
            try deferStranded(id)
            return .finished
        case .queued, .held, .deferred: return entry.hasUnreadSpec ? try examine(id) : .finished
        default: return .finished
        }
    }

    /// Whether a fault that was met so often while a job was taken in is to be its outcome: the number is that of a worker's attempts.
    func hasTriedEnough(_ tries: Int) -> Bool {
        configuration.retry.attempts > 0 && tries >= configuration.retry.attempts
    }

    /// Whether a fault is of a claimed file itself (a bad sector, say), not of the spool around it.
    private func isOfInput(_ fault: FileFault, _ id: JobID) -> Bool {
        guard let entry = entries[id], entry.state == .claimed || (entry.isWaiting && entry.hasUnreadSpec),
            fault.isOfMedium, [.open, .read, .status, .sync].contains(fault.operation)
        else { return false }
        return fault.object.hasPrefix("\(home(id, entry.state) / Layout.input)/")
    }

    /// Ends a job that cannot be taken in; false when not even that can be written.
    private func end(_ id: JobID, _ failure: Failure) -> Bool {
        do {
            try seal(id, failing: failure)
        } catch {
            note(error)
            return false
        }
        unfinished[id] = nil
        advance(id)
        return true
    }

    private func advanceUnfinished(_ now: Duration) {
        for id in unfinished.filter({ $0.value.until <= now }).keys.sorted() { advance(id) }
    }

    /// A second, doubled up to a minute.
    static func pause(afterTry tries: Int) -> Duration { .seconds(min(60, 1 << min(max(0, tries - 1), 6))) }
}
