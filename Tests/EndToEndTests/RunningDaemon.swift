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
    static let otherFileSystem = URL(filePath: "/dev/shm")
    /// Whether there are two file systems to put directories on.
    static let hasTwoFileSystems: Bool = {
        let devices = ["/tmp", otherFileSystem.path].map {
            (try? FileManager.default.attributesOfFileSystem(forPath: $0))?[.systemNumber] as? Int
        }
        return devices[0] != nil && devices[1] != nil && devices[0] != devices[1]
    }()
    /// Whether memvpd can be run without the rights of root: not as root, or as somebody who reaches programs and model.
    static let canDropRights: Bool = {
        guard getuid() == 0 else { return true }
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/setpriv")
        process.arguments = [
            "--reuid=\(RunningDaemon.nobody)", "--regid=\(RunningDaemon.nobody)", "--clear-groups",
            "/bin/sh", "-c", "test -x \"$0\" && test -r \"$1\"",
            programs.appending(path: "memvpd").path, model.appending(path: "language.gguf").path,
        ]
        do { try process.run() } catch { return false }
        process.waitUntilExit()
        return process.terminationStatus == 0
    }()
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
        let bytes: String?
        let sha256: String?
        let width: Int?

        private enum CodingKeys: String, CodingKey {
            case file, sha256, width
            case bytes = "file_bytes"
        }
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
        let hint: String?
    }
    struct Model: Decodable, Equatable {
        let name: String
        let files: [String: String]
        let quantisation: String
        let kernels: String
        let adapter: String?
    }
    let version: Int
    let job: String
    let retryOf: String?
    let status: String
    let image: Image?
    let answers: [Entry]
    let error: Explanation?
    let model: Model?
    let timing: [String: Double]

    private enum CodingKeys: String, CodingKey {
        case version, job, status, image, answers, error, model
        case retryOf = "retry_of"
        case timing = "timing_ms"
    }
}

struct Timeout: Error, CustomStringConvertible {
    let description: String
}

final class RunningDaemon {
    /// Somebody who is not root and owns nothing here; what root may read, he may not.
    static let nobody = "65534"

    let root: URL
    /// Where the directories are that are on another file system.
    private let elsewhere: URL
    private let moved: Set<String>
    private var process: Process?

    /// - Parameter moved: those of the directories that are to be on another file system, `Build.otherFileSystem`.
    init(elsewhere moved: Set<String> = []) throws {
        // Short: a socket's path has at most 107 bytes.
        let name = "memvpd-\(UUID().uuidString.prefix(8))"
        root = URL(filePath: "/tmp/\(name)")
        elsewhere = Build.otherFileSystem.appending(path: name)
        self.moved = moved
        for name in ["inbox", "spool", "outbox", "failed", "done", "run"] {
            try FileManager.default.createDirectory(at: directory(name), withIntermediateDirectories: true)
        }
        try configure()
    }

    deinit {
        process?.terminate()
        process?.waitUntilExit()
        try? FileManager.default.removeItem(at: root)
        if !moved.isEmpty { try? FileManager.default.removeItem(at: elsewhere) }
    }

    func directory(_ name: String) -> URL { (moved.contains(name) ? elsewhere : root).appending(path: name) }

    /// Writes the configuration; `extra` is more of its lines.
    func configure(
        model: String = Build.model.path, settle: String = "300ms", grace: String = "200ms", timeout: String = "1h",
        extra: String = ""
    ) throws {
        let directories = ["inbox", "spool", "outbox", "failed", "done"]
            .map { "  \($0): \(directory($0).path)\n" }.joined()
        let text = """
            directories:
            \(directories)sockets:
              control: \(root.path)/run/control.sock
              metrics: \(root.path)/run/metrics.sock
            model: \(model)
            settle: \(settle)
            pairing:
              grace: \(grace)
              timeout: \(timeout)
            \(extra)
            """
        try Data(text.utf8).write(to: root.appending(path: "memvpd.yaml"))
    }

    // MARK: The programs

    var configurationFile: String { "\(root.path)/memvpd.yaml" }

    /// Starts it; its log goes to `errors`.
    func start(errors: FileHandle = .nullDevice) throws {
        process = try launch("memvpd", ["--config", configurationFile], errors: errors)
    }

    /// Starts it without the rights of root: as `nobody`, to whom the directories are given, or as whoever runs the tests.
    func startUnprivileged() throws {
        guard getuid() == 0 else { return try start() }
        _ = try run("/bin/chown", ["-R", "\(Self.nobody):\(Self.nobody)", root.path])
        process = try launch(
            "/usr/bin/setpriv",
            [
                "--reuid=\(Self.nobody)", "--regid=\(Self.nobody)", "--clear-groups",
                Build.programs.appending(path: "memvpd").path,
            ]
                + ["--config", configurationFile])
    }

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

    /// Runs a program to its end; its exit code, its output and what it wrote to standard error.
    @discardableResult
    func run(_ program: String, _ arguments: [String]) throws -> (code: Int32, output: String, errors: String) {
        let pipe = Pipe()
        let complaints = root.appending(path: "run/errors-\(UUID().uuidString)")
        try Data().write(to: complaints)
        let process = try launch(program, arguments, output: pipe, errors: try FileHandle(forWritingTo: complaints))
        let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        let errors = try Data(contentsOf: complaints)
        try FileManager.default.removeItem(at: complaints)
        return (
            process.terminationStatus, String(decoding: output, as: UTF8.self), String(decoding: errors, as: UTF8.self)
        )
    }

    /// Runs one of our programs to its end without the rights of root: as `nobody`, or as whoever runs the tests.
    func runUnprivileged(
        _ program: String, _ arguments: [String]
    ) throws -> (code: Int32, output: String, errors: String) {
        guard getuid() == 0 else { return try run(program, arguments) }
        let identity = ["--reuid=\(Self.nobody)", "--regid=\(Self.nobody)", "--clear-groups"]
        return try run("/usr/bin/setpriv", identity + [Build.programs.appending(path: program).path] + arguments)
    }

    @discardableResult
    func control(_ arguments: String...) throws -> (code: Int32, output: String, errors: String) {
        try run("memvpctl", arguments + ["--socket", "\(root.path)/run/control.sock"])
    }

    /// A document of the control socket as memvpctl prints it.
    func document<Document: Decodable>(_ type: Document.Type, _ arguments: String...) throws -> Document {
        let printed = try run("memvpctl", arguments + ["--json", "--socket", "\(root.path)/run/control.sock"])
        return try JSONDecoder().decode(type, from: Data(printed.output.utf8))
    }

    /// Starts one of our programs, or one of the system's by its path.
    private func launch(
        _ program: String, _ arguments: [String], output: Pipe? = nil, errors: FileHandle = .nullDevice
    ) throws -> Process {
        let process = Process()
        process.executableURL =
            program.hasPrefix("/") ? URL(filePath: program) : Build.programs.appending(path: program)
        process.arguments = arguments
        process.standardError = errors
        process.standardOutput = output ?? FileHandle.nullDevice as Any
        try process.run()
        return process
    }

    // MARK: Files

    func inbox(_ name: String) -> URL { directory("inbox").appending(path: name) }

    func drop(_ name: String, _ text: String) throws { try Data(text.utf8).write(to: inbox(name)) }

    /// Copies the photo into the inbox, as `cp` does.
    func dropPhoto(_ name: String = "photo.jpg") throws { try Data(contentsOf: Build.photo).write(to: inbox(name)) }

    /// Moves the photo into the inbox, as `mv` does.
    func movePhoto(_ name: String) throws {
        try aside(name)
        try moveIn(name)
    }

    /// Puts the photo beside the inbox.
    func aside(_ name: String) throws {
        try FileManager.default.copyItem(at: Build.photo, to: root.appending(path: "run/\(name)"))
    }

    /// Moves a file into the inbox that was put beside it.
    func moveIn(_ name: String) throws {
        try FileManager.default.moveItem(at: root.appending(path: "run/\(name)"), to: inbox(name))
    }

    var outcomes: [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: directory("outbox").path)) ?? []).sorted()
    }

    func outcome(_ name: String) throws -> Outcome {
        try JSONDecoder().decode(
            Outcome.self, from: Data(contentsOf: directory("outbox").appending(path: "\(name).json")))
    }

    /// Waits until the outcomes are in the outbox; another program writes them, so there is nothing to wait on but the clock.
    func wait(for names: [String]) async throws {
        let wanted = Set(names.map { "\($0).json" })
        try await wait("outcomes \(wanted.subtracting(outcomes).sorted())") { wanted.isSubset(of: self.outcomes) }
    }

    func wait(_ what: String, until condition: () throws -> Bool) async throws {
        try await Self.wait(what) {
            if try condition() { return true }
            if let process, !process.isRunning { throw Timeout(description: "memvpd ended; no \(what)") }
            return false
        }
    }

    /// The same for whoever has no hold on the daemon.
    static func wait(_ what: String, until condition: () throws -> Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(600)
        while try !condition() {
            guard ContinuousClock.now < deadline else { throw Timeout(description: "no \(what)") }
            try await Task.sleep(for: .milliseconds(50))
        }
    }
}
