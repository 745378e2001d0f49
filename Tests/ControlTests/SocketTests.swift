// Sockets bound here and passed by systemd, and the messages to systemd: all on real sockets.

import Diagnostics
import Foundation
import Glibc
import Logging
import Synchronization
import Testing

@testable import Control

/// What `body` fails with.
func failure(_ body: () throws -> Void) -> Failure? {
    do {
        try body()
        return nil
    } catch { return error as? Failure }
}

/// The code that `body` fails with.
func failureCode(_ body: () throws -> Void) -> FailureCode? { failure(body)?.code }

@Suite("Listening sockets", .serialized) struct ListeningSocketTests {
    private func mode(_ path: String) -> UInt32? { try? FileBridge.status(path)?.mode }

    @Test("The name has the mode asked for, whatever the umask", arguments: [UInt32(0o660), 0o600, 0o666])
    func modes(_ wanted: UInt32) async throws {
        try await withTemporaryDirectory { directory in
            let socket = try ListeningSocket.bind(.control, path: directory + "/s", mode: wanted)
            #expect(mode(directory + "/s") == wanted)
            socket.release()
            #expect(mode(directory + "/s") == nil)
        }
    }

    @Test("Nobody ever sees the name with a wider mode than asked for")
    func modeAtBind() async throws {
        try await withTemporaryDirectory { directory in
            let path = directory + "/s"
            let stop = Atomic(false)
            async let seen = offPool { () -> Set<UInt32> in
                var modes: Set<UInt32> = []
                while !stop.load(ordering: .relaxed) {
                    if let mode = try? FileBridge.status(path)?.mode { modes.insert(mode) }
                }
                return modes
            }
            do {
                defer { stop.store(true, ordering: .relaxed) }
                for _ in 0..<1000 { try ListeningSocket.bind(.control, path: path, mode: 0o600).release() }
            }
            #expect(try await seen.isSubset(of: [0o600]))
        }
    }

    @Test("A socket that nobody listens on is replaced")
    func stale() async throws {
        try await withTemporaryDirectory { directory in
            let path = directory + "/s"
            let dead = try SocketBridge.makeSocket()
            _ = SocketBridge.bind(dead, try SocketBridge.address(path))
            close(dead)
            #expect(throws: Failure.self) { try RawClient(path) }
            let socket = try ListeningSocket.bind(.control, path: path)
            try RawClient(path).close()
            socket.release()
        }
    }

    @Test("A socket that somebody listens on is left alone, even when its backlog is full")
    func live() async throws {
        try await withTemporaryDirectory { directory in
            let path = directory + "/s"
            let other = try SocketBridge.makeSocket()
            defer { close(other) }
            _ = SocketBridge.bind(other, try SocketBridge.address(path))
            _ = SocketBridge.listen(other, backlog: 0)
            let old = try FileBridge.status(path)?.identity
            // The second probe finds the backlog full of the first one and of this client.
            let client = try RawClient(path)
            for _ in 0..<3 {
                let refused = failure { _ = try ListeningSocket.bind(.control, path: path) }
                #expect(refused?.code == .cannotCreate)
                #expect(refused?.cause == "another process is listening there")
            }
            #expect(try FileBridge.status(path)?.identity == old)
            client.close()
        }
    }

    @Test("A file, a directory and a symbolic link are left alone")
    func notASocket() async throws {
        try await withTemporaryDirectory { directory in
            try Data("keep".utf8).write(to: URL(fileURLWithPath: directory + "/file"))
            try FileManager.default.createDirectory(atPath: directory + "/dir", withIntermediateDirectories: false)
            try FileManager.default.createSymbolicLink(atPath: directory + "/link", withDestinationPath: "file")
            for name in ["file", "dir", "link"] {
                let path = directory + "/" + name
                #expect(failureCode { _ = try ListeningSocket.bind(.control, path: path) } == .cannotCreate)
                #expect(try FileBridge.status(path) != nil)
            }
            #expect(try String(contentsOfFile: directory + "/file", encoding: .utf8) == "keep")
        }
    }

    @Test("Another process setting up sockets there is waited for by trying again")
    func locked() async throws {
        try await withTemporaryDirectory { directory in
            let lock = try FileBridge.lockDirectory(directory)
            #expect(failureCode { _ = try ListeningSocket.bind(.control, path: directory + "/s") } == .temporary)
            FileBridge.unlockDirectory(lock)
            try ListeningSocket.bind(.control, path: directory + "/s").release()
        }
    }

    @Test("Paths that cannot be a socket's are explained")
    func paths() async throws {
        try await withTemporaryDirectory { directory in
            let fill = String(repeating: "x", count: SocketBridge.pathLimit - directory.utf8.count - 1)
            try ListeningSocket.bind(.control, path: directory + "/" + fill).release()
            #expect(
                failureCode { _ = try ListeningSocket.bind(.control, path: directory + "/" + fill + "x") }
                    == .configurationInvalid)
            #expect(failureCode { _ = try ListeningSocket.bind(.control, path: "") } == .configurationInvalid)
            #expect(
                failureCode { _ = try ListeningSocket.bind(.control, path: directory + "/no/s") } == .cannotCreate)
        }
    }
}

@Suite("Socket activation") struct SocketActivationTests {
    /// As if systemd had passed `descriptors`, which in truth begin at 3: there they would meet those of this process.
    private func take(
        _ descriptors: [Int32] = [], fds: String? = nil, names: String?, pid: String? = "77"
    ) throws -> [SocketRole: ListeningSocket] {
        var environment: [String: String] = [:]
        environment["LISTEN_PID"] = pid
        environment["LISTEN_FDS"] = fds ?? (descriptors.isEmpty ? nil : String(descriptors.count))
        environment["LISTEN_FDNAMES"] = names
        return try SocketActivation.take(environment, processID: 77) { index in
            descriptors.indices.contains(Int(index)) ? descriptors[Int(index)] : -1
        }
    }

    private func listener(_ path: String) throws -> Int32 {
        let descriptor = try SocketBridge.makeSocket()
        _ = SocketBridge.bind(descriptor, try SocketBridge.address(path))
        _ = SocketBridge.listen(descriptor, backlog: 10)
        return descriptor
    }

    @Test("Both sockets are adopted by name, closed on exec, and serve")
    func adopts() async throws {
        try await withTemporaryDirectory { directory in
            let descriptors = [try listener(directory + "/m"), try listener(directory + "/c")]
            for descriptor in descriptors { _ = fcntl(descriptor, F_SETFD, 0) }
            let sockets = try take(descriptors, names: "memvpd-metrics.socket:control")
            #expect(Set(sockets.keys) == [.control, .metrics])
            for descriptor in descriptors { #expect(fcntl(descriptor, F_GETFD) & FD_CLOEXEC != 0) }
            let control = try #require(sockets[.control])
            let server = ControlServer([(control, sampleRouter())], logger: Logger(label: "test"))
            async let served: Void = server.run()
            #expect(try await curl(directory + "/c", ["http://memvpd/v1/status"]) == "fine\n")
            server.beginShutdown()
            try await served
            // The name is systemd's: it stays.
            #expect(try FileBridge.status(directory + "/c") != nil)
        }
    }

    @Test("Nothing passed, or to another process: nothing adopted")
    func nothing() throws {
        #expect(try take(names: nil, pid: nil).isEmpty)
        #expect(try take(fds: "1", names: "control", pid: "78").isEmpty)
        #expect(try take(fds: "0", names: "").isEmpty)
    }

    @Test(
        "Variables that are not what systemd writes are refused",
        arguments: [
            ("1x", "control", "77"), ("-1", "control", "77"), ("+1", "control", "77"), (" 1", "control", "77"),
            ("", "control", "77"), ("99999999999", "control", "77"), ("17", "control", "77"), ("1", "control", "7 7"),
            ("1", "control", ""), ("2", "control", "77"), ("1", "control:metrics", "77"), ("1", "", "77"),
            ("1", "other", "77"),
        ])
    func malformed(_ fds: String, _ names: String, _ pid: String) {
        // The variable is named: it is refused itself, not the descriptor that is not there.
        for names in [names, nil] {
            let refused = failure { _ = try take(fds: fds, names: names, pid: pid) }
            #expect(refused?.code == .configurationInvalid)
            #expect(refused?.object.hasPrefix("LISTEN_") == true, "\(String(describing: refused))")
        }
    }

    @Test("A number of descriptors without a process, or the reverse, is refused")
    func halves() {
        #expect(failureCode { _ = try take(fds: "1", names: "control", pid: nil) } == .configurationInvalid)
        #expect(failureCode { _ = try take(names: "control") } == .configurationInvalid)
    }

    @Test(
        "Descriptors that are no listening Unix stream sockets are refused",
        arguments: [
            "file", "inet", "datagram", "connected", "closed",
        ])
    func wrongKind(_ kind: String) throws {
        let descriptor: Int32
        switch kind {
        case "file": descriptor = unsafe open("/dev/null", O_RDONLY)
        case "inet":
            descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            _ = SocketBridge.listen(descriptor, backlog: 1)
        case "datagram": descriptor = try SocketBridge.makeSocket(datagram: true)
        case "connected": descriptor = try SocketBridge.makeSocket()
        default: descriptor = -1
        }
        defer { if descriptor >= 0 { close(descriptor) } }
        #expect(failureCode { _ = try take([descriptor], names: "control") } == .configurationInvalid)
    }

    @Test("Two sockets of one role are refused")
    func twice() async throws {
        try await withTemporaryDirectory { directory in
            let descriptors = [try listener(directory + "/a"), try listener(directory + "/b")]
            #expect(
                failureCode { _ = try take(descriptors, names: "control:memvpd-control.socket") }
                    == .configurationInvalid)
            // The first was adopted, and closed with it; the second was not touched.
            close(descriptors[1])
        }
    }
}

@Suite("Messages to systemd") struct SystemdNotifierTests {
    /// A manager's socket at `path` or at an abstract name.
    private func receiver(_ path: String) throws -> Int32 {
        let descriptor = try SocketBridge.makeSocket(datagram: true)
        guard case .done = SocketBridge.bind(descriptor, try SocketBridge.address(path, abstract: true)) else {
            throw Failure(.inputOutput, path, "cannot be bound")
        }
        return descriptor
    }

    private func message(_ descriptor: Int32) -> String? {
        var buffer = [UInt8](repeating: 0, count: 4096)
        guard case .done(let count) = SocketBridge.receive(descriptor, into: &buffer) else { return nil }
        return String(decoding: buffer[..<count], as: UTF8.self)
    }

    @Test("Every message arrives as sd_notify writes it, at a path and at an abstract name", arguments: [true, false])
    func messages(_ abstract: Bool) async throws {
        try await withTemporaryDirectory { directory in
            let path = abstract ? "@" + directory.dropFirst() : directory + "/notify"
            let manager = try receiver(path)
            defer { close(manager) }
            // The kernel's own list shows zero bytes as `@`: a name with one too many would be another name to systemd.
            let names = try #require(FileBridge.readText("/proc/net/unix", limit: 1 << 20)).split(separator: "\n")
            #expect(names.contains { $0.hasSuffix(" " + path) })
            let notifier = try SystemdNotifier(["NOTIFY_SOCKET": path], processID: 1)
            try notifier.ready(status: "3 queued")
            #expect(message(manager) == "READY=1\nSTATUS=3 queued")
            try notifier.status("a\nREADY=0\tb\u{0}")
            #expect(message(manager) == "STATUS=a READY=0 b ")
            let before = SocketBridge.monotonicMicroseconds()
            try notifier.reloading()
            let reloading = try #require(message(manager)).split(separator: "\n")
            #expect(reloading.first == "RELOADING=1")
            let stamp = try #require(reloading.last?.split(separator: "="))
            #expect(stamp[0] == "MONOTONIC_USEC")
            #expect((before...SocketBridge.monotonicMicroseconds()).contains(try #require(UInt64(stamp[1]))))
            try notifier.stopping(status: "going down")
            #expect(message(manager) == "STOPPING=1\nSTATUS=going down")
            try notifier.watchdog()
            #expect(message(manager) == "WATCHDOG=1")
        }
    }

    @Test("Without systemd, nothing happens")
    func absent() throws {
        let notifier = try SystemdNotifier([:], processID: 1)
        try notifier.ready(status: "")
        #expect(notifier.watchdogInterval == nil)
    }

    @Test("The watchdog's time is halved, and only when it is meant for this process")
    func watchdog() throws {
        #expect(try SystemdNotifier(["WATCHDOG_USEC": "30000000"], processID: 7).watchdogInterval == .seconds(15))
        let environment = ["WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"]
        #expect(try SystemdNotifier(environment, processID: 7).watchdogInterval == .seconds(15))
        #expect(try SystemdNotifier(environment, processID: 8).watchdogInterval == nil)
    }

    @Test(
        "What is neither an address nor a time is refused",
        arguments: [
            ["NOTIFY_SOCKET": "vsock:2:1234"], ["NOTIFY_SOCKET": ""], ["WATCHDOG_USEC": "0"], ["WATCHDOG_USEC": "-5"],
            ["WATCHDOG_USEC": "soon"], ["NOTIFY_SOCKET": "/" + String(repeating: "x", count: 200)],
        ])
    func malformed(_ environment: [String: String]) {
        #expect(failureCode { _ = try SystemdNotifier(environment, processID: 1) } == .configurationInvalid)
    }

    @Test("A manager that is gone is a failure to log, not a trap")
    func gone() async throws {
        try await withTemporaryDirectory { directory in
            let notifier = try SystemdNotifier(["NOTIFY_SOCKET": directory + "/none"], processID: 1)
            #expect(failureCode { try notifier.watchdog() } == .inputOutput)
        }
    }
}
