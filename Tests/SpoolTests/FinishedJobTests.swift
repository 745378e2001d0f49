// What is kept of a job that has ended: its record tells what became of it, and `retry --all` takes it up once, whatever
// faults came between.

import Diagnostics
import Foundation
import SystemPackage
import Testing

@testable import Spool

@Suite(.serialized) struct FinishedJobTests {
    private func started(_ fault: Fault, _ other: Fault? = nil) async throws -> Bench {
        let (first, second) = (fault.saboteur.hook, other?.saboteur.hook)
        let saboteur = Saboteur(
            .init(refuses: { operation, location in first(operation, location) ?? second?(operation, location) }))
        let bench = try Bench(saboteur: saboteur) { $0.pairing.grace = .zero }
        try await bench.start()
        return bench
    }

    // MARK: Records

    /// A retry counts on from the name that the record tells: where that is missing, it gets the name that a reader has taken away.
    @Test func aNameThatCouldNotBeNotedIsNotedByTheNextAttempt() async throws {
        let fault = Fault(.noSpace, times: 1) {
            $0 == .write && $1.contains("/answered/") && $1.hasSuffix("/job.json.tmp")
        }
        let bench = try await started(fault)
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.settle()
        try await bench.workAll()
        #expect(await bench.spool.snapshot().unpublished == 1, "the fault must have stopped it")
        await bench.pass(.seconds(2))
        #expect(await bench.books == ["a.json: ok"])
        let old = try #require(JobID(await bench.read.first?.outcome.job ?? ""))
        let ended = try #require(await bench.spool.job(named: old))
        #expect(ended.outcome?.description == "a.json" && ended.history.last?.kind == .published)
        await bench.expectAtRest()
        _ = try await bench.spool.retry(old)
        try await bench.workAll()
        #expect(await bench.books == ["a-2.json: ok", "a.json: ok"])
    }

    @Test func anOutcomeThatCouldNotBeFixedIsNoStep() async throws {
        let fault = Fault(.noSpace, times: 1) {
            $0 == .write && $1.contains("/running/") && $1.hasSuffix("/job.json.tmp")
        }
        let bench = try await started(fault)
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.settle()
        let job = try #require(await bench.spool.takeJobs(atMost: 1).first)
        try await bench.work(job)
        #expect(await bench.spool.jobs().map(\.state) == [.deferred])
        try await bench.finish()
        let ended = try #require(await bench.spool.job(named: job.id))
        #expect(ended.history.map(\.kind) == [.queued, .running, .deferred, .running, .answered, .published])
    }

    /// Nothing says that it was: not the verb, and after a crash not the disk.
    @Test func aRemovalThatWasNeverNotedIsNone() async throws {
        let stop = Fault(.ioError) { $0 == .open && $1.hasSuffix("/input/a.jpg") }
        let full = Fault(.noSpace, times: 0) {
            $0 == .write && $1.contains("/claimed/") && $1.hasSuffix("/job.json.tmp")
        }
        let bench = try await started(stop, full)
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(5))
        let id = try #require(await bench.spool.jobs().first?.id)
        full.strike(times: 1)
        await #expect(throws: Failure.self) { try await bench.spool.remove(id) }
        stop.lift()
        await bench.pass(.seconds(70))
        try await bench.workAll()
        #expect(await bench.books == ["a.json: ok"])
    }

    // MARK: Retries

    /// The mark is missing when the retry begins, and once more when it ends; or the process dies in between.
    @Test(arguments: [1, 2], [false, true])
    func noJobIsRetriedTwiceForWantOfAMark(_ faults: Int, _ dies: Bool) async throws {
        let fault = Fault(.noSpace, times: 0) { $0 == .create && $1.hasSuffix("/retried.tmp") }
        let bench = try await started(fault)
        bench.sandbox.drop("a.jpg", [0xFF, 0xD8, 1])
        try await bench.finish()
        fault.strike(times: faults)
        let first = try await bench.spool.retryFailed().retried
        if dies { try await bench.restart(saboteur: fault.saboteur) }
        try await bench.finish()
        #expect(await bench.books == ["a-2.json: corrupt_image", "a.json: corrupt_image"])
        let second = try await bench.spool.retryFailed().retried
        #expect(first.count == 1 && Array(second.keys) == Array(first.values))
    }

    @Test(arguments: [Errno.permissionDenied, .ioError])
    func aMarkThatCannotBeMadeKeepsNoRetryFromItsEnd(_ errno: Errno) async throws {
        let fault = Fault(errno) { $0 == .create && $1.hasSuffix("/retried.tmp") }
        let bench = try await started(fault)
        bench.sandbox.drop("a.jpg", photo("a"))
        try await bench.finish()
        let old = try #require(JobID(await bench.readOutbox().first?.job ?? ""))
        _ = try await bench.spool.retry(old)
        try await bench.workAll()
        #expect(await bench.books == ["a-2.json: ok", "a.json: ok"])
        await bench.expectAtRest()
    }
}
