// `memvp convert gguf`: language models in the field's own container, out of a bundle and into one.
//
// Invariant: what is written appears whole under its name or not at all, and nothing that stands there is overwritten.

internal import ArgumentParser
internal import Diagnostics
internal import FoundationEssentials
internal import MemVP

/// `memvp convert gguf`
struct ToolboxConvertGGUF: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gguf",
        abstract: "Export a bundle's language model for llama.cpp, or make a bundle of a llama GGUF from elsewhere.",
        discussion: """
            memvp convert gguf --export BUNDLE --out FILE.gguf
            memvp convert gguf --import FILE.gguf --vision FILE --out BUNDLE
            """)

    @Option(name: .customLong("export"), help: ArgumentHelp("The bundle to export.", valueName: "directory"))
    var exported: String?

    @Option(
        name: .customLong("import"),
        help: ArgumentHelp("The language model to import: F32, F16, BF16, Q8_0, Q4_0, Q4_1.", valueName: "file.gguf"))
    var imported: String?

    @Option(help: ArgumentHelp("What to make; it must not exist.", valueName: "file or directory"))
    var out: String

    @Option(
        help: ArgumentHelp(
            "Import: the encoder, a PyTorch file of EfficientNet-Lite or another bundle's vision.gguf.",
            valueName: "file"))
    var vision: String?

    @Option(help: "Import: the side of the images that the PyTorch encoder was trained for, 32 to 1024.")
    var side = 260

    @Option(help: "Import: what answers call the model; by default the GGUF's own name.")
    var name: String?

    @Option(help: "Import: the licences, in words; by default what the GGUF says.")
    var licence: String?

    @Option(help: "Import: the control token that ends answers; by default the GGUF's end of text.")
    var end: String?

    @Option(help: "Import: the arithmetic of the bundle.")
    var precision = ToolboxPrecision.int8

    @Flag(help: "Write what was made as JSON.")
    var json = false

    func validate() throws {
        guard (exported == nil) != (imported == nil) else { throw ValidationError("Give --export or --import.") }
        if imported != nil, vision == nil { throw ValidationError("--import needs the encoder: --vision.") }
        if exported != nil, vision != nil { throw ValidationError("--vision belongs to --import.") }
        if !(32...1_024).contains(side) { throw ValidationError("--side is \(side); it must be 32 to 1024.") }
        if let name, !(1...128).contains(name.utf8.count) {
            throw ValidationError("--name must have 1 to 128 bytes.")
        }
        if let licence, licence.utf8.count > 1_024 { throw ValidationError("--licence has more than 1024 bytes.") }
    }

    func run() throws {
        var progress = ToolboxProgress()
        defer { progress.end() }
        if let exported {
            guard !FileManager.default.fileExists(atPath: out) else {
                throw Failure(.cannotCreate, out, "exists already", hint: "Remove it first, or choose another --out.")
            }
            try ToolboxOutput.spare([], bundle: exported, from: out)
            let megabytes = ToolboxFile.megabytes("\(exported)/language.gguf")
            try BundleBuilder.exportLanguage(exported, to: out) { progress.show($0, $1, of: megabytes, "MB") }
            progress.end()
            return try report("\(out): llama GGUF in Q8_0, without the memory and the adapters", ["gguf": out])
        }
        guard let imported, let vision else { return }
        try ToolboxBundleDirectory.make(out) { partial throws(Failure) in
            let megabytes = ToolboxFile.megabytes(imported)
            try BundleBuilder.importLanguage(
                imported, vision: vision, name: name, licence: licence, end: end, side: side, to: partial,
                precision: precision.precision
            ) { progress.show($0, $1, of: megabytes, "MB") }
        }
        progress.end()
        try report(
            "\(out): \(precision.rawValue) bundle. It answers when it has an adapter: memvp convert adapter",
            ["bundle": out, "precision": precision.rawValue])
    }

    private func report(_ text: String, _ record: [String: String]) throws {
        try Output.write(json ? ToolboxJSON.line(record) : text)
    }
}
