// Inboxes that go away or fail while files stand in them, specs that cannot be read, and claims that are ended for a fault: nothing
// spins, nothing is kept waiting, and each drop still has one outcome.

import Diagnostics
import Foundation
import Glibc
import Synchronization
import SystemPackage
import Testing

@testable import Spool

@Suite(.serialized) struct FaultyInboxTests {
    private func started(
        _ sandbox: Sandbox = Sandbox(), _ fault: Fault? = nil,
        adjust: @Sendable (inout SpoolConfiguration) -> Void = { _ in }
    ) async throws -> Bench {
        let bench = try Bench(sandbox, saboteur: fault?.saboteur, adjust: adjust)
        try await bench.start()
        return bench
    }

    // MARK: Inboxes that go away

    @Test func nothingIsExpectedOfAnInboxThatWentAway() async throws {
        let bench = try await started { $0.pairing.grace = .zero }
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(1))
        let job = try #require(await bench.spool.takeJobs(atMost: 1).first)
        // One file that still settles, and a spec that waits for the job in hand.
        bench.sandbox.drop("b.jpg", [0xFF, 0xD8, 1])
        bench.sandbox.drop("a.yaml", text: "priority: 1")
        await bench.settle()
        Sandbox.move(bench.sandbox.inbox, bench.sandbox.inbox + "-away")
        // `settle` says so when the spool does not come to rest.
        await bench.pass(.seconds(5))
        try await bench.spool.deferJob(job, Failure(.temporary, "a.jpg", "was busy"))
        await bench.pass(.seconds(10))
        #expect(await bench.spool.takeJobs(atMost: 1).count == 1)
        #expect(await bench.spool.snapshot().waiting.isEmpty)
    }

    @Test(.enabled(if: Sandbox.hasTwoFileSystems, "needs /dev/shm and /tmp on two file systems"))
    func aClaimBesideAnInboxThatIsAwayIsNotRemoved() async throws {
        let fault = Fault(.ioError) { $0 == .read && $1.contains("/.memvpd/") }
        let bench = try await started(Sandbox(.inboxElsewhere), fault)
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(5))
        Sandbox.move(bench.sandbox.inbox, bench.sandbox.inbox + "-away")
        await bench.pass(.seconds(5))
        let id = try #require(await bench.spool.jobs().first?.id)
        await #expect(throws: Failure.self) { try await bench.spool.remove(id) }
        Sandbox.move(bench.sandbox.inbox + "-away", bench.sandbox.inbox)
        fault.lift()
        await bench.pass(.seconds(70))
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok"])
        await bench.expectAtRest()
    }

    // MARK: Inboxes that cannot be seen

    /// A spec for the job may stand there unseen, so it waits, but only so long.
    @Test func jobsDoNotWaitForeverForAnInboxThatCannotBeListed() async throws {
        let bench = try await started()
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(1))
        let fault = Fault(.ioError) { $0 == .list && $1.hasSuffix("/inbox") }
        try await bench.restart(saboteur: fault.saboteur)
        #expect(await bench.spool.takeJobs(atMost: 1).isEmpty)
        await bench.pass(.seconds(5))
        try await bench.workAll()
        #expect(await bench.books == ["a.json: ok"])
    }

    /// For `--once`: one fault, or one of each kind, is not the end; the drop behind it is answered.
    @Test(arguments: [[.openRoot], [.list], [.openRoot, .list]] as [[FileOperation]])
    func anInboxThatCannotBeSeenAtFirstIsNotLeftBehind(_ operations: [FileOperation]) async throws {
        let sandbox = Sandbox()
        sandbox.drop("a.jpg", photo("a"))
        // Begins with the start of the spool: the path has been looked at before that.
        let failing = Mutex(Set<FileOperation>())
        let saboteur = Saboteur(
            .init(refuses: { operation, location in
                guard "\(location)".hasSuffix("/inbox") else { return nil }
                return failing.withLock { $0.remove(operation) } == nil ? nil : .fails(.tooManyOpenFiles)
            }))
        let bench = try Bench(sandbox, saboteur: saboteur)
        failing.withLock { $0 = Set(operations) }
        try await bench.start()
        var looks = 0
        while await bench.spool.snapshot().inInbox == 0, looks < 20 {
            #expect(await !bench.spool.isEmpty)
            await bench.pass(.milliseconds(500))
            looks += 1
        }
        #expect(looks > 0, "it must not be in sight at once")
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok"])
        #expect(await bench.spool.isEmpty)
    }

    @Test(arguments: [FileOperation.openRoot, .list])
    func anInboxThatCanNeverBeSeenDoesNotKeepTheEndAway(_ operation: FileOperation) async throws {
        let fault = Fault(.ioError) { $0 == operation && $1.hasSuffix("/inbox") }
        let bench = try await started(Sandbox(), fault)
        #expect(await !bench.spool.isEmpty)
        await bench.pass(.seconds(10))
        #expect(await bench.spool.isEmpty)
        #expect(await bench.spool.undelivered?.object == bench.sandbox.inbox)
    }

    // MARK: Specs that cannot be read

    @Test(arguments: [Errno.tooManyOpenFiles, .ioError, .resourceTemporarilyUnavailable])
    func aSpecThatIsMovedInAndCannotBeReadSettlesAnew(_ errno: Errno) async throws {
        let fault = Fault(errno) { $0 == .open && $1.hasSuffix("/a.yaml") }
        let bench = try await started(Sandbox(), fault)
        bench.sandbox.moveIn("a.yaml", Array("priority: 1".utf8))
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.settle()
        let told = bench.events.count
        await bench.settle()
        #expect(bench.events.count == told, "it is looked at again when it has settled, not at once")
        await bench.pass(.seconds(5))
        fault.lift()
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok"])
        #expect(await bench.read.first?.outcome.spec == "a.yaml")
    }

    @Test(.enabled(if: Sandbox.hasTwoFileSystems, "needs /dev/shm and /tmp on two file systems"))
    func aSpecThatCannotBeCopiedIsRefusedAlone() async throws {
        let bench = try await started(Sandbox(.inboxElsewhere)) { $0.pairing.grace = .zero }
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(1))
        _ = unsafe symlink("/etc/hostname", bench.sandbox.inbox + "/a.yaml")
        try await bench.finish()
        let codes = await bench.books.compactMap { $0.split(separator: " ").last.map(String.init) }
        #expect(codes.sorted() == ["not_regular_file", "ok"])
        let refused = await bench.read.first { $0.outcome.code != nil }?.outcome
        #expect(refused?.hint?.contains("/.memvpd/kept/") == true)
        #expect(refused?.spec == "a.yaml" && refused?.image == nil)
    }

    @Test func aSpecThatJoinedAndCannotBeReadForGoodHasAnOutcome() async throws {
        let fault = Fault(.ioError) { $0 == .open && $1.hasSuffix("/input/a.yaml") }
        let bench = try await started(Sandbox(), fault) {
            $0.pairing.grace = .zero
            $0.retry.attempts = 4
        }
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(1))
        bench.sandbox.drop("a.yaml", text: "priority: 1")
        await bench.pass(.seconds(1))
        #expect(await bench.spool.takeJobs(atMost: 1).isEmpty)
        #expect(await bench.spool.jobs().first?.trouble?.code == .inputOutput)
        await bench.pass(.seconds(20))
        #expect(await bench.books == ["a.json: input_output"])
        await bench.expectAtRest()
    }

    /// The pause of a deferred job ends while its spec is yet to be read: nobody looks again by himself.
    @Test func aJobWhoseSpecIsReadLateWakesTheWorkers() async throws {
        let fault = Fault(.tooManyOpenFiles) { $0 == .open && $1.hasSuffix("/input/a.yaml") }
        let bench = try await started(Sandbox(), fault) { $0.pairing.grace = .zero }
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(1))
        let job = try #require(await bench.spool.takeJobs(atMost: 1).first)
        try await bench.spool.deferJob(job, Failure(.temporary, "a.jpg", "was busy"))
        bench.sandbox.drop("a.yaml", text: "priority: 1")
        await bench.pass(.seconds(20))
        #expect(await bench.spool.takeJobs(atMost: 1).isEmpty)
        let turn = await bench.gate.turn
        fault.lift()
        await bench.pass(.seconds(20))
        #expect(await bench.gate.turn != turn)
        #expect(await bench.spool.takeJobs(atMost: 1).first?.spec?.description == "a.yaml")
    }

    // MARK: Files that cannot be examined

    /// For `--once`: the only drop is not in sight when workers first ask whether there is anything.
    @Test(arguments: [Errno.noMemory, .ioError])
    func aDropThatCannotBeExaminedAtFirstIsNotLeftBehind(_ errno: Errno) async throws {
        let sandbox = Sandbox()
        sandbox.drop("a.jpg", photo("a"))
        let fault = Fault(errno, times: 1) { $0 == .status && $1.hasSuffix("/inbox/a.jpg") }
        let bench = try await started(sandbox, fault)
        let spool = await bench.spool
        #expect(await spool.snapshot().inInbox == 0, "it must not be in sight yet")
        #expect(await !spool.isEmpty)
        await spool.endWhenEmpty()
        async let next = spool.nextJobs(atMost: 1)
        await bench.pass(.seconds(5))
        let jobs = await next
        #expect(jobs.map(\.image.description) == ["a.jpg"])
        for job in jobs { try await bench.work(job) }
        #expect(await bench.books == ["a.json: ok"])
        #expect(await spool.isEmpty)
    }

    @Test func aDropThatCanNeverBeExaminedDoesNotKeepTheEndAway() async throws {
        let sandbox = Sandbox()
        sandbox.drop("a.jpg", photo("a"))
        let fault = Fault(.ioError) { $0 == .status && $1.hasSuffix("/inbox/a.jpg") }
        let bench = try await started(sandbox, fault)
        #expect(await !bench.spool.isEmpty)
        await bench.pass(.seconds(10))
        #expect(await bench.spool.isEmpty)
    }

    // MARK: What is short for a while is no outcome

    @Test(arguments: [Errno.tooManyOpenFiles, .noMemory, .resourceTemporarilyUnavailable])
    func aPassingFaultIsNotAnOutcomeHoweverFewAttemptsThereAre(_ errno: Errno) async throws {
        let fault = Fault(errno, times: 3) { $0 == .open && $1.hasSuffix("/input/a.jpg") }
        let bench = try await started(Sandbox(), fault) { $0.retry.attempts = 1 }
        bench.sandbox.drop("a.jpg", photo("a"))
        try await bench.finish(.seconds(30))
        #expect(await bench.books == ["a.json: ok"])
    }

    @Test(.enabled(if: Sandbox.hasTwoFileSystems, "needs /dev/shm and /tmp on two file systems"))
    func aRemovalThatAFullDiskCutsOffIsStillARemoval() async throws {
        let fault = Fault(.noSpace) { operation, path in
            // The copy and the outcome find no room; the record does.
            operation == .write && path.contains("/claimed/") && !path.contains("job.json")
        }
        let bench = try await started(Sandbox(.inboxElsewhere), fault)
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(5))
        let id = try #require(await bench.spool.jobs().first?.id)
        await #expect(throws: Failure.self) { try await bench.spool.remove(id) }
        fault.lift()
        await bench.pass(.seconds(70))
        #expect(await bench.books == ["a.json: removed"])
        let hint = await bench.read.first?.outcome.hint ?? ""
        #expect(hint.contains("/.memvpd/kept/") && !hint.contains("retry"))
    }

    // MARK: Retries and reasons

    @Test func aRetryWhoseDurabilityFailsIsWorkedOnAllTheSame() async throws {
        let fault = Fault(.tooManyOpenFiles) { $0 == .syncDirectory && $1.hasSuffix("/queued") }
        let bench = try await started(Sandbox(), fault) { $0.pairing.grace = .zero }
        bench.sandbox.drop("a.jpg", photo("a"))
        try await bench.finish()
        let old = try #require(JobID(await bench.readOutbox().first?.job ?? ""))
        let new = try await bench.spool.retry(old)
        #expect(await bench.spool.takeJobs(atMost: 1).map(\.id) == [new])
    }

    @Test(arguments: [false, true]) func aFaultThatHasPassedIsNotToldWhileDrained(_ hasPhoto: Bool) async throws {
        let fault = Fault(.tooManyOpenFiles, times: 1) { $0 == .list && $1.hasSuffix("/inbox") }
        let bench = try await started(Sandbox(), fault) { $0.scanInterval = .seconds(2) }
        await bench.spool.setIntake(false)
        if hasPhoto { bench.sandbox.drop("a.jpg", photo("a")) }
        await bench.pass(.seconds(10))
        #expect(bench.events.contains { if case .trouble = $0 { true } else { false } })
        #expect(await bench.spool.snapshot().intakeTrouble == nil)
    }

    @Test func aPhotoWhoseGraceIsOverIsSaidToWaitForTheDrain() async throws {
        let bench = try await started()
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.settle()
        await bench.spool.setIntake(false)
        await bench.pass(.seconds(3))
        let waiting = await bench.spool.snapshot().waiting
        #expect(waiting.map(\.reason) == ["nothing is taken in while the queue is drained"])
    }
}
