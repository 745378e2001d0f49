// `memvp train`: fine-tunes an adapter on this machine's processors.

internal import ArgumentParser
internal import Diagnostics
internal import FineTuning
internal import FoundationEssentials
internal import Glibc
internal import MemVP
internal import Synchronization
internal import Vision

/// Trains an adapter on photos with captions or questions.
struct ToolboxTrain: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train", abstract: "Fine-tune an adapter on this machine's processors.",
        discussion: """
            Rows are JSON Lines: image, caption or question and answer, split (docs/DATA.md). The run's log, loss curve and \
            checkpoints stand in OUT's directory NAME.train/; --resume goes on from there, to the bit. Ctrl-C saves and stops.
            """)

    @Option(help: ArgumentHelp("The base: a model bundle.", valueName: "directory"))
    var base: String

    @Option(help: ArgumentHelp("Rows to learn from; may be given several times.", valueName: "file.jsonl"))
    var data: [String]

    @Option(help: ArgumentHelp("The split of --data to learn from; 'all' for every row.", valueName: "split"))
    var split = "train"

    @Option(help: ArgumentHelp("Rows to validate on; may be given several times.", valueName: "file.jsonl"))
    var validation: [String] = []

    @Option(help: ArgumentHelp("The split of --validation; 'all' for every row.", valueName: "split"))
    var validationSplit = "dev"

    @Option(help: ArgumentHelp("The adapter to write.", valueName: "adapter.gguf"))
    var out: String

    @Option(help: ArgumentHelp("An adapter to begin with instead of random values.", valueName: "adapter.gguf"))
    var initial: String?

    @Option(help: "Steps of the run.")
    var steps = 2_000

    @Option(help: "Examples a step.")
    var batch = 64

    @Option(help: "The highest learning rate.")
    var learningRate: Float = 0.012

    @Option(help: "The highest learning rate of the projector; by default --learning-rate · min(1, 0.025 / λ).")
    var projectorRate: Float?

    @Option(help: "Steps of linear warm-up.")
    var warmUp = 30

    @Option(help: "Weight decay of tensors with more than one dimension.")
    var weightDecay: Float = 0.02

    @Option(help: "The norm that gradients are clipped to; 0 for none.")
    var clip: Float = 1

    @Option(
        help: ArgumentHelp(
            "Where the image goes: into every feed-forward layer, the default, or before the prompt (for comparison).",
            valueName: "memory|input"))
    var prompting: Prompting?

    @Option(help: "Memory rows, or image tokens; by default one a patch. With --initial, more than it has adds rows.")
    var slots: Int?

    @Option(help: "Hidden width of the projector; by default \(TrainingConfiguration.defaultHidden).")
    var hidden: Int?

    @Option(
        help: ArgumentHelp(
            "What of the encoder the adapter reads: its result, or the outputs of blocks, counted from 0, side by side. By default the last blocks of its last three stages, where it has such.",
            valueName: "result|block,block,..."))
    var featureBlocks: String?

    @Option(
        parsing: .unconditional,
        help: "λ: scales the projected features; by default \(TrainingConfiguration.defaultLambda).")
    var lambda: Float?

    @Option(
        parsing: .unconditional,
        help: "s: scales the memory's contribution; by default \(TrainingConfiguration.defaultScale).")
    var scale: Float?

    @Option(help: "Views of each photo that are shown in turn: the whole, mirrored, crops.")
    var views = 1

    @Option(help: "The part of a photo's feature channels that a step leaves out.")
    var dropout: Float = 0

    @Option(help: "The decay of a running mean of the parameters, which is then validated and written; 0 for none.")
    var average: Float = 0

    @Option(
        help: ArgumentHelp(
            "What is learned: the data's own words, those that captions of one photo have in common, or captions drawn from the adapter and rewarded by their CIDEr-D.",
            valueName: "words|consensus|cider"))
    var reward = Reward.words

    @Option(help: "Captions drawn of each photo with --reward cider, by default 4; --batch counts them.")
    var samples: Int?

    @Option(
        help: "What a drawn caption's share of BLEU-4 counts beside its CIDEr-D, with --reward cider; by default 0.")
    var bleuWeight: Float?

    @Option(
        help:
            "What a drawn caption's reward loses for each word that it says again, more often than any caption of its photo does, with --reward cider; by default 0."
    )
    var repeatPenalty: Float?

    @Flag(help: "Leave out, or leave as they are, the adapters beside a vision transformer's blocks.")
    var freezeVision = false

    @Option(
        help:
            "Inner width of the adapters beside a vision transformer's blocks; by default \(TrainingConfiguration.defaultVisionRank)."
    )
    var visionRank: Int?

    @Option(help: "The seed of values and order.")
    var seed: UInt64 = 1

    @Option(help: "Steps between validations; 0 for none.")
    var validateEvery = 250

    @Option(help: "Steps between checkpoints.")
    var checkpointEvery = 50

    @Option(help: "What happens at a row or photo that cannot be used.")
    var onBadRow = BadRows.skip

    @Option(
        help: ArgumentHelp(
            "Where features are kept; by default memvp/features in $XDG_CACHE_HOME or ~/.cache.", valueName: "directory"
        ))
    var cache: String?

    @Flag(help: "Go on from the run's checkpoint, if there is one.")
    var resume = false

    @Option(help: "Compute threads; by default as many as there are CPUs.")
    var threads: Int?

    @Option(help: "Refuse a base of another precision.")
    var precision: ToolboxPrecision?

    @Flag(help: "Write each event as a line of JSON.")
    var json = false

    /// `--on-bad-row` as the command line names it.
    enum BadRows: String, CaseIterable, ExpressibleByArgument {
        case skip
        case stop
    }

    /// `--prompting` as the command line names it.
    enum Prompting: String, CaseIterable, ExpressibleByArgument {
        case memory
        case input

        var kind: Adapter.Prompting { self == .memory ? .memory : .input }
    }

    /// `--reward` as the command line names it.
    enum Reward: String, CaseIterable, ExpressibleByArgument {
        case words
        case consensus
        case cider
    }

    func validate() throws {
        for (name, value, range) in [
            ("steps", steps, 1...10_000_000), ("batch", batch, 1...4_096), ("warm-up", warmUp, 0...1_000_000),
            ("hidden", hidden ?? 1, 1...8_192), ("checkpoint-every", checkpointEvery, 1...1_000_000),
            ("validate-every", validateEvery, 0...1_000_000), ("threads", threads ?? 1, 1...256),
            ("slots", slots ?? 1, 1...4_096), ("vision-rank", visionRank ?? 1, 1...4_096),
            ("samples", samples ?? 2, 2...64), ("views", views, 1...64),
        ] where !range.contains(value) {
            throw ValidationError(
                "--\(name) is \(value); it must be \(range.lowerBound) to \(range.upperBound).")
        }
        if let featureBlocks, Self.blocks(featureBlocks) == nil {
            throw ValidationError(
                "--feature-blocks is \(featureBlocks); it must be result, or numbers from 0 like 20,19,14.")
        }
        if reward != .cider {
            for (name, isGiven) in [
                ("samples", samples != nil), ("bleu-weight", bleuWeight != nil),
                ("repeat-penalty", repeatPenalty != nil),
            ] where isGiven {
                throw ValidationError("--\(name) counts for drawn captions, which only --reward cider draws.")
            }
        }
        let drawn = samples ?? 4
        guard reward != .cider || batch % drawn == 0 else {
            throw ValidationError(
                "--batch is \(batch); it counts drawn captions, \(drawn) of each photo, and must be a multiple of that."
            )
        }
        try validateNumbers()
    }

    private func validateNumbers() throws {
        for (name, value) in [("learning-rate", learningRate), ("projector-rate", projectorRate ?? 1)] {
            try Self.check(name, value, "a number above 0", value > 0)
        }
        for (name, value) in [
            ("weight-decay", weightDecay), ("clip", clip), ("bleu-weight", bleuWeight ?? 0),
            ("repeat-penalty", repeatPenalty ?? 0),
        ] {
            try Self.check(name, value, "a number, at least 0", value >= 0)
        }
        for (name, value) in [("dropout", dropout), ("average", average)] {
            try Self.check(name, value, "at least 0 and less than 1", (0..<1).contains(value))
        }
        for (name, value) in [("lambda", lambda ?? 1), ("scale", scale ?? 1)] {
            let most = Adapter.largestConstant
            try Self.check(name, value, "a number from -\(Int(most)) to \(Int(most))", abs(value) <= most)
        }
    }

    /// Refuses a value that is out of its range or no number at all, by the option's name.
    private static func check(_ name: String, _ value: Float, _ range: String, _ isRight: Bool) throws {
        guard isRight, value.isFinite else {
            throw ValidationError("--\(name) is \(value); it must be \(range).")
        }
    }

    func run() throws {
        guard !out.hasSuffix("/") else {
            throw Failure(.cannotCreate, out, "is the name of a directory", hint: "Name a file in it.")
        }
        // Not --initial: it is read before the adapter takes its place.
        try ToolboxOutput.spare(data + validation, bundle: base, from: out)
        let policy: BadRowPolicy = onBadRow == .stop ? .stop : .skip
        let training = try rows(data, split, .shown(views), policy)
        let checking = try rows(validation, validationSplit, .whole, policy)
        let images = Set((training.rows + checking.rows).map(\.image)).sorted()
        try ToolboxOutput.spare(images, from: out)
        for name in RunDirectory.names {
            try ToolboxOutput.spare(data + validation + images, bundle: base, from: "\(run(of: out))/\(name)")
        }
        let model = ToolboxModelOptions.parsed(model: base, threads: threads, precision: precision)
        let bundle = try model.bundle()
        let compute = try model.compute()
        let configuration = TrainingConfiguration(
            batch: batch, steps: steps, learningRate: learningRate, projectorRate: projectorRate,
            warmUp: warmUp,
            adamW: AdamWConfiguration(weightDecay: weightDecay), clip: clip, seed: seed,
            prompting: prompting?.kind, slots: slots, hidden: hidden, lambda: lambda,
            scale: scale,
            freezesVision: freezeVision, visionRank: visionRank,
            featureBlocks: featureBlocks.flatMap(Self.blocks), views: views, dropout: dropout, averaging: average,
            weighsConsensus: reward == .consensus, rewardedSamples: reward == .cider ? samples ?? 4 : 0,
            bleuWeight: bleuWeight == 0 ? nil : bleuWeight,
            repeatPenalty: repeatPenalty == 0 ? nil : repeatPenalty,
            validateEvery: validateEvery,
            checkpointEvery: checkpointEvery)
        let view = ToolboxTrainingView(json: json) { (line) throws(Failure) in try Output.write(line) }
        let trainer = try Trainer(
            bundle: bundle, compute: compute, configuration: configuration,
            files: Trainer.Files(output: out, run: run(of: out), cache: cacheDirectory, initial: initial),
            watch: view.show)
        ToolboxInterrupt.watch()
        let finished = try trainer.run(
            training: training.rows, validation: checking.rows, badRows: policy, resume: resume,
            unread: (training: training.bad, validation: checking.bad), stop: ToolboxInterrupt.happened)
        do {
            try view.end(finished ? "\(out) is written." : "Stopped; --resume goes on from the checkpoint.")
        } catch {
            if finished { throw error }
            // That it can be gone on from is what a script must know; the lines come second.
            ToolboxTerminal.write("memvp: \(error)\n")
        }
        if !finished { throw ExitCode(75) }
    }

    /// "20,19,14" as numbers, "result" as none; nil for anything else.
    private static func blocks(_ text: String) -> [Int]? {
        if text == "result" { return [] }
        let numbers = text.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
        return numbers.allSatisfy { $0.map { $0 >= 0 } ?? false } ? numbers.compactMap { $0 } : nil
    }

    /// The rows of files, and how many were left out.
    private func rows(
        _ paths: [String], _ split: String, _ views: RowViews, _ policy: BadRowPolicy
    ) throws(Failure) -> (rows: [ExampleRow], bad: Int) {
        var rows: [ExampleRow] = []
        var bad = 0
        for path in paths {
            let wanted = ExampleRows.splits(split)
            rows += try ExampleRows.read(path: path, splits: wanted, views: views, badRows: policy) { row in
                bad += 1
                ToolboxTerminal.write("memvp: left out \(row)\n")
            }
        }
        if bad > 0 { ToolboxTerminal.write("memvp: \(bad) bad rows were left out\n") }
        return (rows, bad)
    }

    private func run(of output: String) -> String {
        (output.hasSuffix(".gguf") ? String(output.dropLast(5)) : output) + ".train"
    }

    private var cacheDirectory: String {
        if let cache { return cache }
        let environment = ProcessInfo.processInfo.environment
        // Empty is unset, and a relative path is none (XDG Base Directory Specification).
        if let caches = environment["XDG_CACHE_HOME"], caches.hasPrefix("/") { return "\(caches)/memvp/features" }
        let home = environment["HOME"] ?? ""
        return "\(home.isEmpty ? "." : home)/.cache/memvp/features"
    }
}

/// Whether someone pressed Ctrl-C (or sent SIGTERM) since `watch`.
enum ToolboxInterrupt {
    private static let flag = Atomic<Bool>(false)

    /// Begins to catch SIGINT and SIGTERM; a second one ends the program as usual. Who reads the lines of a run may go: that does not
    /// end it (`ToolboxTrainingView`).
    static func watch() {
        signal(SIGPIPE, SIG_IGN)
        for number in [SIGINT, SIGTERM] {
            signal(number) { caught in
                ToolboxInterrupt.flag.store(true, ordering: .relaxed)
                signal(caught, SIG_DFL)
            }
        }
    }

    /// Whether it happened.
    static func happened() -> Bool { flag.load(ordering: .relaxed) }
}
