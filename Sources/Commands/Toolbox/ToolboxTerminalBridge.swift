// Standard error. Invariant: what is said about results goes there, never the results themselves.

internal import Diagnostics
internal import Glibc

/// Where messages for people go.
enum ToolboxTerminal {
    /// Writes text to standard error; a failure to do so has nowhere to be told.
    static func write(_ text: String) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let written = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(2, $0.baseAddress, $0.count) }
            guard written > 0 else { return }
            bytes = bytes.dropFirst(written)
        }
    }

    /// Writes a failure to standard error. A line feed in its object is a file name's, which must not make a line.
    static func complain(_ failure: Failure) { write("memvp: \(shown(failure))\n") }

    /// A failure as people read it.
    static func shown(_ failure: Failure) -> String {
        "\(Failure(failure.code, failure.object.harmless, failure.cause, hint: failure.hint))"
    }

    /// Whether somebody is looking.
    static var isWatched: Bool { isatty(2) == 1 }
}
