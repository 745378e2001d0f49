// `memvp models`: bundles as single files, for boxes without a network.

internal import ArgumentParser
internal import Diagnostics
internal import FoundationEssentials
internal import MemVP
internal import Specification

/// `memvp models`
struct ToolboxModels: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "models", abstract: "Pack a model bundle into one file, and install it on another machine.",
        subcommands: [ToolboxModelsPack.self, ToolboxModelsInstall.self])
}

/// `memvp models pack`
struct ToolboxModelsPack: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pack", abstract: "Write a bundle into a tar archive; equal bundles give equal archives.")

    @Argument(help: ArgumentHelp("The bundle.", valueName: "directory"))
    var bundle: String

    @Option(help: ArgumentHelp("The archive to write; it must not exist.", valueName: "file.tar"))
    var out: String

    @Flag(help: "Write what was made as JSON.")
    var json = false

    func run() throws {
        guard !FileManager.default.fileExists(atPath: out) else {
            throw Failure(.cannotCreate, out, "exists already", hint: "Remove it first, or choose another --out.")
        }
        try ToolboxOutput.spare([], bundle: bundle, from: out)
        var progress = ToolboxProgress()
        defer { progress.end() }
        let megabytes = ToolboxFile.megabytes("\(bundle)/language.gguf")
        try ModelPack.pack(bundle, to: out) { progress.show("packing", $0, of: megabytes, "MB") }
        progress.end()
        let hash = try ModelBundle.sha256(ofFile: out)
        try Output.write(json ? ToolboxJSON.line(["archive": out, "sha256": hash]) : "\(out): SHA-256 \(hash)")
    }
}

/// `memvp models install`
struct ToolboxModelsInstall: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "install", abstract: "Put the model of an archive where memvpd looks for it.",
        discussion: "Every file is compared with the hashes in model.yaml before the model stands in its place.")

    @Argument(help: ArgumentHelp("The archive, of `memvp models pack`.", valueName: "file.tar"))
    var archive: String

    @Option(help: ArgumentHelp("Where to; by default where the configuration's `model` says.", valueName: "directory"))
    var to: String?

    @Option(help: "The daemon's configuration file; where it is not there, its defaults hold.")
    var config = "/etc/memvpd.yaml"

    @Flag(help: "Replace a model that is there; it is kept beside the new one.")
    var replace = false

    @Flag(help: "Write what was installed as JSON.")
    var json = false

    func run() throws {
        let target = try to ?? Self.configured(config)
        var progress = ToolboxProgress()
        defer { progress.end() }
        let megabytes = ToolboxFile.megabytes(archive)
        let installed = try ModelPack.install(archive, to: target, replace: replace) {
            progress.show("installing", $0, of: megabytes, "MB")
        }
        progress.end()
        if json {
            var record = ["model": installed.name, "path": installed.path]
            record["backup"] = installed.backup
            return try Output.write(ToolboxJSON.line(record))
        }
        try Output.write("\(installed.path): \(installed.name)")
        if let backup = installed.backup {
            try Output.write(
                "\(backup): the model that was there. A running memvpd takes the new one with memvpctl reload.")
        }
    }

    /// The directory that the daemon's configuration names.
    ///
    /// - Throws: `configuration_invalid`.
    static func configured(_ path: String) throws(Failure) -> String {
        guard FileManager.default.fileExists(atPath: path) else { return DaemonConfiguration().model }
        return try EffectiveConfiguration(file: path).configuration.model
    }
}
