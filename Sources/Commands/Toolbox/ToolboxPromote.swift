// `memvp promote`: a new adapter takes its place in a bundle if it answers no worse than the present one, and the present
// one is kept for `--rollback`.

internal import ArgumentParser
internal import Diagnostics
internal import FineTuning
internal import FoundationEssentials
internal import MemVP
internal import Specification

/// `memvp promote`
struct ToolboxPromote: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "promote", abstract: "Install a new adapter if it is no worse than the present one.",
        usage: """
            memvp promote <new.gguf> --model <directory> --as <name> --evaluate <file.jsonl> --at-least <metric[=floor]> ... \
            [<options>]
            memvp promote --rollback --model <directory> --as <name> [--json]
            """,
        discussion: """
            Metrics are \(AdapterMetric.allCases.map(\.rawValue).joined(separator: ", ")). With a floor the new adapter must \
            score that much as well. Without a present adapter the floor alone decides. A running memvpd takes the new \
            adapter with memvpctl reload.
            """)

    @OptionGroup var model: ToolboxModelOptions

    @Argument(help: ArgumentHelp("The new adapter.", valueName: "new.gguf"))
    var adapter: String?

    @Option(name: .customLong("as"), help: "Its name in the bundle.")
    var name: String

    @Option(
        name: .customLong("for"),
        help:
            "The tasks that use it from now on; by default those that the name has, for a new name those of the metrics."
    )
    var tasks: String?

    @Option(help: ArgumentHelp("The rows to compare on, in JSON Lines.", valueName: "file.jsonl"))
    var evaluate: String?

    @Option(help: "Rows of this split only.")
    var split: String?

    @Option(help: "At most so many photos, from the first on.")
    var limit: Int?

    @Option(help: ArgumentHelp("What must be no worse; may be given several times.", valueName: "metric[=floor]"))
    var atLeast: [String] = []

    @Option(help: ArgumentHelp("How much better it must be than the present one.", valueName: "difference"))
    var by = 0.0

    @Option(help: "What happens at a row that cannot be used: skip, the default, or stop.")
    var onBadRow: BadRowPolicy?

    @Flag(help: "Put back what stood there before the last promotion.")
    var rollback = false

    @Flag(help: "Write JSON.")
    var json = false

    func validate() throws {
        try ToolboxAdapterName.check(name, option: "--as")
        if rollback {
            guard adapter == nil, evaluate == nil, atLeast.isEmpty, tasks == nil, by == 0, split == nil, limit == nil,
                onBadRow == nil, model.precision == nil, model.threads == nil
            else {
                throw ValidationError("--rollback evaluates nothing: it goes with --model, --as and --json alone.")
            }
            return
        }
        guard adapter != nil else { throw ValidationError("Name the new adapter's file, or --rollback.") }
        guard evaluate != nil, !atLeast.isEmpty else {
            throw ValidationError("Say with --evaluate and --at-least what the new adapter has to show.")
        }
        if let limit, limit < 1 { throw ValidationError("--limit is \(limit); it must be at least 1.") }
        guard by.isFinite, by >= 0 else { throw ValidationError("--by is \(by); it must be 0 or more.") }
        _ = try (demands(), kinds())
    }

    /// What `--at-least` and `--by` say; each metric once.
    func demands() throws -> [AdapterDemand] {
        var demands: [AdapterDemand] = []
        for text in atLeast {
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let metric = AdapterMetric(rawValue: String(parts[0])) else {
                let names = AdapterMetric.allCases.map(\.rawValue).joined(separator: ", ")
                throw ValidationError("--at-least is '\(text)'; the metrics are \(names).")
            }
            let floor = parts.count > 1 ? Double(parts[1]) : nil
            guard parts.count == 1 || floor?.isFinite == true else {
                throw ValidationError("--at-least is '\(text)'; after = stands a number, such as cider_d=0.4.")
            }
            guard !demands.contains(where: { $0.metric == metric }) else {
                throw ValidationError("--at-least names \(metric.rawValue) twice.")
            }
            try Self.check(floor ?? 0, as: "--at-least", of: metric)
            try Self.check(by, as: "--by", of: metric)
            demands.append(AdapterDemand(metric: metric, floor: floor, margin: by))
        }
        return demands
    }

    /// That a score of the metric can be so high: what cannot be reached is a per cent where a fraction is meant.
    private static func check(_ value: Double, as option: String, of metric: AdapterMetric) throws {
        guard !metric.range.contains(value) else { return }
        let most = Int(metric.range.upperBound)
        throw ValidationError(
            "\(option) asks for \(value) of \(metric.rawValue), which is 0 to \(most)"
                + (most == 1 ? ": scores are fractions, 62 % is 0.62." : "."))
    }

    /// The kinds of `--for`, each once; nil without it.
    private func kinds() throws -> [TaskKind]? {
        guard let tasks else { return nil }
        let found = tasks.split(separator: ",").map { TaskKind(rawValue: String($0)) }
        guard !found.isEmpty, !found.contains(nil) else {
            let names = TaskKind.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("--for is '\(tasks)'; name some of \(names).")
        }
        return TaskKind.allCases.filter { found.contains($0) }
    }

    func run() throws {
        if rollback { return try rollBack() }
        guard let adapter, let evaluate else { return }
        let demands = try demands()
        let policy = onBadRow ?? .skip
        let read = try ExampleRows.read(path: evaluate, splits: ExampleRows.splits(split), badRows: policy) {
            ToolboxEvalOptions.name($0)
        }
        let bundle = try model.bundle()
        let kinds = try kinds() ?? (bundle.adapters[name] != nil ? [] : Self.kinds(of: demands))
        let place = PromotionPlace(name: name, kinds: kinds, bundle: bundle)
        try check(demands, for: place.tasks)
        try BundleBuilder.checkPromotion(of: name, to: bundle.path)
        // The hash comes first: what is evaluated must be what is installed.
        let hash = try ModelBundle.sha256(ofFile: adapter)
        let candidate = try bundle.openAdapter(path: adapter)
        let answerer = try Answerer(
            bundle: bundle, compute: model.compute(), batch: 32, additional: [PromotionPlace.candidate: candidate])
        var progress = ToolboxProgress()
        defer { progress.end() }
        let compared: (comparisons: [AdapterComparison], badRows: [BadRow])
        do throws(Failure) {
            compared = try AdapterComparison.run(
                demands, new: PromotionPlace.candidate, present: place.present,
                rows: ExampleRows.ofFirstPhotos(limit, in: read),
                options: EvaluationOptions(badRows: policy, file: evaluate), answerer: answerer,
                broken: { name, why in
                    progress.end()
                    ToolboxTerminal.write("memvp: warning: the present adapter \(name) scores nothing: \(why)\n")
                }, progress: { progress.show($0, $1, of: $2, unit: "photos") })
        } catch {
            // The engine knows the candidate by no name that people gave it.
            throw error.object.hasSuffix("adapter \(PromotionPlace.candidate)") ? error.about(adapter) : error
        }
        let (comparisons, badRows) = compared
        progress.end()
        badRows.forEach(ToolboxEvalOptions.name)
        var report = ToolboxPromotionReport(place, comparisons, hash: hash)
        guard comparisons.allSatisfy(\.isMet) else {
            if json { try Output.write(ToolboxJSON.line(report)) }
            throw Failure(
                .adapterWorse, adapter, comparisons.filter { !$0.isMet }.map(\.shortfall).joined(separator: "; "),
                hint: "\(bundle.path) is as it was. Train on, or ask for less.")
        }
        let isNew = try BundleBuilder.promote(adapter, hash: hash, name: name, kinds: kinds, to: bundle)
        report.promoted = isNew
        report.tasks = place.tasks.map(\.rawValue)
        try Output.write(json ? ToolboxJSON.line(report) : report.text)
    }

    private func rollBack() throws {
        let description = try BundleBuilder.rollBack(name, in: model.model)
        let tasks = Self.tasks(of: name, in: description)
        let isThere = BundleBuilder.file(of: name, in: description) != nil
        if json {
            return try Output.write(
                ToolboxJSON.line(
                    ToolboxRollbackReport(adapter: name, bundle: model.model, isThere: isThere, tasks: tasks)))
        }
        let use = tasks.isEmpty ? "no task by default" : tasks.joined(separator: ", ")
        try Output.write(
            "\(model.model): "
                + (isThere ? "the former adapter \(name) is back, for \(use)" : "the adapter \(name) is out again"))
        try Output.write("A running memvpd follows with memvpctl reload; --rollback once more undoes this.")
    }

    /// Every task that the new adapter will answer has something to show; and where `--for` says which, nothing else is judged.
    private func check(_ demands: [AdapterDemand], for answered: [TaskKind]) throws {
        for demand in demands where tasks != nil && !answered.contains(demand.metric.kind) {
            throw ValidationError(
                "--at-least \(demand.metric.rawValue) judges \(demand.metric.kind.rawValue), which --for leaves out.")
        }
        for kind in answered {
            guard !demands.contains(where: { $0.metric.kind == kind }) else { continue }
            let metrics = AdapterMetric.allCases.filter { $0.kind == kind }.map(\.rawValue).joined(separator: ", ")
            throw ValidationError(
                "\(name) would answer \(kind.rawValue) tasks too, on which nothing judges it: add --at-least with one of \(metrics)."
            )
        }
    }

    private static func kinds(of demands: [AdapterDemand]) -> [TaskKind] {
        TaskKind.allCases.filter { kind in demands.contains { $0.metric.kind == kind } }
    }

    /// The kinds of task that use the adapter by default.
    static func tasks(of name: String, in description: ModelDescription) -> [String] {
        TaskKind.allCases.filter { description.adapters[$0] == name }.map(\.rawValue)
    }
}

/// Where a new adapter is to stand, and what it is held against.
struct PromotionPlace {
    /// What the new adapter is called beside the bundle's own: no adapter of a bundle has a space in its name.
    static let candidate = "new adapter"

    let name: String
    /// The kinds of task that it takes over.
    let kinds: [TaskKind]
    let bundle: ModelBundle

    /// The kinds that it will answer: those that it takes over, and those that its name has now.
    var tasks: [TaskKind] {
        TaskKind.allCases.filter { kinds.contains($0) || bundle.description.adapters[$0] == name }
    }

    /// The adapter that answers now what the new one would answer: of a task that it takes over, the task's; else the one
    /// of its name.
    func present(_ kind: TaskKind) -> String? {
        let answering = kinds.contains(kind) ? bundle.description.adapters[kind] : nil
        return [answering, name].compactMap { $0 }.first { bundle.adapters[$0] != nil }
    }
}

extension AdapterComparison {
    /// Why the demand is not met, with the figures.
    fileprivate var shortfall: String {
        let own = "scores \(demand.metric.rawValue) \(ToolboxTime.rounded(new, 6)) on \(count)"
        var wanted: [String] = []
        if let present {
            let by = demand.margin > 0 ? " and must have \(demand.margin) more" : ""
            wanted.append("the present adapter \(ToolboxTime.rounded(present, 6))\(by)")
        }
        if let floor = demand.floor { wanted.append("at least \(floor) was asked for") }
        return "\(own); " + (wanted.isEmpty ? "that is no number" : wanted.joined(separator: ", "))
    }
}

/// What `promote --json` prints.
struct ToolboxPromotionReport: Encodable {
    struct Score: Encodable {
        var metric: String
        var new: Double
        var present: Double?
        var presentAdapter: String?
        var floor: Double?
        var count: Int
        var met: Bool

        enum CodingKeys: String, CodingKey {
            case metric, new, present, floor, count, met
            case presentAdapter = "present_adapter"
        }
    }

    var promoted = false
    var adapter: String
    var bundle: String
    var sha256: String
    /// The tasks that use the adapter of its name now.
    var tasks: [String]
    var scores: [Score]

    init(_ place: PromotionPlace, _ comparisons: [AdapterComparison], hash: String) {
        adapter = place.name
        bundle = place.bundle.path
        sha256 = hash
        tasks = ToolboxPromote.tasks(of: place.name, in: place.bundle.description)
        scores = comparisons.map {
            Score(
                metric: $0.demand.metric.rawValue, new: $0.new, present: $0.present,
                presentAdapter: place.present($0.demand.metric.kind), floor: $0.demand.floor, count: $0.count,
                met: $0.isMet)
        }
    }

    var text: String {
        let lines = scores.map { score in
            let beside = score.present.map { "the present adapter \(ToolboxTime.rounded($0, 4))" } ?? "none was there"
            return "\(score.metric) \(ToolboxTime.rounded(score.new, 4)) on \(score.count); \(beside)"
        }
        let change = promoted ? "is in place" : "is this file already"
        let after =
            promoted
            ? "A running memvpd takes it with memvpctl reload; --rollback undoes it." : "Nothing was done."
        return (lines + ["\(bundle): adapter \(adapter) \(change), \(use). \(after)"]).joined(separator: "\n")
    }

    /// Who asks it.
    private var use: String {
        guard tasks.isEmpty else { return "for \(tasks.joined(separator: ", "))" }
        return "but no task uses it by default: --for gives it tasks, a task spec or `adapters` of memvpd.yaml names it"
    }
}

/// What `promote --rollback --json` prints.
struct ToolboxRollbackReport: Encodable {
    var adapter: String
    var bundle: String
    /// Whether the bundle has an adapter of the name now.
    var isThere: Bool
    /// The tasks that use it now.
    var tasks: [String]

    enum CodingKeys: String, CodingKey {
        case adapter, bundle, tasks
        case isThere = "present"
    }
}
