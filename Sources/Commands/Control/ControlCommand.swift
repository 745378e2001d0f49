// memvpctl's command line: the operator's verbs over the control socket (docs/CONTROL.md).

public import ArgumentParser
internal import Diagnostics

/// `memvpctl`: looks at the daemon and steers it.
public struct ControlCommand: ParsableCommand {
    /// The names and the help.
    public static let configuration = CommandConfiguration(
        commandName: "memvpctl", abstract: "Looks at memvpd and steers it.", version: memvpdVersion,
        subcommands: [
            StatusCommand.self, QueueCommand.self, ShowCommand.self, ExplainCommand.self, RetryCommand.self,
            HoldCommand.self, ReleaseCommand.self, RemoveCommand.self, DrainCommand.self, ReloadCommand.self,
            MetricsCommand.self, HealthCommand.self, CheckCommand.self,
        ])

    /// Runs the program with the process's arguments; ends the process when something is wrong.
    public static func start() { main() }

    /// For the parser.
    public init() {}
}
