// Drops as people make them, with real directories and real inotify: how they come, when they are taken, what they become.

import Diagnostics
import Foundation
import Glibc
import Testing

@testable import Spool

@Suite(.serialized) struct IntakeTests {
    private func started(
        _ sandbox: Sandbox = Sandbox(), adjust: @Sendable (inout SpoolConfiguration) -> Void = { _ in }
    ) async throws -> Bench {
        let bench = try Bench(sandbox, adjust: adjust)
        try await bench.start()
        return bench
    }

    // MARK: Complete or not

    @Test func aPhotoAloneGetsTheDefaultTaskAfterTheGrace() async throws {
        let bench = try await started()
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
        let bench = try await started { $0.pairing.grace = .zero }
        bench.sandbox.moveIn("a.jpg", [1, 2, 3])
        await bench.settle()
        #expect(await bench.spool.takeJobs(atMost: 1).count == 1)
    }

    @Test func closedWithoutAnEndMarkerSettles() async throws {
        let bench = try await started { $0.pairing.grace = .zero }
        bench.sandbox.drop("a.jpg", [0xFF, 0xD8, 1])
        await bench.pass(.milliseconds(1900))
        #expect(await bench.spool.takeJobs(atMost: 1).isEmpty)
        await bench.pass(.milliseconds(100))
        #expect(await bench.spool.takeJobs(atMost: 1).count == 1)
    }

    @Test func aSlowWriterIsNotInterrupted() async throws {
        let bench = try await started { $0.pairing.grace = .zero }
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
        let bench = try await started { ($0.pairing.grace, $0.writingTimeout) = (.zero, .seconds(60)) }
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
        let bench = try await started { $0.pairing.grace = .zero }
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
        let bench = try await started { $0.pairing.grace = .zero }
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
        let bench = try await started()
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
        let bench = try await started(sandbox) { $0.pairing.grace = .zero }
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

    @Test func anEarlyEndIsReadTwiceIfItWasTakenAtOnce() async throws {
        let bench = try await started { $0.pairing.grace = .zero }
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

    // MARK: Orders

    @Test func aSpecFirstMeansNoWait() async throws {
        let bench = try await started()
        bench.sandbox.drop("photo.yaml", text: "priority: 3")
        await bench.settle()
        #expect(await bench.spool.snapshot().waiting.first?.reason == "waiting for a photo of its stem")
        bench.sandbox.drop("photo.jpg", photo("a"))
        await bench.settle()
        let jobs = await bench.spool.takeJobs(atMost: 8)
        #expect(jobs.map(\.spec?.description) == ["photo.yaml"])
        #expect(jobs.map(\.priority) == [3])
        #expect(try jobs.first?.readSpec() == Array("priority: 3".utf8))
    }

    @Test func dropsOfTheTimeWhenItWasStopped() async throws {
        let sandbox = Sandbox()
        sandbox.drop("a.jpg", photo("a"))
        sandbox.drop("b.yaml", text: "task: caption")
        sandbox.drop("b.jpg", photo("b"))
        sandbox.drop("half.jpg", [0xFF])
        let bench = try await started(sandbox)
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok", "b.json: ok", "half.json: corrupt_image"])
        #expect(await bench.read.first { $0.name == "b.json" }?.outcome.spec == "b.yaml")
    }

    @Test func aSpecDroppedWhileStoppedStillJoinsAQueuedPhoto() async throws {
        let bench = try await started()
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(1))
        #expect(await bench.spool.jobs().map(\.state) == [.queued])
        bench.sandbox.drop("a.yaml", text: "task: caption")
        try await bench.restart()
        try await bench.finish()
        #expect(await bench.read.isEmpty)
        #expect(await bench.books == ["a.json: ok"])
        #expect(await bench.read.first?.outcome.spec == "a.yaml")
    }

    @Test func twoHundredAtOnce() async throws {
        let bench = try await started()
        for number in 0..<200 {
            switch number % 4 {
            case 0: bench.sandbox.moveIn("p\(number).jpg", photo("\(number)"))
            case 1:
                bench.sandbox.drop("p\(number).yaml", text: "priority: \(number % 7)")
                bench.sandbox.drop("p\(number).jpg", photo("\(number)"))
            default: bench.sandbox.drop("p\(number).jpg", photo("\(number)"))
            }
        }
        try await bench.finish(.seconds(30))
        let books = await bench.books
        #expect(books == (0..<200).map { "p\($0).json: ok" }.sorted())
        await bench.expectAtRest()
    }

    @Test func aFullSpoolLeavesDropsInTheInbox() async throws {
        let bench = try await started { $0.limits.jobs = 3 }
        for number in 0..<8 { bench.sandbox.drop("p\(number).jpg", photo("\(number)")) }
        await bench.pass(.seconds(2))
        #expect(await bench.spool.jobs().count == 3)
        #expect(await bench.spool.snapshot().inInbox == 5)
        try await bench.finish()
        #expect(await bench.books == (0..<8).map { "p\($0).json: ok" })
    }

    // MARK: Names

    @Test(
        arguments: [
            Array("with space.jpg".utf8), Array("with\nline feed.jpg".utf8), Array("-rf.jpg".utf8),
            [0xFF, 0xFE, 0x2E, 0x6A, 0x70, 0x67],
            Array("%2e%2e.jpg".utf8), Array("$(reboot).jpg".utf8), Array("Ünïcödé 照片.JPEG".utf8), Array("..jpg".utf8),
            Array(repeating: 0x78, count: 251) + Array(".jpg".utf8),
        ] as [[UInt8]])
    func oddNames(_ bytes: [UInt8]) async throws {
        let bench = try await started()
        bench.sandbox.drop(bytes, photo("odd"))
        let name = try #require(FileName(bytes))
        try await bench.finish()
        if name.isHidden {
            #expect(await bench.books.isEmpty)
            #expect(await bench.spool.snapshot().ignored == 1)
            return
        }
        #expect(await bench.books == ["\(OutcomeName.name(stem: name.stem, ordinal: 1)): ok"])
        #expect(await bench.read.first?.outcome.image == name.description)
        await bench.expectAtRest()
    }

    @Test func outcomesNeverOverwrite() async throws {
        let bench = try await started()
        for round in 0..<3 {
            bench.sandbox.drop("a.jpg", photo("\(round)"))
            await bench.pass(.seconds(1))
            try await bench.workAll()
        }
        #expect(await bench.books == ["a-2.json: ok", "a-3.json: ok", "a.json: ok"])
    }

    @Test func filesInTheMakingAndDirectoriesStay() async throws {
        let bench = try await started()
        for name in [".hidden.jpg", "a.jpg.part", "b.tmp", "c.crdownload", "d.jpg~"] {
            bench.sandbox.drop(name, photo(name))
        }
        _ = unsafe mkdir(bench.sandbox.inbox + "/x.jpg", 0o755)
        await bench.pass(.seconds(100), pace: .seconds(20))
        let snapshot = await bench.spool.snapshot()
        #expect(snapshot.ignored == 5)
        #expect(snapshot.directories.map(\.description) == ["x.jpg"])
        #expect(await bench.books.isEmpty)
        Sandbox.move(bench.sandbox.inbox + "/a.jpg.part", bench.sandbox.inbox + "/a.jpg")
        _ = unsafe rmdir(bench.sandbox.inbox + "/x.jpg")
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok"])
        #expect(await bench.spool.snapshot().directories.isEmpty)
        #expect(await bench.spool.snapshot().ignored == 4)
    }

    // MARK: Refused

    @Test func oddFilesAreNeverOpened() async throws {
        let bench = try await started()
        _ = unsafe symlink("/etc/passwd", bench.sandbox.inbox + "/link.jpg")
        _ = unsafe mkfifo(bench.sandbox.inbox + "/pipe.jpg", 0o644)
        try await bench.finish()
        #expect(await bench.books == ["link.json: not_regular_file", "pipe.json: not_regular_file"])
        #expect(await bench.read.first?.outcome.image == "link.jpg")
        await bench.expectAtRest()
        // The originals are kept as what they are.
        let kept = Sandbox.files(under: bench.sandbox.failed).map { String($0.path.split(separator: "/").last ?? "") }
        #expect(kept.contains("link.jpg"))
        #expect(kept.contains("pipe.jpg"))
    }

    @Test(arguments: [
        "image: ../../etc/passwd", "image: /etc/passwd", "image: a/b.jpg", "image: ..", "image: .hidden.jpg",
        "image: b.yaml",
        "imgae: a.jpg", "",
    ])
    func refusedSpecsTakeThePhotoDown(_ text: String) async throws {
        let bench = try await started()
        bench.sandbox.drop("a.yaml", text: text)
        await bench.pass(.seconds(3))
        #expect(await bench.spool.snapshot().waiting.first?.reason.contains("refused") == true)
        bench.sandbox.drop("a.jpg", photo("a"))
        try await bench.finish()
        #expect(await bench.books == ["a.json: \(text.isEmpty ? "empty_file" : "spec_invalid")"])
        #expect(await bench.read.first?.outcome.image == "a.jpg")
        #expect(await bench.read.first?.outcome.spec == "a.yaml")
    }

    @Test func aHugeSpecIsNotRead() async throws {
        let bench = try await started()
        bench.sandbox.drop("a.yaml", [UInt8](repeating: 0x20, count: 2 << 20))
        bench.sandbox.drop("a.jpg", photo("a"))
        try await bench.finish()
        #expect(await bench.books == ["a.json: spec_invalid"])
        #expect(await bench.read.first?.outcome.cause?.contains("2097152") == true)
    }

    @Test func aHugeImageIsNotRead() async throws {
        let bench = try await started { $0.limits.imageBytes = 1000 }
        let writer = bench.sandbox.open("a.jpg")
        _ = unsafe truncate(bench.sandbox.inbox + "/a.jpg", 4 << 30)
        writer.close()
        try await bench.finish()
        #expect(await bench.books == ["a.json: image_too_large"])
    }

    @Test func aPairOfAnOddFileIsOneError() async throws {
        let bench = try await started()
        bench.sandbox.drop("a.gif", [1, 2, 3])
        bench.sandbox.drop("a.yaml", text: "task: caption")
        try await bench.finish()
        #expect(await bench.books == ["a.json: unsupported_type"])
        await bench.expectAtRest()
    }

    @Test func aSpecWhosePhotoNeverComes() async throws {
        let bench = try await started()
        bench.sandbox.drop("a.yaml", text: "image: b.jpg")
        await bench.pass(.seconds(3599), pace: .seconds(60))
        #expect(await bench.books.isEmpty)
        #expect(await bench.spool.snapshot().waiting.first?.reason == "waiting for b.jpg")
        await bench.pass(.seconds(2))
        #expect(await bench.books == ["a.json: image_missing"])
    }

    @Test func aLateSpecNamesTheOutcome() async throws {
        let bench = try await started()
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(1))
        try await bench.workAll()
        bench.sandbox.drop("a.yaml", text: "task: caption")
        await bench.pass(.seconds(1))
        #expect(await bench.books == ["a-2.json: spec_late", "a.json: ok"])
        #expect(await bench.read.first { $0.name == "a-2.json" }?.outcome.cause?.contains("as a.json") == true)
    }

    @Test func aLateSpecIsKnownAfterARestartToo() async throws {
        let bench = try await started()
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(1))
        try await bench.workAll()
        try await bench.restart()
        bench.sandbox.drop("a.yaml", text: "task: caption")
        await bench.pass(.seconds(1))
        #expect(await bench.books == ["a-2.json: spec_late", "a.json: ok"])
    }

    @Test func aSpecThatComesWhileThePhotoIsAnsweredWaitsForTheEnd() async throws {
        let bench = try await started()
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(1))
        let job = try #require(await bench.spool.takeJobs(atMost: 1).first)
        bench.sandbox.drop("a.yaml", text: "task: caption")
        await bench.pass(.seconds(30))
        #expect(await bench.spool.snapshot().waiting.first?.reason.contains(job.id.description) == true)
        // Given back, the job takes the spec in.
        try await bench.spool.requeue(job)
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok"])
        #expect(await bench.read.first?.outcome.spec == "a.yaml")
    }

    // MARK: Watching

    @Test func lostEventsAreMadeUpForByAScan() async throws {
        let bench = try await started { $0.scanInterval = .seconds(100_000) }
        // More than the kernel queues, and the drop among what is lost.
        for _ in 0..<9000 {
            Sandbox.move(bench.sandbox.inbox + "/.a", bench.sandbox.inbox + "/.b")
            if !Sandbox.exists(bench.sandbox.inbox + "/.b") { bench.sandbox.drop(".b", [1]) }
            Sandbox.move(bench.sandbox.inbox + "/.b", bench.sandbox.inbox + "/.a")
        }
        bench.sandbox.drop("a.jpg", photo("a"))
        try await bench.finish()
        #expect(bench.events.contains { if case .overflowed = $0 { true } else { false } })
        #expect(await bench.books == ["a.json: ok"])
    }

    @Test func aPolledInboxWorksWithoutEvents() async throws {
        let bench = try await started { $0.watch = .poll }
        guard case .polled(let reason)? = await bench.spool.snapshot().watched.first?.method else {
            Issue.record("the inbox is not polled")
            return
        }
        #expect(reason == "the configuration says so")
        bench.sandbox.drop("b.yaml", text: "task: caption")
        bench.sandbox.drop("b.jpg", photo("b"))
        bench.sandbox.drop("a.jpg", photo("a"))
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok", "b.json: ok"])
    }

    /// In a process of a user of its own: inotify instances are counted by user.
    @Test(.enabled(if: getuid() == 0, "needs root to become another user"))
    func withoutInotifyTheInboxIsPolledUntilThereIsOne() async throws {
        let sandbox = Sandbox()
        for path in [sandbox.inbox, sandbox.spool, sandbox.outbox, sandbox.failed, sandbox.done] {
            _ = unsafe chown(path, 4243, 4243)
        }
        let root = sandbox.root
        await #expect(processExitsWith: .success) { [root = root as String] in
            guard setgid(4243) == 0, setuid(4243) == 0 else { exit(70) }
            let bench = try Bench(Sandbox(at: root))
            var held: [InotifyWatch] = []
            guard let handle = Sandbox.handle(bench.sandbox.inbox) else { exit(70) }
            while held.count < 100_000, let watch = try? InotifyWatch(handle) { held.append(watch) }
            try await bench.start()
            guard case .polled(let reason)? = await bench.spool.snapshot().watched.first?.method else { exit(1) }
            guard reason.hasPrefix("inotify: ") else { exit(2) }
            held = []
            bench.sandbox.drop("a.jpg", photo("a"))
            try await bench.finish()
            guard await bench.books == ["a.json: ok"] else { exit(3) }
            await bench.pass(.seconds(60), pace: .seconds(10))
            guard await bench.spool.snapshot().watched.first?.method == .inotify else { exit(4) }
        }
    }

    @Test func aMissedEventIsFoundByTheNextScan() async throws {
        // A hard link made of a file elsewhere: IN_CREATE, and never a close.
        let bench = try await started()
        let source = bench.sandbox.root + "/source.jpg"
        try Data(photo("a")).write(to: URL(fileURLWithPath: source))
        try FileManager.default.linkItem(atPath: source, toPath: bench.sandbox.inbox + "/a.jpg")
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok"])
        #expect(Sandbox.exists(source))
    }

    @Test func anInboxThatGoesAndComesBack() async throws {
        let bench = try await started()
        Sandbox.move(bench.sandbox.inbox, bench.sandbox.inbox + "-away")
        await bench.settle()
        guard case .unavailable? = await bench.spool.snapshot().watched.first?.method else {
            Issue.record("the inbox is still taken for watched")
            return
        }
        await bench.pass(.seconds(10))
        _ = unsafe mkdir(bench.sandbox.inbox, 0o755)
        bench.sandbox.drop("a.jpg", photo("a"))
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok"])
        #expect(await bench.spool.snapshot().watched.first?.method == .inotify)
    }

    @Test func torrentsOfRecordsAreParsedWithinTheirBounds() {
        var record: [UInt8] =
            [1, 0, 0, 0] + [0x08, 0, 0, 0] + [0, 0, 0, 0] + [8, 0, 0, 0] + Array("a.jpg\0\0\0".utf8)
        #expect(InotifyWatch.parse(record).names.map(\.name.description) == ["a.jpg"])
        #expect(InotifyWatch.parse(Array(record.dropLast())).names.isEmpty)
        record[12] = 0xFF
        record[15] = 0xFF
        #expect(InotifyWatch.parse(record).names.isEmpty)
        #expect(InotifyWatch.parse([1, 2, 3]).names.isEmpty)
    }
}
