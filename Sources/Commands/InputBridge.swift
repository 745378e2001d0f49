// Standard input, line by line, for programs that write records and those that wait for each answer alike.
//
// Invariants: a line is held whole and no longer than `limit`, whatever comes; `isReady` never waits, `next` does; an error
// of reading is not the end of input. Failure modes: `input_output`; a line's own `spec_invalid`.

internal import Diagnostics
internal import Glibc

/// Lines of a descriptor.
final class InputLines {
    /// A line without its line feed, or why it cannot be taken as text.
    typealias Line = Result<String, Failure>

    private let descriptor: Int32
    private let limit: Int
    private var bytes: [UInt8] = []
    /// How many of `bytes` have been looked through for a line feed.
    private var searched = 0
    /// A line that was taken out of `bytes` and not yet asked for.
    private var pending: Line?
    /// Whether the rest of a line that was too long is passed over.
    private var isSkipping = false
    private var isAtEnd = false
    private var fault: Failure?
    private var number = 0

    /// Lines of `descriptor`, each of at most `limit` bytes.
    init(_ descriptor: Int32 = STDIN_FILENO, limit: Int = 1 << 20) {
        (self.descriptor, self.limit) = (descriptor, limit)
    }

    /// Whether `next` has something to say without waiting: a line, the end or a fault.
    var isReady: Bool {
        while pending == nil {
            if take() { continue }
            if isAtEnd || fault != nil { return true }
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard unsafe poll(&entry, 1, 0) > 0 else { return false }
            fill()
        }
        return true
    }

    /// The next line; nil at the end. A last line needs no line feed.
    ///
    /// - Throws: `input_output` when standard input cannot be read.
    func next() throws(Failure) -> Line? {
        while pending == nil {
            if take() { continue }
            if let fault { throw fault }
            if isAtEnd { return nil }
            fill()
        }
        defer { pending = nil }
        return pending
    }

    /// Makes a line pending, or finishes one that is passed over; false when more must be read for either.
    private func take() -> Bool {
        if let end = bytes[searched...].firstIndex(of: UInt8(ascii: "\n")) {
            if !isSkipping { pending = checked(bytes[..<end]) }
            isSkipping = false
            remove(end + 1)
            return true
        }
        searched = bytes.count
        if isSkipping {
            remove(bytes.count)
        } else if bytes.count > limit {
            // Refused before its end has come, so that no more of it need be held.
            pending = checked(bytes[...])
            isSkipping = true
            remove(bytes.count)
        } else if isAtEnd, !bytes.isEmpty {
            pending = checked(bytes[...])
            remove(bytes.count)
        }
        return pending != nil
    }

    private func checked(_ line: ArraySlice<UInt8>) -> Line {
        number += 1
        let place = "standard input:\(number)"
        guard line.count <= limit else {
            return .failure(
                Failure(.specInvalid, place, "is longer than \(limit) bytes", hint: "Write one record a line."))
        }
        guard let text = String(validating: line, as: UTF8.self) else {
            return .failure(
                Failure(.specInvalid, place, "is not UTF-8", hint: "Write the record as JSON, which is UTF-8."))
        }
        return .success(text)
    }

    private func remove(_ count: Int) {
        bytes.removeFirst(count)
        searched = 0
    }

    /// Takes what is there, after waiting for it.
    private func fill() {
        let room = 65_536
        var part = [UInt8](repeating: 0, count: room)
        let got = unsafe part.withUnsafeMutableBytes { unsafe read(descriptor, $0.baseAddress, room) }
        switch got {
        case 1...: bytes += part[..<got]
        case 0: isAtEnd = true
        default:
            let reason = errno
            if reason == EINTR { return }
            if reason == EAGAIN { return wait() }
            let text = unsafe strerror(reason).map { unsafe String(cString: $0) } ?? "errno \(reason)"
            fault = Failure(
                .inputOutput, "standard input", "cannot be read: \(text)", hint: "Check where it comes from.")
        }
    }

    /// Waits for a pipe that does not block.
    private func wait() {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        _ = unsafe poll(&entry, 1, -1)
    }
}
