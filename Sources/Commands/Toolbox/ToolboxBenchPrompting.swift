// `memvp bench prompting`: what a training step and an answer cost with the image in memory and with the image in the input
// sequence. The names in its JSON are a contract (memvp(1)).

internal import ArgumentParser
internal import Diagnostics
internal import FineTuning
internal import FoundationEssentials
internal import MemVP
internal import Tensor

/// `memvp bench prompting`
struct ToolboxBenchPrompting: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prompting", abstract: "Compare images in memory with images in the input sequence.",
        discussion: """
            Training steps of \(PromptingComparison.batch) examples with \(PromptingComparison.textTokens) tokens of text \
            each, and answers of \(PromptingComparison.answerTokens) tokens, from features to the last token, under fresh \
            adapters of both kinds. The features are made up, one patch a slot; all else is the bundle's. Both kinds take \
            turns; medians of several runs.
            """)

    @OptionGroup var model: ToolboxModelOptions

    @Option(help: ArgumentHelp("Slots to compare at, between commas.", valueName: "n,n,…"))
    var slots = "49,81,256,576"

    @Option(help: "Runs that each median is taken of, 1 to 100.")
    var runs = 3

    @Flag(help: "Write JSON.")
    var json = false

    /// The numbers in `slots`; nil when one is none or out of range.
    private var slotCounts: [Int]? {
        let counts = slots.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
        return counts.allSatisfy { (1...PromptingComparison.largestSlots).contains($0) } ? counts : nil
    }

    func validate() throws {
        guard (1...100).contains(runs) else { throw ValidationError("--runs is \(runs); it must be 1 to 100.") }
        guard slotCounts != nil else {
            throw ValidationError(
                "--slots is '\(slots)'; give numbers from 1 to \(PromptingComparison.largestSlots) between commas.")
        }
    }

    func run() throws {
        let report = try measure()
        try Output.write(json ? ToolboxJSON.line(report) : report.text)
    }

    /// Measures at each number of slots in turn.
    ///
    /// - Throws: the bundle's failures, and those of the comparison.
    func measure() throws(Failure) -> ToolboxPromptingReport {
        let bundle = try model.bundle()
        let compute = try model.compute()
        let directory = FileManager.default.temporaryDirectory.appending(path: "memvp-prompting-\(UUID().uuidString)")
            .path
        defer { try? FileManager.default.removeItem(atPath: directory) }
        var progress = ToolboxProgress()
        defer { progress.end() }
        var report = ToolboxPromptingReport(kernels: compute.kernels.name, threads: compute.threads)
        for count in slotCounts ?? [] {
            let comparison = try PromptingComparison(
                bundle: bundle, compute: compute, slots: count, directory: directory)
            var steps = ToolboxTurns()
            var answers = ToolboxTurns()
            for run in 0..<runs {
                progress.show("\(count) slots", Double(run) / Double(runs))
                try steps.run { prompting throws(Failure) in try comparison.train(prompting) }
                try answers.run { prompting throws(Failure) in try comparison.answer(prompting) }
            }
            report.results.append(
                ToolboxPromptingReport.Result(slots: count, step: steps.medians, answer: answers.medians))
        }
        return report
    }
}

/// Times of both kinds, taken in turns: what else the machine does then slows both alike.
private struct ToolboxTurns {
    private var times: [Adapter.Prompting: [Double]] = [:]

    mutating func run(_ work: (Adapter.Prompting) throws(Failure) -> Void) throws(Failure) {
        for prompting in Adapter.Prompting.allCases {
            let start = ContinuousClock.now
            try work(prompting)
            times[prompting, default: []].append(ToolboxTime.seconds(start.duration(to: .now)))
        }
    }

    var medians: ToolboxPromptingReport.Milliseconds {
        let memory = ToolboxTime.median(times[.memory] ?? [])
        let input = ToolboxTime.median(times[.input] ?? [])
        return ToolboxPromptingReport.Milliseconds(
            memory: ToolboxTime.rounded(memory * 1_000, 1), input: ToolboxTime.rounded(input * 1_000, 1),
            ratio: ToolboxTime.rounded(input / max(memory, 1e-9), 2))
    }
}

/// What was measured.
struct ToolboxPromptingReport: Encodable {
    /// Medians in milliseconds, and how many times as long the input sequence takes.
    struct Milliseconds: Encodable {
        var memory: Double
        var input: Double
        var ratio: Double
    }

    /// At one number of slots.
    struct Result: Encodable {
        var slots: Int
        var step: Milliseconds
        var answer: Milliseconds

        private enum CodingKeys: String, CodingKey {
            case slots
            case step = "step_milliseconds"
            case answer = "answer_milliseconds"
        }
    }

    var kernels: String
    var threads: Int
    var batch = PromptingComparison.batch
    var textTokens = PromptingComparison.textTokens
    var answerTokens = PromptingComparison.answerTokens
    var results: [Result] = []

    private enum CodingKeys: String, CodingKey {
        case kernels, threads, batch, results
        case textTokens = "text_tokens"
        case answerTokens = "answer_tokens"
    }

    /// The table for people.
    var text: String {
        func line(_ name: String, _ slots: Int, _ times: Milliseconds) -> String {
            "  \(name), \(slots) slots: memory \(times.memory) ms, input \(times.input) ms, 1 : \(times.ratio)"
        }
        let head =
            "kernels \(kernels), \(threads) threads; steps of \(batch) × \(textTokens) tokens of text, answers of "
            + "\(answerTokens) tokens"
        return
            ([head] + results.map { line("training step", $0.slots, $0.step) }
            + results.map { line("answer", $0.slots, $0.answer) }).joined(separator: "\n")
    }
}
