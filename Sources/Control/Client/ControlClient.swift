// memvpctl's side of the control socket: one request on one connection, over plain blocking calls with a deadline.
//
// No event loop and no thread is started, so a command line tool is at its work at once. The calls block the calling thread:
// they are for a program's main thread, not for a task of a server.
// Failure modes: the daemon not running, the socket not ours to open, no answer in time, an answer that is not HTTP or too
// long: each is a `Failure` with what to do. Error codes of a newer daemon come through as text.

public import Diagnostics
import Glibc

/// What the daemon answered.
public struct ControlReply: Sendable, Equatable {
    /// The HTTP status code.
    public let status: Int
    /// The body's media type.
    public let contentType: String
    /// The body's bytes.
    public let body: [UInt8]

    /// Whether the daemon did what was asked.
    public var isSuccess: Bool { (200..<300).contains(status) }

    /// The body as text; bytes that are not UTF-8 are replaced.
    public var text: String { String(decoding: body, as: UTF8.self) }

    /// The body as a document.
    ///
    /// - Throws: `protocol_violation` when it is not that document.
    public func decode<Document: Decodable>(_ type: Document.Type) throws(Failure) -> Document {
        try ControlJSON.decode(type, from: body)
    }

    /// Why the daemon did not do what was asked, from its error document.
    public var failure: Failure {
        if let document = try? ControlJSON.decode(ErrorDocument.self, from: body) {
            return document.failure(status: status)
        }
        return Failure(.protocolViolation, "response", "the daemon answered \(status) without an explanation")
    }
}

/// Asks the daemon over its control socket.
public struct ControlClient: Sendable {
    /// Where the daemon listens.
    public let socketPath: String
    /// How long one request may take in all.
    public let timeout: Duration
    /// The most bytes that an answer may have.
    public let bodyLimit: Int

    /// Makes a client; nothing is opened before a request.
    public init(socketPath: String, timeout: Duration = .seconds(10), bodyLimit: Int = 16 << 20) {
        self.socketPath = socketPath
        self.timeout = timeout
        self.bodyLimit = bodyLimit
    }

    /// Reads a document.
    ///
    /// - Throws: What `send` throws, and the daemon's own error when it refuses.
    public func get<Document: Decodable>(_ path: String, as type: Document.Type) throws(Failure) -> Document {
        try success(send("GET", path)).decode(type)
    }

    /// Has a verb done.
    ///
    /// - Throws: What `send` throws, and the daemon's own error when it refuses.
    public func post(_ path: String) throws(Failure) -> ActionDocument {
        try success(send("POST", path)).decode(ActionDocument.self)
    }

    /// Sends one request and reads the whole answer, whatever its status.
    ///
    /// - Parameter path: The path with its query, percent-encoded; see `encode`.
    /// - Throws: `unavailable` when the daemon is not running or does not answer in time, `permission_denied`,
    ///   `protocol_violation` when the answer is not HTTP or longer than `bodyLimit`, `usage` for a path that is none,
    ///   `configuration_invalid` for a socket path that is too long.
    public func send(_ method: String, _ path: String) throws(Failure) -> ControlReply {
        guard path.hasPrefix("/"), path.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw Failure(.usage, path, "is not a path that can be asked for")
        }
        let deadline = ContinuousClock.now + timeout
        let descriptor = try connect(deadline)
        defer { close(descriptor) }
        let length = method == "POST" ? "Content-Length: 0\r\n" : ""
        let request = "\(method) \(path) HTTP/1.1\r\nHost: memvpd\r\nConnection: close\r\n\(length)\r\n"
        try transmit(descriptor, Array(request.utf8), deadline)
        let response = try receive(descriptor, deadline)
        return ControlReply(status: response.status, contentType: response.contentType, body: response.body)
    }

    /// A text as one part of a path or query: everything but letters, digits and `-._~` percent-encoded (RFC 3986).
    public static func encode(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF")
        return text.utf8.reduce(into: "") { result, byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                result.unicodeScalars.append(Unicode.Scalar(byte))
            default: result += "%\(digits[Int(byte >> 4)])\(digits[Int(byte & 15)])"
            }
        }
    }

    private func success(_ reply: ControlReply) throws(Failure) -> ControlReply {
        guard reply.isSuccess else { throw reply.failure }
        return reply
    }

    // MARK: Steps of send

    private func connect(_ deadline: ContinuousClock.Instant) throws(Failure) -> Int32 {
        let address = try SocketBridge.address(socketPath)
        let time = try remaining(deadline)
        let descriptor = try SocketBridge.makeSocket()
        // A blocking connect waits while the daemon's backlog is full, for as long as this says (unix(7)).
        SocketBridge.setSendTimeout(descriptor, milliseconds: Int(time))
        guard case .failed(let number) = SocketBridge.connect(descriptor, address) else { return descriptor }
        close(descriptor)
        switch number {
        case ENOENT, ENOTDIR, ECONNREFUSED, ENOTSOCK:
            throw Failure(
                .unavailable, socketPath, "memvpd is not running: \(FileBridge.errorText(number))",
                hint: "Start it: systemctl start memvpd.")
        case EACCES, EPERM:
            throw Failure(
                .permissionDenied, socketPath, "may not be opened by this user",
                hint: "Join the group memvpd-operators: usermod -aG memvpd-operators $USER, then log in again.")
        case EAGAIN: throw timedOut()
        default:
            throw Failure(
                .unavailable, socketPath, "cannot be connected to: \(FileBridge.errorText(number))",
                hint: "Is it memvpd's own? The configuration names that under sockets.")
        }
    }

    private func transmit(_ descriptor: Int32, _ bytes: [UInt8], _ deadline: ContinuousClock.Instant) throws(Failure) {
        var rest = bytes[...]
        while !rest.isEmpty {
            switch SocketBridge.send(descriptor, rest) {
            case .done(let count): rest = rest.dropFirst(count)
            case .failed(EAGAIN): try wait(descriptor, POLLOUT, deadline)
            case .failed(EINTR): continue
            // The daemon may have answered and closed before it read us to the end: its answer tells why.
            case .failed(EPIPE), .failed(ECONNRESET): return
            case .failed(let number): throw broken(number)
            }
        }
    }

    private func receive(
        _ descriptor: Int32, _ deadline: ContinuousClock.Instant
    ) throws(Failure) -> ResponseParser.Response {
        var parser = ResponseParser(bodyLimit: bodyLimit)
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            switch SocketBridge.receive(descriptor, into: &buffer) {
            case .done(0): return try parser.finish()
            case .done(let count): if let response = try parser.feed(buffer[..<count]) { return response }
            case .failed(EAGAIN): try wait(descriptor, POLLIN, deadline)
            case .failed(EINTR): continue
            case .failed(let number): throw broken(number)
            }
        }
    }

    private func wait(_ descriptor: Int32, _ events: Int32, _ deadline: ContinuousClock.Instant) throws(Failure) {
        switch SocketBridge.wait(descriptor, for: events, milliseconds: try remaining(deadline)) {
        case .done, .failed(EINTR): return  // At the deadline the next look at the clock throws.
        case .failed(let number): throw broken(number)
        }
    }

    private func remaining(_ deadline: ContinuousClock.Instant) throws(Failure) -> Int32 {
        let left = ContinuousClock.now.duration(to: deadline).components
        let milliseconds = left.seconds * 1000 + left.attoseconds / 1_000_000_000_000_000
        guard left.seconds > 0 || left.attoseconds > 0 else { throw timedOut() }
        // Rounded up, so that a poll never spins through the last millisecond.
        return Int32(clamping: milliseconds + 1)
    }

    private func timedOut() -> Failure {
        Failure(
            .unavailable, socketPath, "memvpd did not answer within \(timeout)",
            hint: "Look at journalctl -u memvpd; it may be busy starting.")
    }

    private func broken(_ number: Int32) -> Failure {
        Failure(.unavailable, socketPath, "the connection broke: \(FileBridge.errorText(number))", hint: "Try again.")
    }
}
