// Drops as people make them, with real directories and real inotify: in which order they come, what they are called.

import Diagnostics
import Foundation
import Glibc
import Testing

@testable import Spool

@Suite(.serialized) struct IntakeTests {
    // MARK: Orders

    @Test func aSpecFirstMeansNoWait() async throws {
        let bench = try await Bench.started()
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
        let bench = try await Bench.started(sandbox)
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok", "b.json: ok", "half.json: corrupt_image"])
        #expect(await bench.read.first { $0.name == "b.json" }?.outcome.spec == "b.yaml")
    }

    @Test func aSpecDroppedWhileStoppedStillJoinsAQueuedPhoto() async throws {
        let bench = try await Bench.started()
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
        let bench = try await Bench.started()
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
        let bench = try await Bench.started { $0.limits.jobs = 3 }
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
        let bench = try await Bench.started()
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
        let bench = try await Bench.started()
        for round in 0..<3 {
            bench.sandbox.drop("a.jpg", photo("\(round)"))
            await bench.pass(.seconds(1))
            try await bench.workAll()
        }
        #expect(await bench.books == ["a-2.json: ok", "a-3.json: ok", "a.json: ok"])
    }

    @Test func filesInTheMakingAndDirectoriesStay() async throws {
        let bench = try await Bench.started()
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
}
