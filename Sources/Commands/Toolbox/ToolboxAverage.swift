// `memvp average`: one adapter out of several.

internal import ArgumentParser
internal import Diagnostics
internal import MemVP
internal import Specification

/// Writes the mean of adapters.
struct ToolboxAverage: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "average", abstract: "Write the mean of several adapters of one base.",
        discussion: """
            Adapters of runs that began with one another often answer better together than the best of them alone: compare them with \
            memvp eval.
            """)

    @Argument(help: ArgumentHelp("The adapters, two or more.", valueName: "adapter.gguf"))
    var adapters: [String]

    @Option(help: ArgumentHelp("The base: a model bundle.", valueName: "directory"))
    var base: String

    @Option(help: ArgumentHelp("The adapter to write.", valueName: "adapter.gguf"))
    var out: String

    @Flag(help: "Write what was made as JSON.")
    var json = false

    func validate() throws {
        if adapters.count < 2 { throw ValidationError("A mean needs two adapters or more.") }
    }

    func run() throws {
        try ToolboxOutput.check(out, reading: adapters, bundle: base)
        let bundle = try ModelBundle(path: base)
        let (configuration, tensors) = try AdapterFile.mean(of: adapters, base: bundle.base)
        // What cannot be served is not written.
        let named = adapters.joined(separator: ", ")
        let mean: Adapter
        do {
            mean = try Adapter(configuration, tensors: tensors, precision: bundle.precision)
        } catch { throw error.about(named) }
        try bundle.check(mean, named: named)
        try AdapterFile.write(
            configuration, tensors: tensors, base: bundle.base, name: "\(bundle.description.name) adapter", to: out)
        let report = ToolboxAverageReport(
            adapter: out, base: base, from: adapters, sha256: try ModelBundle.sha256(ofFile: out))
        try Output.write(json ? ToolboxJSON.line(report) : "\(out): the mean of \(adapters.count) adapters")
    }
}

/// What `average --json` prints.
struct ToolboxAverageReport: Encodable {
    /// The file that was written.
    var adapter: String
    var base: String
    /// The adapters that it is the mean of.
    var from: [String]
    var sha256: String
}
