// `memvp convert official`: the published MemVP models become bundles.

internal import ArgumentParser
internal import Diagnostics
internal import MemVP
internal import Tensor

/// `memvp convert official`
struct ToolboxConvertOfficial: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "official", abstract: "Make a bundle of a published MemVP model: LLaMA, CLIP and a checkpoint.",
        discussion: """
            LLaMA as released (DIR/7B/consolidated.*.pth with params.json, one file or several, and DIR/tokenizer.model) or \
            as transformers keeps it (config.json, safetensors, tokenizer.model). CLIP as TorchScript or as a state \
            dictionary. Nothing in these files is executed.
            """)

    @Option(help: ArgumentHelp("LLaMA's directory.", valueName: "directory"))
    var llama: String

    @Option(help: ArgumentHelp("CLIP with a vision transformer.", valueName: "file.pt"))
    var clip: String

    @Option(help: ArgumentHelp("MemVP's checkpoint.", valueName: "checkpoint.pth"))
    var adapter: String

    @Option(help: ArgumentHelp("The bundle to make; it must not exist, or be empty.", valueName: "directory"))
    var out: String

    @Option(help: "The arithmetic of the bundle.")
    var precision = ToolboxPrecision.int8

    @Option(help: "λ, which scales the projected features.")
    var lambda: Float = 0.01

    @Option(help: "s, which scales the memory's contribution.")
    var scale: Float = 0.1

    @Option(help: "What the adapters beside CLIP's blocks are scaled by.")
    var visionScale: Float = 0.1

    @Flag(help: "Write what was made as JSON.")
    var json = false

    func validate() throws {
        guard lambda.isFinite, scale.isFinite, visionScale.isFinite else {
            throw ValidationError("--lambda, --scale and --vision-scale must be finite.")
        }
    }

    func run() throws {
        try ToolboxBundleDirectory.make(out) { partial throws(Failure) in
            var progress = ToolboxProgress()
            defer { progress.end() }
            try BundleBuilder.convertOfficial(
                OfficialSource(
                    llama: llama, clip: clip, adapter: adapter, lambda: lambda, scale: scale, visionScale: visionScale),
                to: partial, precision: precision.precision
            ) { progress.show($0, $1) }
        }
        if json {
            try Output.write(ToolboxJSON.line(["bundle": out, "precision": precision.rawValue]))
        } else {
            try Output.write("\(out): \(precision.rawValue) bundle")
        }
    }
}
