// Standard error and flushing: the tool's only calls to C.
//
// Invariant: what a program reads goes to standard output, what is said about it to standard error.

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

    /// Writes a failure to standard error.
    static func complain(_ failure: Failure) { write("memvp: \(failure)\n") }

    /// Prints one line and hands it to the reader at once: whoever sent the record may be waiting for it.
    static func printRecord(_ line: String) {
        print(line)
        fflush(nil)
    }

    /// Whether somebody is looking.
    static var isWatched: Bool { isatty(2) == 1 }
}
