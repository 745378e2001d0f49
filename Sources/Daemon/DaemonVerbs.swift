// What operators ask for over the sockets (docs/CONTROL.md), carried out.

internal import Control
internal import Diagnostics
internal import Logging
internal import MemVP
internal import Specification
internal import Spool

extension DaemonService: ControlOperations {
    func status() async throws(Failure) -> StatusDocument {
        let (seen, standstill) = await statusLook.snapshot(within: surroundings.spool.status)
        guard standstill == nil, let snapshot = seen else {
            throw Failure(
                .unavailable, "spool", Self.words(standstill ?? .zero),
                hint: "See that the disks of inbox, spool and outbox answer; memvpctl health tells what else is known.")
        }
        return document(snapshot)
    }

    func health() async -> HealthDocument {
        let (snapshot, standstill) = await spoolLook.snapshot(within: surroundings.spool.glance)
        var spool = HealthDocument.Check("spool", ok: true)
        if let standstill {
            spool = .init("spool", ok: standstill < surroundings.spool.fault, message: Self.words(standstill))
        }
        var inbox = HealthDocument.Check("inbox", ok: true)
        if case .unavailable(let reason) = snapshot?.watched.first?.method {
            inbox = .init("inbox", ok: false, message: reason, path: configuration.directories.inbox)
        } else if let trouble = snapshot?.intakeTrouble {
            // Anybody may ask for the health: the code names no file.
            inbox = .init("inbox", ok: false, message: "nothing is taken in: \(trouble.code.rawValue)")
        }
        var outbox = HealthDocument.Check("outbox", ok: true)
        if let obstacle = await surroundings.outbox.obstacle(at: configuration.directories.outbox) {
            outbox = .init("outbox", ok: false, message: obstacle, path: configuration.directories.outbox)
        } else if let trouble = snapshot?.publishingTrouble {
            outbox = .init("outbox", ok: false, message: "outcomes wait to be published: \(trouble.code.rawValue)")
        }
        let stalled = reporter.stall ?? .zero >= Watchdog.longestPass
        return HealthDocument(checks: [
            .init("model", ok: true, message: bundle.description.name),
            .init("workers", ok: !stalled, message: stalled ? "a pass of the model takes over two minutes" : ""),
            spool, inbox, outbox,
        ])
    }

    /// What is known of a spool that does not answer.
    private static func words(_ standstill: Duration) -> String {
        "has not answered for \(standstill.components.seconds) s: a disk stands still, or there is a great deal to read"
    }

    func metrics() async -> String {
        await updateMetrics()
        return reporter.catalog.registry.exposition()
    }

    func queue(state: String?, limit: Int) async throws(Failure) -> QueueDocument {
        let chosen = try state.map { (name) throws(Failure) in try queueState(name) }
        let snapshot = await spool.snapshot()
        if chosen == .failed {
            let failed = try await spool.failedJobs(atMost: limit)
            return QueueDocument(held: snapshot.isQueueHeld, total: failed.total, jobs: failed.jobs.map { entry($0) })
        }
        var position = 0
        var entries = await spool.jobs().sorted {
            $0.priority == $1.priority ? $0.id < $1.id : $0.priority > $1.priority
        }.map { job -> QueueEntry in
            guard job.state == .queued else { return entry(job) }
            position += 1
            return entry(job, position: position)
        }
        entries += snapshot.waiting.map {
            QueueEntry(
                job: nil, state: QueueState.waiting.rawValue, image: $0.isSpec ? nil : FileLabel($0.name.bytes),
                spec: $0.isSpec ? FileLabel($0.name.bytes) : nil,
                since: Timestamp(milliseconds: $0.since / 1000), note: $0.reason.onOneLine)
        }
        if let chosen { entries = entries.filter { $0.state == chosen.rawValue } }
        return QueueDocument(held: snapshot.isQueueHeld, total: entries.count, jobs: Array(entries.prefix(limit)))
    }

    private func queueState(_ name: String) throws(Failure) -> QueueState {
        guard let state = QueueState(rawValue: name) else {
            let known = QueueState.allCases.map(\.rawValue).joined(separator: ", ")
            throw Failure(
                .usage, "state", "'\(name)' is none",
                hint: "It is one of \(known). Jobs that are done are not in the queue.")
        }
        return state
    }

    func job(_ id: String) async throws(Failure) -> JobDocument {
        guard let job = await spool.job(named: try jobID(id)) else { throw unknown(id) }
        return document(job, isQueueHeld: await spool.snapshot(waiting: 0).isQueueHeld)
    }

    func hold(by peer: PeerCredentials?) async throws(Failure) -> ActionDocument {
        note("hold", peer)
        try await spool.holdQueue()
        return ActionDocument("No further job starts until memvpctl release.")
    }

    func release(by peer: PeerCredentials?) async throws(Failure) -> ActionDocument {
        note("release", peer)
        try await spool.releaseQueue()
        await spool.setIntake(true)
        return ActionDocument("Jobs go on.")
    }

    func drain(by peer: PeerCredentials?) async throws(Failure) -> ActionDocument {
        note("drain", peer)
        await spool.setIntake(false)
        return ActionDocument("Nothing more is taken from the inbox until memvpctl release; status shows the progress.")
    }

    func reload(by peer: PeerCredentials?) async throws(Failure) -> ActionDocument {
        note("reload", peer)
        try await reload()
        let notes = warnings.map { " Still \($0)." }.joined()
        return ActionDocument("Reloaded; serving \(bundle.description.name).\(notes)")
    }

    func hold(_ id: String, by peer: PeerCredentials?) async throws(Failure) -> ActionDocument {
        note("hold", job: id, peer)
        try await spool.hold(try jobID(id))
        return ActionDocument("Job \(id) is held.", jobs: [id])
    }

    func release(_ id: String, by peer: PeerCredentials?) async throws(Failure) -> ActionDocument {
        note("release", job: id, peer)
        try await spool.release(try jobID(id))
        return ActionDocument("Job \(id) goes on.", jobs: [id])
    }

    func retry(_ id: String, by peer: PeerCredentials?) async throws(Failure) -> ActionDocument {
        note("retry", job: id, peer)
        let new = try await spool.retry(try jobID(id))
        return ActionDocument("Job \(id) is tried again as \(new).", jobs: [new.description])
    }

    func retryAll(by peer: PeerCredentials?) async throws(Failure) -> ActionDocument {
        note("retry --all", peer)
        let result = try await spool.retryFailed()
        let new = result.retried.values.map(\.description).sorted()
        guard let (first, why) = result.refused.min(by: { $0.key < $1.key }) else {
            return ActionDocument("\(new.count) failed jobs are tried again.", jobs: new)
        }
        for (id, failure) in result.refused { log.warning("retry \(id): \(reporter.shown(failure))") }
        guard !new.isEmpty else { throw why }
        return ActionDocument(
            "\(new.count) failed jobs are tried again; \(result.refused.count) cannot be, job \(first) for one: \(why)",
            jobs: new)
    }

    func remove(_ id: String, by peer: PeerCredentials?) async throws(Failure) -> ActionDocument {
        note("remove", job: id, peer)
        try await spool.remove(try jobID(id))
        return ActionDocument("Job \(id) is removed; its originals are kept.", jobs: [id])
    }

    private func jobID(_ text: String) throws(Failure) -> JobID {
        guard let id = JobID(text) else { throw unknown(text) }
        return id
    }

    private func unknown(_ id: String) -> Failure {
        Failure(.notFound, "job \(id)", "there is no such job", hint: "memvpctl queue lists the jobs.")
    }

    /// Logs who did what; what is no job's number is whatever somebody typed, and is not repeated.
    private func note(_ verb: String, job id: String? = nil, _ peer: PeerCredentials?) {
        let what = id.map { " \(JobID($0)?.description ?? "of no job")" } ?? ""
        let who = peer.map { "user \($0.userID), process \($0.processID)" } ?? "somebody unknown"
        log.notice("\(verb)\(what) by \(who)")
    }
}
