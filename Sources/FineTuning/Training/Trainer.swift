// A training run: data, steps, validations, samples, checkpoints, the finished adapter.
//
// Invariants: order and parameters follow from the seed and the step alone, so a resumed run equals one that was never stopped, to
// the bit; the adapter file appears whole at the end. Failure modes: those of data, bundle and disk, each naming its file.

public import Diagnostics
internal import FoundationEssentials
internal import Language
public import MemVP
internal import ModelFile
internal import Specification
public import Tensor
internal import Text
internal import Vision

/// Trains an adapter on a bundle's frozen base.
public final class Trainer {
    /// What happens meanwhile, for whoever watches.
    public enum Event: Sendable {
        /// Features of photos are computed: how many of how many photos.
        case features(Int, Int)
        /// A photo or row was left out.
        case badRow(String)
        /// A step was done.
        case step(TrainingRecord, of: Int)
        /// A validation, a sample or a note.
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
    private var dataHash = ""

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
    /// - Parameter resume: go on from the run's checkpoint; without one the run begins.
    /// - Returns: whether the run is complete and the adapter written.
    /// - Throws: the failures above.
    public func run(
        training rows: [ExampleRow], validation validationRows: [ExampleRow], badRows: BadRowPolicy, resume: Bool,
        stop: () -> Bool
    ) throws(Failure) -> Bool {
        let directory = try RunDirectory(path: files.run)
        try OutputFile.check(files.output)
        let hasCheckpoint = FileManager.default.fileExists(atPath: directory.checkpointPath)
        guard resume || !hasCheckpoint else {
            throw Failure(
                .cannotCreate, files.run, "holds the checkpoint of a run, which a new one would overwrite",
                hint: "Go on from it with --resume, name another --out, or remove the directory.")
        }
        let start = StartingAdapter(bundle: bundle, compute: compute, configuration: configuration)
        let adapter: TrainableAdapter
        if let initial = files.initial {
            adapter = try start.adapter(at: initial)
        } else {
            adapter = try start.fresh(rows)
        }
        let features = try PhotoFeatures(
            bundle: bundle, compute: compute, directory: files.cache, adapter: adapter)
        let limit = try longestText(beside: adapter.configuration.imageTokens)
        validationCount = validationRows.count
        let scored = ValidationRows.spread(validationRows, limit: configuration.validationLimit)
        try prepare(rows, scored, features, limit, badRows, stop)
        var done = 0
        if hasCheckpoint {
            done = try Checkpoint.restore(
                adapter, configuration: configuration, dataHash: dataHash,
                from: directory.checkpointPath)
        }
        let runner = try TrainingStep(
            bundle: bundle, compute: compute, adapter: adapter, photos: features.source, rows: Self.rows,
            sequences: min(configuration.batch, Self.sequences))
        let drawing = AnswerDrawing(
            bundle: bundle, compute: compute, photos: features.source, shape: adapter.configuration,
            streams: Self.sequences, longest: Self.longestAnswer)
        let lessons = try Lessons(bundle, Array(zip(training, tasks)), drawing, configuration)
        let checks = Checks(
            samples: SampleWriter(bundle: bundle, compute: compute),
            score: ValidationScore(bundle: bundle, rows: validation),
            drawing: drawing)
        try directory.open(keepingUpTo: done > 0 ? done : nil)
        return try loop(adapter, runner, lessons, checks, features.source, directory, from: done, stop)
    }

    /// What a validation needs beside the loss.
    private struct Checks {
        let samples: SampleWriter
        let score: ValidationScore
        let drawing: AnswerDrawing
    }

    // MARK: The loop

    private func loop(
        _ adapter: TrainableAdapter, _ runner: TrainingStep, _ lessons: Lessons, _ checks: Checks,
        _ photos: PhotoSource,
        _ directory: RunDirectory, from done: Int, _ stop: () -> Bool
    ) throws(Failure) -> Bool {
        let c = configuration
        var lessons = lessons
        let before = directory.records.last { $0.event == "step" }
        var tokens = before?.tokens ?? 0
        let start = ContinuousClock.now
        var begin = TrainingRecord("start", step: done)
        let among = validationCount > validation.count ? " of \(validationCount) rows" : ""
        begin.note =
            "\(training.count) examples, \(validation.count)\(among) for validation, kernels \(compute.kernels.name)"
        try directory.append(begin)
        for step in done..<c.steps {
            let rate = c.schedule.rate(at: step)
            let lesson = try lessons.next(step, adapter: adapter)
            let result = try runner.step(
                lesson.examples, step: step + 1, learningRate: rate, configuration: configuration)
            adapter.average(decay: c.averaging, step: step + 1)
            photos.releasePages()
            tokens += result.tokens
            var record = TrainingRecord("step", step: step + 1)
            record.loss = result.loss
            record.ciderD = lesson.reward
            record.learningRate = Double(rate)
            record.gradientNorm = result.gradientNorm
            record.tokens = tokens
            record.seconds = (before?.seconds ?? 0) + start.duration(to: .now) / .seconds(1)
            try directory.append(record)
            watch(.step(record, of: c.steps))
            let isLast = step + 1 == c.steps
            if c.validateEvery > 0, isLast || (step + 1) % c.validateEvery == 0 {
                try adapter.withAverage { () throws(Failure) in
                    try validate(adapter, runner, checks, directory, step: step + 1)
                }
            }
            let stopping = stop()
            if isLast || stopping || (step + 1) % c.checkpointEvery == 0 {
                try Checkpoint.save(
                    adapter, step: step + 1, configuration: c, dataHash: dataHash, to: directory.checkpointPath)
                try write(adapter, to: directory.adapterPath)
                try directory.draw()
            }
            if stopping && !isLast { return false }
        }
        try write(adapter, to: files.output)
        try directory.append(TrainingRecord("end", step: c.steps))
        return true
    }

    /// Writes the adapter as validations show it.
    private func write(_ adapter: TrainableAdapter, to path: String) throws(Failure) {
        try AdapterFile.write(
            adapter.configuration, tensors: adapter.withAverage { adapter.tensors }, base: bundle.base,
            name: "\(bundle.description.name) adapter", to: path)
    }

    private func validate(
        _ adapter: TrainableAdapter, _ runner: TrainingStep, _ checks: Checks, _ directory: RunDirectory, step: Int
    ) throws(Failure) {
        guard !validation.isEmpty else { return }
        let examples = validation.map(\.example)
        var record = TrainingRecord("validation", step: step)
        record.validationLoss = try runner.loss(examples)
        record.blindLoss = try runner.loss(examples, blind: true)
        let score = try checks.score.score(adapter, checks.drawing)
        (record.ciderD, record.exact) = (score.ciderD, score.exact)
        try directory.append(record)
        watch(.record(record))
        if let answer = score.onlyAnswer {
            var warning = TrainingRecord("warning", step: step)
            warning.note =
                "every answer is \"\(answer)\". If that stays so, the rate is too high: begin again with a tenth of the "
                + "--learning-rate, or with an adapter (--initial)."
            try directory.append(warning)
            watch(.record(warning))
        }
        let some = [0, validation.count / 3, 2 * validation.count / 3]
        for sample in try checks.samples.answers(adapter, some.map { validation[$0].row }, step: step) {
            try directory.append(sample)
            watch(.record(sample))
        }
    }

    // MARK: Preparation

    private func prepare(
        _ rows: [ExampleRow], _ validationRows: [ExampleRow], _ features: PhotoFeatures, _ limit: Int,
        _ policy: BadRowPolicy, _ stop: () -> Bool
    ) throws(Failure) {
        var identity = ""
        var faults: [String: Failure] = [:]
        for (index, row) in (rows + validationRows).enumerated() {
            // The same rows on the other side are other data.
            if index == rows.count { identity += "validation\n" }
            if stop() { throw Failure(.temporary, files.run, "was stopped before the first step") }
            watch(.features(index, rows.count + validationRows.count))
            do throws(Failure) {
                if let fault = faults[row.image] { throw fault }
                let example: PreparedExample
                do throws(Failure) {
                    let keys = try features.keys(row.image, views: index < rows.count ? configuration.views : 1)
                    let views = PhotoViews.fitting(keys.count, row.task.text).map { keys[$0] }
                    example = try builder.example(row, photo: keys[0], views: views)
                } catch {
                    faults[row.image] = error
                    throw error
                }
                guard example.tokens.count <= limit, example.promptCount >= 1 else {
                    throw Failure(.promptTooLong, "", "has \(example.tokens.count) tokens; \(limit) fit")
                }
                if index < rows.count {
                    training.append(example)
                    tasks.append(row.task)
                } else {
                    validation.append((row, example))
                }
                identity += "\(example.photo) \(example.tokens)\n"
            } catch {
                // A full disk or a broken cache is not the row's fault.
                if [.noSpace, .inputOutput, .cannotCreate].contains(error.code) { throw error }
                watch(.badRow("\(try policy.leavesOut(row, because: error))"))
            }
        }
        features.release()
        guard !training.isEmpty else {
            throw Failure(.specInvalid, "training data", "has no example that can be used")
        }
        dataHash = ModelBundle.sha256(of: Array(identity.utf8))
    }

    /// Tokens that a row may have.
    private func longestText(beside imageTokens: Int) throws(Failure) -> Int {
        let limit = min(Self.rows, bundle.language.positions) - imageTokens
        guard limit > 1 else {
            throw Failure(
                .configurationInvalid, "--slots \(imageTokens)", "are image tokens that leave no room for text",
                hint: "Up to \(limit + imageTokens) tokens go through the model together.")
        }
        return limit
    }
}
