// The daemon as a whole: opens the model and the spool, starts the workers and the sockets, tells systemd, reloads, and ends.
//
// Invariants: what systemd passed is taken first of all; READY comes once workers, inbox and sockets are up; nothing that waits for a
// disk runs on this actor (`SideThread`); at the end the spool closes last, so every job is back in its queue. Failure modes: a start
// without a usable model ends with 78; sockets that cannot be served end the run, for systemd to start another; everything else is
// logged and tried again by whoever met it.

internal import Control
public import Diagnostics
internal import FoundationEssentials
internal import Glibc
public import Logging
internal import MemVP
public import Specification
internal import Spool
internal import Tensor

/// How the daemon runs.
public enum DaemonMode: Sendable {
    /// Until a signal ends it.
    case service
    /// Until the inbox is drained.
    case once
}

/// Starts the daemon.
public enum DaemonLauncher {
    /// Serves until a signal, or with `once` an empty inbox, ends it.
    ///
    /// - Throws: what is wrong with the model, the directories or the sockets at the start.
    public static func run(_ effective: EffectiveConfiguration, mode: DaemonMode, log: Logger) async throws(Failure) {
        let surroundings = try Surroundings.take()
        // Before the model: a stop that comes while it is being opened ends with 0 as well.
        let signals = SignalStream()
        try await DaemonService(effective, mode: mode, log: log, surroundings).run(mode, signals)
    }
}

/// The daemon. Make it, then `run` it once.
actor DaemonService {
    /// What the daemon is doing.
    enum Condition: String, Sendable {
        case starting, running, reloading, stopping
    }

    let spool: Spool
    let reporter: Reporter
    let log: Logger
    let started = ContinuousClock.now
    let startedAt = Timestamp.now
    let kernels: Kernels
    let threads: Int
    let workers: [ModelWorker]
    private let served: ServedModel
    private let specs: SpecReader
    private let file: String?
    let surroundings: Surroundings
    private let sockets: [SocketRole: ListeningSocket]
    private let textfile = SideThread()
    /// Counts alone; and with what waits in the inbox, which takes longer.
    let spoolLook: SpoolLook
    let statusLook: SpoolLook

    var condition = Condition.starting
    var configuration: DaemonConfiguration
    var bundle: ModelBundle
    var warnings: [String] = []

    /// Opens everything that must be there; starts nothing yet.
    ///
    /// - Throws: what is wrong with the model, the directories or the sockets.
    init(
        _ effective: EffectiveConfiguration, mode: DaemonMode, log: Logger, _ surroundings: Surroundings
    ) throws(Failure) {
        let configuration = effective.configuration
        self.surroundings = surroundings
        kernels = try Kernels.choose(forced: ProcessInfo.processInfo.environment["MEMVP_KERNELS"])
        let shares = configuration.threadShares(allowedCPUs: Compute.allowedCPUs)
        threads = shares.reduce(0, +)
        bundle = try ServedModel.load(configuration)
        let served = ServedModel(bundle, kernels: kernels.name)
        self.served = served
        let path = kernels.name
        let catalog = MetricCatalog(build: {
            BuildInformation(version: memvpdVersion, kernels: path, model: served.named.name)
        })
        let reporter = Reporter(catalog: catalog, log: log, names: configuration.log.names)
        self.reporter = reporter
        let specs = SpecReader(limits: configuration.limits.spec)
        self.specs = specs
        spool = try Spool(
            configuration: configuration.spool, inspector: specs,
            render: { AnswerDocument($0, model: served.named).explained }, report: { reporter.handle($0) })
        spoolLook = SpoolLook { [spool] in await spool.snapshot(waiting: 0) }
        statusLook = SpoolLook { [spool] in await spool.snapshot(waiting: 20) }
        let settings = ModelWorker.Settings(bundle: bundle, configuration: configuration)
        var workers: [ModelWorker] = []
        for threads in shares {
            workers.append(
                try ModelWorker(
                    spool: spool, reporter: reporter, kernels: kernels, threads: threads, settings: settings))
        }
        self.workers = workers
        sockets = try Self.listen(configuration.sockets, surroundings.sockets, mode)
        (self.configuration, self.log, file) = (configuration, log, effective.file)
    }

    /// The sockets that systemd passed, and of those that it did not, our own; with `once`, nobody asks.
    private static func listen(
        _ paths: DaemonConfiguration.Sockets, _ passed: [SocketRole: ListeningSocket], _ mode: DaemonMode
    ) throws(Failure) -> [SocketRole: ListeningSocket] {
        guard mode == .service else { return [:] }
        var sockets = passed
        for (role, path) in [(SocketRole.control, paths.control), (.metrics, paths.metrics)] where sockets[role] == nil
        {
            sockets[role] = try ListeningSocket.bind(role, path: path)
        }
        return sockets
    }

    // MARK: Running

    /// Serves until a signal (or with `once` an empty inbox) ends it. Call once.
    ///
    /// - Throws: what makes the spool or the model unusable at the start; later, that the sockets cannot be served, or with `once`
    ///   why not all that was there has its outcome in the outbox.
    func run(_ mode: DaemonMode, _ signals: SignalStream) async throws(Failure) {
        for worker in workers {
            do throws(Failure) { try await worker.start() } catch { throw ServedModel.setUpFault(error) }
        }
        try await spool.recover()
        if mode == .once { await spool.endWhenEmpty() }
        let watchdog = try startWatchdog()
        let spool = spool
        let watching = Task { await spool.run() }
        let working = workers.map { worker in Task { await worker.run() } }
        let server = server()
        let serving = Task { await self.serve(server, working) }
        let keeping = Task { await self.keepHouse() }
        let ending = Task { await self.obey(signals, working) }
        condition = .running
        tellReady()
        log.notice("serving \(bundle.description.name), kernels \(kernels.name), \(threads) threads")

        for task in working { await task.value }
        // Whoever ended it by a signal does not wait for what is left.
        let isThrough = mode == .once && condition != .stopping
        stop(working)
        ending.cancel()
        keeping.cancel()
        watchdog?.stop()
        server.beginShutdown()
        let fault = await serving.value
        await updateMetrics()
        await writeTextfile()
        await spool.close()
        await watching.value
        await keeping.value
        log.notice("stopped")
        if let fault { throw fault }
        if isThrough, let left = await spool.undelivered { throw shown(left) }
    }

    /// What is left at the end of `once`, as standard error may have it: it is the log's.
    private func shown(_ left: Failure) -> Failure {
        guard configuration.log.names == .hide else { return left }
        return Failure(
            left.code, "memvpd", "not all that was there has its outcome in the outbox",
            hint: "log.names: hide keeps the names out of this line: look at the directories, then start it again.")
    }

    /// Begins the end, once: tells everybody and has the workers end.
    private func stop(_ working: [Task<Void, Never>]) {
        guard condition != .stopping else { return }
        condition = .stopping
        log.notice("stopping")
        tell { () throws(Failure) in try self.surroundings.notifier.stopping(status: "stopping") }
        for task in working { task.cancel() }
    }

    /// Obeys signals until one of them ends the run. A reload may take minutes, and the end does not wait for it.
    private func obey(_ signals: SignalStream, _ working: [Task<Void, Never>]) async {
        // However many come during a reload: one more reads what all of them are about.
        let (reloads, asked) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        async let reloading: Void = reloadBySignals(reloads)
        for await signal in signals.stream {
            if signal == .end { break }
            asked.yield()
        }
        stop(working)
        asked.finish()
        await reloading
    }

    /// Serves the sockets until the shutdown. Without them nobody can look or steer: their fault ends the run.
    private func serve(_ server: ControlServer, _ working: [Task<Void, Never>]) async -> Failure? {
        do throws(Failure) {
            try await server.run()
            return nil
        } catch {
            log.error("\(error)")
            stop(working)
            return error
        }
    }

    private func server() -> ControlServer {
        let routers: [SocketRole: Router] = [
            .control: ControlRoutes.control(self), .metrics: ControlRoutes.metrics(self),
        ]
        let reporter = reporter
        return ControlServer(
            sockets.compactMap { role, socket in routers[role].map { (socket, $0) } }, logger: log,
            onResponse: { reporter.catalog.countRequest($0, status: $1) })
    }

    private func tell(_ message: () throws(Failure) -> Void) {
        do throws(Failure) { try message() } catch { log.warning("\(error)") }
    }

    private func tellReady() {
        tell { () throws(Failure) in
            try self.surroundings.notifier.ready(status: "serving \(self.bundle.description.name)")
        }
    }

    // MARK: Keeping house

    /// Updates metrics, textfile and systemd's status, until it is cancelled.
    private func keepHouse() async {
        while !Task.isCancelled {
            await updateMetrics()
            await writeTextfile()
            if condition != .stopping {
                tell { () throws(Failure) in try self.surroundings.notifier.status(self.summary) }
            }
            do { try await Task.sleep(for: .seconds(15)) } catch { return }
        }
    }

    private func startWatchdog() throws(Failure) -> Watchdog? {
        let notifier = surroundings.notifier
        guard let interval = notifier.watchdogInterval else { return nil }
        return try Watchdog(
            every: min(interval, .seconds(15)), stall: { [reporter] in reporter.stall },
            feed: { [log] in
                do throws(Failure) { try notifier.watchdog() } catch { log.warning("\(error)") }
            })
    }

    /// The queue in a few words, for `systemctl status`.
    private var summary: String {
        let queue = reporter.catalog.queue
        let counts = [QueueState.queued, .running, .failed].map { "\(Int(queue.value($0))) \($0.rawValue)" }
        return "\(counts.joined(separator: ", ")), serving \(bundle.description.name)"
    }

    func updateMetrics() async {
        let (seen, standstill) = await spoolLook.snapshot(within: surroundings.spool.glance)
        let catalog = reporter.catalog
        catalog.spoolStandstill.set((standstill?.milliseconds ?? 0) / 1e3)
        guard let snapshot = seen else { return }
        for (state, count) in snapshot.queueJobs { catalog.queue.set(state, Double(count)) }
        catalog.queueOldest.set(snapshot.oldestSeconds ?? 0)
        catalog.held.set(snapshot.isQueueHeld ? 1 : 0)
        catalog.inboxIgnored.set(Double(snapshot.ignored + snapshot.directories.count))
        catalog.doneJobs.set(Double(snapshot.finished[.done]?.jobs ?? 0))
        catalog.doneBytes.set(Double(snapshot.finished[.done]?.bytes ?? 0))
    }

    /// Writes the metrics' textfile, if there is to be one; a disk that stands still is waited for for a while and no longer.
    private func writeTextfile() async {
        guard let path = configuration.metrics.textfile else { return }
        let text = reporter.catalog.registry.textfileExposition()
        await textfile.run(within: .seconds(5)) { [log, write = surroundings.writeTextfile] in
            do throws(Failure) { try write(path, text) } catch { log.warning("\(error)") }
        }
    }

    // MARK: Reloading

    private func reloadBySignals(_ signals: AsyncStream<Void>) async {
        for await _ in signals {
            do throws(Failure) { try await reload() } catch { log.error("not reloaded: \(error.onOneLine)") }
        }
    }

    private static func configuration(in file: String?) throws(Failure) -> DaemonConfiguration? {
        guard let file else { return nil }
        do throws(Failure) {
            return try EffectiveConfiguration(file: file).configuration
        } catch {
            // A daemon that runs reads the file that it began with, and no other.
            guard error.hint == EffectiveConfiguration.otherFile else { throw error }
            throw error.advising("Put it right, then reload again; until then the old configuration goes on.")
        }
    }

    /// Reads the configuration and the model again; on a failure the old ones go on.
    func reload() async throws(Failure) {
        guard condition == .running else {
            throw Failure(.unavailable, "reload", "memvpd is \(condition.rawValue)", hint: "Try again.")
        }
        condition = .reloading
        tell { () throws(Failure) in try self.surroundings.notifier.reloading() }
        defer {
            // After STOPPING=1 nothing is ready any more.
            if condition == .reloading {
                condition = .running
                tellReady()
            }
        }
        let file = file
        let new = try await Aside.run { () throws(Failure) in try DaemonService.configuration(in: file) }
        var merged = configuration
        if let new { merged.takeReloadable(from: new) }
        let wanted = merged
        let bundle = try await Aside.run { () throws(Failure) in try ServedModel.load(wanted) }
        try await adopt(.init(bundle: bundle, configuration: merged))
        (self.bundle, configuration) = (bundle, merged)
        served.replace(with: bundle)
        specs.replace(with: merged.limits.spec)
        let waiting = new.map { EffectiveConfiguration.differences(between: merged, and: $0) } ?? []
        warnings = waiting.isEmpty ? [] : ["waiting for a restart: \(waiting.joined(separator: ", "))"]
        log.notice("reloaded, serving \(bundle.description.name)")
        for warning in warnings { log.warning("\(warning)") }
    }

    /// Puts other settings into force, in all workers or in none: what may fail comes before the first of them changes over.
    private func adopt(_ settings: ModelWorker.Settings) async throws(Failure) {
        do throws(Failure) {
            for worker in workers { try await worker.prepare(settings) }
        } catch {
            for worker in workers { await worker.forgetPrepared() }
            throw error
        }
        for worker in workers { try await worker.adopt() }
    }
}

extension DaemonConfiguration {
    /// Takes over what may change while the daemon runs; directories, sockets, workers, threads and log wait for a restart.
    mutating func takeReloadable(from new: DaemonConfiguration) {
        (model, defaultTask, adapters, batch) = (new.model, new.defaultTask, new.adapters, new.batch)
        metrics = new.metrics
        (limits.imagePixels, limits.imageSide) = (new.limits.imagePixels, new.limits.imageSide)
        (limits.promptTokens, limits.answerTokens) = (new.limits.promptTokens, new.limits.answerTokens)
    }
}
