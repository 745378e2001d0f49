// `memvp convert`: model files from elsewhere become bundles.
//
// Invariant: a bundle appears whole under its name or not at all (made beside it, then renamed); an adapter enters a
// bundle with the rewriting of model.yaml, the last step.

internal import ArgumentParser
internal import Diagnostics
internal import FoundationEssentials
internal import MemVP
internal import Specification
internal import Tensor

/// `memvp convert`
struct ToolboxConvert: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "convert", abstract: "Make model bundles, add adapters to them, and exchange models with others.",
        subcommands: [
            ToolboxConvertDefault.self, ToolboxConvertOfficial.self, ToolboxConvertAdapter.self,
            ToolboxConvertGGUF.self,
        ])
}

/// `memvp convert default`
struct ToolboxConvertDefault: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "default", abstract: "Make the default bundle: SmolLM2-135M-Instruct and EfficientNet-Lite2.")

    @Option(help: ArgumentHelp("The language model.", valueName: "file.gguf"))
    var language: String

    @Option(help: ArgumentHelp("The vision encoder, a PyTorch file.", valueName: "file.pth"))
    var vision: String

    @Option(help: ArgumentHelp("The bundle to make; it must not exist, or be empty.", valueName: "directory"))
    var out: String

    @Option(help: "The arithmetic of the bundle.")
    var precision = ToolboxPrecision.int8

    @Flag(help: "Write what was made as JSON.")
    var json = false

    func run() throws {
        try ToolboxBundleDirectory.make(out) { partial throws(Failure) in
            var progress = ToolboxProgress()
            defer { progress.end() }
            let megabytes = ToolboxFile.megabytes(language)
            try BundleBuilder.convertDefault(
                language: language, vision: vision, to: partial, precision: precision.precision
            ) { progress.show($0, $1, of: megabytes, "MB") }
        }
        if json {
            try Output.write(ToolboxJSON.line(["bundle": out, "precision": precision.rawValue]))
        } else {
            try Output.write(
                "\(out): \(precision.rawValue) bundle. It answers when it has an adapter: memvp convert adapter")
        }
    }
}

/// `memvp convert adapter`
struct ToolboxConvertAdapter: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "adapter", abstract: "Add a trained MemVP adapter to the bundle of the base it was trained for.")

    @Argument(
        help: ArgumentHelp(
            "The adapter: a .gguf of memvp train, or safetensors with fc1, fc2, e1, e2.", valueName: "adapter"))
    var source: String

    @Option(help: ArgumentHelp("The bundle.", valueName: "directory"))
    var base: String

    @Option(help: "The adapter's name in the bundle: \(ToolboxAdapterName.rule).")
    var name: String

    @Option(help: "The tasks that use it from now on, between commas: \(Self.kindNames).")
    var tasks: String

    @Option(help: "λ of a safetensors file, which scales the projected features; by default 0.01.")
    var lambda: Float?

    @Option(help: "s of a safetensors file, which scales the memory's contribution; by default 0.1.")
    var scale: Float?

    @Flag(help: "Write what was made as JSON.")
    var json = false

    private static var kindNames: String { TaskKind.allCases.map(\.rawValue).joined(separator: ", ") }

    /// The kinds among `tasks`, each once; nil when one is unknown.
    private var kinds: [TaskKind]? {
        let found = tasks.split(separator: ",").map { TaskKind(rawValue: String($0)) }
        return found.contains(nil) || found.isEmpty ? nil : TaskKind.allCases.filter { found.contains($0) }
    }

    func validate() throws {
        try ToolboxAdapterName.check(name, option: "--name")
        if kinds == nil { throw ValidationError("--tasks is '\(tasks)'; name some of \(Self.kindNames).") }
        guard (lambda ?? 0).isFinite, (scale ?? 0).isFinite else {
            throw ValidationError("--lambda and --scale must be finite.")
        }
        if source.hasSuffix(".gguf"), lambda != nil || scale != nil {
            throw ValidationError("--lambda and --scale are of safetensors files; a .gguf says its own.")
        }
    }

    func run() throws {
        try BundleBuilder.addAdapter(source, name: name, kinds: kinds ?? [], lambda: lambda, scale: scale, to: base)
        if json {
            try Output.write(ToolboxJSON.line(["adapter": name, "bundle": base, "tasks": tasks]))
        } else {
            try Output.write("\(base): adapter \(name) for \(tasks)")
        }
    }
}

/// A bundle's directory coming into being.
enum ToolboxBundleDirectory {
    /// Calls `fill` with a directory beside `path`, then renames it to `path`; a failure leaves nothing.
    ///
    /// - Throws: what `fill` throws; `cannot_create` when something stands at `path` already.
    static func make(_ path: String, fill: (_ partial: String) throws(Failure) -> Void) throws(Failure) {
        var target = path
        while target.count > 1, target.hasSuffix("/") { target.removeLast() }
        let files = FileManager.default
        if files.fileExists(atPath: target) {
            guard let held = try? files.contentsOfDirectory(atPath: target), held.isEmpty else {
                throw Failure(
                    .cannotCreate, target, "exists already", hint: "Remove it first, or choose another --out.")
            }
        }
        let partial = "\(target).partial-\(ProcessInfo.processInfo.processIdentifier)"
        do throws(Failure) {
            try fill(partial)
        } catch {
            try? files.removeItem(atPath: partial)
            throw error
        }
        do {
            // Only an empty directory can stand here; a rename onto a full one would lose it.
            if files.fileExists(atPath: target) { try files.removeItem(atPath: target) }
            try files.moveItem(atPath: partial, toPath: target)
        } catch {
            try? files.removeItem(atPath: partial)
            throw Failure(.cannotCreate, target, "cannot be put in place", hint: "Check the permissions of its parent.")
        }
    }
}
