// How memvpd and memvpctl end when something is wrong: the reason on standard error, the code of sysexits(3) to the caller.

internal import ArgumentParser
internal import Diagnostics
internal import SystemPackage

enum CommandEnd {
    /// Runs the body; a failure is written to standard error and becomes the exit code.
    ///
    /// - Throws: `ExitCode` of the failure.
    static func explain(_ body: () async throws(Failure) -> Void) async throws {
        do throws(Failure) {
            try await body()
        } catch {
            complain("error: \(error)")
            throw ArgumentParser.ExitCode(error.code.exitCode.rawValue)
        }
    }

    /// The same for a body that does not wait.
    static func explain(_ body: () throws(Failure) -> Void) throws {
        do throws(Failure) {
            try body()
        } catch {
            complain("error: \(error)")
            throw ArgumentParser.ExitCode(error.code.exitCode.rawValue)
        }
    }

    /// One line on standard error.
    static func complain(_ text: String) {
        // With no standard error there is nobody to tell; the exit code still says it.
        _ = try? FileDescriptor.standardError.writeAll("\(text)\n".utf8)
    }
}
