// One worker: a thread of its own that takes jobs from the spool as room frees, decodes and submits them, runs passes over all that
// is in flight together, and gives every job back to the spool.
//
// Invariants: every job taken ends in exactly one call of the spool; a job that must run alone is all that is in flight (the
// spool hands it out so, and nothing joins it); a new model takes over only when nothing is in flight. Failure modes: what
// a job has wrong is its outcome; a passing fault defers it; a stop gives back what does not end in time.

internal import Diagnostics
internal import MemVP
internal import Specification
internal import Spool
internal import Tensor
internal import Vision

actor ModelWorker {
    /// What a worker serves; replaced by a reload.
    struct Settings: Sendable {
        let bundle: ModelBundle
        let configuration: DaemonConfiguration
    }

    /// A job between its submission and its commit.
    struct Flight: Sendable {
        let job: Job
        let image: AnswerDocument.File
        let warnings: [String]
        let started: Int64
        let jpeg: Duration
    }

    /// How long jobs in flight may still take after a stop was asked for.
    private static let patience: Duration = .seconds(10)

    private let spool: Spool
    private let reporter: Reporter
    private let kernels: Kernels
    private let threads: Int
    private var settings: Settings
    /// Who waits until the prepared settings are in force.
    private var pending: CheckedContinuation<Failure?, Never>?
    private var prepared: (settings: Settings, answerer: Answerer)?
    private var answerer: Answerer?
    private var flights: [Int: Flight] = [:]
    private let clock = SystemClock()
    private nonisolated let thread: WorkerThread

    nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe thread.asUnownedSerialExecutor() }

    init(spool: Spool, reporter: Reporter, kernels: Kernels, threads: Int, settings: Settings) throws(Failure) {
        (self.spool, self.reporter, self.kernels) = (spool, reporter, kernels)
        (self.threads, self.settings) = (threads, settings)
        thread = try WorkerThread()
    }

    deinit { thread.stop() }

    /// Makes the model's buffers.
    func start() throws(Failure) {
        try Spool.prepareWorkerThread()
        answerer = try makeAnswerer(settings)
    }

    /// Serves until the task is cancelled, the spool is closed or, after `endWhenEmpty`, nothing is left to do.
    func run() async {
        var deadline: Duration?
        while let answerer {
            if Task.isCancelled {
                let end = deadline ?? clock.monotonic + Self.patience
                deadline = end
                if answerer.isIdle || clock.monotonic >= end { break }
            } else {
                takeOverIfAsked()
                if flights.isEmpty {
                    let first = await spool.nextJobs(atMost: 1)
                    if first.isEmpty { break }
                    takeOverIfAsked()
                    await start(first)
                }
                await fill()
            }
            await advance()
        }
        await giveBack()
    }

    /// Makes the buffers of other settings, beside those in force.
    ///
    /// - Throws: what is wrong with the model; the old one then goes on.
    func prepare(_ settings: Settings) throws(Failure) {
        prepared = (settings, try makeAnswerer(settings))
    }

    /// Lets go of what `prepare` made: a reload has failed elsewhere.
    func forgetPrepared() { prepared = nil }

    /// Serves what was prepared from now on; returns when that is in force.
    ///
    /// - Throws: `unavailable` when the worker stops first.
    func adopt() async throws(Failure) {
        guard !flights.isEmpty else { return takeOver() }
        let failure = await withCheckedContinuation { waiting in
            pending?.resume(returning: Failure(.temporary, "reload", "another reload took its place"))
            pending = waiting
        }
        if let failure { throw failure }
    }

    // MARK: Taking

    private func takeOver() {
        guard flights.isEmpty, let next = prepared else { return }
        (settings, answerer, prepared) = (next.settings, next.answerer, nil)
        pending?.resume(returning: nil)
        pending = nil
    }

    /// Takes over once that was asked for: what is only prepared waits until every worker is.
    private func takeOverIfAsked() {
        if pending != nil { takeOver() }
    }

    private func makeAnswerer(_ settings: Settings) throws(Failure) -> Answerer {
        let configuration = settings.configuration
        return try Answerer(
            bundle: settings.bundle, compute: Compute(kernels: kernels, threads: threads), batch: configuration.batch,
            promptTokens: configuration.limits.promptTokens, answerTokens: configuration.limits.answerTokens)
    }

    /// Takes jobs while there is room; none while a new model waits for the batch to end.
    private func fill() async {
        while pending == nil, let answerer, answerer.hasRoom {
            let jobs = await spool.takeJobs(atMost: 1)
            if jobs.isEmpty { return }
            await start(jobs)
        }
    }

    private func start(_ jobs: [Job]) async {
        for job in jobs {
            let started = clock.unixMicroseconds
            var image = AnswerDocument.File(job.image)
            do throws(Failure) {
                try submit(job, &image, started: started)
            } catch {
                await settle(job, image, error, started: started)
            }
        }
    }

    private func submit(_ job: Job, _ image: inout AnswerDocument.File, started: Int64) throws(Failure) {
        guard let answerer else { throw Failure(.unavailable, "worker", "has no model") }
        let begin = clock.monotonic
        let configuration = settings.configuration
        let bytes = try job.readImage()
        let digest = ModelBundle.sha256(of: bytes)
        image.sha256 = digest
        let specBytes = try job.readSpec()
        // All is read, and the rest is work: from here on it counts as a pass.
        reporter.beat(self, isBusy: true)
        defer { reporter.beat(self, isBusy: false) }
        let spec = try taskSpec(specBytes, of: job, configuration)
        let prepared: PreparedImage
        do throws(Failure) {
            prepared = try settings.bundle.prepare(photo: bytes, limits: configuration.imageLimits)
        } catch {
            throw error.about(job.image.description)
        }
        (image.width, image.height) = (prepared.width, prepared.height)
        let decoded = clock.monotonic
        // From the content alone, so that the same photo and spec give the same bytes; 16 digits are 64 bits.
        let seed = UInt64(digest.prefix(16), radix: 16) ?? 0
        let number = try answerer.submit(
            image: prepared, tasks: spec.tasks, adapters: configuration.adapterNames, contentSeed: seed)
        flights[number] = Flight(
            job: job, image: image, warnings: prepared.warnings, started: started, jpeg: decoded - begin)
    }

    private func taskSpec(
        _ bytes: [UInt8]?, of job: Job, _ configuration: DaemonConfiguration
    ) throws(Failure) -> TaskSpec {
        guard let bytes else {
            return TaskSpec(default: configuration.defaultTask, limits: configuration.limits.spec)
        }
        return try TaskSpec(
            yaml: bytes, named: job.spec?.description ?? "the task spec", limits: configuration.limits.spec)
    }

    // MARK: Giving back

    private func advance() async {
        guard let answerer, !answerer.isIdle else { return }
        let jobs = flights.count
        reporter.beat(self, isBusy: true)
        let ended = answerer.step()
        // A commit waits for the spool, and that for its disk.
        reporter.beat(self, isBusy: false)
        if !ended.isEmpty { reporter.batch(of: jobs) }
        for (number, answers) in ended {
            guard let flight = flights.removeValue(forKey: number) else { continue }
            await commit(flight, answers)
        }
    }

    /// Ends a job that was run through; an answer that cannot be written is an error, and so is none.
    func commit(_ flight: Flight, _ set: AnswerSet) async {
        if let failure = set.failure {
            return await settle(flight.job, flight.image, failure, started: flight.started)
        }
        var timing = AnswerDocument.Timing()
        timing.queued = milliseconds(from: flight.job.claimedAt, to: flight.started)
        timing.jpeg = flight.jpeg.milliseconds
        timing.vision = set.times.vision.milliseconds
        timing.prefill = set.times.prefill.milliseconds
        timing.generate = set.times.generate.milliseconds
        timing.total = milliseconds(from: flight.job.claimedAt, to: clock.unixMicroseconds)
        let document = AnswerDocument(
            flight.job, image: flight.image, answers: set.answers, model: model, timing: timing,
            warnings: flight.warnings)
        let bytes: [UInt8]
        do throws(Failure) {
            bytes = try document.encoded()
        } catch {
            return await settle(flight.job, flight.image, error, started: flight.started)
        }
        reporter.answered(timing, prompt: set.promptTokens, generated: set.generatedTokens)
        do throws(Failure) {
            try await spool.commit(flight.job, answer: bytes, timing: timing.milliseconds)
        } catch {
            reporter.fault(error)
        }
    }

    /// Ends a job that met a failure: by another attempt where the failure may pass, else by its error.
    private func settle(_ job: Job, _ image: AnswerDocument.File, _ failure: Failure, started: Int64) async {
        do throws(Failure) {
            if failure.code.isPassing { return try await spool.deferJob(job, failure) }
            if failure.code == .corruptImage || failure.code == .emptyFile, try await spool.returnIfChanging(job) {
                return
            }
            var timing = AnswerDocument.Timing()
            timing.queued = milliseconds(from: job.claimedAt, to: started)
            timing.total = milliseconds(from: job.claimedAt, to: clock.unixMicroseconds)
            let document = AnswerDocument(job, image: image, failure: failure, model: model, timing: timing)
            try await spool.fail(job, failure, document: document.explained, timing: timing.milliseconds)
        } catch {
            reporter.fault(error)
        }
    }

    private func giveBack() async {
        for (number, flight) in flights {
            answerer?.cancel(number)
            do throws(Failure) { try await spool.requeue(flight.job) } catch { reporter.fault(error) }
        }
        flights = [:]
        pending?.resume(returning: Failure(.unavailable, "reload", "memvpd is stopping"))
        pending = nil
    }

    private var model: AnswerDocument.Model { AnswerDocument.Model(settings.bundle, kernels: kernels.name) }

    private func milliseconds(from start: Int64, to end: Int64) -> Double { Double(max(0, end - start)) / 1e3 }
}

extension DaemonConfiguration {
    fileprivate var imageLimits: ImageLimits {
        ImageLimits(
            maxBytes: limits.imageBytes, maxPixels: limits.imagePixels, maxSide: limits.imageSide,
            advice: "Make the image smaller, or raise limits.image_pixels or limits.image_side.")
    }

    /// The adapters that this configuration sets in place of the bundle's.
    fileprivate var adapterNames: [TaskKind: String] {
        var names: [TaskKind: String] = [:]
        for kind in TaskKind.allCases {
            if case .named(let name) = adapters[kind] { names[kind] = name }
        }
        return names
    }
}
