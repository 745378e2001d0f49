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

    /// - Parameter listen: told each event of the spool, on its thread.
    init(_ place: Workplace, listen: @escaping @Sendable (SpoolEvent, Reporter) -> Void = { _, _ in }) throws {
        let configuration = place.effective.configuration
        let bundle = try ServedModel.load(configuration)
        let kernels = try Kernels.choose(forced: nil)
        let named = AnswerDocument.Model(bundle, kernels: kernels.name)
        let catalog = MetricCatalog(build: { BuildInformation(version: "1", kernels: "any", model: "m") })
        let reporter = Reporter(catalog: catalog, log: Logger(label: "test") { _ in Lines() }, names: .show)
        var settings = configuration.spool
        (settings.settle, settings.pairing.grace, settings.notesCrashes) = (.zero, .zero, false)
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
