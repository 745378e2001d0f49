// Sockets passed by systemd (sd_listen_fds(3)): LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES.
//
// Invariants: the variables are read strictly, taken out of the environment whatever they say, and obeyed only when they are
// meant for this process; each role is given at most once; a descriptor is used only if it is what it should be.

public import Diagnostics
import Glibc

/// Takes the listening sockets that systemd opened for this process.
public enum SocketActivation {
    private static let variables = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"]

    /// The names under which a unit passes a socket: its own by default, or what FileDescriptorName= says.
    private static let roles: [String: SocketRole] = [
        "control": .control, "memvpd-control.socket": .control,
        "metrics": .metrics, "memvpd-metrics.socket": .metrics,
    ]

    /// Adopts what was passed; empty when nothing was or it was meant for another process. Call once, before another
    /// thread may look at the environment.
    ///
    /// - Throws: `configuration_invalid` when the variables contradict each other or a descriptor is not a listening Unix
    ///   stream socket with a known name.
    public static func take() throws(Failure) -> [SocketRole: ListeningSocket] {
        var environment: [String: String] = [:]
        for name in variables {
            environment[name] = SocketBridge.environment(name)
            SocketBridge.removeFromEnvironment(name)
        }
        return try take(environment, processID: getpid()) { 3 + $0 }
    }

    /// The same with everything given, for tests; `descriptor` says which one an index means.
    static func take(
        _ environment: [String: String], processID: Int32, descriptor: (Int32) -> Int32
    ) throws(Failure) -> [SocketRole: ListeningSocket] {
        guard environment["LISTEN_PID"] != nil || environment["LISTEN_FDS"] != nil else { return [:] }
        guard try number("LISTEN_PID", environment) == processID else { return [:] }
        let count = try number("LISTEN_FDS", environment)
        guard count <= 16 else {
            throw Failure(.configurationInvalid, "LISTEN_FDS", "passes \(count) descriptors, where two are known")
        }
        let names =
            environment["LISTEN_FDNAMES"].map { $0.split(separator: ":", omittingEmptySubsequences: false) } ?? []
        guard names.count == count || (count == 0 && names == [""]) else {
            throw Failure(
                .configurationInvalid, "LISTEN_FDNAMES", "has \(names.count) names for \(count) descriptors",
                hint: "Start memvpd from its socket units.")
        }
        var sockets: [SocketRole: ListeningSocket] = [:]
        for index in 0..<count {
            let name = String(names[Int(index)])
            guard let role = roles[name] else {
                throw Failure(
                    .configurationInvalid, "LISTEN_FDNAMES", "passes a socket named \(name), which has no use here",
                    hint: "Known are memvpd-control.socket and memvpd-metrics.socket.")
            }
            guard sockets[role] == nil else {
                throw Failure(.configurationInvalid, "LISTEN_FDNAMES", "passes two sockets for \(role.rawValue)")
            }
            sockets[role] = try ListeningSocket.adopt(role, descriptor: descriptor(index), name: name)
        }
        return sockets
    }

    /// Digits and nothing else: strtol's leading spaces, signs and trailing text are not what systemd writes.
    private static func number(_ name: String, _ environment: [String: String]) throws(Failure) -> Int32 {
        let text = environment[name] ?? ""
        guard !text.isEmpty, text.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }),
            let value = Int32(text)
        else {
            throw Failure(.configurationInvalid, name, "should be a number, but is \"\(text)\"")
        }
        return value
    }
}
