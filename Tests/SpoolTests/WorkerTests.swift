// What workers and operators do to jobs, and what becomes of jobs that end the process.

import Diagnostics
import Foundation
import Testing

@testable import Spool

@Suite(.serialized) struct WorkerTests {
    /// A started spool with so many queued photos, p0 and on.
    private func queued(
        _ count: Int, _ sandbox: Sandbox = Sandbox(), adjust: @Sendable (inout SpoolConfiguration) -> Void = { _ in }
    ) async throws -> Bench {
        let bench = try Bench(sandbox) { configuration in
            configuration.pairing.grace = .zero
            adjust(&configuration)
        }
        try await bench.start()
        for number in 0..<count {
            bench.sandbox.drop("p\(number).jpg", photo("\(number)"))
            await bench.settle()
        }
        return bench
    }

    private func names(_ jobs: [Job]) -> [String] { jobs.map(\.image.stem.description) }

    // MARK: Taking

    @Test func jobsComeByPriorityThenArrival() async throws {
        let bench = try await queued(3)
        bench.sandbox.drop("urgent.yaml", text: "priority: 5")
        bench.sandbox.drop("urgent.jpg", photo("u"))
        await bench.settle()
        #expect(names(await bench.spool.takeJobs(atMost: 3)) == ["urgent", "p0", "p1"])
        #expect(names(await bench.spool.takeJobs(atMost: 3)) == ["p2"])
        #expect(await bench.spool.takeJobs(atMost: 3).isEmpty)
    }

    @Test func aSpecThatJoinsChangesThePriority() async throws {
        let bench = try await queued(3)
        bench.sandbox.drop("p2.yaml", text: "priority: 1")
        await bench.settle()
        #expect(names(await bench.spool.takeJobs(atMost: 1)) == ["p2"])
    }

    @Test func aJobWhoseSpecIsBeingWrittenIsNotTaken() async throws {
        let bench = try await queued(2)
        let writer = bench.sandbox.open("p0.yaml")
        #expect(names(await bench.spool.takeJobs(atMost: 2)) == ["p1"])
        writer.write(Array("priority: 2".utf8))
        writer.close()
        await bench.settle()
        let jobs = await bench.spool.takeJobs(atMost: 2)
        #expect(jobs.map(\.spec?.description) == ["p0.yaml"])
    }

    @Test func aJobEndsOnce() async throws {
        let bench = try await queued(1)
        let job = try #require(await bench.spool.takeJobs(atMost: 1).first)
        #expect(
            try await bench.spool.commit(job, answer: bench.document(job, nil))
                == .published(FileName("p0.json") ?? .placeholder))
        await #expect(throws: Failure.self) { try await bench.spool.commit(job, answer: []) }
        await #expect(throws: Failure.self) { try await bench.spool.requeue(job) }
        await #expect(throws: Failure.self) { try await bench.spool.deferJob(job, Failure(.temporary, "", "")) }
        #expect(await bench.books == ["p0.json: ok"])
    }

    @Test func deferredJobsWaitLongerEachTimeAndDoNotStarveOthers() async throws {
        let bench = try await queued(1)
        var pauses: [Duration] = []
        for _ in 0..<4 {
            let job = try #require(await bench.spool.takeJobs(atMost: 1).first)
            try await bench.spool.deferJob(job, Failure(.noSpace, "disk", "is full"))
            pauses.append(try #require(await bench.spool.jobs().first?.pause))
            await bench.pass(pauses.last ?? .zero, pace: .seconds(5))
        }
        #expect(pauses.map { $0.components.seconds } == [5, 10, 20, 40])
        bench.sandbox.drop("fresh.jpg", photo("f"))
        await bench.settle()
        #expect(Set(names(await bench.spool.takeJobs(atMost: 2))) == ["p0", "fresh"])
    }

    @Test func deferredJobsSurviveARestartWithTheirPause() async throws {
        let bench = try await queued(1)
        let job = try #require(await bench.spool.takeJobs(atMost: 1).first)
        try await bench.spool.deferJob(job, Failure(.temporary, "model", "is busy"))
        await bench.pass(.seconds(2))
        try await bench.restart()
        let summary = try #require(await bench.spool.jobs().first)
        #expect(summary.state == .deferred)
        #expect(summary.attempts == 1)
        #expect(summary.lastFailure?.cause == "is busy")
        #expect(summary.pause.map { $0 <= .seconds(3) && $0 > .seconds(2) } == true)
        #expect(await bench.spool.takeJobs(atMost: 1).isEmpty)
        await bench.pass(.seconds(3))
        #expect(await bench.spool.takeJobs(atMost: 1).first?.attempts == 1)
    }

    @Test func aCleanStopPutsJobsBackAndSuspectsNobody() async throws {
        let bench = try await queued(2)
        _ = await bench.spool.takeJobs(atMost: 2)
        await bench.spool.close()
        #expect(!Sandbox.exists(bench.sandbox.spool + "/session"))
        try await bench.restart()
        let jobs = await bench.spool.takeJobs(atMost: 2)
        #expect(jobs.count == 2)
        #expect(jobs.allSatisfy { !$0.aloneRequired })
    }

    // MARK: Crashes

    @Test func afterAnUncleanEndJobsRunAlone() async throws {
        let bench = try await queued(4)
        _ = await bench.spool.takeJobs(atMost: 2)
        try await bench.restart()
        let first = await bench.spool.takeJobs(atMost: 4)
        #expect(names(first) == ["p0"])
        #expect(first.first?.aloneRequired == true)
        #expect(await bench.spool.takeJobs(atMost: 4).isEmpty)
        for job in first { try await bench.work(job) }
        let second = await bench.spool.takeJobs(atMost: 4)
        #expect(names(second) == ["p1"])
        for job in second { try await bench.work(job) }
        #expect(names(await bench.spool.takeJobs(atMost: 4)) == ["p2", "p3"])
    }

    @Test func aSuspectWaitsUntilTheOthersAreDone() async throws {
        let bench = try await queued(1)
        _ = await bench.spool.takeJobs(atMost: 1)
        try await bench.restart()
        let suspect = try #require(await bench.spool.takeJobs(atMost: 1).first)
        try await bench.spool.requeue(suspect)
        // Still alone: an operator holds it, others go, it comes back while they run.
        try await bench.spool.hold(suspect.id)
        bench.sandbox.drop("other.jpg", photo("o"))
        await bench.settle()
        let other = try #require(await bench.spool.takeJobs(atMost: 4).first)
        try await bench.spool.release(suspect.id)
        #expect(await bench.spool.takeJobs(atMost: 4).isEmpty)
        try await bench.work(other)
        #expect(await bench.spool.takeJobs(atMost: 4).map(\.aloneRequired) == [true])
    }

    /// The process ends uncleanly while the job that runs alone is in hand; `struck`: the crash handler named it.
    private func die(_ bench: Bench, struck: Bool) async throws {
        let job = try #require(await bench.spool.takeJobs(atMost: 1).first)
        if struck {
            try Data("SEGV \(job.id)\n".utf8).write(to: URL(fileURLWithPath: bench.sandbox.spool + "/strikes"))
        }
        try await bench.restart()
    }

    @Test func twoStrikesArePoison() async throws {
        let bench = try await queued(1)
        // In company: no strike, whatever the handler wrote.
        try await die(bench, struck: true)
        #expect(await bench.spool.jobs().first?.strikes == 0)
        try await die(bench, struck: true)
        #expect(await bench.spool.jobs().first?.strikes == 1)
        try await die(bench, struck: true)
        #expect(await bench.books == ["p0.json: poison"])
        #expect(await bench.whereabouts(photo("0")).first?.hasPrefix("failed/") == true)
        await bench.expectAtRest()
    }

    /// A start that counted a strike and died, wherever it did, has counted one.
    @Test func aStrikeIsCountedOnceHoweverOftenRecoveryIsCutOff() async throws {
        var target = 0
        while true {
            let bench = try await queued(1)
            try await die(bench, struck: false)
            let job = try #require(await bench.spool.takeJobs(atMost: 1).first)
            try Data("SEGV \(job.id)\n".utf8).write(to: URL(fileURLWithPath: bench.sandbox.spool + "/strikes"))
            let saboteur = Saboteur(.init(target: target))
            saboteur.arm()
            try? await bench.restart(saboteur: saboteur)
            saboteur.kill()
            try await bench.restart()
            #expect(await bench.spool.jobs().first?.strikes == 1, "died at \(saboteur.hit ?? "the end")")
            #expect(await bench.spool.jobs().first?.uncleanEnds == 1, "died at \(saboteur.hit ?? "the end")")
            if saboteur.hit == nil { break }
            target += 1
        }
        #expect(target > 5)
    }

    @Test func fiveUncleanEndsInARowArePoison() async throws {
        let bench = try await queued(1)
        try await die(bench, struck: false)
        for end in 1...4 {
            try await die(bench, struck: false)
            #expect(await bench.spool.jobs().first?.uncleanEnds == end)
        }
        try await die(bench, struck: false)
        #expect(await bench.books == ["p0.json: poison"])
    }

    @Test func aCleanStopBreaksTheRow() async throws {
        let bench = try await queued(1)
        for _ in 0..<4 { try await die(bench, struck: false) }
        _ = await bench.spool.takeJobs(atMost: 1)
        await bench.spool.close()
        try await bench.restart()
        #expect(await bench.spool.jobs().first?.uncleanEnds == 0)
        #expect(await bench.spool.jobs().first?.alone == true)
    }

    @Test func anEndWithNothingInHandCountsForNobody() async throws {
        let bench = try await queued(1)
        try await die(bench, struck: false)
        try await bench.restart()
        try await bench.restart()
        #expect(await bench.spool.jobs().first?.uncleanEnds == 0)
    }

    // MARK: Operators

    @Test func heldJobsStayHeldOverARestart() async throws {
        let bench = try await queued(2)
        let id = try #require(await bench.spool.jobs().first?.id)
        try await bench.spool.hold(id)
        try await bench.restart()
        #expect(names(await bench.spool.takeJobs(atMost: 2)) == ["p1"])
        try await bench.spool.release(id)
        #expect(await bench.spool.takeJobs(atMost: 2).isEmpty == false)
    }

    @Test func theQueueStaysHeldOverARestart() async throws {
        let bench = try await queued(1)
        try await bench.spool.holdQueue()
        try await bench.restart()
        #expect(await bench.spool.takeJobs(atMost: 1).isEmpty)
        #expect(await bench.spool.snapshot().isQueueHeld)
        try await bench.spool.releaseQueue()
        #expect(await bench.spool.takeJobs(atMost: 1).count == 1)
    }

    @Test func removeIsAnOutcomeAndKeepsTheOriginal() async throws {
        let bench = try await queued(1)
        let id = try #require(await bench.spool.jobs().first?.id)
        try await bench.spool.remove(id)
        #expect(await bench.books == ["p0.json: removed"])
        #expect(await bench.whereabouts(photo("0")) == ["failed/\(id)/input/p0.jpg"])
    }

    @Test func verbsLeaveJobsInHandAlone() async throws {
        let bench = try await queued(1)
        let job = try #require(await bench.spool.takeJobs(atMost: 1).first)
        await #expect(throws: Failure.self) { try await bench.spool.remove(job.id) }
        await #expect(throws: Failure.self) { try await bench.spool.hold(job.id) }
        await #expect(throws: Failure.self) { try await bench.spool.retry(job.id) }
        let unknown = JobID(unixMicroseconds: 1, random: 1)
        await #expect(throws: Failure.self) { try await bench.spool.remove(unknown) }
        let refusal = await #expect(throws: Failure.self) { try await bench.spool.retry(unknown) }
        #expect(refusal?.code == .notFound && refusal?.hint.contains("memvpctl queue") == true)
        try await bench.work(job)
        #expect(await bench.books == ["p0.json: ok"])
    }

    @Test func aRetryIsANewJobWithTheNextNumber() async throws {
        let bench = try await queued(0)
        bench.sandbox.drop("a.jpg", [0xFF, 0xD8, 5])
        bench.sandbox.drop("a.yaml", text: "priority: 2")
        await bench.pass(.seconds(2))
        try await bench.workAll()
        // The reader takes a.json away: the retry is a-2.json all the same.
        #expect(await bench.books == ["a.json: corrupt_image"])
        let old = try #require(JobID(await bench.read.first?.outcome.job ?? ""))
        let new = try await bench.spool.retry(old)
        let job = try #require(await bench.spool.takeJobs(atMost: 1).first)
        #expect(job.id == new)
        #expect(job.retryOf == old)
        #expect(job.spec?.description == "a.yaml")
        #expect(job.priority == 2)
        try await bench.work(job)
        #expect(await bench.books == ["a-2.json: corrupt_image", "a.json: corrupt_image"])
        // The original stays, and is not retried by --all again; the retry may be.
        #expect(await bench.whereabouts([0xFF, 0xD8, 5]).count == 2)
        let all = try await bench.spool.retryFailed()
        #expect(Array(all.retried.keys) == [new])
        try await bench.finish()
        #expect(await bench.books.contains("a-3.json: corrupt_image"))
    }

    @Test func anAnsweredJobCanBeRetriedToo() async throws {
        let bench = try await queued(1)
        try await bench.workAll()
        let old = try #require(JobID(await bench.readOutbox().first?.job ?? ""))
        _ = try await bench.spool.retry(old)
        try await bench.finish()
        #expect(await bench.books == ["p0-2.json: ok", "p0.json: ok"])
        #expect(await bench.read.last?.outcome.retryOf == old.description)
    }

    @Test func aSpecWithoutAPhotoCannotBeRetried() async throws {
        let bench = try await queued(0) { $0.pairing.timeout = .seconds(1) }
        bench.sandbox.drop("a.yaml", text: "task: caption")
        await bench.pass(.seconds(2))
        let id = try #require(JobID(await bench.readOutbox().first?.job ?? ""))
        await #expect(throws: Failure.self) { try await bench.spool.retry(id) }
        #expect(try await bench.spool.retryFailed().retried.isEmpty)
    }

    @Test func jobsAreShownWhereverTheyAre() async throws {
        let bench = try await queued(2)
        let job = try #require(await bench.spool.takeJobs(atMost: 1).first)
        #expect(await bench.spool.job(named: job.id)?.state == .running)
        let failure = Failure(.promptTooLong, "p0.jpg", "asks too much")
        try await bench.spool.fail(job, failure, document: bench.document(job, failure))
        let summary = try #require(await bench.spool.job(named: job.id))
        #expect(summary.state == .failed)
        #expect(summary.outcome?.description == "p0.json")
        #expect(summary.lastFailure == failure)
        #expect(await bench.spool.jobs().count == 1)
    }

    // MARK: Snapshot and retention

    @Test func finishedJobsAreCountedAcrossRestarts() async throws {
        let bench = try await queued(3)
        try await bench.workAll()
        let expected = SpoolSnapshot.Finished(jobs: 3, bytes: Int64(photo("0").count * 3))
        #expect(await bench.spool.snapshot().finished[.done] == expected)
        try await bench.restart()
        #expect(await bench.spool.snapshot().finished[.done] == expected)
        #expect(await bench.spool.snapshot().isFinishedCounted)
    }

    @Test func originalsAreKeptForeverUnlessConfigured() async throws {
        let bench = try await queued(1)
        try await bench.workAll()
        await bench.pass(.seconds(400 * 86_400), pace: .seconds(86_400))
        #expect(await bench.whereabouts(photo("0")).count == 1)
    }

    @Test func retentionRemovesWhatHasEndedLongAgo() async throws {
        let bench = try await queued(2) { $0.retention.done = .seconds(86_400) }
        try await bench.workAll()
        await bench.pass(.seconds(80_000), pace: .seconds(3600))
        #expect(await bench.whereabouts(photo("0")).count == 1)
        await bench.pass(.seconds(14_000), pace: .seconds(3600))
        #expect(await bench.whereabouts(photo("0")).isEmpty)
        #expect(Sandbox.files(under: bench.sandbox.done, directories: true).isEmpty)
        #expect(await bench.spool.snapshot().finished[.done] == SpoolSnapshot.Finished(jobs: 0, bytes: 0))
        #expect(await bench.books == ["p0.json: ok", "p1.json: ok"])
    }

    // MARK: History

    @Test func theHistoryOfAJobIsKeptWithIt() async throws {
        let bench = try await queued(1)
        let job = try #require(await bench.spool.takeJobs(atMost: 1).first)
        try await bench.spool.deferJob(job, Failure(.noSpace, "disk", "is full"))
        try await bench.spool.hold(job.id)
        // A stop writes what is not written yet.
        await bench.spool.close()
        try await bench.restart()
        try await bench.spool.release(job.id)
        let again = try #require(await bench.spool.takeJobs(atMost: 1).first)
        try await bench.spool.commit(
            again, answer: bench.document(again, nil), timing: ["total": 12.5, "vision": .infinity])
        let ended = try #require(await bench.spool.job(named: job.id))
        #expect(ended.state == .done && ended.starts == 2)
        #expect(
            ended.history.map(\.kind) == [
                .queued, .running, .deferred, .held, .released, .running, .answered, .published,
            ])
        #expect(ended.history[2].note?.contains("is full") == true && ended.history.last?.note == "p0.json")
        #expect(ended.history.map(\.at) == ended.history.map(\.at).sorted())
        #expect(ended.timing == ["total": 12.5])
    }

    @Test func aHistoryIsBounded() {
        var record = JobRecord()
        let words = String(repeating: "x", count: 10_000)
        for number in 0..<1000 {
            record.add(.running, nil, at: Int64(number))
            record.add(.deferred, "\(number) \(words)", at: Int64(number))
            record.add(.deferred, "\(number) \(words)", at: Int64(number))
        }
        #expect(record.history.count == JobRecord.maximumSteps)
        #expect(record.history.prefix(8).map(\.at) == [0, 0, 1, 1, 2, 2, 3, 3])
        #expect(record.history.last?.note?.hasPrefix("999 x") == true)
        #expect(record.bytes.count < JobRecord.maximumBytes / 2)
        #expect(JobRecord(bytes: record.bytes) == record)
    }

    @Test func aStrikeIsReported() async throws {
        let bench = try await queued(1)
        for _ in 0..<2 {
            let job = try #require(await bench.spool.takeJobs(atMost: 1).first)
            try Data("SEGV \(job.id)\n".utf8).write(to: URL(fileURLWithPath: bench.sandbox.spool + "/strikes"))
            try await bench.restart()
        }
        let strikes = bench.events.compactMap { if case .struck(_, let strikes) = $0 { strikes } else { nil } }
        #expect(strikes == [1])
        let job = try #require(await bench.spool.jobs().first)
        #expect(
            job.starts == 2 && job.history.map(\.kind) == [.queued, .running, .interrupted, .running, .interrupted])
    }
}
