// From drop to answer through the real programs.

import Foundation
import Testing

@Suite(
    .serialized, .enabled(if: Build.hasModel, "needs a model bundle with an adapter: make models, or MEMVP_TEST_BUNDLE")
)
struct AnsweringTests {
    private static let spec = """
        version: 1
        image: photo.jpg
        tasks:
          - id: alt
            caption: { max_tokens: 12 }
          - id: indoors
            ask: "Is this indoors?"
            answer: { choices: [yes, no] }
        """

    @Test("A photo alone, a photo with its spec first, a photo moved in, a photo before its spec")
    func arrivals() async throws {
        let daemon = try RunningDaemon()
        try daemon.start()
        try daemon.drop("spec.yaml", Self.spec.replacing("photo.jpg", with: "spec.jpg"))
        try daemon.dropPhoto("spec.jpg")
        try daemon.dropPhoto("alone.jpg")
        try daemon.movePhoto("moved.jpg")
        try await daemon.wait(for: ["spec", "alone", "moved"])

        let both = try daemon.outcome("spec")
        #expect(both.version == 1 && both.status == "ok" && both.error == nil)
        #expect(both.image?.file == "spec.jpg" && both.image?.width == 512 && both.image?.sha256?.count == 64)
        #expect(both.answers.map(\.id) == ["alt", "indoors"])
        let choice = try #require(both.answers.last)
        let probabilities = try #require(choice.probabilities)
        #expect(Set(probabilities.keys) == ["yes", "no"] && abs(probabilities.values.reduce(0, +) - 1) < 1e-9)
        #expect(probabilities[choice.text] == choice.confidence && choice.finish == "choice")
        // The same photo gives the same answer, however it came.
        #expect(try daemon.outcome("alone").answers == daemon.outcome("moved").answers)
        #expect(try daemon.outcome("alone").answers.map(\.task) == ["caption"])
        #expect(try daemon.outcome("alone").answers.allSatisfy { !$0.text.isEmpty })

        // A photo whose spec comes within the grace gets it; this grace lasts until it has come.
        #expect(try daemon.stop() == 0)
        try daemon.configure(grace: "1h")
        try daemon.start()
        try await daemon.waitForControl()
        try daemon.movePhoto("late.jpg")
        try await daemon.wait("wait for a spec") { try daemon.status().waiting["late.jpg"] == "a spec may follow" }
        try daemon.drop("late.yaml", Self.spec.replacing("photo.jpg", with: "late.jpg"))
        try await daemon.wait(for: ["late"])
        #expect(try daemon.outcome("late").answers == both.answers)
        #expect(try daemon.stop() == 0)
    }

    @Test("A PNG is answered like a JPEG, with its spec or alone, whatever its name says")
    func png() async throws {
        let daemon = try RunningDaemon()
        try daemon.start()
        let drawing = try Data(contentsOf: Build.drawing)
        try daemon.drop("spec.yaml", Self.spec.replacing("photo.jpg", with: "spec.png"))
        for name in ["spec.png", "alone.PNG", "disguised.jpg"] { try drawing.write(to: daemon.inbox(name)) }
        try drawing.dropLast(4).write(to: daemon.inbox("cut.png"))
        try await daemon.wait(for: ["spec", "alone", "disguised", "cut"])
        let both = try daemon.outcome("spec")
        #expect(both.status == "ok" && both.answers.map(\.id) == ["alt", "indoors"])
        #expect(both.image?.file == "spec.png" && both.image?.width == 60 && both.image?.sha256?.count == 64)
        #expect(try daemon.outcome("alone").answers.map(\.task) == ["caption"])
        #expect(try daemon.outcome("alone").answers == daemon.outcome("disguised").answers)
        #expect(try daemon.outcome("cut").error?.code == "corrupt_image")
        #expect(try daemon.stop() == 0)
    }

    @Test("Two hundred at once get one answer each, the same that one alone gets")
    func twoHundred() async throws {
        let daemon = try RunningDaemon()
        try daemon.start()
        let names = (0..<200).map { "photo\($0)" }
        for name in names { try daemon.movePhoto("\(name).jpg") }
        try await daemon.wait(for: names)
        let first = try daemon.outcome("photo0").answers
        for name in names { #expect(try daemon.outcome(name).answers == first) }
        #expect(daemon.outcomes.count == 200)
        #expect(try daemon.stop() == 0)
    }

    @Test("What was dropped while the daemon was stopped is answered by --once, which then ends with 0")
    func once() throws {
        let daemon = try RunningDaemon()
        try daemon.configure(extra: "metrics: {textfile: \(daemon.root.path)/run/memvpd.prom}")
        try daemon.dropPhoto()
        try daemon.drop("photo.yaml", Self.spec)
        #expect(try daemon.run("memvpd", ["--config", "\(daemon.root.path)/memvpd.yaml", "--once"]).code == 0)
        // The last thing that is written tells of all that was done.
        let metrics = try String(contentsOf: daemon.root.appending(path: "run/memvpd.prom"), encoding: .utf8)
        #expect(metrics.contains(#"memvpd_jobs_total{outcome="answered"} 1"#), "\(metrics)")
        #expect(try daemon.outcome("photo").answers.count == 2)
        #expect(try FileManager.default.contentsOfDirectory(atPath: "\(daemon.root.path)/inbox").isEmpty)
    }

    @Test("--once without an inbox ends with 69 and names it; there again, it is worked off")
    func onceWithoutInbox() throws {
        let daemon = try RunningDaemon()
        let inbox = daemon.directory("inbox")
        try FileManager.default.removeItem(at: inbox)
        let once = ["--config", daemon.configurationFile, "--once"]
        let first = try daemon.run("memvpd", once)
        #expect(first.code == 69 && first.errors.contains("\(inbox.path): nothing can be taken in"), "\(first.errors)")
        try FileManager.default.createDirectory(at: inbox, withIntermediateDirectories: false)
        try daemon.dropPhoto()
        #expect(try daemon.run("memvpd", once).code == 0)
        #expect(try daemon.outcome("photo").status == "ok")
    }

    @Test(
        "--once with an inbox from which nothing may be taken ends with the fault; the names of files come only where they may",
        .enabled(if: getuid() == 0 && Build.canDropRights, "needs root, to be somebody else"), arguments: [true, false])
    func onceUntaken(hides: Bool) throws {
        let daemon = try RunningDaemon()
        try daemon.configure(extra: "log: {names: \(hides ? "hide" : "show")}")
        try daemon.dropPhoto("Meier.jpg")
        let (user, inbox) = (RunningDaemon.nobody, daemon.directory("inbox").path)
        try daemon.run("/bin/chown", ["-R", "\(user):\(user)", daemon.root.path])
        try daemon.run("/bin/chown", ["0:0", inbox])
        let program = Build.programs.appending(path: "memvpd").path
        let end = try daemon.run(
            "/usr/bin/setpriv",
            [
                "--reuid=\(user)", "--regid=\(user)", "--clear-groups", program, "--config", daemon.configurationFile,
                "--once",
            ])
        #expect(end.code == 77 && daemon.outcomes.isEmpty, "\(end.errors)")
        #expect(end.errors.contains("error: ") && end.errors.contains("Meier") == !hides, "\(end.errors)")
        #expect(FileManager.default.fileExists(atPath: "\(inbox)/Meier.jpg"))
    }

    @Test(
        "--once with an outbox that takes nothing ends with the fault and names it; the next one publishes",
        .enabled(if: getuid() == 0 && Build.canDropRights, "needs root, to be somebody else"))
    func onceUndelivered() throws {
        let daemon = try RunningDaemon()
        try daemon.dropPhoto()
        let (user, outbox) = (RunningDaemon.nobody, daemon.directory("outbox").path)
        try daemon.run("/bin/chown", ["-R", "\(user):\(user)", daemon.root.path])
        try daemon.run("/bin/chown", ["0:0", outbox])
        let program = Build.programs.appending(path: "memvpd").path
        let once = [
            "--reuid=\(user)", "--regid=\(user)", "--clear-groups", program, "--config", daemon.configurationFile,
            "--once",
        ]
        let first = try daemon.run("/usr/bin/setpriv", once)
        #expect(first.code == 77 && daemon.outcomes.isEmpty, "\(first.errors)")
        #expect(
            first.errors.contains(
                "\(outbox): an outcome waits to be put there: one cannot be created: Permission denied"))
        try daemon.run("/bin/chown", ["\(user):\(user)", outbox])
        #expect(try daemon.run("/usr/bin/setpriv", once).code == 0)
        #expect(try daemon.outcome("photo").status == "ok")
    }

    @Test(
        "A stop, and then a kill, in the middle of the work: every photo still gets one answer",
        arguments: [SIGTERM, SIGKILL])
    func interruption(signal: Int32) async throws {
        let daemon = try RunningDaemon()
        try daemon.start()
        let names = (0..<12).map { "photo\($0)" }
        for name in names { try daemon.movePhoto("\(name).jpg") }
        try await daemon.wait("first answer") { !daemon.outcomes.isEmpty }
        let end = try daemon.end(with: signal)
        #expect(signal == SIGTERM ? end == (.exit, 0) : end == (.uncaughtSignal, SIGKILL))
        #expect(try daemon.run("memvpd", ["--config", "\(daemon.root.path)/memvpd.yaml", "--once"]).code == 0)
        #expect(daemon.outcomes == names.map { "\($0).json" }.sorted())
        for name in names { #expect(try daemon.outcome(name).status == "ok") }
    }

    @Test("Operators hold, look, release, reload and retry; the answer of a retry has a name of its own")
    func operators() async throws {
        let daemon = try RunningDaemon()
        try daemon.start()
        try await daemon.wait("control socket") { try daemon.control("hold").code == 0 }
        try daemon.dropPhoto()
        try await daemon.wait("queued job") { try daemon.control("queue", "-j").output.contains("\"queued\"") }
        #expect(try daemon.control("status", "--json").output.contains(#""state":"held""#))
        #expect(daemon.outcomes.isEmpty)
        #expect(try daemon.control("release").code == 0)
        try await daemon.wait(for: ["photo"])
        #expect(try daemon.control("reload").code == 0)
        #expect(try daemon.control("health").code == 0)
        #expect(try daemon.control("metrics").output.contains(#"memvpd_jobs_total{outcome="answered"} 1"#))

        let done = try FileManager.default.contentsOfDirectory(atPath: "\(daemon.root.path)/done")
        let job = try #require(done.first { !$0.hasPrefix(".") })
        #expect(try daemon.control("retry", job).code == 0)
        try await daemon.wait(for: ["photo-2"])
        #expect(try daemon.outcome("photo-2").answers == daemon.outcome("photo").answers)
        #expect(try daemon.control("show", "nonsense").code == 66)
        #expect(try daemon.stop() == 0)
    }

    @Test("A reload that cannot find the model says so and the old one goes on")
    func badReload() async throws {
        let daemon = try RunningDaemon()
        try daemon.start()
        try await daemon.wait("control socket") { try daemon.control("status").code == 0 }
        try daemon.configure(model: "\(daemon.root.path)/nothing")
        try await daemon.wait("refusal") {
            let reload = try daemon.control("reload")
            return reload.code == 78 && reload.errors.contains("memvp models install FILE.tar")
        }
        try daemon.dropPhoto()
        try await daemon.wait(for: ["photo"])
        #expect(try daemon.outcome("photo").status == "ok")
        #expect(try daemon.stop() == 0)
    }
}
