// Starts over a disk with a bad spot: one file keeps nobody from starting. And what a start remembers of finished jobs.

import Diagnostics
import Foundation
import SystemPackage
import Testing

@testable import Spool

@Suite(.serialized) struct RecoveryTests {
    private func started() async throws -> Bench {
        let bench = try Bench(Sandbox()) { $0.pairing.grace = .zero }
        try await bench.start()
        return bench
    }

    /// Whether a fault of such a file was told.
    private func isTold(_ bench: Bench, _ suffix: String) -> Bool {
        bench.events.contains { event in
            guard case .trouble(let failure) = event else { return false }
            return failure.code == .inputOutput && failure.object.hasSuffix(suffix)
        }
    }

    // MARK: Bad spots

    @Test(arguments: [JobState.queued, .deferred, .running])
    func aRecordThatCannotBeReadKeepsNobodyFromStarting(_ state: JobState) async throws {
        let bench = try await started()
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(1))
        if state != .queued {
            let job = try #require(await bench.spool.takeJobs(atMost: 1).first)
            if state == .deferred { try await bench.spool.deferJob(job, Failure(.temporary, "a.jpg", "was busy")) }
        }
        #expect(await bench.spool.jobs().map(\.state) == [state])
        let fault = Fault(.ioError) { $0 == .open && $1.hasSuffix("/job.json") }
        try await bench.restart(saboteur: fault.saboteur)
        #expect(isTold(bench, "/job.json"))
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok"])
        await bench.expectAtRest()
    }

    /// The record is whole: taken for damaged, it would be written anew without the job's attempts and strikes.
    @Test func aRecordIsNotGivenUpForAShortage() async throws {
        let bench = try await started()
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(1))
        let job = try #require(await bench.spool.takeJobs(atMost: 1).first)
        try await bench.spool.deferJob(job, Failure(.temporary, "a.jpg", "was busy"))
        let fault = Fault(.tooManyOpenFiles) { $0 == .open && $1.hasSuffix("/job.json") }
        await #expect(throws: Failure.self) { try await bench.restart(saboteur: fault.saboteur) }
        try await bench.restart()
        #expect(await bench.spool.jobs().map(\.attempts) == [1])
    }

    @Test(arguments: [JobState.done, .failed])
    func aFinishedJobWhoseRecordCannotBeReadIsForgottenAlone(_ state: JobState) async throws {
        let bench = try await started()
        for name in ["a", "b"] { bench.sandbox.drop("\(name).jpg", state == .done ? photo(name) : [0xFF, 0xD8, 1]) }
        await bench.pass(.seconds(3))
        try await bench.workAll()
        let unreadable = try #require(await bench.readOutbox().first { $0.image == "a.jpg" }?.job)
        let fault = Fault(.ioError) { $0 == .open && $1.hasSuffix("/\(state)/\(unreadable)/job.json") }
        try await bench.restart(saboteur: fault.saboteur)
        #expect(isTold(bench, "/\(unreadable)/job.json"))
        // The other is remembered: a spec that comes for it now is late.
        bench.sandbox.drop("b.yaml", text: "task: caption")
        await bench.pass(.seconds(1))
        #expect(await bench.books.contains("b.json: spec_late"))
    }

    @Test func aCopyInTheOutboxThatCannotBeRemovedKeepsNobodyFromStarting() async throws {
        let bench = try await started()
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(1))
        let ended = [UInt32(1), 2].map { JobID(unixMicroseconds: 1, random: $0) }
        let hidden = ended.map { "\(bench.sandbox.outbox)/.\($0).tmp" }
        for (id, path) in zip(ended, hidden) {
            try FileManager.default.createDirectory(
                atPath: "\(bench.sandbox.done)/\(id)", withIntermediateDirectories: false)
            _ = FileManager.default.createFile(atPath: path, contents: Data([0x7B]))
        }
        let fault = Fault(.ioError) { $0 == .unlink && $1 == hidden[0] }
        try await bench.restart(saboteur: fault.saboteur)
        #expect(isTold(bench, hidden[0]))
        #expect(hidden.map(Sandbox.exists) == [true, false])
        try await bench.workAll()
        #expect(await bench.books == ["a.json: ok"])
    }

    /// No image is left, and no room for the outcome that says so: it is said when there is, and `--once` does not wait for ever.
    @Test func aJobWithoutAnImageWhoseEndWasPutOffStillEnds() async throws {
        let sandbox = Sandbox()
        let id = JobID(unixMicroseconds: 1, random: 1)
        try FileManager.default.createDirectory(
            atPath: "\(sandbox.spool)/queued/\(id)/input", withIntermediateDirectories: true)
        let fault = Fault(.noSpace, times: 1) { $0 == .create && $1.hasSuffix("/reason.json.tmp") }
        let bench = try Bench(sandbox, saboteur: fault.saboteur)
        try await bench.start()
        #expect(await bench.spool.jobs().map(\.state) == [.queued], "the fault must have put it off")
        #expect(await bench.spool.takeJobs(atMost: 1).isEmpty)
        #expect(await bench.books == ["\(id).json: image_missing"])
        #expect(await bench.spool.isEmpty)
        await bench.expectAtRest()
    }

    // MARK: Memory of finished jobs

    /// A photo is answered; another of its name comes, alone or with a spec, and fails. A spec that comes after a
    /// restart is about the second: the one that ended last, though `failed` is read before `done`.
    @Test(arguments: [false, true]) func aLateSpecIsAboutTheJobThatEndedLast(_ hasSpec: Bool) async throws {
        let bench = try await started()
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(1))
        try await bench.workAll()
        bench.sandbox.drop("a.jpg", [0xFF, 0xD8, 1])
        if hasSpec { bench.sandbox.drop("a.yml", text: "task: caption") }
        await bench.pass(.seconds(3))
        try await bench.workAll()
        try await bench.restart()
        bench.sandbox.drop("a.yaml", text: "task: caption")
        await bench.pass(.seconds(1))
        let code = hasSpec ? "spec_conflict" : "spec_late"
        #expect(await bench.books == ["a-2.json: corrupt_image", "a-3.json: \(code)", "a.json: ok"])
        let cause = await bench.read.first { $0.name == "a-3.json" }?.outcome.cause ?? ""
        #expect(cause.contains(hasSpec ? "went with a.yml" : "as a-2.json"))
    }
}
