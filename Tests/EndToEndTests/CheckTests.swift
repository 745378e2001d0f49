// memvpctl check: the limits of the configuration, JSON, and paths that are no spec. No daemon runs, no model is needed.

import Foundation
import Testing

@Suite struct CheckTests {
    /// What `check --json` writes.
    private struct Report: Decodable {
        struct Entry: Decodable {
            let line: Int?
            let column: Int?
            let message: String
            let hint: String
        }
        struct Explanation: Decodable {
            let code: String
            let message: String
        }
        let file: String
        let limits: String?
        let tasks: [String]?
        let error: Explanation?
        let faults: [Entry]
    }

    private let daemon: RunningDaemon

    init() throws {
        daemon = try RunningDaemon()
        try daemon.configure(extra: "limits: {tasks: 1, answer_tokens: 10, spec_bytes: 100}")
    }

    private func file(_ name: String, _ text: String) throws -> String {
        let at = daemon.root.appending(path: "run/\(name)")
        try Data(text.utf8).write(to: at)
        return at.path
    }

    private func check(_ spec: String, _ options: String...) throws -> (code: Int32, output: String, errors: String) {
        try daemon.run("memvpctl", ["check", spec, "--config", daemon.configurationFile] + options)
    }

    private func report(_ spec: String, code: Int32) throws -> Report {
        let end = try check(spec, "--json")
        #expect(end.code == code, "\(end)")
        return try JSONDecoder().decode(Report.self, from: Data(end.output.utf8))
    }

    @Test("A spec is good within the limits of the configuration, which is named, and not beyond them")
    func limits() throws {
        let good = try file("good.yaml", "task: caption\n")
        let end = try check(good)
        #expect(end.code == 0 && end.errors.isEmpty, "\(end)")
        #expect(end.output == "\(good): good within the limits of \(daemon.configurationFile); tasks: caption\n")
        for (limit, text) in [
            ("tasks", "tasks: [caption: {}, ask: why]\n"), ("answer_tokens", "caption: {max_tokens: 11}\n"),
            ("spec_bytes", "task: caption\n#\(String(repeating: "x", count: 100))\n"),
        ] {
            let spec = try file("\(limit).yaml", text)
            let end = try check(spec)
            #expect(end.code == 65 && end.output.isEmpty && end.errors.contains("limits.\(limit)"), "\(end)")
            #expect(try report(spec, code: 65).error?.code == "spec_invalid")
        }
        try daemon.configure()
        #expect(try check(daemon.root.appending(path: "run/tasks.yaml").path).code == 0)
    }

    @Test("With --json there is a document in any case: tasks of a good spec, each fault of a bad one in its place")
    func json() throws {
        let good = try report(try file("good.yaml", "task: caption\n"), code: 0)
        #expect(good.tasks == ["caption"] && good.error == nil && good.faults.isEmpty)
        #expect(good.limits == daemon.configurationFile && good.file.hasSuffix("/good.yaml"))

        let path = try file("bad.yaml", "colour: red\ntask: caption\npriority: 11\n")
        let bad = try report(path, code: 65)
        #expect(bad.tasks == nil && bad.error?.code == "spec_invalid" && bad.file == path)
        #expect(bad.error?.message.contains("has 2 faults; 1:1: unknown key") == true)
        #expect(bad.faults.map(\.line) == [1, 3] && bad.faults.map(\.column) == [1, 11])
        #expect(bad.faults.allSatisfy { !$0.message.isEmpty && !$0.hint.isEmpty })
        // For people each fault has a line of its own.
        #expect(try check(path).errors.contains("has 2 faults\n  1:1: "))

        let empty = try report(try file("empty.yaml", ""), code: 65)
        #expect(empty.error?.code == "empty_file" && empty.faults.isEmpty)
    }

    @Test("What is not there, a directory and a pipe are told apart")
    func kinds() throws {
        let run = daemon.root.appending(path: "run").path
        let isMade = unsafe mkfifo("\(run)/pipe.yaml", 0o600) == 0
        #expect(isMade)
        for (path, code, error) in [
            ("\(run)/none.yaml", 66, "not_found"), (run, 65, "not_regular_file"),
            ("\(run)/pipe.yaml", 65, "not_regular_file"),
        ] as [(String, Int32, String)] {
            #expect(try report(path, code: code).error?.code == error, "\(path)")
            #expect(try check(path).errors.contains("[\(error)]"), "\(path)")
        }
    }

    @Test(
        "What may not be read says so: a spec with 66, a configuration with 78",
        .enabled(if: Build.canDropRights, "needs setpriv(1), and programs and a model that nobody may read"))
    func rights() throws {
        let spec = try file("secret.yaml", "task: caption\n")
        for path in [spec, daemon.configurationFile] {
            try FileManager.default.setAttributes([.posixPermissions: 0], ofItemAtPath: path)
        }
        let standard = try daemon.runUnprivileged("memvpctl", ["check", spec])
        #expect(standard.code == 66 && standard.errors.contains("[unreadable]"), "\(standard)")
        let configuration = ["--config", daemon.configurationFile]
        let ends = try [
            daemon.runUnprivileged("memvpd", configuration + ["--check-config"]),
            daemon.runUnprivileged("memvpctl", ["check", spec] + configuration),
        ]
        for end in ends {
            #expect(end.code == 78 && end.errors.contains("may not be read") && end.errors.contains("chmod"), "\(end)")
            #expect(!end.errors.contains("Name another file"), "\(end)")
        }
    }
}
