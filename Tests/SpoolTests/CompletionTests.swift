// When a drop is complete: writers who are slow, pause, never close, go on after the claim, or leave no trace of a close.

import Diagnostics
import Foundation
import Glibc
import Synchronization
import Testing

@testable import Spool

/// Something that is to happen the first time that it can.
private final class Once: Sendable {
    private let due: Mutex<Bool>

    init(isDue: Bool) { due = Mutex(isDue) }

    var isDue: Bool { due.withLock { $0 } }

    /// Whether it is now.
    func take() -> Bool {
        due.withLock { due in
            defer { due = false }
            return due
        }
    }
}

@Suite(.serialized) struct CompletionTests {
    @Test func aPhotoAloneGetsTheDefaultTaskAfterTheGrace() async throws {
        let bench = try await Bench.started()
        bench.sandbox.drop("photo.jpg", photo("a"))
        await bench.settle()
        #expect(await bench.spool.takeJobs(atMost: 8).isEmpty)
        #expect(await bench.spool.snapshot().waiting.map(\.reason) == ["a spec may follow"])
        await bench.pass(.seconds(1))
        let jobs = await bench.spool.takeJobs(atMost: 8)
        #expect(jobs.map(\.image.description) == ["photo.jpg"])
        #expect(try jobs.first?.readImage() == photo("a"))
        #expect(try jobs.first?.readSpec() == nil)
        for job in jobs { try await bench.work(job) }
        #expect(await bench.books == ["photo.json: ok"])
        await bench.expectAtRest()
        #expect(await bench.whereabouts(photo("a")).count == 1)
    }

    @Test func movedInIsTakenAtOnceWhateverItsEnd() async throws {
        let bench = try await Bench.started { $0.pairing.grace = .zero }
        bench.sandbox.moveIn("a.jpg", [1, 2, 3])
        await bench.settle()
        #expect(await bench.spool.takeJobs(atMost: 1).count == 1)
    }

    @Test func closedWithoutAnEndMarkerSettles() async throws {
        let bench = try await Bench.started { $0.pairing.grace = .zero }
        bench.sandbox.drop("a.jpg", [0xFF, 0xD8, 1])
        await bench.pass(.milliseconds(1900))
        #expect(await bench.spool.takeJobs(atMost: 1).isEmpty)
        await bench.pass(.milliseconds(100))
        #expect(await bench.spool.takeJobs(atMost: 1).count == 1)
    }

    @Test func aSlowWriterIsNotInterrupted() async throws {
        let bench = try await Bench.started { $0.pairing.grace = .zero }
        let whole = photo("slow", size: 40)
        let writer = bench.sandbox.open("a.jpg")
        for part in stride(from: 0, to: whole.count, by: 16) {
            writer.write(Array(whole[part..<min(part + 16, whole.count)]))
            // Many times `settle`, and several scans.
            await bench.pass(.seconds(300), pace: .seconds(5))
            #expect(await bench.spool.takeJobs(atMost: 1).isEmpty)
            #expect(await bench.spool.snapshot().waiting.map(\.reason) == ["is being written"])
        }
        writer.close()
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok"])
        #expect(await bench.read.first?.outcome.tag == Outcome.tag(whole))
    }

    @Test func aWriterWhoNeverClosesIsWaitedForOnlySoLong() async throws {
        let bench = try await Bench.started { ($0.pairing.grace, $0.writingTimeout) = (.zero, .seconds(60)) }
        let writer = bench.sandbox.open("a.jpg")
        let unwritten = bench.sandbox.open("b.jpg")
        writer.write(photo("open"))
        await bench.pass(.seconds(59))
        #expect(await bench.spool.jobs().isEmpty)
        await bench.pass(.seconds(1))
        #expect(await bench.spool.takeJobs(atMost: 1).map(\.image.description) == ["a.jpg"])
        #expect(await bench.books == ["b.json: empty_file"])
        writer.close()
        unwritten.close()
    }

    @Test func afterLostEventsAWriterIsHeldAgainOnceItWrites() async throws {
        let bench = try await Bench.started { $0.pairing.grace = .zero }
        let writer = bench.sandbox.open("a.jpg")
        writer.write([0xFF, 0xD8])
        await bench.settle()
        for _ in 0..<9000 {
            Sandbox.move(bench.sandbox.inbox + "/.a", bench.sandbox.inbox + "/.b")
            if !Sandbox.exists(bench.sandbox.inbox + "/.b") { bench.sandbox.drop(".b", [1]) }
            Sandbox.move(bench.sandbox.inbox + "/.b", bench.sandbox.inbox + "/.a")
        }
        // One look reads as many records as the kernel queues; that some were lost is what the next one finds.
        await bench.settle()
        await bench.settle()
        #expect(bench.events.contains { if case .overflowed = $0 { true } else { false } })
        #expect(
            await bench.spool.snapshot().waiting.map(\.reason) == ["must stand unchanged for a while"])
        writer.write([1, 2, 3])
        await bench.pass(.seconds(60))
        #expect(await bench.spool.snapshot().waiting.map(\.reason) == ["is being written"])
        writer.write([0xFF, 0xD9])
        writer.close()
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok"])
    }

    @Test func aFileThatIsLinkedInWithoutANameBeforeIsTaken() async throws {
        // open(2) with O_TMPFILE, then linkat(2): IN_CREATE, and neither a write nor a close is ever seen.
        let bench = try await Bench.started { $0.pairing.grace = .zero }
        let flags = O_WRONLY | O_CLOEXEC | 0o20_200_000
        let descriptor = unsafe Glibc.open(bench.sandbox.inbox, flags, 0o644)
        try #require(descriptor >= 0)
        let bytes = photo("unnamed")
        _ = unsafe Glibc.write(descriptor, bytes, bytes.count)
        let linked = unsafe linkat(
            AT_FDCWD, "/proc/self/fd/\(descriptor)", AT_FDCWD, bench.sandbox.inbox + "/a.jpg", AT_SYMLINK_FOLLOW)
        #expect(linked == 0)
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok"])
        _ = Glibc.close(descriptor)
    }

    @Test func aRewrittenFileIsTakenInItsLastForm() async throws {
        let bench = try await Bench.started()
        bench.sandbox.drop("a.jpg", photo("first"))
        await bench.pass(.milliseconds(500))
        let writer = bench.sandbox.open("a.jpg")
        writer.write([0xFF, 0xD8])
        // The grace of the first form passes while the second is being written.
        await bench.pass(.seconds(5))
        #expect(await bench.spool.jobs().isEmpty)
        writer.write(Array(photo("second").dropFirst(2)))
        writer.close()
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok"])
        #expect(await bench.read.first?.outcome.tag == Outcome.tag(photo("second")))
    }

    @Test func aWriterWhoGoesOnAfterTheClaimIsWaitedFor() async throws {
        let sandbox = Sandbox()
        let writer = sandbox.open("a.jpg")
        writer.write(photo("begin"))
        let bench = try await Bench.started(sandbox) { $0.pairing.grace = .zero }
        // Of what was there at the start no writer is known: it stands still, and is taken.
        await bench.pass(.seconds(2))
        #expect(await bench.spool.jobs().map(\.state) == [.queued])
        writer.write([1, 2, 3])
        try await bench.workAll()
        #expect(await bench.books.isEmpty)
        writer.write([0xFF, 0xD9])
        writer.close()
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok"])
        #expect(await bench.whereabouts(photo("begin") + [1, 2, 3, 0xFF, 0xD9]).count == 1)
    }

    @Test func aWriterWhoComesBetweenTheLookAndTheClaimIsWaitedFor() async throws {
        let sandbox = Sandbox()
        let writer = sandbox.open("a.jpg")
        writer.write(photo("begin"))
        let saboteur = Saboteur(
            .init(meanwhile: { operation, location in
                guard operation == .rename, location.description.hasSuffix("/inbox/a.jpg") else { return }
                writer.write([1, 2, 3])
            }))
        let bench = try Bench(sandbox, saboteur: saboteur) { $0.pairing.grace = .zero }
        try await bench.start()
        await bench.pass(.seconds(2))
        #expect(await bench.spool.jobs().map(\.state) == [.claimed])
        await bench.pass(.seconds(1))
        writer.write([0xFF, 0xD9])
        await bench.pass(.seconds(2))
        // It changed within the time to settle: that begins anew.
        #expect(await bench.spool.jobs().map(\.state) == [.claimed])
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok"])
        #expect(await bench.whereabouts(photo("begin") + [1, 2, 3, 0xFF, 0xD9]).count == 1)
    }

    /// Does something just before a call of a kind on a file, the first time that it can.
    private static func saboteur(
        at kind: FileOperation, once: Once, on isMeant: @escaping @Sendable (String) -> Bool,
        doing body: @escaping @Sendable () -> Void
    ) -> Saboteur {
        Saboteur(
            .init(meanwhile: { operation, location in
                guard operation == kind, isMeant(location.description), once.take() else { return }
                body()
            }))
    }

    /// Between the claim and the read, and while it is being read: neither answer would be about one photo.
    @Test(arguments: [false, true])
    func whatChangesBeforeTheWorkerHasReadItIsReadAgain(whileReading: Bool) async throws {
        let sandbox = Sandbox()
        let changes = Once(isDue: whileReading)
        let writer = sandbox.open("a.jpg")
        writer.write(photo("begin"))
        let saboteur = Self.saboteur(at: .read, once: changes) {
            $0.contains("/running/") && $0.hasSuffix("/input/a.jpg")
        } doing: {
            writer.write([1, 2, 3])
        }
        let bench = try Bench(sandbox, saboteur: saboteur) { $0.pairing.grace = .zero }
        try await bench.start()
        await bench.pass(.seconds(2))
        let job = try #require(await bench.spool.takeJobs(atMost: 1).first)
        if !whileReading { writer.write([1, 2, 3]) }
        let failure = #expect(throws: Failure.self) { try job.readImage() }
        #expect(failure?.code == .temporary && failure?.cause == "is still being written")
        try await bench.spool.deferJob(job, try #require(failure))
        writer.write([0xFF, 0xD9])
        writer.close()
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok"])
        #expect(await bench.read.first?.outcome.tag == Outcome.tag(photo("begin") + [1, 2, 3, 0xFF, 0xD9]))
    }

    @Test(.enabled(if: Sandbox.hasTwoFileSystems, "needs /dev/shm and /tmp on two file systems"))
    func whatChangesWhileItIsCopiedIsCopiedAgain() async throws {
        let sandbox = Sandbox(.inboxElsewhere)
        let changes = Once(isDue: true)
        let writer = sandbox.open("a.jpg")
        writer.write(photo("begin"))
        // All is read, and the copy is about to be made durable.
        let saboteur = Self.saboteur(at: .sync, once: changes) {
            $0.hasSuffix("/incoming.tmp")
        } doing: {
            writer.write([1, 2, 3, 0xFF, 0xD9])
        }
        let bench = try Bench(sandbox, saboteur: saboteur) { $0.pairing.grace = .zero }
        try await bench.start()
        await bench.pass(.seconds(3))
        writer.close()
        try await bench.finish()
        #expect(!changes.isDue)
        #expect(await bench.books == ["a.json: ok"])
        let whole = photo("begin") + [1, 2, 3, 0xFF, 0xD9]
        #expect(await bench.read.first?.outcome.tag == Outcome.tag(whole))
        #expect(await bench.whereabouts(whole).count == 1)
    }

    @Test func anEarlyEndIsReadTwiceIfItWasTakenAtOnce() async throws {
        let bench = try await Bench.started { $0.pairing.grace = .zero }
        bench.sandbox.moveIn("a.jpg", [0xFF, 0xD8, 1])
        await bench.settle()
        let jobs = await bench.spool.takeJobs(atMost: 1)
        let job = try #require(jobs.first)
        #expect(try await bench.spool.returnIfChanging(job))
        #expect(await bench.spool.takeJobs(atMost: 1).isEmpty)
        await bench.pass(.seconds(2))
        let again = try #require(await bench.spool.takeJobs(atMost: 1).first)
        #expect(try await !bench.spool.returnIfChanging(again))
        try await bench.work(again)
        #expect(await bench.books == ["a.json: corrupt_image"])
    }

    /// A hard link made of a file elsewhere: IN_CREATE, and never a close.
    @Test func aHardLinkIsTakenAndItsOtherNameStays() async throws {
        let bench = try await Bench.started()
        let source = bench.sandbox.root + "/source.jpg"
        try Data(photo("a")).write(to: URL(fileURLWithPath: source))
        try FileManager.default.linkItem(atPath: source, toPath: bench.sandbox.inbox + "/a.jpg")
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok"])
        #expect(Sandbox.exists(source))
    }
}
