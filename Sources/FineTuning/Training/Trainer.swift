// A training run: data, steps, validations, samples, checkpoints, the finished adapter.
//
// Invariants: order and parameters follow from the seed and the step alone, so a resumed run equals one that was never
// stopped, to the bit; the adapter file appears whole at the end. Where both fall on one step, the checkpoint is written
// before the validation: one that is cut short is made again by the run that goes on from there, so the log has each
// validation once. Whoever watches is told every event that the log has. Failure modes: those of data, bundle and disk, each
// naming its file; `usage` for a run whose numbers are none any more.

public import Diagnostics
internal import Files
internal import FoundationEssentials
internal import Language
public import MemVP
internal import Specification
public import Tensor
internal import Text
internal import Vision

/// Trains an adapter on a bundle's frozen base.
public final class Trainer {
    /// What happens meanwhile, for whoever watches.
    public enum Event: Sendable {
        /// Features of photos are computed: for how many of how many rows.
        case features(Int, Int)
        /// A photo or row was left out.
        case badRow(String)
        /// A step was done.
        case step(TrainingRecord, of: Int)
        /// A validation goes on: how much of how much is done, in rows.
        case validation(Int, Int)
        /// Any other event of the log: a start, a validation, a sample, a warning, the end.
        case record(TrainingRecord)
    }

    /// Where things are.
    public struct Files: Sendable {
        /// The adapter to write.
        public var output: String
        /// The run's directory.
        public var run: String
        /// Where features are kept.
        public var cache: String
        /// An adapter to begin with, in place of random parameters.
        public var initial: String?

        /// Files of a run.
        public init(output: String, run: String, cache: String, initial: String? = nil) {
            self.output = output
            self.run = run
            self.cache = cache
            self.initial = initial
        }
    }

    /// Tokens that go through the decoder together: some 0.7 MB of activations each for the default model.
    static let rows = 1_024
    /// Sequences that go through it together, each with a memory of its own.
    private static let sequences = 64
    /// Tokens at which drawn answers are cut: twice a long caption of the data.
    private static let longestAnswer = 40
    /// How a validation ends that is stopped.
    private static let stopped = Failure(.temporary, "", "was stopped")

    private let bundle: ModelBundle
    private let compute: Compute
    private let configuration: TrainingConfiguration
    private let files: Files
    private let watch: (Event) -> Void
    private let builder: ExampleBuilder
    private var training: [PreparedExample] = []
    private var tasks: [ExampleRow.Task] = []  // of `training`
    private var validation: [(row: ExampleRow, example: PreparedExample)] = []
    private var validationCount = 0  // rows that `validation` was drawn from
    private var leftOut: (training: Int, validation: Int) = (0, 0)
    private var unreadValidation = 0  // of `leftOut`, before `validation` was drawn

    /// A run on `bundle`.
    public init(
        bundle: ModelBundle, compute: Compute, configuration: TrainingConfiguration, files: Files,
        watch: @escaping (Event) -> Void
    ) throws(Failure) {
        self.bundle = bundle
        self.compute = compute
        self.configuration = configuration
        self.files = files
        self.watch = watch
        builder = try ExampleBuilder(bundle)
    }

    /// Trains on `rows` until the last step or until `stop` says so, which saves a checkpoint.
    ///
    /// - Parameters:
    ///   - resume: go on from the run's checkpoint; without one the run begins.
    ///   - unread: rows that were left out when the files were read, to be counted with those that are left out here.
    ///   - stop: is asked between steps, and between the batches of a validation.
    /// - Returns: whether the run is complete and the adapter written.
    /// - Throws: the failures above.
    public func run(
        training rows: [ExampleRow], validation validationRows: [ExampleRow], badRows: BadRowPolicy, resume: Bool,
        unread: (training: Int, validation: Int) = (0, 0), stop: () -> Bool
    ) throws(Failure) -> Bool {
        try checkOutput()
        let directory = try RunDirectory(path: files.run)
        let hasCheckpoint = FileManager.default.fileExists(atPath: directory.checkpointPath)
        guard resume || !hasCheckpoint else {
            throw Failure(
                .cannotCreate, files.run, "holds the checkpoint of a run, which a new one would overwrite",
                hint: "Go on from it with --resume, name another --out, or remove the directory.")
        }
        // A run that was killed before its first checkpoint begins anew; one that had some was asked to go on.
        if resume, !hasCheckpoint, let step = directory.loggedStep(beyond: configuration.checkpointEvery) {
            throw Failure(
                .notFound, directory.checkpointPath, "is gone, and the log beside it tells of \(step) steps",
                hint: directory.advice())
        }
        try directory.check()
        leftOut = unread
        unreadValidation = unread.validation
        let adapter = try startingAdapter(rows)
        let beginning = try beginning(in: directory)
        let features = try PhotoFeatures(
            bundle: bundle, compute: compute, directory: files.cache, adapter: adapter)
        let limit = try longestText(beside: adapter.configuration.imageTokens)
        validationCount = validationRows.count
        let scored = ValidationRows.spread(validationRows, limit: configuration.validationLimit)
        let data = try prepare(rows, scored, features, limit, badRows, stop)
        let identity = RunIdentity(
            configuration: configuration, base: base, dataHash: data.hash, rows: data.rows,
            constants: adapter.constants, initial: beginning)
        var done = 0
        if hasCheckpoint { done = try Checkpoint.restore(adapter, identity: identity, from: directory) }
        let runner = try TrainingStep(
            bundle: bundle, compute: compute, adapter: adapter, photos: features.source, rows: Self.rows,
            sequences: min(configuration.batch, Self.sequences))
        let drawing = AnswerDrawing(
            bundle: bundle, compute: compute, photos: features.source, shape: adapter.configuration,
            streams: Self.sequences, longest: Self.longestAnswer)
        let lessons = try Lessons(bundle, Array(zip(training, tasks)), drawing, configuration)
        let checks = RunValidation(
            rows: validation, samples: SampleWriter(bundle: bundle, compute: compute),
            score: ValidationScore(bundle: bundle, rows: validation), drawing: drawing)
        try directory.open(keepingUpTo: done > 0 ? done : nil)
        let parts = Parts(
            adapter: adapter, runner: runner, validation: checks, photos: features.source, directory: directory,
            identity: identity)
        return try loop(parts, lessons, from: done, stop)
    }

    /// What the loop works with.
    private struct Parts {
        let adapter: TrainableAdapter
        let runner: TrainingStep
        let validation: RunValidation
        let photos: PhotoSource
        let directory: RunDirectory
        let identity: RunIdentity
    }

    // MARK: The loop

    private func loop(
        _ run: Parts, _ lessons: Lessons, from done: Int, _ stop: () -> Bool
    ) throws(Failure) -> Bool {
        let c = configuration
        var lessons = lessons
        var warnings = RunWarnings(vocabulary: bundle.language.configuration.vocabulary)
        let before = run.directory.records.last { $0.event == "step" }
        // A log may say anything.
        var tokens = min(max(0, before?.tokens ?? 0), 1 << 53)
        let start = ContinuousClock.now
        try begin(run, from: done)
        if done > 0, validates(after: done), !run.directory.hasValidation(of: done) {
            guard try validate(run, step: done, stop) else { return false }
        }
        for step in done..<c.steps {
            let rate = c.schedule.rate(at: step)
            let lesson = try lessons.next(step, adapter: run.adapter)
            let result = try learn(run, lesson.examples, step: step + 1, rate)
            run.adapter.average(decay: c.averaging, step: step + 1)
            run.photos.releasePages()
            tokens += result.tokens
            var record = TrainingRecord("step", step: step + 1)
            record.loss = result.loss
            record.ciderD = lesson.reward
            record.learningRate = Double(rate)
            record.gradientNorm = result.gradientNorm
            record.tokens = tokens
            record.seconds = (before?.seconds ?? 0) + start.duration(to: .now) / .seconds(1)
            try run.directory.append(record)
            watch(.step(record, of: c.steps))
            if let note = warnings.after(result) { try warn(note, step: step + 1, run.directory) }
            guard try settle(run, step: step + 1, stop) else { return false }
        }
        try write(run.adapter, to: files.output)
        try tell(TrainingRecord("end", step: c.steps), run.directory)
        return true
    }

    /// What the run is made of, as its first event, and what is wrong with that.
    private func begin(_ run: Parts, from done: Int) throws(Failure) {
        let drawn = validation.count + leftOut.validation - unreadValidation
        let among = validationCount > drawn ? " of \(validationCount) rows" : ""
        var record = TrainingRecord("start", step: done)
        record.note =
            "\(training.count) examples, \(validation.count)\(among) for validation, kernels \(compute.kernels.name)"
        record.badRows = leftOut.training
        record.badValidationRows = leftOut.validation
        var options: [String: String] = [:]
        for (name, value) in configuration.options { options[String(name.map { $0 == "-" ? "_" : $0 })] = value }
        record.options = options
        record.data = run.identity.rows
        record.base = run.identity.base
        record.initial = files.initial
        try tell(record, run.directory)
        guard done == 0 else { return }
        let rate = configuration.learningRate
        if let note = RunWarnings.ofBeginning(
            tasks, initial: files.initial, rate: rate, weighsConsensus: configuration.weighsConsensus)
        {
            try warn(note, step: done, run.directory)
        }
    }

    /// A step, whose failure says what this run can begin again with.
    private func learn(
        _ run: Parts, _ examples: [PreparedExample], step: Int, _ rate: Float
    ) throws(Failure) -> StepResult {
        do throws(Failure) {
            return try run.runner.step(examples, step: step, learningRate: rate, configuration: configuration)
        } catch {
            guard error.code == .usage else { throw error }
            throw error.advising(calmer(run.directory))
        }
    }

    /// What a run whose numbers are none any more can begin again with.
    private func calmer(_ directory: RunDirectory) -> String {
        // An adapter that is begun with brings its λ and s along.
        let begins = files.initial != nil || directory.hasAdapter
        return directory.advice("a lower --learning-rate\(begins ? "" : ", --lambda or --scale") and another --out")
    }

    /// What follows a step: its checkpoint, then its validation. Whether the run goes on.
    private func settle(_ run: Parts, step: Int, _ stop: () -> Bool) throws(Failure) -> Bool {
        let isLast = step == configuration.steps
        let isSaved = isLast || stop() || step % configuration.checkpointEvery == 0
        if isSaved { try save(run, step: step) }
        var isWhole = true
        if validates(after: step) { isWhole = try validate(run, step: step, stop) }
        let goesOn = isWhole && (isLast || !stop())
        if !goesOn && !isSaved { try save(run, step: step) }
        return goesOn
    }

    private func save(_ run: Parts, step: Int) throws(Failure) {
        // The step that makes them so finds out nothing; the last checkpoint stands.
        guard run.adapter.isFinite else {
            throw Failure(
                .usage, "step \(step)", "has left parameters that are not numbers", hint: calmer(run.directory))
        }
        try Checkpoint.save(run.adapter, step: step, identity: run.identity, to: run.directory.checkpointPath)
        try write(run.adapter, to: run.directory.adapterPath)
        try run.directory.draw()
    }

    /// An event for the log and for whoever watches.
    private func tell(_ record: TrainingRecord, _ directory: RunDirectory) throws(Failure) {
        try directory.append(record)
        watch(.record(record))
    }

    private func warn(_ note: String, step: Int, _ directory: RunDirectory) throws(Failure) {
        var record = TrainingRecord("warning", step: step)
        record.note = note
        try tell(record, directory)
    }

    /// Writes the adapter as validations show it.
    private func write(_ adapter: TrainableAdapter, to path: String) throws(Failure) {
        try AdapterFile.write(
            adapter.configuration, tensors: adapter.withAverage { adapter.tensors }, base: bundle.base,
            name: "\(bundle.description.name) adapter", to: path)
    }

    /// Whether a validation belongs to a step.
    private func validates(after step: Int) -> Bool {
        guard configuration.validateEvery > 0, !validation.isEmpty else { return false }
        return step == configuration.steps || step % configuration.validateEvery == 0
    }

    /// Validates, until it is done or stopped: whether it was done. One that was stopped leaves nothing in the log.
    private func validate(_ run: Parts, step: Int, _ stop: () -> Bool) throws(Failure) -> Bool {
        let records: [TrainingRecord]
        do throws(Failure) {
            records = try run.adapter.withAverage { () throws(Failure) -> [TrainingRecord] in
                try run.validation.records(run.adapter, run.runner, step: step) { (done, all) throws(Failure) in
                    if stop() { throw Self.stopped }
                    watch(.validation(done, all))
                }
            }
        } catch {
            guard error == Self.stopped else { throw error }
            return false
        }
        try run.directory.append(records)
        for record in records { watch(.record(record)) }
        try run.directory.draw()
        return true
    }

    // MARK: Preparation

    private var base: RunBase {
        RunBase(
            name: bundle.description.name, language: bundle.base.language, vision: bundle.base.vision,
            precision: bundle.precision.rawValue, kernels: compute.kernels.name)
    }

    /// Whether the adapter can be put in its place, before the work that makes it.
    private func checkOutput() throws(Failure) {
        do throws(Failure) {
            try OutputFile.check(files.output)
        } catch {
            // To `OutputFile` a directory is a wrong input; here it is in the way of an output.
            guard error.code == .notRegularFile else { throw error }
            throw Failure(.cannotCreate, error.object, error.cause, hint: error.hint)
        }
    }

    /// What an adapter to begin with is known by: its bytes, but for one that this run replaces, which is another when it goes on;
    /// nil for random values.
    private func beginning(in directory: RunDirectory) throws(Failure) -> String? {
        guard let path = files.initial else { return nil }
        let own = [directory.adapterPath, files.output].map(RealPath.identity)
        guard !own.contains(RealPath.identity(path)) else { return "the run's own adapter" }
        return try ModelBundle.sha256(ofFile: path)
    }

    private func startingAdapter(_ rows: [ExampleRow]) throws(Failure) -> TrainableAdapter {
        let start = StartingAdapter(bundle: bundle, compute: compute, configuration: configuration)
        guard let initial = files.initial else { return try start.fresh(rows) }
        return try start.adapter(at: initial)
    }

    /// Rows as examples: fills `training`, `tasks` and `validation`, and counts what is left out.
    private func prepare(
        _ rows: [ExampleRow], _ validationRows: [ExampleRow], _ features: PhotoFeatures, _ limit: Int,
        _ policy: BadRowPolicy, _ stop: () -> Bool
    ) throws(Failure) -> RunData {
        var data = RunData()
        var faults: [String: Failure] = [:]
        for (index, row) in (rows + validationRows).enumerated() {
            if index == rows.count { data.beginValidation() }
            if stop() { throw Failure(.temporary, files.run, "was stopped before the first step") }
            watch(.features(index, rows.count + validationRows.count))
            do throws(Failure) {
                if let fault = faults[row.image] { throw fault }
                let keys: [String]
                do throws(Failure) {
                    keys = try features.keys(row.image, views: index < rows.count ? configuration.views : 1)
                } catch {
                    faults[row.image] = error
                    throw error
                }
                // What is wrong from here on is the row's own: others of the photo may be right.
                if let view = row.view { try check(view, of: keys.count) }
                let views = PhotoViews.fitting(keys.count, row).map { keys[$0] }
                let example = try builder.example(row, photo: keys[row.view ?? 0], views: views)
                guard example.tokens.count <= limit, example.promptCount >= 1 else {
                    throw Failure(.promptTooLong, "", "has \(example.tokens.count) tokens; \(limit) fit")
                }
                if index < rows.count {
                    training.append(example)
                    tasks.append(row.task)
                } else {
                    validation.append((row, example))
                }
                data.add(example, of: row)
            } catch {
                // A full disk or a broken cache is not the row's fault.
                if [.noSpace, .inputOutput, .cannotCreate].contains(error.code) { throw error }
                let bad = try policy.leavesOut(row, because: error)
                if index < rows.count { leftOut.training += 1 } else { leftOut.validation += 1 }
                watch(.badRow("\(bad)"))
            }
        }
        features.release()
        guard !training.isEmpty else {
            throw Failure(
                .specInvalid, "training data", "has no example that can be used",
                hint: "Each row that was left out is named, with its reason.")
        }
        return data
    }

    /// Whether a row of one view alone can be learned.
    private func check(_ view: Int, of shown: Int) throws(Failure) {
        if let fault = PhotoViews.fault(view, of: shown) { throw Failure(.specInvalid, "", fault) }
        guard !configuration.weighsConsensus, configuration.rewardedSamples == 0 else {
            throw Failure(
                .specInvalid, "", "is true of one view alone, and --reward compares captions of whole photos",
                hint: "Learn its words, without --reward.")
        }
    }

    /// Tokens that a row may have.
    private func longestText(beside imageTokens: Int) throws(Failure) -> Int {
        let limit = min(Self.rows, bundle.language.positions) - imageTokens
        guard limit > 1 else {
            throw Failure(
                .usage, "--slots \(imageTokens)", "are image tokens that leave no room for text",
                hint: "Up to \(limit + imageTokens) tokens go through the model together.")
        }
        return limit
    }
}
