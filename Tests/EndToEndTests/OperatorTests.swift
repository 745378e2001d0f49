// What operators see and do, through memvpctl and the real daemon: history, holds, removal, retries, several workers, strikes.

import Foundation
import Testing

/// The documents of docs/CONTROL.md, as far as tests look at them.
struct Shown: Decodable {
    struct Entry: Decodable {
        let job: String?
        let state: String
        let note: String?
    }
    struct Event: Decodable {
        let event: String
        let note: String?
    }
    struct Detail: Decodable { let code: String }
    struct Name: Decodable { let name: String }
    let entry: Entry
    let history: [Event]
    let attempts: Int
    let strikes: Int
    let answer: Name?
    let error: Detail?
    let timing: [String: Double]

    private enum CodingKeys: String, CodingKey {
        case entry, history, attempts, strikes, answer, error
        case timing = "timing_ms"
    }
}

struct Status: Decodable {
    struct Model: Decodable {
        let threads: Int
        let workers: Int
        let adapters: [String: String]
    }
    struct Directory: Decodable {
        let role: String
        let watch: String?
        let note: String?
    }
    struct Inbox: Decodable {
        struct Waiting: Decodable {
            let file: Shown.Name
            let reason: String
        }
        let waiting: [Waiting]?
    }
    let state: String
    let model: Model
    let directories: [Directory]
    let inbox: Inbox

    var waiting: [String: String] {
        Dictionary((inbox.waiting ?? []).map { ($0.file.name, $0.reason) }) { first, _ in first }
    }
}

/// Of the status what it says of the last error.
struct LastError: Decodable {
    struct Entry: Decodable {
        let job: String
        let file: Shown.Name?
    }
    let error: Entry

    private enum CodingKeys: String, CodingKey { case error = "last_error" }
}

extension RunningDaemon {
    func status() throws -> Status { try document(Status.self, "status") }

    /// The jobs in the spool, by the names of their images.
    func jobs() throws -> [String: Shown.Entry] {
        struct Line: Decodable {
            let job: String?
            let state: String
            let note: String?
            let image: Shown.Name?
        }
        let lines = try control("queue", "-j").output.split(separator: "\n")
            .map { try JSONDecoder().decode(Line.self, from: Data($0.utf8)) }
        return Dictionary(
            lines.map { ($0.image?.name ?? "", Shown.Entry(job: $0.job, state: $0.state, note: $0.note)) }
        ) { first, _ in first }
    }

    /// What `explain` says, with its lines joined.
    func explanation(_ job: String) throws -> String {
        try control("explain", job).output.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }

    func waitForControl() async throws {
        try await wait("control socket") { try control("status").code == 0 }
    }
}

@Suite(
    .serialized, .enabled(if: Build.hasModel, "needs a model bundle with an adapter: make models, or MEMVP_TEST_BUNDLE")
)
struct OperatorTests {
    @Test("show tells an ended job's history, times and error, long after its answer was taken away")
    func history() async throws {
        let daemon = try RunningDaemon()
        try daemon.start()
        try daemon.dropPhoto("good.jpg")
        try daemon.drop("bad.jpg", "not a photo\n")
        try daemon.drop("empty.jpg", "")
        try await daemon.wait(for: ["good", "bad", "empty"])
        let outcomes = try ["good", "bad", "empty"].map { try daemon.outcome($0) }
        for name in daemon.outcomes {
            try FileManager.default.removeItem(at: daemon.directory("outbox").appending(path: name))
        }

        // Published comes before filed.
        try await daemon.wait("filed jobs") { try daemon.control("queue", "-j").output.isEmpty }
        let good = try daemon.document(Shown.self, "show", outcomes[0].job)
        #expect(good.history.map(\.event) == ["claimed", "queued", "running", "answered", "published"])
        #expect(good.attempts == 1 && good.strikes == 0 && good.error == nil && good.answer?.name == "good.json")
        #expect(good.entry.state == "done" && good.entry.note == "answered as good.json")
        #expect(good.timing == outcomes[0].timing)
        #expect(Set(good.timing.keys) == ["queued", "jpeg", "vision", "prefill", "generate", "total"])

        let bad = try daemon.document(Shown.self, "show", outcomes[1].job)
        #expect(bad.error?.code == "unsupported_type" && bad.history.last?.note == "bad.json")
        #expect(bad.history.suffix(2).map(\.event) == ["failed", "published"])
        #expect(bad.entry.state == "failed" && bad.entry.note == "error as bad.json")
        #expect(bad.timing == outcomes[1].timing && bad.timing["total"] != nil)

        // The last error is about the file that was dropped, not about its outcome.
        let last = try daemon.document(LastError.self, "status").error
        let about = try #require(outcomes.first { $0.job == last.job })
        #expect(about.error != nil && last.file?.name == about.image?.file)

        // The spool refused this one itself: no worker saw it. Its error is like any other.
        let empty = try daemon.document(Shown.self, "show", outcomes[2].job)
        #expect(empty.history.map(\.event) == ["claimed", "failed", "published"])
        #expect(empty.attempts == 0 && empty.timing == outcomes[2].timing && empty.timing["total"] != nil)
        #expect(outcomes[2].model != nil && outcomes[2].model == outcomes[1].model)
        #expect(outcomes[2].model?.files.keys.contains("language.gguf") == true)
        let text = try daemon.control("show", outcomes[0].job).output
        #expect(text.contains("vision") && text.contains("published") && text.contains("good.json"))

        // Ended jobs are not in the queue, but those that failed can be asked for; a state that is none is not "empty".
        let failed = try daemon.control("queue", "-j", "--state", "failed").output.split(separator: "\n")
        #expect(failed.count == 2 && failed.allSatisfy { $0.contains("\"failed\"") }, "\(failed)")
        #expect(try daemon.control("queue", "--state", "failed", "--limit", "1").output.contains("the last 1 shown"))
        #expect(try daemon.control("queue", "--state", "answered").output.hasPrefix("No outcome waits to be published"))
        #expect(try daemon.control("queue", "-j").output.isEmpty)
        let misspelt = try daemon.control("queue", "--state", "faild")
        #expect(misspelt.code == 64 && misspelt.errors.contains("queued, held"), "\(misspelt)")
        #expect(try daemon.stop() == 0)
    }

    @Test("A drained queue takes nothing in until it is released; what failed is tried again all at once")
    func drain() async throws {
        let daemon = try RunningDaemon()
        try daemon.start()
        try await daemon.wait("drained queue") { try daemon.control("drain").code == 0 }
        #expect(try daemon.status().state == "draining")
        try daemon.movePhoto("a.jpg")
        try await daemon.wait("reason") {
            try daemon.status().waiting["a.jpg"] == "nothing is taken in while the queue is drained"
        }
        #expect(daemon.outcomes.isEmpty)
        #expect(try daemon.control("release").code == 0)
        try await daemon.wait(for: ["a"])
        #expect(try daemon.status().state == "running")

        for name in ["x.jpg", "y.jpg"] { try daemon.drop(name, "not a photo\n") }
        try await daemon.wait(for: ["x", "y"])
        try await daemon.wait("filed jobs") { try daemon.control("queue", "-j").output.isEmpty }
        let retried = try daemon.control("retry", "--all")
        #expect(retried.code == 0 && retried.output.contains("2 failed jobs are tried again"), "\(retried)")
        try await daemon.wait(for: ["x-2", "y-2"])
        let jobs = try ["x", "y"].map { try daemon.outcome($0).job }
        #expect(try Set(["x-2", "y-2"].map { try daemon.outcome($0).retryOf ?? "" }) == Set(jobs))
        #expect(try daemon.stop() == 0)
    }

    @Test("One job is held and released, another removed, while the rest go on; a removed one can be retried")
    func singleJobs() async throws {
        let daemon = try RunningDaemon()
        try daemon.start()
        try await daemon.wait("held queue") { try daemon.control("hold").code == 0 }
        for name in ["kept", "gone", "free"] { try daemon.movePhoto("\(name).jpg") }
        try await daemon.wait("three jobs") { try daemon.jobs().values.filter { $0.state == "queued" }.count == 3 }
        let jobs = try daemon.jobs().mapValues { $0.job ?? "" }
        let (kept, gone) = (try #require(jobs["kept.jpg"]), try #require(jobs["gone.jpg"]))
        let queued = try daemon.explanation(kept)
        #expect(queued.contains("The queue is held: memvpctl release lets it go on."), "\(queued)")
        #expect(!queued.contains("waits for a worker"), "\(queued)")
        #expect(try daemon.control("hold", kept).code == 0)
        #expect(try daemon.explanation(kept).contains("The whole queue is held"))
        #expect(try daemon.control("remove", gone).code == 0)
        try await daemon.wait(for: ["gone"])
        // Published comes before filed.
        try await daemon.wait("filed job") { try daemon.explanation(gone).contains("ended with an error") }
        let ended = try daemon.explanation(gone)
        #expect(ended.components(separatedBy: "memvpctl retry \(gone)").count == 2 && !ended.contains(".."), "\(ended)")
        #expect(try daemon.control("release").code == 0)
        try await daemon.wait(for: ["free"])

        let removed = try daemon.outcome("gone")
        #expect(removed.status == "error" && removed.error?.code == "removed" && removed.model != nil)
        #expect(FileManager.default.fileExists(atPath: "\(daemon.root.path)/failed/\(gone)/input/gone.jpg"))
        #expect(try daemon.jobs()["kept.jpg"]?.state == "held")
        #expect(try !daemon.explanation(kept).contains("The whole queue is held"))
        #expect(daemon.outcomes == ["free.json", "gone.json"])
        #expect(try daemon.control("explain", kept).output.contains("memvpctl release \(kept)"))
        #expect(try daemon.control("remove", gone).code == 66)

        // The hold is still there after a restart.
        #expect(try daemon.stop() == 0)
        try daemon.start()
        try await daemon.waitForControl()
        #expect(try daemon.jobs()["kept.jpg"]?.state == "held")
        #expect(try daemon.control("release", kept).code == 0)
        try await daemon.wait(for: ["kept"])
        #expect(
            try daemon.document(Shown.self, "show", kept).history.map(\.event)
                == ["claimed", "queued", "held", "released", "running", "answered", "published"])
        #expect(try daemon.control("retry", gone).code == 0)
        try await daemon.wait(for: ["gone-2"])
        #expect(try daemon.outcome("gone-2").answers == daemon.outcome("kept").answers)
        #expect(try daemon.control("metrics").output.contains(#"memvpd_jobs_total{outcome="removed"} 0"#))
        #expect(try daemon.stop() == 0)
    }

    @Test("Three workers share the threads and the jobs, and give the answers that one gives")
    func workers() async throws {
        let daemon = try RunningDaemon()
        try daemon.configure(extra: "workers: 3\nthreads: 4\nbatch: 2")
        try daemon.start()
        let names = (0..<24).map { "photo\($0)" }
        for name in names { try daemon.movePhoto("\(name).jpg") }
        try await daemon.wait(for: names)
        let status = try daemon.status()
        #expect(status.model.workers == 3 && status.model.threads == 4)
        let answers = try daemon.outcome("photo0").answers
        for name in names { #expect(try daemon.outcome(name).answers == answers) }
        #expect(daemon.outcomes.count == names.count)
        #expect(try daemon.stop() == 0)

        try daemon.configure(extra: "workers: 1\nthreads: 1")
        try daemon.start()
        try daemon.movePhoto("single.jpg")
        try await daemon.wait(for: ["single"])
        #expect(try daemon.outcome("single").answers == answers)
        #expect(try daemon.stop() == 0)
    }

    @Test("A job that crashes the daemon twice while it runs alone is poison; each strike is counted")
    func poison() async throws {
        let daemon = try RunningDaemon()
        // Some ten thousand tokens, of which no two prompts share the beginning.
        let tasks = (0..<56).map { "  - ask: \"\($0)\(String(repeating: " or what", count: 120))?\"\n" }
        try daemon.drop("heavy.yaml", "version: 1\ntasks:\n\(tasks.joined())")
        try daemon.movePhoto("heavy.jpg")
        var job = ""
        for crash in 0..<3 {
            try daemon.start()
            try await daemon.wait("running job") {
                let heavy = try daemon.jobs()["heavy.jpg"]
                job = heavy?.job ?? ""
                return heavy?.state == "running"
            }
            // The first end only tells that the job has to run alone.
            let strikes = max(0, crash - 1)
            #expect(try daemon.document(Shown.self, "show", job).strikes == strikes)
            #expect(
                try daemon.control("metrics").output.contains("\nmemvpd_strikes_total \(strikes)\n"), "\(crash)")
            let signal = crash == 0 ? SIGKILL : SIGSEGV
            #expect(try daemon.end(with: signal) == (.uncaughtSignal, signal))
        }
        try daemon.start()
        try await daemon.wait(for: ["heavy"])
        let outcome = try daemon.outcome("heavy")
        #expect(outcome.error?.code == "poison" && outcome.image?.file == "heavy.jpg" && outcome.model != nil)
        let shown = try daemon.document(Shown.self, "show", job)
        #expect(shown.strikes == 2 && shown.attempts == 3)
        try await daemon.wait("filed job") { try daemon.explanation(job).contains("ended with an error") }
        // The whole command, once.
        #expect(try daemon.explanation(job).components(separatedBy: "memvpctl retry \(job)").count == 2)
        #expect(outcome.error?.hint?.contains("memvpctl retry \(job) tries it again") == true)
        #expect(shown.history.filter { $0.event == "interrupted" }.count == 3)
        #expect(try daemon.control("metrics").output.contains("\nmemvpd_strikes_total 1\n"))
        try daemon.dropPhoto("after.jpg")
        try await daemon.wait(for: ["after"])
        #expect(try daemon.outcome("after").status == "ok")
        #expect(try daemon.stop() == 0)
    }
}
