// What could make a drop, or everything beside it, stand still, and must not: leases, full queues, specs that never come, files that
// change as they are taken, disks that fail for good.

import Diagnostics
import Foundation
import Glibc
import Synchronization
import SystemPackage
import Testing

@testable import Spool

@Suite(.serialized) struct StandstillTests {
    private func started(
        _ sandbox: Sandbox = Sandbox(), saboteur: Saboteur? = nil,
        adjust: @Sendable (inout SpoolConfiguration) -> Void = { _ in }
    ) async throws -> Bench {
        let bench = try Bench(sandbox, saboteur: saboteur, adjust: adjust)
        try await bench.start()
        return bench
    }

    // MARK: Leases

    /// A file with a write lease on it (fcntl(2)), as Samba and NFS servers take them, and as any owner may.
    private final class Lease: Sendable {
        private let descriptor: Int32

        init(_ path: String) {
            descriptor = unsafe open(path, O_WRONLY | O_CLOEXEC)
            let (setSignal, setLease, writeLease) = (Int32(10), Int32(1024), Int32(1))
            // What tells the holder of somebody who waits ends a process by default; this one does not.
            _ = fcntl(descriptor, setSignal, SIGURG)
            while fcntl(descriptor, setLease, writeLease) != 0, errno == EAGAIN { sched_yield() }
        }

        func end() { _ = close(descriptor) }
    }

    @Test func aLeaseOnOneDropHoldsUpNoOther() async throws {
        let bench = try await started { $0.pairing.grace = .zero }
        bench.sandbox.drop(".a", photo("a"))
        let lease = Lease(bench.sandbox.inbox + "/.a")
        Sandbox.move(bench.sandbox.inbox + "/.a", bench.sandbox.inbox + "/a.jpg")
        bench.sandbox.drop("b.jpg", photo("b"))
        await bench.pass(.seconds(1))
        try await bench.workAll()
        // The kernel takes a lease away after 45 s: who waits for that has answered both.
        #expect(await bench.books == ["b.json: ok"])
        #expect(await bench.spool.snapshot().stopped.values.map(\.code) == [.temporary])
        lease.end()
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok", "b.json: ok"])
        await bench.expectAtRest()
    }

    // MARK: Specs that are waited for

    /// The only place in the spool is taken by the very job that the spec is for; or nothing is taken in at all.
    @Test(arguments: [false, true]) func aSpecJoinsWhereNothingElseIsTakenIn(_ drains: Bool) async throws {
        let bench = try await started {
            $0.pairing.grace = .zero
            $0.limits.jobs = drains ? 100 : 1
        }
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(1))
        if drains { await bench.spool.setIntake(false) }
        bench.sandbox.drop("b.jpg", photo("b"))
        bench.sandbox.drop("a.yaml", text: "priority: 3")
        await bench.settle()
        let reasons = await bench.spool.snapshot().waiting.map(\.reason)
        #expect(reasons == [drains ? "nothing is taken in while the queue is drained" : "the queue is full (1 jobs)"])
        let job = try #require(await bench.spool.takeJobs(atMost: 1).first)
        #expect(job.spec?.description == "a.yaml")
        try await bench.work(job)
        await bench.spool.setIntake(true)
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok", "b.json: ok"])
    }

    /// The spec in sight belongs to the new photo of that name, which finds no place: the job must not wait for it.
    @Test func aFullQueueDoesNotWaitForASpecOfAnotherDrop() async throws {
        let bench = try await started {
            $0.pairing.grace = .zero
            $0.limits.jobs = 1
        }
        bench.sandbox.drop("a.jpg", photo("old"))
        await bench.pass(.seconds(1))
        bench.sandbox.moveIn("a.jpg", photo("new"))
        bench.sandbox.drop("a.yaml", text: "priority: 3")
        await bench.settle()
        let job = try #require(await bench.spool.takeJobs(atMost: 1).first)
        #expect(job.spec == nil)
        try await bench.work(job)
        try await bench.finish()
        #expect(await bench.books == ["a-2.json: ok", "a.json: ok"])
        #expect(await bench.read.first { $0.name == "a-2.json" }?.outcome.spec == "a.yaml")
    }

    /// A worker who was refused a job is told when there is no reason for that any more: nothing else will tell him.
    @Test(arguments: ["removed", "renamed", "about another"])
    func whatEndsAWaitWakesTheWorkers(_ end: String) async throws {
        let bench = try await started { $0.pairing.grace = .zero }
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(1))
        let writer = bench.sandbox.open("a.yaml")
        writer.write(Array("image: other.jpg\n".utf8))
        await bench.settle()
        #expect(await bench.spool.takeJobs(atMost: 1).isEmpty)
        await bench.settle()
        let gate = await bench.gate
        let refused = gate.turn
        await bench.settle()
        #expect(gate.turn == refused, "nothing has changed")
        let spec = bench.sandbox.inbox + "/a.yaml"
        switch end {
        case "removed": _ = unsafe unlink(spec)
        case "renamed": Sandbox.move(spec, bench.sandbox.inbox + "/b.yaml")
        default: writer.close()
        }
        await bench.settle()
        #expect(gate.turn != refused)
        #expect(await bench.spool.takeJobs(atMost: 1).count == 1)
        if end != "about another" { writer.close() }
    }

    /// Whoever writes a spec now and then for ever holds its photo up for `pairing.timeout`, not for ever.
    @Test(arguments: [false, true]) func aSpecThatIsNeverDoneIsNotWaitedForForever(_ isClaimed: Bool) async throws {
        let bench = try await started { $0.pairing.timeout = .seconds(600) }
        let writer: Sandbox.Writer
        if isClaimed {
            bench.sandbox.drop("a.jpg", photo("a"))
            await bench.pass(.seconds(2))
            writer = bench.sandbox.open("a.yaml")
        } else {
            writer = bench.sandbox.open("a.yaml")
            writer.write([0x23])
            bench.sandbox.drop("a.jpg", photo("a"))
        }
        for minute in 0..<12 {
            writer.write([0x23])
            await bench.settle()
            if minute < 10 { #expect(await bench.spool.takeJobs(atMost: 1).isEmpty) }
            await bench.pass(.seconds(60), pace: .seconds(20))
        }
        #expect(await bench.spool.takeJobs(atMost: 1).count == 1)
        writer.close()
    }

    // MARK: Files that change as they are taken

    /// Carries out `change` once, just before the first call that `picks`.
    private func once(
        _ picks: @escaping @Sendable (FileOperation, Location) -> Bool, _ change: @escaping @Sendable () -> Void
    ) -> Saboteur {
        let isDone = Mutex(false)
        return Saboteur(
            .init(meanwhile: { operation, location in
                guard picks(operation, location) else { return }
                let isFirst = isDone.withLock { done in
                    defer { done = true }
                    return !done
                }
                if isFirst { change() }
            }))
    }

    @Test func aPairIsNotTornApartByANewPhotoAtTheLastMoment() async throws {
        let sandbox = Sandbox()
        let inbox = sandbox.inbox
        let saboteur = once({ $0 == .makeDirectory && "\($1)".contains("/claimed/") }) {
            _ = FileManager.default.createFile(atPath: inbox + "/.new", contents: Data(photo("new")))
            Sandbox.move(inbox + "/.new", inbox + "/a.jpg")
        }
        let bench = try await started(sandbox, saboteur: saboteur)
        sandbox.drop("a.jpg", photo("old"))
        sandbox.drop("a.yaml", text: "priority: 1")
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok"])
        #expect(await bench.read.first?.outcome.spec == "a.yaml")
        #expect(await bench.read.first?.outcome.tag == "new")
        await bench.expectAtRest()
    }

    /// renameat2(2) with RENAME_EXCHANGE puts a directory under the name between the look and the rename.
    @Test(arguments: ["a.jpg", "a.yaml"]) func aDirectoryThatIsSlippedInGoesBack(_ name: String) async throws {
        let sandbox = Sandbox()
        let path = "\(sandbox.inbox)/\(name)"
        let saboteur = once({ $0 == .rename && "\($1)" == path }) {
            _ = unsafe unlink(path)
            _ = unsafe mkdir(path, 0o777)
        }
        let bench = try await started(sandbox, saboteur: saboteur) { $0.pairing.grace = .zero }
        if name == "a.yaml" {
            sandbox.drop("a.jpg", photo("a"))
            await bench.pass(.seconds(1))
        }
        sandbox.drop(name, name == "a.jpg" ? photo("a") : Array("priority: 1".utf8))
        try await bench.finish()
        #expect(await bench.books == (name == "a.jpg" ? [] : ["a.json: ok"]))
        #expect(await bench.spool.snapshot().directories.map(\.description) == [name])
        #expect(Sandbox.files(under: sandbox.spool).allSatisfy { !$0.path.contains("input") })
    }

    // MARK: Inboxes that are replaced

    @Test(arguments: [SpoolConfiguration.Watch.poll, .automatic])
    func anInboxInWhosePlaceAnotherStandsIsOpenedAgain(_ watch: SpoolConfiguration.Watch) async throws {
        let bench = try await started { $0.watch = watch }
        Sandbox.move(bench.sandbox.inbox, bench.sandbox.inbox + "-away")
        await bench.pass(.seconds(5))
        guard case .unavailable? = await bench.spool.snapshot().watched.first?.method else {
            Issue.record("the inbox that went away is still taken for watched")
            return
        }
        _ = unsafe mkdir(bench.sandbox.inbox, 0o755)
        bench.sandbox.drop("a.jpg", photo("a"))
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok"])
        // At once, so that no look finds the path empty.
        Sandbox.move(bench.sandbox.inbox, bench.sandbox.inbox + "-away-too")
        _ = unsafe mkdir(bench.sandbox.inbox, 0o755)
        bench.sandbox.drop("b.jpg", photo("b"))
        await bench.pass(.seconds(5))
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok", "b.json: ok"])
    }

    // MARK: Disks that fail for good

    private func refusing(_ operation: FileOperation, _ suffix: String, _ errno: Errno = .ioError) -> Saboteur {
        Saboteur(
            .init(refuses: { found, location in
                found == operation && "\(location)".hasSuffix(suffix) ? .fails(errno) : nil
            }))
    }

    @Test func aClaimedFileThatCannotBeReadForGoodHasAnOutcome() async throws {
        let bench = try await started(saboteur: refusing(.open, "/input/a.jpg")) { $0.retry.attempts = 5 }
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(10))
        #expect(await bench.books.isEmpty)
        #expect(await bench.spool.snapshot().stopped.values.map(\.code) == [.inputOutput])
        await bench.pass(.seconds(30))
        #expect(await bench.books == ["a.json: input_output"])
        await bench.expectAtRest()
    }

    @Test func aClaimThatAFaultStopsCanBeRemoved() async throws {
        let bench = try await started(saboteur: refusing(.open, "/input/a.jpg"))
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(5))
        let job = try #require(await bench.spool.jobs().first)
        #expect(job.state == .claimed)
        #expect(job.trouble?.code == .inputOutput)
        try await bench.spool.remove(job.id)
        #expect(await bench.books == ["a.json: removed"])
        #expect(await bench.whereabouts(photo("a")).count == 1)
        await bench.expectAtRest()
    }

    @Test(
        .enabled(if: Sandbox.hasTwoFileSystems, "needs /dev/shm and /tmp on two file systems"),
        arguments: [false, true])
    func aFileThatCannotBeCopiedForGoodIsKept(_ isRemoved: Bool) async throws {
        let sandbox = Sandbox(.inboxElsewhere)
        let saboteur = Saboteur(
            .init(refuses: { operation, location in
                operation == .read && "\(location)".contains("/.memvpd/") ? .fails(.ioError) : nil
            }))
        let bench = try await started(sandbox, saboteur: saboteur) { $0.retry.attempts = 5 }
        sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(5))
        if isRemoved {
            try await bench.spool.remove(try #require(await bench.spool.jobs().first?.id))
        }
        await bench.pass(.seconds(60))
        #expect(await bench.books == ["a.json: \(isRemoved ? "removed" : "input_output")"])
        #expect(Sandbox.files(under: sandbox.inbox).map(\.path).allSatisfy { $0.hasPrefix(".memvpd/kept/") })
        await bench.expectAtRest()
        // It stays there: another start must not take it for a drop.
        try await bench.restart()
        try await bench.finish()
        #expect(await bench.books.count == 1)
    }

    // MARK: Retrying all

    @Test func oneJobThatCannotBeRetriedDoesNotKeepTheOthers() async throws {
        let bench = try await started { $0.pairing.grace = .zero }
        for name in ["a", "b", "c"] {
            bench.sandbox.drop("\(name).jpg", [0xFF, 0xD8, 1])
            await bench.pass(.seconds(3))
            try await bench.workAll()
        }
        #expect(await bench.books.count == 3)
        let id = try #require(await bench.read.first { $0.name == "a.json" }?.outcome.job)
        let first = "\(bench.sandbox.failed)/\(id)/input/a.jpg"
        // Neither linked nor copied: a directory.
        _ = unsafe unlink(first)
        _ = unsafe mkdir(first, 0o755)
        let result = try await bench.spool.retryFailed()
        #expect(result.retried.count == 2)
        #expect(result.refused.keys.map(\.description) == [id])
        #expect(result.refused.values.allSatisfy { !$0.hint.contains("it is tried again") })
        try await bench.finish()
        #expect(await bench.books.count == 5)
    }

    @Test func aRetryIsDurableBeforeItIsReported() async throws {
        let calls = Mutex<[String]>([])
        let saboteur = Saboteur(
            .init(meanwhile: { operation, location in
                calls.withLock { $0.append("\(operation.rawValue) \(location)") }
            }))
        let bench = try await started(saboteur: saboteur) { $0.pairing.grace = .zero }
        bench.sandbox.drop("a.jpg", photo("a"))
        try await bench.finish()
        let old = try #require(JobID(await bench.readOutbox().first?.job ?? ""))
        calls.withLock { $0 = [] }
        let new = try await bench.spool.retry(old)
        let made = calls.withLock { $0 }
        let renamed = try #require(made.lastIndex { $0.hasPrefix("rename ") && $0.hasSuffix("claimed/\(new)") })
        #expect(made[renamed...].contains { $0.hasPrefix("syncDirectory ") && $0.hasSuffix("/queued") })
    }

    // MARK: Clocks

    @Test func timesAreRightAgainAfterAClockThatRanAhead() async throws {
        let sandbox = Sandbox()
        let future = "\(sandbox.done)/20990101T000000.000000Z-00000001"
        try FileManager.default.createDirectory(atPath: future + "/input", withIntermediateDirectories: true)
        try Data(JobRecord().bytes).write(to: URL(fileURLWithPath: future + "/job.json"))
        let bench = try await started(sandbox) { $0.pairing.grace = .zero }
        sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(1))
        let before = bench.clock.unixMicroseconds
        let job = try #require(await bench.spool.jobs().first)
        #expect(job.id.description.hasPrefix("2099"), "names only rise")
        #expect((before - 2_000_000...before).contains(job.claimedAt))
        bench.clock.advance(.seconds(10))
        #expect(await bench.spool.snapshot().oldestSince == job.claimedAt)
        #expect(await bench.spool.age(job.id) >= 10_000)
    }

    @Test func retentionExpiresWhatIsNamedAfterTheFuture() async throws {
        let sandbox = Sandbox()
        let future = "\(sandbox.done)/20990101T000000.000000Z-00000001"
        try FileManager.default.createDirectory(atPath: future + "/input", withIntermediateDirectories: true)
        let bench = try await started(sandbox) { $0.retention.done = .seconds(3600) }
        await bench.pass(.seconds(3 * 3600), pace: .seconds(600))
        #expect(!Sandbox.exists(future))
    }
}
