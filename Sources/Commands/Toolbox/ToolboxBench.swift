// `memvp bench`: how fast a bundle runs on this machine. The names in its JSON are a contract (DESIGN 3).

internal import ArgumentParser
internal import Diagnostics
internal import Files
internal import FoundationEssentials
internal import MemVP
internal import Specification
internal import Tensor
internal import Vision

/// `memvp bench`
struct ToolboxBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Measure a bundle on this machine.",
        subcommands: [ToolboxBenchServing.self, ToolboxBenchPrompting.self], defaultSubcommand: ToolboxBenchServing.self
    )

    /// Whether the word after `bench`, if there is one, is something that can be measured. The parser takes any other
    /// for an argument of the default command, and would complain of what that one lacks instead.
    ///
    /// - Throws: `usage` naming the word.
    static func check(_ arguments: [String]) throws(Failure) {
        let names = configuration.subcommands.compactMap { $0.configuration.commandName }
        guard arguments.count > 1, arguments[0] == configuration.commandName, !arguments[1].hasPrefix("-"),
            !names.contains(arguments[1])
        else { return }
        throw Failure(
            .usage, "memvp bench", "does not measure '\(arguments[1])'",
            hint: "It measures \(names.joined(separator: " or ")).")
    }
}

/// `memvp bench serving`, which is also what `memvp bench` alone does.
struct ToolboxBenchServing: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serving", abstract: "Measure serving: what `memvp bench` does by itself.",
        discussion: """
            prefill_N: N prompt tokens in one pass. decode_B: B sequences with a photo's memory each and prompts of 16 \
            tokens, 24 new tokens; the pass over the prompts, which yields the first, is not counted. Full vocabulary, \
            memory on, medians of several runs. vision: the encoder. image_to_caption: from a JPEG's bytes to its text.
            """)

    /// Where the repository keeps a photo for this.
    static let standardPhoto = "Tests/EndToEndTests/Fixtures/astronaut.jpg"

    @OptionGroup var model: ToolboxModelOptions

    @Option(help: "A JPEG; by default \(Self.standardPhoto), if it is there.")
    var photo: String?

    @Option(help: "Runs that each median is taken of, 1 to 100.")
    var runs = 5

    @Flag(help: "Write JSON.")
    var json = false

    func validate() throws {
        guard (1...100).contains(runs) else { throw ValidationError("--runs is \(runs); it must be 1 to 100.") }
    }

    func run() throws {
        // Not while validating: an argument that does not belong there would go unnamed.
        guard photo != nil || FileManager.default.fileExists(atPath: Self.standardPhoto) else {
            throw Failure(
                .usage, "--photo", "is not given, and \(Self.standardPhoto) is not here", hint: "Name a JPEG.")
        }
        let path = photo ?? Self.standardPhoto
        let bytes = try InputFile.read(path, limit: ImageLimits().maxBytes, tooLarge: .imageTooLarge)
        let report = try ToolboxBenchmark(options: model, photo: bytes, photoPath: path, runs: runs).run()
        try Output.write(json ? ToolboxJSON.line(report) : report.text)
    }
}

/// What was measured.
struct ToolboxBenchReport: Encodable {
    var tokensPerSecond: [String: Double] = [:]
    var milliseconds: [String: Double] = [:]
    var captionsPerSecond = 0.0
    var peakMegabytes = 0.0
    var kernels: String
    var threads: Int

    private enum CodingKeys: String, CodingKey {
        case tokensPerSecond = "tokens_per_second"
        case milliseconds
        case captionsPerSecond = "captions_per_second"
        case peakMegabytes = "rss_megabytes"
        case kernels
        case threads
    }

    /// The table for people.
    var text: String {
        let speeds = ["prefill_64", "prefill_320", "decode_1", "decode_8", "decode_16"]
        var lines = ["kernels \(kernels), \(threads) threads"]
        lines += speeds.map { "  \($0): \(tokensPerSecond[$0] ?? 0) tokens/s" }
        lines += ["vision", "image_to_caption_p50", "ready"].map { "  \($0): \(milliseconds[$0] ?? 0) ms" }
        lines += ["  captions: \(captionsPerSecond) a second", "  peak RSS: \(peakMegabytes) MB"]
        return lines.joined(separator: "\n")
    }
}
