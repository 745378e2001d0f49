// A worker between the model and the spool: what counts as a pass, and an answer that cannot be written.

import Control
import Diagnostics
import Foundation
import Logging
import Specification
import Spool
import Synchronization
import Tensor
import Testing

@testable import Daemon
@testable import MemVP

/// A worker with a spool, and nothing of the daemon around them.
private struct Bench: Sendable {
    let spool: Spool
    let worker: ModelWorker

    /// - Parameters:
    ///   - settle: how long a photo must stand unchanged, unless it was moved in.
    ///   - listen: told each event of the spool, on its thread.
    init(
        _ place: Workplace, settle: Duration = .zero,
        listen: @escaping @Sendable (SpoolEvent, Reporter) -> Void = { _, _ in }
    ) throws {
        let configuration = place.effective.configuration
        let bundle = try ServedModel.load(configuration)
        let kernels = try Kernels.choose(forced: nil)
        let named = AnswerDocument.Model(bundle, kernels: kernels.name)
        let catalog = MetricCatalog(build: { BuildInformation(version: "1", kernels: "any", model: "m") })
        let reporter = Reporter(catalog: catalog, log: Logger(label: "test") { _ in Lines() }, names: .show)
        var settings = configuration.spool
        (settings.settle, settings.pairing.grace, settings.notesCrashes) = (settle, .zero, false)
        spool = try Spool(
            configuration: settings, inspector: SpecReader(limits: configuration.limits.spec),
            render: { AnswerDocument($0, model: named).explained }, report: { listen($0, reporter) })
        worker = try ModelWorker(
            spool: spool, reporter: reporter, kernels: kernels, threads: 1,
            settings: .init(bundle: bundle, configuration: configuration))
    }

    /// Runs the spool for as long as the body takes.
    func run(_ body: () async throws -> Void) async throws {
        try await spool.recover()
        let spool = spool
        let watching = Task { await spool.run() }
        try await body()
        await spool.close()
        await watching.value
    }
}

@Suite(
    "A worker and the spool", .serialized,
    .enabled(if: TestModel.isThere, "needs a model bundle: make models, or MEMVP_TEST_BUNDLE"))
struct WorkerTests {
    @Test("waiting for the spool, to be given a job or to be rid of one, is no pass of the model")
    func passes() async throws {
        let place = try Workplace()
        for name in ["a.png", "b.png"] { try place.drop(name) }
        try Data("no photo\n".utf8).write(to: URL(filePath: "\(place.root)/inbox/c.png"))
        // The worker waits for the call in which the spool tells of these: what it counts as at that moment is exact.
        let busy = Mutex<[String: [Bool]]>([:])
        let bench = try Bench(place) { event, reporter in
            let isBusy = reporter.stall != nil
            switch event {
            case .taken: busy.withLock { $0["taken", default: []].append(isBusy) }
            case .published: busy.withLock { $0["published", default: []].append(isBusy) }
            default: return
            }
        }
        try await bench.worker.start()
        await bench.spool.endWhenEmpty()
        try await bench.run { await bench.worker.run() }
        let none = [false, false, false]
        #expect(busy.withLock { $0 } == ["taken": none, "published": none])
    }

    @Test("a job that the model computes no number for is an explained error, filed as one, and no answer")
    func withoutNumber() async throws {
        let failure = Failure(.modelInvalid, "b: adapter a", "computes no number", hint: "Use another.")
        try await expectError(
            "model_invalid", "Use another.",
            of: AnswerSet(answers: [], times: StageTimes(), promptTokens: 1, generatedTokens: 0, failure: failure))
    }

    @Test("a passing fault leaves the job to another attempt, and publishes nothing")
    func passing() async throws {
        let place = try Workplace()
        try place.drop("a.png")
        let bench = try Bench(place)
        try await bench.run {
            let job = try #require(await bench.spool.nextJobs(atMost: 1).first)
            let flight = ModelWorker.Flight(
                job: job, image: AnswerDocument.File(job.image), warnings: [], started: job.claimedAt, jpeg: .zero)
            let failure = Failure(.temporary, "a.png", "is away for a while", hint: "Wait.")
            await bench.worker.commit(
                flight,
                AnswerSet(answers: [], times: StageTimes(), promptTokens: 1, generatedTokens: 0, failure: failure))
            let kept = try #require(await bench.spool.job(named: job.id))
            #expect(kept.state == .deferred && kept.attempts == 1 && kept.lastFailure?.code == .temporary)
            #expect(try FileManager.default.contentsOfDirectory(atPath: "\(place.root)/outbox").isEmpty)
        }
    }

    /// Moved in, so that it is taken at once: its writer may have kept it open.
    @Test("half a photo that was taken at once is read again before it is called damaged, and then it is whole")
    func growing() async throws {
        let place = try Workplace()
        let drawing = try Data(contentsOf: TestModel.drawing)
        let half = URL(filePath: "\(place.root)/half.png")
        try drawing.prefix(drawing.count / 2).write(to: half)
        let writer = try FileHandle(forWritingTo: half)
        try writer.seekToEnd()
        let requeued = Mutex(0)
        let isWatched = Atomic(false)
        let bench = try Bench(place, settle: .milliseconds(50)) { event, _ in
            if case .watching = event { isWatched.store(true, ordering: .releasing) }
            guard case .requeued = event else { return }
            // Only now the rest comes.
            let count = requeued.withLock { requeued in
                requeued += 1
                return requeued
            }
            if count == 1 {
                try? writer.write(contentsOf: drawing.suffix(from: drawing.count / 2))
                try? writer.close()
            }
        }
        try await bench.worker.start()
        try await bench.run {
            let working = Task { await bench.worker.run() }
            // What was there before is not known to have been moved in.
            #expect(await ends { while !isWatched.load(ordering: .acquiring) { await Task.yield() } })
            try FileManager.default.moveItem(atPath: half.path, toPath: "\(place.root)/inbox/a.png")
            let outcome = "\(place.root)/outbox/a.json"
            #expect(await ends { while !FileManager.default.fileExists(atPath: outcome) { await Task.yield() } })
            let answer = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(filePath: outcome)))
            #expect((answer as? [String: Any])?["status"] as? String == "ok", "\(answer)")
            await bench.spool.endWhenEmpty()
            await working.value
        }
        #expect(requeued.withLock { $0 } == 1)
    }

    @Test(
        "what the configuration allows is what the model is given",
        arguments: [
            ("limits: {image_side: 32}", "task: caption", "image_too_large", "limits.image_side"),
            ("limits: {image_pixels: 100}", "task: caption", "image_too_large", "limits.image_pixels"),
            (
                "limits: {prompt_tokens: 16}", "ask: \"\(String(repeating: "what ", count: 30))?\"", "prompt_too_long",
                "limits.prompt_tokens"
            ),
        ])
    func limits(_ extra: String, _ spec: String, _ code: String, _ key: String) async throws {
        let place = try Workplace(extra)
        try Data(spec.utf8).write(to: URL(filePath: "\(place.root)/inbox/a.yaml"))
        try place.drop("a.png")
        let bench = try Bench(place)
        try await bench.worker.start()
        await bench.spool.endWhenEmpty()
        try await bench.run { await bench.worker.run() }
        let data = try Data(contentsOf: URL(filePath: "\(place.root)/outbox/a.json"))
        let outcome = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        let error = outcome["error"] as? [String: String]
        #expect(error?["code"] == code && error?["hint"]?.contains(key) == true, "\(outcome)")
    }

    /// Drawn words are drawn from the photo and the spec, and from nothing else.
    @Test("answers drawn at a temperature are the same for the same photo; documents have the contract's members")
    func drawn() async throws {
        let place = try Workplace()
        let spec = """
            version: 1
            tasks:
              - id: alt
                caption: { max_tokens: 12, temperature: 1.5 }
              - id: indoors
                ask: "Is this indoors?"
                answer: { choices: [yes, no] }
            """
        for name in ["a", "b"] {
            try Data(spec.utf8).write(to: URL(filePath: "\(place.root)/inbox/\(name).yaml"))
            try place.drop("\(name).png")
        }
        try Data("no photo\n".utf8).write(to: URL(filePath: "\(place.root)/inbox/c.png"))
        let bench = try Bench(place)
        try await bench.worker.start()
        await bench.spool.endWhenEmpty()
        try await bench.run { await bench.worker.run() }
        func document(_ name: String) throws -> [String: Any] {
            let data = try Data(contentsOf: URL(filePath: "\(place.root)/outbox/\(name).json"))
            return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        }
        let one = try document("a")
        let answers = try #require(one["answers"] as? [[String: Any]])
        let others = try #require(try document("b")["answers"] as? [[String: Any]])
        #expect(answers.count == 2 && answers as NSArray == others as NSArray)
        #expect(
            one.keys.sorted() == [
                "answers", "image", "job", "model", "spec", "status", "timing_ms", "version", "warnings",
            ])
        #expect((one["spec"] as? [String: String]) == ["file": "a.yaml"])
        let image = try #require(one["image"] as? [String: Any])
        #expect(image.keys.sorted() == ["file", "height", "sha256", "width"])
        #expect(image["width"] as? Int == 60 && image["height"] as? Int == 40)
        #expect(answers[0].keys.sorted() == ["confidence", "finish", "id", "prompt", "task", "text"])
        #expect(
            answers[1].keys.sorted() == ["confidence", "finish", "id", "probabilities", "prompt", "task", "text"])
        #expect(answers[1]["prompt"] as? String == "Question: Is this indoors? Answer:")
        let error = try document("c")
        #expect(
            error.keys.sorted() == [
                "answers", "error", "image", "job", "model", "status", "timing_ms", "version", "warnings",
            ])
        #expect((error["error"] as? [String: Any])?.keys.sorted() == ["code", "hint", "message"])
        #expect((error["answers"] as? [Any])?.isEmpty == true && (error["warnings"] as? [Any])?.isEmpty == true)
    }

    @Test("an answer that has no JSON form is an explained error, filed as one, and no answer")
    func unwritable() async throws {
        let answer = Answer(
            id: "a", task: .caption, prompt: "p", text: "t", confidence: .nan, finish: "stop", adapter: "captions",
            tokens: [])
        try await expectError(
            "internal_error", "Report it",
            of: AnswerSet(answers: [answer], times: StageTimes(), promptTokens: 1, generatedTokens: 1))
    }

    /// What a worker makes of a job that ends with `set`.
    private func expectError(_ code: String, _ hint: String, of set: AnswerSet) async throws {
        let place = try Workplace()
        try place.drop("a.png")
        let bench = try Bench(place)
        try await bench.run {
            let jobs = await bench.spool.nextJobs(atMost: 1)
            let job = try #require(jobs.first)
            let flight = ModelWorker.Flight(
                job: job, image: AnswerDocument.File(job.image), warnings: [], started: job.claimedAt, jpeg: .zero)
            await bench.worker.commit(flight, set)
            let data = try Data(contentsOf: URL(filePath: "\(place.root)/outbox/a.json"))
            let outcome = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
            let error = try #require(outcome["error"] as? [String: String])
            #expect(outcome["status"] as? String == "error" && error["code"] == code)
            #expect(error["hint"]?.contains(hint) == true)
            #expect((outcome["image"] as? [String: String])?["file"] == "a.png")
            #expect(FileManager.default.fileExists(atPath: "\(place.root)/failed/\(job.id)/reason.json"))
        }
    }
}
