// The root of the `memvp` tool, and the one place where its errors become messages and exit codes of sysexits(3).

public import ArgumentParser
internal import Diagnostics

/// The toolbox: what can be done with a model without the daemon.
public struct MemvpCommand: ParsableCommand {
    /// Name, purpose and subcommands.
    public static let configuration = CommandConfiguration(
        commandName: "memvp", abstract: "Captions and answers about photos, and the making and measuring of models.",
        discussion: "Kernels are chosen for this machine; MEMVP_KERNELS forces one of scalar, avx2, avx512vnni, neon.",
        version: memvpdVersion,
        subcommands: [
            ToolboxCaption.self, ToolboxAsk.self, ToolboxConvert.self, ToolboxInspect.self, ToolboxModels.self,
            ToolboxBench.self, ToolboxTrace.self, ToolboxEval.self, ToolboxData.self, ToolboxTrain.self,
            ToolboxAverage.self, ToolboxReport.self, ToolboxPromote.self,
        ])

    /// The root alone; the parser makes it.
    public init() {}

    /// Runs the tool with the arguments that follow its name; never throws.
    ///
    /// - Returns: the exit code: 64 for a wrong command line, a failure's own code, 0 for success, help and version.
    public static func execute(_ arguments: [String]) -> Int32 {
        do {
            do {
                try ToolboxBench.check(arguments)
                var command = try parseAsRoot(arguments)
                try command.run()
            } catch let error where exitCode(for: error).rawValue == 0 {
                // Help or the version that was asked for.
                try Output.write(fullMessage(for: error))
            }
            return 0
        } catch let failure as Failure {
            ToolboxTerminal.complain(failure)
            return failure.code.exitCode.rawValue
        } catch {
            let text = fullMessage(for: error)
            if !text.isEmpty { ToolboxTerminal.write(text + "\n") }
            return exitCode(for: error).rawValue
        }
    }
}
