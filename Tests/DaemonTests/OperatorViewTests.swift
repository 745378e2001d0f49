// What operators are told, as the running daemon has it: the queue's order, the figures that outcomes leave, what keeps an outbox
// from being filled.

import Diagnostics
import Foundation
import Spool
import Testing

@testable import Control
@testable import Daemon

@Suite(
    "What operators are told", .serialized,
    .enabled(if: TestModel.isThere, "needs a model bundle: make models, or MEMVP_TEST_BUNDLE"))
struct OperatorViewTests {
    /// What is dropped is taken soon, without a wait for company.
    private static let atOnce = "settle: 10ms\npairing: {grace: 0s}"

    @Test("the queue is listed by priority, then by age; places count what waits for work alone")
    func order() async throws {
        let place = try Workplace(Self.atOnce)
        let service = try Service(place, Surroundings.none())
        let daemon = service.daemon
        _ = try await daemon.hold(by: nil)
        // One after the other, so that their ages differ.
        for (count, (name, priority)) in [("a", 0), ("b", -3), ("c", 7), ("d", 0), ("e", 7)].enumerated() {
            let spec = Data("version: 1\npriority: \(priority)\ntask: caption\n".utf8)
            try spec.write(to: URL(filePath: "\(place.root)/inbox/\(name).yaml"))
            try place.drop("\(name).png")
            #expect(
                await ends {
                    while (try? await daemon.queue(state: "queued", limit: 9))?.total ?? 0 <= count {
                        await Task.yield()
                    }
                })
        }
        let third = try #require(try await daemon.queue(state: nil, limit: 9).jobs.first { $0.image?.text == "a.png" })
        _ = try await daemon.hold(try #require(third.job), by: nil)
        let queue = try await daemon.queue(state: nil, limit: 9)
        #expect(queue.held && queue.total == 5)
        #expect(queue.jobs.map { $0.image?.text } == ["c.png", "e.png", "a.png", "d.png", "b.png"])
        #expect(queue.jobs.map(\.priority) == [7, 7, 0, 0, -3])
        #expect(queue.jobs.map(\.position) == [1, 2, nil, 3, 4])
        #expect(queue.jobs.map(\.state) == ["queued", "queued", "held", "queued", "queued"])
        let cut = try await daemon.queue(state: "queued", limit: 2)
        #expect(cut.total == 4 && cut.jobs.map { $0.image?.text } == ["c.png", "e.png"])
        service.send(.end)
        #expect(await service.end() == nil)
    }

    /// What the exposition has of a series; nil where it has none.
    private func value(_ series: String, in text: String) -> Double? {
        text.split(separator: "\n").first { $0.hasPrefix("\(series) ") }.flatMap {
            Double($0.dropFirst(series.count + 1))
        }
    }

    @Test("each outcome counts once in the metrics, an error under its code, an answer with its tokens and times")
    func metrics() async throws {
        let place = try Workplace(Self.atOnce)
        let service = try Service(place, Surroundings.none())
        let daemon = service.daemon
        let began = Date.now.timeIntervalSince1970
        try place.drop("good.png")
        try place.drop("better.png")
        try Data("no photo".utf8).write(to: URL(filePath: "\(place.root)/inbox/bad.jpg"))
        #expect(
            await ends {
                while true {
                    let text = await daemon.metrics()
                    if value(#"memvpd_jobs_total{outcome="answered"}"#, in: text) == 2,
                        value(#"memvpd_jobs_total{outcome="error"}"#, in: text) == 1
                    {
                        return
                    }
                    await Task.yield()
                }
            })
        let text = await daemon.metrics()
        let document = try JSONSerialization.jsonObject(
            with: Data(contentsOf: URL(filePath: "\(place.root)/outbox/bad.json")))
        let error = (document as? [String: Any])?["error"] as? [String: Any]
        let code = try #require(error?["code"] as? String)
        #expect(value("memvpd_errors_total{code=\"\(code)\"}", in: text) == 1)
        let codes = text.split(separator: "\n").filter { $0.hasPrefix("memvpd_errors_total{") && !$0.hasSuffix(" 0") }
        #expect(codes.count == 1)
        #expect(value(#"memvpd_jobs_total{outcome="removed"}"#, in: text) == 0)
        #expect(value(#"memvpd_tokens_total{kind="prompt"}"#, in: text) ?? 0 > 2)
        #expect(value(#"memvpd_tokens_total{kind="generated"}"#, in: text) ?? 0 > 2)
        // Of photos that the model saw; the damaged one did not come so far.
        #expect(value(#"memvpd_stage_seconds_count{stage="vision"}"#, in: text) == 2)
        #expect(value(#"memvpd_stage_seconds_sum{stage="vision"}"#, in: text) ?? 0 > 0)
        #expect(value("memvpd_batch_jobs_sum", in: text) ?? 0 >= 2)
        let last = try #require(value("memvpd_last_answer_timestamp_seconds", in: text))
        #expect(last >= began - 1 && last <= Date.now.timeIntervalSince1970 + 1)
        #expect(value(#"memvpd_queue_jobs{state="queued"}"#, in: text) == 0)
        service.send(.end)
        #expect(await service.end() == nil)
    }

    @Test("while the outbox takes nothing health says by code that outcomes wait; then they come, one each")
    func publishing() async throws {
        let place = try Workplace(Self.atOnce)
        var surroundings = try Surroundings.none()
        // The look at the outbox finds nothing: what is found is found by publishing.
        surroundings.outbox = OutboxLook { _ in nil }
        let service = try Service(place, surroundings)
        let daemon = service.daemon
        #expect(await ends { while (try? await daemon.status())?.state != "running" { await Task.yield() } })
        _ = try await daemon.hold(by: nil)
        for name in ["a.png", "b.png"] { try place.drop(name) }
        #expect(
            await ends {
                while (try? await daemon.queue(state: "queued", limit: 1))?.total != 2 { await Task.yield() }
            })
        let outbox = "\(place.root)/outbox"
        try FileManager.default.removeItem(atPath: outbox)
        try Data().write(to: URL(filePath: outbox))
        _ = try await daemon.release(by: nil)
        @Sendable func check() async -> HealthDocument.Check? {
            await daemon.health().checks.first { $0.name == "outbox" }
        }
        #expect(await ends { while await check()?.ok != false { await Task.yield() } })
        let said = try #require(await check())
        #expect(said.message.hasPrefix("outcomes wait to be published: ") && said.path == nil)
        let code = try #require(FailureCode(rawValue: String(said.message.split(separator: " ").last ?? "")))
        #expect(code == .inputOutput)
        try FileManager.default.removeItem(atPath: outbox)
        try FileManager.default.createDirectory(atPath: outbox, withIntermediateDirectories: false)
        #expect(await ends { while await check()?.ok != true { await Task.yield() } })
        #expect(try FileManager.default.contentsOfDirectory(atPath: outbox).sorted() == ["a.json", "b.json"])
        service.send(.end)
        #expect(await service.end() == nil)
    }
}
