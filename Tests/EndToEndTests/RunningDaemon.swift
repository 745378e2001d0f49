// A real memvpd on directories of its own, for one test. The outbox is polled with a deadline; nothing is assumed to be quick.

import Foundation
import Testing

/// What the tests need from the build: the programs beside the test bundle, a model bundle, a photo.
enum Build {
    static let programs = Bundle.module.bundleURL.deletingLastPathComponent()
    static let model: URL = {
        if let path = ProcessInfo.processInfo.environment["MEMVP_TEST_BUNDLE"] { return URL(filePath: path) }
        return URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "build/models/default")
    }()
    static let photo = Bundle.module.bundleURL.appending(path: "Fixtures/astronaut.jpg")
    /// 60 × 40 pixels.
    static let drawing = Bundle.module.bundleURL.appending(path: "Fixtures/drawing.png")
    /// Whether a model bundle with an adapter is there; if not, the tests say how to get one.
    static let hasModel: Bool = {
        let yaml = (try? String(contentsOf: model.appending(path: "model.yaml"), encoding: .utf8)) ?? ""
        let isUsable = !yaml.isEmpty && !yaml.contains("adapters: {}")
        if !isUsable {
            FileHandle.standardError.write(
                Data("SKIPPED: end-to-end tests: \(model.path) is no bundle with an adapter; run make models\n".utf8))
        }
        return isUsable
    }()
}

/// The outcome document, as far as tests look at it.
struct Outcome: Decodable {
    struct Image: Decodable {
        let file: String
        let sha256: String?
        let width: Int?
    }
    struct Entry: Decodable, Equatable {
        let id: String
        let task: String
        let text: String
        let confidence: Double
        let probabilities: [String: Double]?
        let finish: String
    }
    struct Explanation: Decodable {
        let code: String
        let message: String
    }
    let version: Int
    let status: String
    let image: Image?
    let answers: [Entry]
    let error: Explanation?
}

struct Timeout: Error, CustomStringConvertible {
    let description: String
}

final class RunningDaemon {
    let root: URL
    private var process: Process?

    init() throws {
        // Short: a socket's path has at most 107 bytes.
        root = URL(filePath: "/tmp/memvpd-\(UUID().uuidString.prefix(8))")
        for name in ["inbox", "spool", "outbox", "failed", "done", "run"] {
            try FileManager.default.createDirectory(
                at: root.appending(path: name), withIntermediateDirectories: true)
        }
        try configure(model: Build.model.path)
    }

    deinit {
        process?.terminate()
        process?.waitUntilExit()
        try? FileManager.default.removeItem(at: root)
    }

    func configure(model: String, extra: String = "") throws {
        let directories = ["inbox", "spool", "outbox", "failed", "done"]
            .map { "  \($0): \(root.path)/\($0)\n" }.joined()
        let text = """
            directories:
            \(directories)sockets:
              control: \(root.path)/run/control.sock
              metrics: \(root.path)/run/metrics.sock
            model: \(model)
            settle: 300ms
            pairing:
              grace: 200ms
            \(extra)
            """
        try Data(text.utf8).write(to: root.appending(path: "memvpd.yaml"))
    }

    // MARK: The programs

    func start() throws { process = try launch("memvpd", ["--config", "\(root.path)/memvpd.yaml"]) }

    /// Stops with SIGTERM and returns the exit code.
    func stop() throws -> Int32 {
        let end = try end(with: SIGTERM)
        #expect(end.reason == .exit)
        return end.status
    }

    /// Ends with a signal; how it ended.
    func end(with signal: Int32) throws -> (reason: Process.TerminationReason, status: Int32) {
        let process = try #require(process)
        #expect(kill(process.processIdentifier, signal) == 0)
        process.waitUntilExit()
        self.process = nil
        return (process.terminationReason, process.terminationStatus)
    }

    /// Runs a program to its end; its exit code and its output.
    func run(_ program: String, _ arguments: [String]) throws -> (code: Int32, output: String) {
        let pipe = Pipe()
        let process = try launch(program, arguments, output: pipe)
        let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: output, as: UTF8.self))
    }

    func control(_ arguments: String...) throws -> (code: Int32, output: String) {
        try run("memvpctl", arguments + ["--socket", "\(root.path)/run/control.sock"])
    }

    private func launch(_ program: String, _ arguments: [String], output: Pipe? = nil) throws -> Process {
        let process = Process()
        process.executableURL = Build.programs.appending(path: program)
        process.arguments = arguments
        process.standardError = FileHandle.nullDevice
        process.standardOutput = output ?? FileHandle.nullDevice as Any
        try process.run()
        return process
    }

    // MARK: Files

    func inbox(_ name: String) -> URL { root.appending(path: "inbox/\(name)") }

    func drop(_ name: String, _ text: String) throws { try Data(text.utf8).write(to: inbox(name)) }

    /// Copies the photo into the inbox, as `cp` does.
    func dropPhoto(_ name: String = "photo.jpg") throws { try Data(contentsOf: Build.photo).write(to: inbox(name)) }

    /// Moves the photo into the inbox, as `mv` on one file system does.
    func movePhoto(_ name: String) throws {
        let aside = root.appending(path: "run/\(name)")
        try FileManager.default.copyItem(at: Build.photo, to: aside)
        try FileManager.default.moveItem(at: aside, to: inbox(name))
    }

    var outcomes: [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: "\(root.path)/outbox")) ?? []).sorted()
    }

    func outcome(_ name: String) throws -> Outcome {
        try JSONDecoder().decode(
            Outcome.self, from: Data(contentsOf: root.appending(path: "outbox/\(name).json")))
    }

    /// Waits until the outcomes are in the outbox; another program writes them, so there is nothing to wait on but the clock.
    func wait(for names: [String]) async throws {
        let wanted = Set(names.map { "\($0).json" })
        try await wait("outcomes \(wanted.subtracting(outcomes).sorted())") { wanted.isSubset(of: self.outcomes) }
    }

    func wait(_ what: String, until condition: () throws -> Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(90)
        while try !condition() {
            guard ContinuousClock.now < deadline else { throw Timeout(description: "no \(what)") }
            if let process, !process.isRunning { throw Timeout(description: "memvpd ended; no \(what)") }
            try await Task.sleep(for: .milliseconds(50))
        }
    }
}
