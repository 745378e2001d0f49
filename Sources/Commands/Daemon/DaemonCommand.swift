// memvpd's command line. Failure modes: exit codes of sysexits, the reason on standard error.

public import ArgumentParser
internal import Daemon
internal import Diagnostics
internal import Specification

/// `memvpd`: the daemon, in the foreground.
public struct DaemonCommand: AsyncParsableCommand {
    /// The names and the help.
    public static let configuration = CommandConfiguration(
        commandName: "memvpd", abstract: "Answers photos that are dropped into an inbox.",
        version: memvpdVersion)

    @Option(help: "The configuration file; missing: /etc/memvpd.yaml.")
    var config = "/etc/memvpd.yaml"
    @Flag(help: "Check the configuration, print what is in force, and exit.")
    var checkConfig = false
    @Flag(help: "Work off the inbox, then exit.")
    var once = false

    /// For the parser.
    public init() {}

    /// Runs the program with the process's arguments; ends the process when something is wrong.
    public static func start() async { await main() }

    /// Checks, drains or serves.
    public func run() async throws {
        try await CommandEnd.explain { () async throws(Failure) in
            let effective = try EffectiveConfiguration(file: config)
            if checkConfig { return try Output.write(effective.description) }
            let mode: DaemonMode = once ? .once : .service
            let log = LogLines.logger(effective.configuration.log)
            try await DaemonLauncher.run(effective, mode: mode, log: log)
        }
    }
}
