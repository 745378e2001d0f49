// What is made durable, and in which order: the lists of docs/QUEUE.md ("fsync, in this order") call by call. A power cut cannot be
// had here; that the calls are made which it would need can be seen.

import Diagnostics
import Foundation
import Synchronization
import SystemPackage
import Testing

@testable import Spool

@Suite(.serialized) struct DurabilityTests {
    /// Records the calls that are made, without what differs from run to run.
    private final class Recorder: Sendable {
        private let calls = Mutex<[String]>([])
        private let kinds: Set<FileOperation>
        private let fault: Fault?

        init(
            _ kinds: Set<FileOperation> = [.sync, .syncDirectory, .rename, .renameNoReplace], _ fault: Fault? = nil
        ) {
            (self.kinds, self.fault) = (kinds, fault)
        }

        var saboteur: Saboteur {
            let hook = fault?.saboteur.hook
            return Saboteur(
                .init(
                    refuses: { operation, location in hook?(operation, location) },
                    meanwhile: { [self] operation, location in
                        guard kinds.contains(operation) else { return }
                        calls.withLock { $0.append("\(operation.rawValue) \(Recorder.told(location))") }
                    }))
        }

        /// What was called since this was asked last.
        func taken() -> [String] {
            calls.withLock { made in
                defer { made = [] }
                return made
            }
        }

        private static func told(_ location: Location) -> String {
            let parts = location.description.split(separator: "/").map { String($0) }
            let beneath = parts.drop { !$0.hasPrefix("memvpd-spool-") }.dropFirst()
            return beneath.map { part -> String in
                if JobID(part) != nil { return "JOB" }
                return FileName(part).flatMap { Layout.job(ofHidden: $0) } == nil ? part : ".JOB.tmp"
            }.joined(separator: "/")
        }
    }

    private func started(_ recorder: Recorder, _ sandbox: Sandbox = Sandbox()) async throws -> Bench {
        let bench = try Bench(sandbox, saboteur: recorder.saboteur) { $0.pairing.grace = .zero }
        try await bench.start()
        _ = recorder.taken()
        return bench
    }

    /// A photo is in the queue, and nothing recorded.
    private func queued(_ recorder: Recorder, _ sandbox: Sandbox = Sandbox()) async throws -> (Bench, JobID) {
        let bench = try await started(recorder, sandbox)
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.settle()
        _ = recorder.taken()
        let id = try #require(await bench.spool.jobs().first?.id)
        return (bench, id)
    }

    // MARK: Taking in

    @Test func aDropIsDurableBeforeTheSpoolAnswersForIt() async throws {
        let recorder = Recorder()
        let bench = try await started(recorder)
        bench.sandbox.drop("a.yaml", text: "priority: 1")
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.settle()
        #expect(
            recorder.taken() == [
                "rename spool/claimed/JOB/job.json.tmp", "rename inbox/a.jpg", "rename inbox/a.yaml",
                "sync spool/claimed/JOB/input/a.jpg", "sync spool/claimed/JOB/input/a.yaml",
                "sync spool/claimed/JOB/job.json.tmp", "rename spool/claimed/JOB/job.json.tmp",
                "syncDirectory spool/claimed/JOB/input", "syncDirectory spool/claimed/JOB", "rename spool/claimed/JOB",
                "syncDirectory spool/queued", "syncDirectory inbox",
            ])
    }

    @Test(.enabled(if: Sandbox.hasTwoFileSystems, "needs /dev/shm and /tmp on two file systems"))
    func aDropFromElsewhereIsDurableBeforeItLeavesTheInbox() async throws {
        let recorder = Recorder([.sync, .syncDirectory, .rename, .renameNoReplace, .unlink, .removeDirectory])
        let bench = try await started(recorder, Sandbox(.inboxElsewhere))
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.settle()
        #expect(
            recorder.taken() == [
                "rename spool/claimed/JOB/job.json.tmp", "rename inbox/a.jpg", "rename inbox/a.jpg",
                "syncDirectory inbox/.memvpd/JOB",
                "sync spool/claimed/JOB/incoming.tmp", "rename spool/claimed/JOB/incoming.tmp",
                "syncDirectory spool/claimed/JOB/input",
                "unlink inbox/.memvpd/JOB/a.jpg", "removeDirectory inbox/.memvpd/JOB", "syncDirectory inbox/.memvpd",
                "sync spool/claimed/JOB/input/a.jpg",
                "sync spool/claimed/JOB/job.json.tmp", "rename spool/claimed/JOB/job.json.tmp",
                "syncDirectory spool/claimed/JOB/input", "syncDirectory spool/claimed/JOB", "rename spool/claimed/JOB",
                "syncDirectory spool/queued", "syncDirectory inbox",
            ])
        try await bench.workAll()
        #expect(await bench.books == ["a.json: ok"])
    }

    /// With the mark undone by a power cut the end would look clean, and with the count undone a strike would be forgotten.
    @Test func aStartIsDurableBeforeAnyJobRuns() async throws {
        let recorder = Recorder()
        let bench = try Bench(Sandbox(), saboteur: recorder.saboteur)
        try await bench.start()
        let marks = [
            "sync spool/session.tmp", "rename spool/session.tmp", "sync spool/strikes.tmp", "rename spool/strikes.tmp",
            "syncDirectory spool",
        ]
        #expect(recorder.taken().filter { !$0.hasSuffix("/.probe") } == marks)
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(3))
        #expect(await bench.spool.takeJobs(atMost: 1).count == 1)
        _ = recorder.taken()
        let again = Recorder()
        try await bench.restart(saboteur: again.saboteur)
        let counted: [String] = [
            "sync spool/running/JOB/job.json.tmp", "rename spool/running/JOB/job.json.tmp", "rename spool/running/JOB",
        ]
        #expect(again.taken().filter { !$0.hasSuffix("/.probe") } == counted + marks)
    }

    @Test func aRefusedDropIsDurableBeforeItsErrorIs() async throws {
        let recorder = Recorder()
        let bench = try await started(recorder)
        bench.sandbox.drop("a.gif", [1, 2, 3])
        await bench.pass(.seconds(3))
        #expect(
            recorder.taken().prefix(12) == [
                "rename spool/claimed/JOB/job.json.tmp", "rename inbox/a.gif",
                "sync spool/claimed/JOB/input/a.gif", "syncDirectory spool/claimed/JOB/input", "syncDirectory inbox",
                "sync spool/claimed/JOB/reason.json.tmp", "rename spool/claimed/JOB/reason.json.tmp",
                "rename spool/claimed/JOB/job.json.tmp",
                "sync spool/claimed/JOB/answer.json.tmp", "rename spool/claimed/JOB/answer.json.tmp",
                "syncDirectory spool/claimed/JOB", "rename spool/claimed/JOB",
            ])
    }

    /// The fault that stops it is one of its directory; the operator's outcome does not wait for that.
    @Test func aStoppedClaimThatIsRemovedIsMadeDurableAsFarAsItCanBe() async throws {
        let fault = Fault(.ioError) { $0 == .syncDirectory && $1.hasSuffix("/input") }
        let recorder = Recorder([.sync], fault)
        let (bench, id) = try await queued(recorder)
        #expect(await bench.spool.jobs().map(\.state) == [.claimed])
        try await bench.spool.remove(id)
        #expect(
            recorder.taken() == [
                "sync spool/claimed/JOB/job.json.tmp", "sync spool/claimed/JOB/input/a.jpg",
                "sync spool/claimed/JOB/reason.json.tmp", "sync spool/claimed/JOB/answer.json.tmp",
            ])
        #expect(await bench.books == ["a.json: removed"])
    }

    @Test func aSpecThatJoinsIsDurableBeforeTheRecordNamesIt() async throws {
        let recorder = Recorder()
        let (bench, _) = try await queued(recorder)
        bench.sandbox.drop("a.yaml", text: "priority: 1")
        await bench.settle()
        #expect(
            recorder.taken() == [
                "rename inbox/a.yaml", "sync spool/queued/JOB/input/a.yaml", "syncDirectory spool/queued/JOB/input",
                "syncDirectory inbox",
                "sync spool/queued/JOB/job.json.tmp", "rename spool/queued/JOB/job.json.tmp",
                "syncDirectory spool/queued/JOB",
            ])
    }

    @Test func aRefusedSpecThatJoinsIsDurableBeforeItsErrorIs() async throws {
        let recorder = Recorder()
        let (bench, _) = try await queued(recorder)
        bench.sandbox.drop("a.yaml", text: "nonsense")
        await bench.pass(.seconds(3))
        #expect(
            recorder.taken().prefix(5) == [
                "rename inbox/a.yaml", "sync spool/queued/JOB/input/a.yaml", "syncDirectory spool/queued/JOB/input",
                "syncDirectory inbox", "sync spool/queued/JOB/reason.json.tmp",
            ])
        #expect(await bench.books == ["a.json: spec_invalid"])
    }

    // MARK: Working

    @Test func theSetInFlightIsDurableOnceForABatch() async throws {
        let recorder = Recorder()
        let (bench, _) = try await queued(recorder)
        bench.sandbox.drop("b.jpg", photo("b"))
        await bench.settle()
        _ = recorder.taken()
        #expect(await bench.spool.takeJobs(atMost: 2).count == 2)
        #expect(
            recorder.taken() == [
                "rename spool/queued/JOB", "rename spool/queued/JOB", "syncDirectory spool/running",
            ])
    }

    @Test(arguments: [false, true])
    func anOutcomeIsDurableBeforeItIsCommittedAndAgainOnceItIsPublished(_ isFailure: Bool) async throws {
        let recorder = Recorder()
        let (bench, _) = try await queued(recorder)
        let job = try #require(await bench.spool.takeJobs(atMost: 1).first)
        _ = recorder.taken()
        if isFailure {
            let failure = Failure(.corruptImage, "a.jpg", "ends early")
            try await bench.spool.fail(job, failure, document: bench.document(job, failure))
        } else {
            try await bench.work(job)
        }
        let home = "spool/running/JOB"
        var expected: [String] = isFailure ? ["sync \(home)/reason.json.tmp", "rename \(home)/reason.json.tmp"] : []
        expected += ["rename \(home)/job.json.tmp"]
        expected += ["sync \(home)/answer.json.tmp", "rename \(home)/answer.json.tmp"]
        expected += ["syncDirectory \(home)", "rename \(home)"]
        expected += [
            "syncDirectory spool/answered",
            "rename spool/answered/JOB/job.json.tmp", "renameNoReplace spool/answered/JOB/answer.json",
            "syncDirectory outbox", "syncDirectory spool/answered/JOB", "rename spool/answered/JOB",
        ]
        #expect(recorder.taken() == expected)
    }

    @Test(.enabled(if: Sandbox.hasTwoFileSystems, "needs /dev/shm and /tmp on two file systems"))
    func aCopyIsDurableBeforeItIsNotedAndItsNameBeforeTheOriginalGoes() async throws {
        let recorder = Recorder([.sync, .syncDirectory, .rename, .renameNoReplace, .unlink])
        let (bench, _) = try await queued(recorder, Sandbox(.outboxElsewhere))
        try await bench.workAll()
        let home = "spool/answered/JOB"
        let calls = recorder.taken().drop { $0 != "renameNoReplace \(home)/answer.json" }
        let expected: [String] = [
            "sync outbox/.JOB.tmp", "syncDirectory outbox",
            "sync \(home)/publishing.tmp", "rename \(home)/publishing.tmp", "syncDirectory \(home)",
            "renameNoReplace outbox/.JOB.tmp", "syncDirectory outbox",
            "unlink \(home)/answer.json", "unlink \(home)/publishing",
            "syncDirectory outbox", "syncDirectory \(home)", "rename \(home)",
        ]
        #expect(Array(calls.dropFirst()) == expected)
        #expect(await bench.books == ["a.json: ok"])
    }

    // MARK: Operators

    @Test func whatOperatorsDidIsDurableBeforeItIsReported() async throws {
        let recorder = Recorder([.sync, .syncDirectory, .rename, .renameNoReplace, .unlink])
        let (bench, id) = try await queued(recorder)
        try await bench.spool.hold(id)
        #expect(recorder.taken() == ["rename spool/queued/JOB", "syncDirectory spool/held"])
        try await bench.spool.release(id)
        #expect(recorder.taken() == ["rename spool/held/JOB", "syncDirectory spool/queued"])
        try await bench.spool.holdQueue()
        #expect(recorder.taken() == ["sync spool/hold.tmp", "rename spool/hold.tmp", "syncDirectory spool"])
        try await bench.spool.releaseQueue()
        #expect(recorder.taken() == ["unlink spool/hold", "syncDirectory spool"])
        try await bench.spool.remove(id)
        let home = "spool/queued/JOB"
        let removed: [String] = [
            "sync \(home)/reason.json.tmp", "rename \(home)/reason.json.tmp", "rename \(home)/job.json.tmp",
            "sync \(home)/answer.json.tmp", "rename \(home)/answer.json.tmp", "syncDirectory \(home)",
            "rename \(home)", "syncDirectory spool/answered",
        ]
        #expect(Array(recorder.taken().prefix(8)) == removed)
    }

    @Test func aRetryIsDurableBeforeTheOldJobIsMarked() async throws {
        let recorder = Recorder()
        let (bench, id) = try await queued(recorder)
        try await bench.workAll()
        _ = recorder.taken()
        _ = try await bench.spool.retry(id)
        let home = "spool/claimed/JOB"
        let expected: [String] = [
            "rename \(home)/job.json.tmp", "sync \(home)/job.json.tmp", "rename \(home)/job.json.tmp",
            "syncDirectory \(home)/input", "syncDirectory \(home)", "rename \(home)",
            "syncDirectory spool/queued", "rename done/JOB/retried.tmp",
        ]
        #expect(recorder.taken() == expected)
    }

    /// The step is made, but a power cut may undo it: that is no success, however often it is asked for.
    @Test func aVerbThatIsNotDurableIsNoSuccess() async throws {
        let fault = Fault(.ioError, times: 0) { operation, _ in operation == .syncDirectory }
        let (bench, id) = try await queued(Recorder([], fault))
        let spool = await bench.spool
        for _ in 0..<2 {
            fault.strike(times: 1)
            await #expect(throws: Failure.self) { try await spool.hold(id) }
        }
        try await spool.hold(id)
        #expect(await spool.jobs().map(\.state) == [.held])
        fault.strike(times: 1)
        await #expect(throws: Failure.self) { try await spool.release(id) }
        try await spool.release(id)
        fault.strike(times: 1)
        await #expect(throws: Failure.self) { try await spool.holdQueue() }
        try await spool.holdQueue()
        fault.strike(times: 1)
        await #expect(throws: Failure.self) { try await spool.releaseQueue() }
        try await spool.releaseQueue()
        #expect(await spool.takeJobs(atMost: 1).map(\.id) == [id])
    }
}
