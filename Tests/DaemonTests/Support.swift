// What the tests of the running daemon share: directories of its own, a stand-in for systemd, and ways to let things stand still.
//
// What stands still lets go again whatever the test finds, so that a guard that is missing fails a test and hangs none.

import Diagnostics
import Dispatch
import Foundation
import Glibc
import Logging
import Specification
import Spool
import Testing

@testable import Control
@testable import Daemon

enum TestModel {
    static let sources = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    static let path =
        ProcessInfo.processInfo.environment["MEMVP_TEST_BUNDLE"]
        ?? sources.deletingLastPathComponent().appending(path: "build/models/default").path
    static let isThere = FileManager.default.fileExists(atPath: "\(path)/model.yaml")
    static let drawing = sources.appending(path: "EndToEndTests/Fixtures/drawing.png")
}

/// Directories and a configuration for one daemon.
final class Workplace: Sendable {
    let root: String
    let effective: EffectiveConfiguration

    /// - Parameter extra: more lines of the configuration, in which ROOT is the directory.
    init(_ extra: String = "") throws {
        let root = "/tmp/md-\(UInt32.random(in: 0...UInt32.max))"
        self.root = root
        let names = ["inbox", "spool", "outbox", "failed", "done"]
        for name in names + ["run"] {
            try FileManager.default.createDirectory(atPath: "\(root)/\(name)", withIntermediateDirectories: true)
        }
        let text = """
            directories: {\(names.map { "\($0): \(root)/\($0)" }.joined(separator: ", "))}
            sockets: {control: \(root)/run/control.sock, metrics: \(root)/run/metrics.sock}
            model: \(TestModel.path)
            threads: 1
            batch: 4
            \(extra.replacing("ROOT", with: root))
            """
        try Data(text.utf8).write(to: URL(filePath: "\(root)/memvpd.yaml"))
        effective = try EffectiveConfiguration(file: "\(root)/memvpd.yaml")
    }

    deinit { try? FileManager.default.removeItem(atPath: root) }

    func drop(_ name: String) throws {
        try FileManager.default.copyItem(at: TestModel.drawing, to: URL(filePath: "\(root)/inbox/\(name)"))
    }
}

/// systemd, as far as the daemon talks to it. Its calls block.
final class Manager: Sendable {
    private let path: String
    private let descriptor: Int32

    init(_ path: String) throws {
        self.path = path
        descriptor = try SocketBridge.makeSocket(datagram: true)
        guard case .done = SocketBridge.bind(descriptor, try SocketBridge.address(path)) else {
            throw Failure(.inputOutput, path, "cannot be bound")
        }
    }

    deinit { close(descriptor) }

    /// - Parameter watchdog: within how many microseconds it wants to be fed.
    func notifier(watchdog: Int? = nil) throws -> SystemdNotifier {
        var environment = ["NOTIFY_SOCKET": path]
        environment["WATCHDOG_USEC"] = watchdog.map { String($0) }
        return try SystemdNotifier(environment, processID: 1)
    }

    /// What has come by now.
    func drain() -> [String] {
        var messages: [String] = []
        while let message = next() { messages.append(message) }
        return messages
    }

    /// Seconds that a message may take: beside all other tests the cooperative pool may be taken for minutes.
    static let patience: Int64 = 600

    /// Whether a message that begins so comes; others are passed over.
    func hears(_ beginning: String) -> Bool {
        let deadline = ContinuousClock.now + .seconds(Self.patience)
        while ContinuousClock.now < deadline {
            _ = SocketBridge.wait(descriptor, for: POLLIN, milliseconds: 1000)
            while let message = next() { if message.hasPrefix(beginning) { return true } }
        }
        return false
    }

    private func next() -> String? {
        var buffer = [UInt8](repeating: 0, count: 4096)
        guard case .done(let count) = SocketBridge.receive(descriptor, into: &buffer) else { return nil }
        return String(decoding: buffer[..<count], as: UTF8.self)
    }
}

extension Surroundings {
    /// Nobody is there.
    static func none() throws -> Surroundings {
        Surroundings(notifier: try SystemdNotifier([:], processID: 1), sockets: [:])
    }
}

/// A daemon that runs in this process.
final class Service: Sendable {
    let daemon: DaemonService
    private let signals: AsyncStream<SignalStream.Signal>.Continuation
    private let running: Task<Failure?, Never>

    init(_ place: Workplace, _ surroundings: Surroundings) throws {
        let (stream, signals) = AsyncStream.makeStream(of: SignalStream.Signal.self)
        let daemon = try DaemonService(
            place.effective, mode: .service, log: Logger(label: "test") { _ in Lines() }, surroundings)
        (self.daemon, self.signals) = (daemon, signals)
        running = Task { () -> Failure? in
            do throws(Failure) {
                try await daemon.run(.service, SignalStream(stream))
                return nil
            } catch {
                return error
            }
        }
    }

    func send(_ signal: SignalStream.Signal) { signals.yield(signal) }

    /// Waits for its end; what ended it.
    func end() async -> Failure? { await running.value }
}

/// Something that is to stand still, and to go on when the test says so.
struct Standstill: Sendable {
    private let begun = DispatchSemaphore(value: 0)
    private let goes = DispatchSemaphore(value: 0)

    /// Stands still.
    func stand() {
        begun.signal()
        goes.wait()
    }

    /// Whether it has begun, within a minute. Blocks.
    func hasBegun() -> Bool { begun.wait(timeout: .now() + 600) == .success }

    /// Lets it go on, however often it stands still.
    func go() { for _ in 0..<100 { goes.signal() } }
}

extension DaemonService {
    /// Holds the actor.
    func hold(_ standstill: Standstill) { standstill.stand() }

    /// Holds a worker's thread, and not the daemon.
    func holdWorker(_ standstill: Standstill) async { await workers.first?.hold(standstill) }
}

extension Spool {
    /// Holds the thread of its system calls.
    func hold(_ standstill: Standstill) { standstill.stand() }
}

extension ModelWorker {
    func hold(_ standstill: Standstill) { standstill.stand() }
}

/// Runs what blocks on a thread of its own.
func offPool<Result: Sendable>(_ body: @escaping @Sendable () -> Result) async -> Result {
    await withCheckedContinuation { continuation in
        let thread = Thread { continuation.resume(returning: body()) }
        thread.start()
    }
}

/// Whether the body comes to its end. Ten minutes: beside all other tests the cooperative pool may be taken for more than one.
func ends(_ body: @escaping @Sendable () async -> Void) async -> Bool {
    let ended = DispatchSemaphore(value: 0)
    Task {
        await body()
        ended.signal()
    }
    return await offPool { ended.wait(timeout: .now() + 600) == .success }
}
