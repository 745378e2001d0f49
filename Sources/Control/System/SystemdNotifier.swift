// sd_notify(3) without libsystemd: one datagram per message to the socket that NOTIFY_SOCKET names.
//
// Invariants: without NOTIFY_SOCKET every call does nothing; a status text cannot smuggle in another assignment, since
// control characters become spaces.
// Failure modes: a message that cannot be sent is a `Failure` for the log; the daemon goes on without it.

public import Diagnostics
import Glibc

/// Tells the service manager how the daemon is doing.
public struct SystemdNotifier: Sendable {
    /// Half of the time within which systemd wants a WATCHDOG=1 (sd_watchdog_enabled(3)); `nil` when it wants none.
    public let watchdogInterval: Duration?

    private let socketPath: String?

    /// Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID and takes them out of the environment. Call once, before
    /// another thread may look at that.
    ///
    /// - Throws: `configuration_invalid` for an address that is neither a path nor an abstract name, or a watchdog time
    ///   that is no positive number.
    public init() throws(Failure) {
        var environment: [String: String] = [:]
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
            environment[name] = SocketBridge.environment(name)
            SocketBridge.removeFromEnvironment(name)
        }
        try self.init(environment, processID: getpid())
    }

    /// The same with everything given, for tests.
    init(_ environment: [String: String], processID: Int32) throws(Failure) {
        if let path = environment["NOTIFY_SOCKET"] {
            guard path.hasPrefix("/") || path.hasPrefix("@") else {
                throw Failure(.configurationInvalid, "NOTIFY_SOCKET", "is neither a path nor an abstract name: \(path)")
            }
            _ = try SocketBridge.address(path, abstract: true)
            socketPath = path
        } else {
            socketPath = nil
        }
        if let text = environment["WATCHDOG_USEC"],
            environment["WATCHDOG_PID"].map({ $0 == String(processID) }) ?? true
        {
            guard let microseconds = Int64(text), microseconds > 0 else {
                throw Failure(.configurationInvalid, "WATCHDOG_USEC", "is not a positive number: \(text)")
            }
            watchdogInterval = .microseconds(microseconds / 2)
        } else {
            watchdogInterval = nil
        }
    }

    /// Start-up or a reload is over.
    public func ready(status: String) throws(Failure) { try send(["READY=1", Self.status(status)]) }

    /// What `systemctl status` shows, as "3 queued, 1 active, model default".
    public func status(_ text: String) throws(Failure) { try send([Self.status(text)]) }

    /// The configuration is being read again; `ready` ends it.
    public func reloading() throws(Failure) {
        try send(["RELOADING=1", "MONOTONIC_USEC=\(SocketBridge.monotonicMicroseconds())"])
    }

    /// The daemon is going down.
    public func stopping(status: String) throws(Failure) { try send(["STOPPING=1", Self.status(status)]) }

    /// Still alive: to be sent every `watchdogInterval`.
    public func watchdog() throws(Failure) { try send(["WATCHDOG=1"]) }

    private static func status(_ text: String) -> String {
        let clean = text.unicodeScalars.map { $0.properties.generalCategory == .control ? " " : Character($0) }
        return "STATUS=" + String(clean)
    }

    private func send(_ assignments: [String]) throws(Failure) {
        guard let socketPath else { return }
        let address = try SocketBridge.address(socketPath, abstract: true)
        let descriptor = try SocketBridge.makeSocket(datagram: true)
        defer { close(descriptor) }
        // READY=1 must not get lost in a full queue, and a dead manager must not stop the daemon for good.
        SocketBridge.setSendTimeout(descriptor, milliseconds: 2000)
        var outcome = SocketBridge.connect(descriptor, address)
        if case .done = outcome {
            outcome = SocketBridge.send(descriptor, Array(assignments.joined(separator: "\n").utf8)[...], wait: true)
        }
        if case .failed(let number) = outcome {
            throw Failure(
                .inputOutput, "NOTIFY_SOCKET",
                "\(assignments[0]) cannot be sent to systemd: \(FileBridge.errorText(number))")
        }
    }
}
