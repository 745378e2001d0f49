// Answers tasks about images on one worker: encodes the image once, builds one visual prompt for each adapter, and lets the
// engine run the tasks of many images together.
//
// Invariant: used by one thread. An image's answers depend on its own bytes and tasks alone.

public import Diagnostics
internal import Language
public import Specification
public import Tensor
internal import Text
internal import Vision

/// One worker's model state.
public final class Answerer {
    /// The bundle that is being served.
    public let bundle: ModelBundle
    private let compute: Compute
    private let engine: Engine
    private let vision: VisionWorker
    private let adapters: [String: Adapter]
    private var projectors: [String: VisualProjector] = [:]
    private let prompts: PromptBook
    private let promptLimit: Int
    private var inFlight: [Int: Job] = [:]
    /// Of those in flight the ones that have no token of an answer yet.
    private var unstarted: Set<Int> = []
    private var jobOfStream: [Int: (job: Int, task: Int)] = [:]
    private var nextJob = 0

    /// A job whose tasks are in flight.
    private struct Job {
        var plans: [TaskPlan]
        var results: [TokenResult?]
        /// Results that are still to come.
        var remaining: Int
        var streams: [Int]
        var times: StageTimes
        var submitted: ContinuousClock.Instant
        var firstToken: ContinuousClock.Instant?
        var promptTokens: Int
        /// By adapter, for tasks that go on.
        let images: [String: VisualPrompt]
    }

    /// Buffers for one worker.
    ///
    /// - Parameters:
    ///   - batch: the most sequences that go through the model together; what is beyond waits.
    ///   - promptTokens: the longest prompt that is accepted.
    ///   - answerTokens: the longest answer that is accepted.
    ///   - additional: adapters beside the bundle's, such as one in training; of two with one name this is the one.
    /// - Throws: `model_invalid` when the bundle's templates do not fit its tokenizer, `adapter_mismatch` for an additional
    ///   adapter that does not fit the model's widths.
    public init(
        bundle: ModelBundle, compute: Compute, batch: Int, promptTokens: Int = 1_024, answerTokens: Int = 256,
        additional: [String: Adapter] = [:]
    ) throws(Failure) {
        for (name, adapter) in additional {
            let c = adapter.configuration
            guard c.width == bundle.language.configuration.width, c.features == bundle.vision.width(of: c.layers),
                adapter.precision == bundle.precision, adapter.vision.map({ bundle.vision.fits($0) }) ?? true
            else { throw Failure(.adapterMismatch, "adapter \(name)", "does not fit the model \(bundle.path)") }
        }
        self.bundle = bundle
        self.compute = compute
        promptLimit = promptTokens
        adapters = bundle.adapters.merging(additional) { $1 }
        prompts = try PromptBook(bundle, answerTokens: answerTokens)
        engine = Engine(
            model: bundle.language, compute: compute,
            limits: EngineLimits(
                streams: batch, rows: 512,
                positions: promptTokens + answerTokens
                    + (adapters.values.map(\.configuration.imageTokens).max() ?? 0),
                slots: adapters.values.map(\.configuration.memorySlots).max() ?? 1))
        vision = VisionWorker(bundle.vision, compute: compute)
    }

    /// The kernel path, for answers.
    public var kernels: String { compute.kernels.name }
    /// Whether another job can join the batch.
    public var hasRoom: Bool { engine.freeStreams > 0 }
    /// Whether nothing is in flight.
    public var isIdle: Bool { inFlight.isEmpty }

    /// Whether tasks of a kind have an adapter, before tasks are made that would be refused one by one.
    ///
    /// - Parameter name: the adapter that they name; nil for the one that the bundle names for the kind.
    /// - Throws: `model_missing` when there is none.
    public func requireAdapter(_ name: String?, for kind: TaskKind) throws(Failure) {
        guard let name = name ?? bundle.description.adapters[kind] else {
            throw Failure(
                .modelMissing, bundle.path, "names no adapter for \(kind.rawValue)",
                hint: "Add one with `memvp convert adapter`.")
        }
        guard adapters[name] != nil else { throw missing(name, .modelMissing) }
    }

    /// Encodes the image and submits its tasks; those that the batch has no room for wait inside the job.
    ///
    /// - Parameters:
    ///   - image: nil asks without an image: V = 0, E₁ and E₂ stay.
    ///   - tasks: one or more.
    ///   - contentSeed: seeds sampling where the spec gives no seed; from the job's content, so repeats are equal.
    /// - Returns: a number that `step` gives back.
    /// - Throws: `prompt_too_long`; `spec_invalid` naming the task, or the adapter that is not there;
    ///   `adapter_mismatch` for an additional adapter with fewer slots than the image has patches.
    public func submit(
        image: PreparedImage?, tasks: [TaskSpec.Task], adapters: [TaskKind: String] = [:], contentSeed: UInt64
    ) throws(Failure) -> Int {
        // A job ends with the last of its results: without any it would stay.
        guard !tasks.isEmpty else { throw Failure(.specInvalid, "tasks", "are none") }
        var plans: [TaskPlan] = []
        for (index, task) in tasks.enumerated() {
            let plan = try prompts.plan(task, overrides: adapters, seed: contentSeed &+ UInt64(index))
            guard plan.prompt.count <= promptLimit else {
                throw Failure(
                    .promptTooLong, "task \(task.id)",
                    "has a prompt of \(plan.prompt.count) tokens; at most \(promptLimit) are read",
                    hint: "Shorten the question, or raise limits.prompt_tokens.")
            }
            plans.append(plan)
        }
        let clock = ContinuousClock()
        let start = clock.now
        let images = try visualPrompts(image, adapters: Set(plans.map(\.adapter)))
        let tokenTasks = plans.map { TokenTask(prompt: $0.prompt, goal: $0.goal, image: images[$0.adapter]) }
        let unfit = plans.indices.first { index in
            guard engine.fits(tokenTasks[index]) else { return true }
            guard let second = prompts.continuation(plans[index], TokenResult()) else { return false }
            return !engine.fits(TokenTask(prompt: second.prompt, goal: second.goal, image: images[second.adapter]))
        }
        if let unfit {
            throw Failure(
                .promptTooLong, "task \(plans[unfit].id)", "does not fit the context with its answer",
                hint: "Shorten the question or the choices.")
        }
        let submitted = clock.now
        nextJob += 1
        let streams = engine.submit(tokenTasks)
        for (task, stream) in streams.enumerated() { jobOfStream[stream] = (nextJob, task) }
        inFlight[nextJob] = Job(
            plans: plans, results: Array(repeating: nil, count: plans.count), remaining: plans.count, streams: streams,
            times: StageTimes(vision: submitted - start), submitted: submitted, firstToken: nil,
            promptTokens: plans.reduce(0) { $0 + $1.prompt.count }, images: images)
        unstarted.insert(nextJob)
        return nextJob
    }

    /// Runs one forward pass over everything in flight; returns the jobs that it ended, in the order of their numbers. One that has a
    /// failure has no answers.
    public func step() -> [(job: Int, answers: AnswerSet)] {
        let ended = engine.step()
        let now = ContinuousClock.now
        for number in unstarted where inFlight[number]?.streams.contains(where: { engine.hasStarted($0) }) == true {
            begin(number, at: now)
        }
        // Most passes end nothing, and then nothing is to be made.
        guard !ended.isEmpty else { return [] }
        var whole: [Int] = []
        for (stream, result) in ended {
            guard let place = jobOfStream.removeValue(forKey: stream), !goOn(place.job, place.task, result) else {
                continue
            }
            inFlight[place.job]?.results[place.task] = result
            inFlight[place.job]?.remaining -= 1
            begin(place.job, at: now)
            if inFlight[place.job]?.remaining == 0 { whole.append(place.job) }
        }
        var finished: [(job: Int, answers: AnswerSet)] = []
        for number in whole.sorted() {
            guard let job = inFlight.removeValue(forKey: number) else { continue }
            finished.append((number, answerSet(job, results: job.results.compactMap { $0 }, at: now)))
        }
        return finished
    }

    /// The first token of a job's answers is there; another changes nothing.
    private func begin(_ job: Int, at now: ContinuousClock.Instant) {
        if unstarted.remove(job) != nil { inFlight[job]?.firstToken = now }
    }

    /// Drops a job; its answers will not come.
    public func cancel(_ job: Int) {
        guard let dropped = inFlight.removeValue(forKey: job) else { return }
        unstarted.remove(job)
        engine.cancel(Set(dropped.streams))
        for stream in dropped.streams { jobOfStream[stream] = nil }
    }

    /// Lets a task whose explanation is there go on to its letters, on the image that it had; false for all other tasks.
    ///
    /// An explanation that is longer as text than as it was generated (bytes that are no UTF-8) may not fit; then the
    /// letters follow the question, for which `submit` saw room.
    private func goOn(_ number: Int, _ task: Int, _ result: TokenResult) -> Bool {
        guard let job = inFlight[number], result.isFinite else { return false }
        let seconds = [result, TokenResult()].compactMap { prompts.continuation(job.plans[task], $0) }
        let tasks = seconds.map { TokenTask(prompt: $0.prompt, goal: $0.goal, image: job.images[$0.adapter]) }
        guard let index = tasks.firstIndex(where: engine.fits), let stream = engine.submit([tasks[index]]).first else {
            return false
        }
        let (second, next) = (seconds[index], tasks[index])
        inFlight[number]?.plans[task] = second
        inFlight[number]?.streams[task] = stream
        inFlight[number]?.promptTokens += next.prompt.count
        jobOfStream[stream] = (number, task)
        return true
    }

    private func answerSet(_ job: Job, results: [TokenResult], at now: ContinuousClock.Instant) -> AnswerSet {
        var times = job.times
        let first = job.firstToken ?? now
        times.prefill = first - job.submitted
        times.generate = now - first
        let failure = zip(job.plans, results).first { !$1.isFinite }.map { plan, _ in
            bundle.withoutNumber(adapter: plan.adapter, for: "the task \(plan.id)")
        }
        return AnswerSet(
            answers: failure == nil ? zip(job.plans, results).map { prompts.answer($0, $1) } : [], times: times,
            promptTokens: job.promptTokens,
            generatedTokens: results.reduce(0) { $0 + $1.tokens.count }, failure: failure)
    }

    private func visualPrompts(
        _ image: PreparedImage?, adapters names: Set<String>
    ) throws(Failure) -> [String: VisualPrompt] {
        var images: [String: VisualPrompt] = [:]
        // One pass of the bare encoder serves all adapters that bring nothing of their own beside it.
        let bare = names.filter { adapters[$0]?.vision == nil }.sorted()
        let layers = Array(Set(bare.compactMap { adapters[$0]?.configuration.layers }))
        var shared: [FeatureLayers: FloatRows] = [:]
        if let image, !layers.isEmpty {
            let features = vision.encode(image.pixels.span, layers: layers)
            shared = Dictionary(uniqueKeysWithValues: zip(layers, features))
        }
        for name in bare {
            let features = adapters[name].flatMap { shared[$0.configuration.layers] }
            images[name] = try projector(name).visualPrompt(of: features, compute: compute)
        }
        for name in names.subtracting(bare).sorted() {
            let features = image.map { vision.encode($0.pixels.span, adapters: adapters[name]?.vision) }
            images[name] = try projector(name).visualPrompt(of: features, compute: compute)
        }
        return images
    }

    private func projector(_ name: String) throws(Failure) -> VisualProjector {
        if let projector = projectors[name] { return projector }
        guard let adapter = adapters[name] else { throw missing(name, .specInvalid) }
        let projector = try VisualProjector(adapter: adapter, patches: bundle.vision.patches)
        projectors[name] = projector
        return projector
    }

    private func missing(_ name: String, _ code: FailureCode) -> Failure {
        let names = adapters.keys.sorted().joined(separator: ", ")
        return Failure(
            code, "adapter \(name)", "is not in the model bundle",
            hint: names.isEmpty ? "Add one with `memvp convert adapter`." : "It has \(names).")
    }
}

extension ModelBundle {
    /// No answer is better than one that nothing speaks for: the failure of `work` where an adapter's values overflow on the way.
    public func withoutNumber(adapter: String, for work: String) -> Failure {
        Failure(
            .modelInvalid, "\(path): adapter \(adapter)", "computes no number for \(work)",
            hint: "The adapter or the model holds values that are too large. Use another, or make it again.")
    }
}
