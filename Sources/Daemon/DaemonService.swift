// The daemon as a whole: opens the model and the spool, starts the workers and the sockets, tells systemd, reloads, and ends.
//
// Invariants: what systemd passed is taken before any thread starts; READY comes once workers, inbox and sockets are up; at the
// end the spool closes last, so every job is back in its queue. Failure modes: a start without a usable model is a
// `StartFailure` with exit 78; everything later is logged and tried again by whoever met it.

internal import Control
public import Diagnostics
internal import FoundationEssentials
internal import Glibc
public import Logging
internal import MemVP
public import Specification
internal import Spool
internal import SystemPackage
internal import Tensor

/// The version of the programs.
public let memvpdVersion = "0.1.0"

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
        // First of all: a stop that comes while the model is being opened ends with 0 as well.
        let signals = SignalStream()
        try await DaemonService(effective, mode: mode, log: log).run(mode, signals)
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
    private let notifier: SystemdNotifier
    private let sockets: [SocketRole: ListeningSocket]

    var condition = Condition.starting
    var configuration: DaemonConfiguration
    var bundle: ModelBundle
    var warnings: [String] = []

    /// Opens everything that must be there; starts nothing yet.
    ///
    /// - Throws: what is wrong with the model, the directories or the sockets.
    init(_ effective: EffectiveConfiguration, mode: DaemonMode, log: Logger) throws(Failure) {
        let configuration = effective.configuration
        notifier = try SystemdNotifier()
        let passed = try SocketActivation.take()
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
            render: { AnswerDocument($0, model: served.named).bytes }, report: { reporter.handle($0) })
        let settings = ModelWorker.Settings(bundle: bundle, configuration: configuration)
        var workers: [ModelWorker] = []
        for threads in shares {
            workers.append(
                try ModelWorker(
                    spool: spool, reporter: reporter, kernels: kernels, threads: threads, settings: settings))
        }
        self.workers = workers
        sockets = try Self.listen(configuration.sockets, passed, mode)
        (self.configuration, self.log, file) = (configuration, log, effective.file)
    }

    /// Opens the bundle on another thread, so that the daemon answers its operators meanwhile.
    private static func loadBundleAside(_ configuration: DaemonConfiguration) async throws(Failure) -> ModelBundle {
        try ServedModel.load(configuration)
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
    /// - Throws: what makes the spool or the model unusable at the start.
    func run(_ mode: DaemonMode, _ signals: SignalStream) async throws(Failure) {
        for worker in workers {
            do throws(Failure) { try await worker.start() } catch { throw ServedModel.setUpFault(error) }
        }
        try await spool.recover()
        for warning in warnings { log.warning("\(warning)") }
        if mode == .once { await spool.endWhenEmpty() }
        let spool = spool
        let watching = Task { await spool.run() }
        let working = workers.map { worker in Task { await worker.run() } }
        let server = server()
        let serving = Task { [log] in
            do throws(Failure) { try await server.run() } catch { log.error("\(error)") }
        }
        let keeping = Task { await self.keepHouse() }
        let feeding = Task { await self.feedWatchdog() }
        let ending = Task { [log] in
            for await signal in signals.stream {
                switch signal {
                case .reload: await self.reloadBySignal()
                case .end:
                    log.notice("stopping")
                    for task in working { task.cancel() }
                    return
                }
            }
        }
        condition = .running
        tell { () throws(Failure) in try self.notifier.ready(status: "serving \(self.bundle.description.name)") }
        log.notice("serving \(bundle.description.name), kernels \(kernels.name), \(threads) threads")

        for task in working { await task.value }
        let left = mode == .once ? await spool.snapshot() : nil
        condition = .stopping
        tell { () throws(Failure) in try self.notifier.stopping(status: "stopping") }
        ending.cancel()
        keeping.cancel()
        feeding.cancel()
        server.beginShutdown()
        await serving.value
        await updateMetrics()
        await spool.close()
        await watching.value
        await keeping.value
        await feeding.value
        log.notice("stopped")
        try tellUndelivered(left)
    }

    /// Whoever runs the daemon once waits for its outcomes: some that are not in the outbox are no success.
    private func tellUndelivered(_ snapshot: SpoolSnapshot?) throws(Failure) {
        guard let snapshot, snapshot.unpublished > 0 else { return }
        let trouble = snapshot.publishingTrouble
        let what = snapshot.unpublished == 1 ? "an outcome waits" : "\(snapshot.unpublished) outcomes wait"
        throw Failure(
            trouble?.code ?? .temporary, configuration.directories.outbox,
            "\(what) to be put there" + (trouble.map { ": one \($0.cause)" } ?? ""),
            hint: "They are kept in the spool; the next start publishes them when that is mended.")
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

    // MARK: Keeping house

    /// How long one pass of the model may take before the watchdog is left to bark.
    static let longestPass: Duration = .seconds(120)

    /// Updates metrics, textfile and systemd's status, until it is cancelled.
    private func keepHouse() async {
        while !Task.isCancelled {
            await updateMetrics()
            tell { () throws(Failure) in try self.notifier.status(self.summary) }
            do { try await Task.sleep(for: .seconds(15)) } catch { return }
        }
    }

    /// Feeds systemd's watchdog while no pass of the model takes too long, until it is cancelled. It asks the workers alone: a disk or
    /// a file server that stands still for a minute is no reason to end a process that goes on when that does, and whose jobs
    /// would be blamed for it.
    private func feedWatchdog() async {
        guard let interval = notifier.watchdogInterval else { return }
        while !Task.isCancelled {
            if reporter.stall ?? .zero < Self.longestPass {
                tell { () throws(Failure) in try self.notifier.watchdog() }
            }
            do { try await Task.sleep(for: min(interval, .seconds(15))) } catch { return }
        }
    }

    /// The queue in a few words, for `systemctl status`.
    private var summary: String {
        let queue = reporter.catalog.queue
        let counts = [QueueState.queued, .running, .failed].map { "\(Int(queue.value($0))) \($0.rawValue)" }
        return "\(counts.joined(separator: ", ")), serving \(bundle.description.name)"
    }

    func updateMetrics() async {
        let snapshot = await spool.snapshot()
        let catalog = reporter.catalog
        for (state, count) in snapshot.queueJobs { catalog.queue.set(state, Double(count)) }
        catalog.queueOldest.set(snapshot.oldestSeconds ?? 0)
        catalog.held.set(snapshot.isQueueHeld ? 1 : 0)
        catalog.inboxIgnored.set(Double(snapshot.ignored + snapshot.directories.count))
        catalog.doneJobs.set(Double(snapshot.finished[.done]?.jobs ?? 0))
        catalog.doneBytes.set(Double(snapshot.finished[.done]?.bytes ?? 0))
        guard let path = configuration.metrics.textfile else { return }
        do throws(Failure) {
            try TextfileWriter(path: path).write(catalog.registry.textfileExposition())
        } catch {
            log.warning("\(error)")
        }
    }

    // MARK: Reloading

    private func reloadBySignal() async {
        do throws(Failure) { try await reload() } catch { log.error("not reloaded: \(error.onOneLine)") }
    }

    /// Reads the configuration and the model again; on a failure the old ones go on.
    func reload() async throws(Failure) {
        guard condition == .running else {
            throw Failure(.unavailable, "reload", "memvpd is \(condition.rawValue)", hint: "Try again.")
        }
        condition = .reloading
        tell { () throws(Failure) in try self.notifier.reloading() }
        defer {
            if condition == .reloading { condition = .running }
            tell { () throws(Failure) in try self.notifier.ready(status: "serving \(self.bundle.description.name)") }
        }
        let new = try file.map { (path) throws(Failure) in try EffectiveConfiguration(file: path) }?.configuration
        var merged = configuration
        if let new { merged.takeReloadable(from: new) }
        let bundle = try await Self.loadBundleAside(merged)
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

extension EffectiveConfiguration {
    /// Reads a configuration file.
    ///
    /// - Throws: `configuration_invalid` when it cannot be read or is wrong.
    public init(file path: String) throws(Failure) {
        let (type, size): (FileType, Int)
        do {
            // Looked at before it is opened: a pipe that nobody writes to would be waited for.
            let status = try FilePath(path).stat()
            (type, size) = (status.type, Int(status.size))
        } catch {
            throw Self.unusable(path, error)
        }
        guard type == .regular else {
            throw Failure(.configurationInvalid, path, "is not a regular file", hint: Self.otherFile)
        }
        guard size <= Self.largest else {
            throw Failure(
                .configurationInvalid, path, "has \(size) bytes; at most \(Self.largest) are read", hint: Self.otherFile
            )
        }
        guard let bytes = FileManager.default.contents(atPath: path) else {
            let isDenied = !FileManager.default.isReadableFile(atPath: path)
            throw Self.unusable(path, isDenied ? .permissionDenied : .ioError)
        }
        try self.init(yaml: [UInt8](bytes), named: path)
    }

    /// Bytes of a configuration at most: every key with long paths and comments has a tenth of it.
    private static let largest = 65_536
    private static let otherFile = "Name another file with --config FILE."

    private static func unusable(_ path: String, _ error: Errno) -> Failure {
        switch error {
        case .permissionDenied, .notPermitted:
            Failure(
                .configurationInvalid, path, "may not be read by this user",
                hint: "Give the user the right to it and to the directories above it (chmod, chgrp or setfacl).")
        case .noSuchFileOrDirectory, .notDirectory:
            Failure(.configurationInvalid, path, "is not there", hint: otherFile)
        default: Failure(.configurationInvalid, path, "cannot be read: \(error)", hint: otherFile)
        }
    }
}
