// Standard output, for all three programs.
//
// Invariants: what a program reads goes to standard output, what is said about it to standard error. It is handed on at once,
// so that nothing waits in a buffer whose loss nobody would hear of, and a program that waits for its record gets it. A reader
// who has gone has what it wanted: that is no failure (SIGPIPE ends a program, where it is not ignored).
// Failure modes: `no_space`, `input_output`.

internal import Diagnostics
internal import Glibc

/// Where results go.
enum Output {
    /// Writes a text, ended by one line feed; nothing where there is none: no records are no lines.
    ///
    /// - Parameter descriptor: standard output; tests give others.
    /// - Throws: `no_space`, `input_output` when it cannot be written.
    static func write(_ text: String, to descriptor: Int32 = STDOUT_FILENO) throws(Failure) {
        var bytes = Array(text.utf8)[...]
        if let last = bytes.last, last != UInt8(ascii: "\n") { bytes.append(UInt8(ascii: "\n")) }
        while !bytes.isEmpty {
            let written = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if written > 0 {
                bytes = bytes.dropFirst(written)
                continue
            }
            let number = written < 0 ? errno : EIO
            switch number {
            case EINTR: continue
            case EAGAIN: wait(for: descriptor)
            case EPIPE: return
            default: throw failure(number)
            }
        }
    }

    /// Waits until a pipe that does not block has room.
    private static func wait(for descriptor: Int32) {
        var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        _ = unsafe poll(&entry, 1, -1)
    }

    private static func failure(_ number: Int32) -> Failure {
        let text = unsafe strerror(number).map { unsafe String(cString: $0) } ?? "errno \(number)"
        let isFull = number == ENOSPC || number == EDQUOT
        return Failure(
            isFull ? .noSpace : .inputOutput, "standard output", "cannot be written: \(text)",
            hint: isFull ? "Free space where it leads and try again." : "Check where it leads.")
    }
}
