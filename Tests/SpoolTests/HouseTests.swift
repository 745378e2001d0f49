// Housekeeping: finished jobs are counted right and removed in the end, whatever is in the way.

import Diagnostics
import Foundation
import SystemPackage
import Testing

@testable import Spool

@Suite(.serialized) struct HouseTests {
    /// A spool that has answered so many photos, p0 and on.
    private func answered(
        _ count: Int, _ fault: Fault? = nil, adjust: @Sendable (inout SpoolConfiguration) -> Void = { _ in }
    ) async throws -> Bench {
        let bench = try Bench(Sandbox(), saboteur: fault?.saboteur) { configuration in
            configuration.pairing.grace = .zero
            adjust(&configuration)
        }
        try await bench.start()
        for number in 0..<count { bench.sandbox.drop("p\(number).jpg", photo("\(number)")) }
        await bench.pass(.seconds(1))
        try await bench.workAll()
        return bench
    }

    /// So many jobs, with the inputs of so many counted.
    private func finished(_ jobs: Int, measured: Int? = nil) -> SpoolSnapshot.Finished {
        SpoolSnapshot.Finished(jobs: jobs, bytes: Int64(photo("0").count * (measured ?? jobs)))
    }

    // MARK: Counting

    @Test func whatIsAboutToGoIsNotCounted() async throws {
        let bench = try Bench(Sandbox()) { $0.retention.failed = .seconds(3600) }
        // When a directory was changed last goes by the system's clock.
        bench.clock.advance(.seconds(2 * 3600))
        // More than two sweeps remove, and fewer than one look at the directory shows.
        let old = (0..<Int64(560)).map { JobID(unixMicroseconds: 1_000_000_000_000_000 + $0, random: 0) }
        let young = JobID(unixMicroseconds: bench.clock.unixMicroseconds, random: 0)
        for id in old + [young] {
            let input = "\(bench.sandbox.failed)/\(id)/input"
            try FileManager.default.createDirectory(atPath: input, withIntermediateDirectories: true)
            _ = FileManager.default.createFile(atPath: input + "/a.jpg", contents: Data(photo("0")))
        }
        try await bench.start()
        #expect(Sandbox.files(under: bench.sandbox.failed).map(\.path) == ["\(young)/input/a.jpg"])
        #expect(await bench.spool.snapshot().finished[.failed] == finished(1))
        #expect(await bench.spool.snapshot().isFinishedCounted)
    }

    @Test func aDirectoryThatCannotBeOpenedAtFirstIsCountedLater() async throws {
        let bench = try await answered(2)
        await bench.spool.abandon()
        let done = bench.sandbox.done
        let fault = Fault(.tooManyOpenFiles, times: 0) { $0 == .open && $1 == done }
        let next = try Bench(bench.sandbox, saboteur: fault.saboteur)
        try await next.spool.recover()
        fault.strike(times: 1)
        await next.settle()
        #expect(await !next.spool.snapshot().isFinishedCounted)
        await next.pass(.seconds(60), pace: .seconds(10))
        #expect(await next.spool.snapshot().finished[.done] == finished(2))
        #expect(await next.spool.snapshot().isFinishedCounted)
    }

    /// For good, or for a while: then it is measured once there are descriptors again.
    @Test(arguments: [Errno.ioError, .tooManyOpenFiles])
    func aJobThatCannotBeMeasuredCostsTheOthersNothing(_ errno: Errno) async throws {
        let bench = try await answered(3)
        let fault = Fault(errno, times: 1) { $0 == .open && $1.contains("/done/") && $1.hasSuffix("/input") }
        try await bench.restart(saboteur: fault.saboteur)
        #expect(await bench.spool.snapshot().isFinishedCounted == (errno == .ioError))
        await bench.pass(.seconds(60), pace: .seconds(10))
        #expect(await bench.spool.snapshot().finished[.done] == finished(3, measured: errno == .ioError ? 2 : 3))
        #expect(await bench.spool.snapshot().isFinishedCounted)
    }

    @Test func whatIsNotCountedYetIsNotTakenOff() {
        let (old, new) = (JobID(unixMicroseconds: 1, random: 1), JobID(unixMicroseconds: 2, random: 2))
        var census = Census()
        census.add(new, .done, bytes: 5)
        census.remove(old, .done, bytes: 7)
        #expect(census.counts == [.done: Census.Count(jobs: 1, bytes: 5)])
        census.remove(new, .done, bytes: 5)
        #expect(census.counts == [.done: Census.Count()])
        // Its directory has been walked, the other one has not.
        census.remaining = [.failed]
        census.count(.done, bytes: 7)
        census.remove(old, .done, bytes: 7)
        #expect(census.counts == [.done: Census.Count()])
    }

    // MARK: Directories that are exchanged

    @Test func whatEndsGoesWhereThePathLeadsAndAnArchiveIsLeftAlone() async throws {
        let bench = try await answered(2) { $0.retention.done = .seconds(86_400) }
        let (done, archive) = (bench.sandbox.done, bench.sandbox.done + "-archive")
        defer { try? FileManager.default.removeItem(atPath: archive) }
        Sandbox.move(done, archive)
        // Nothing is there: the answer is out, the job waits.
        bench.sandbox.drop("p2.jpg", photo("2"))
        await bench.pass(.seconds(1))
        try await bench.workAll()
        #expect(await bench.books == ["p0.json: ok", "p1.json: ok", "p2.json: ok"])
        #expect(await bench.spool.snapshot().stopped.count == 1)
        try FileManager.default.createDirectory(atPath: done, withIntermediateDirectories: false)
        await bench.pass(.seconds(90))
        #expect(Sandbox.files(under: done).map(\.path).filter { $0.hasSuffix(".jpg") }.count == 1)
        #expect(await bench.spool.snapshot().finished[.done] == finished(1))
        // Long after: what is in the archive stays.
        await bench.pass(.seconds(2 * 86_400), pace: .seconds(3600))
        #expect(Sandbox.files(under: done, directories: true).isEmpty)
        #expect(Sandbox.files(under: archive).map(\.path).filter { $0.hasSuffix(".jpg") }.count == 2)
        #expect(await bench.books == ["p0.json: ok", "p1.json: ok", "p2.json: ok"])
        await bench.expectAtRest()
    }

    @Test func retentionFollowsThePathThoughNothingElseDoes() async throws {
        let bench = try await answered(1) { $0.retention.done = .seconds(86_400) }
        let (done, archive) = (bench.sandbox.done, bench.sandbox.done + "-archive")
        defer { try? FileManager.default.removeItem(atPath: archive) }
        Sandbox.move(done, archive)
        try FileManager.default.createDirectory(atPath: done, withIntermediateDirectories: false)
        await bench.pass(.seconds(2 * 86_400), pace: .seconds(3600))
        #expect(Sandbox.files(under: archive).map(\.path).contains { $0.hasSuffix("/input/p0.jpg") })
        // What stands there since belongs to it.
        try FileManager.default.removeItem(atPath: done)
        Sandbox.move(archive, done)
        await bench.pass(.seconds(7200), pace: .seconds(3600))
        #expect(Sandbox.files(under: done, directories: true).isEmpty)
    }

    @Test func operatorsLookWhereThePathLeads() async throws {
        let bench = try await answered(1)
        try FileManager.default.createSymbolicLink(
            atPath: "\(bench.sandbox.inbox)/link.jpg", withDestinationPath: "/etc/hostname")
        await bench.pass(.seconds(5))
        #expect(try await bench.spool.failedJobs(atMost: 9).total == 1)
        let (failed, elsewhere) = (bench.sandbox.failed, bench.sandbox.failed + "-elsewhere")
        defer { try? FileManager.default.removeItem(atPath: elsewhere) }
        Sandbox.move(failed, elsewhere)
        await #expect(throws: Failure.self) { try await bench.spool.failedJobs(atMost: 9) }
        await #expect(throws: Failure.self) { try await bench.spool.retryFailed() }
        try FileManager.default.createDirectory(atPath: failed, withIntermediateDirectories: false)
        #expect(try await bench.spool.failedJobs(atMost: 9).total == 0)
        await bench.settle()
        #expect(await bench.spool.snapshot().finished[.failed] == nil)
        try FileManager.default.removeItem(atPath: failed)
        Sandbox.move(elsewhere, failed)
        let jobs = try await bench.spool.failedJobs(atMost: 9).jobs
        #expect(jobs.count == 1)
        await bench.settle()
        #expect(await bench.spool.snapshot().finished[.failed]?.jobs == 1)
        #expect(await bench.spool.snapshot().finished[.done] == finished(1))
    }

    // MARK: Retention

    @Test func nothingIsRemovedFromUnderTheCount() async throws {
        let bench = try await answered(3) { $0.retention.done = .seconds(86_400) }
        let fault = Fault(.tooManyOpenFiles, times: 1) {
            $0 == .open && $1.contains("/done/") && $1.hasSuffix("/input")
        }
        try await bench.restart(saboteur: fault.saboteur)
        // The count that was put off and the removal are due at once.
        bench.clock.advance(.seconds(2 * 86_400))
        await bench.settle()
        #expect(await bench.spool.snapshot().finished[.done] == finished(3))
        await bench.pass(.seconds(3600), pace: .seconds(3600))
        #expect(await bench.spool.snapshot().finished[.done] == finished(0))
        #expect(Sandbox.files(under: bench.sandbox.done, directories: true).isEmpty)
    }

    @Test func aRemovalThatAFaultCutsOffIsTakenUpAgain() async throws {
        let fault = Fault(.ioError) { $0 == .unlink && $1.contains("/done/.") }
        let bench = try await answered(1, fault) { $0.retention.done = .seconds(86_400) }
        func expired() -> Int { bench.events.count { if case .expired = $0 { true } else { false } } }
        await bench.pass(.seconds(94_000), pace: .seconds(3600))
        // It is no job any more, and not gone yet.
        #expect(await bench.spool.snapshot().finished[.done] == finished(0))
        let left = Sandbox.files(under: bench.sandbox.done).map(\.path)
        #expect(left.contains { $0.hasPrefix(".") && $0.hasSuffix("/input/p0.jpg") })
        #expect(expired() == 0)
        fault.lift()
        await bench.pass(.seconds(3600), pace: .seconds(3600))
        #expect(Sandbox.files(under: bench.sandbox.done, directories: true).isEmpty)
        #expect(expired() == 1)
        #expect(await bench.spool.snapshot().finished[.done] == finished(0))
    }
}
