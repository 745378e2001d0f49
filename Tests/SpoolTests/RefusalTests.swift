// Drops that get an error, one each: odd files, refused specs, files that are too large, specs that come late or alone.

import Diagnostics
import Foundation
import Glibc
import Testing

@testable import Spool

@Suite(.serialized) struct RefusalTests {
    @Test func oddFilesAreNeverOpened() async throws {
        let bench = try await Bench.started()
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
        let bench = try await Bench.started()
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
        let bench = try await Bench.started()
        bench.sandbox.drop("a.yaml", [UInt8](repeating: 0x20, count: 2 << 20))
        bench.sandbox.drop("a.jpg", photo("a"))
        try await bench.finish()
        #expect(await bench.books == ["a.json: spec_invalid"])
        #expect(await bench.read.first?.outcome.cause?.contains("2097152") == true)
    }

    @Test func aHugeImageIsNotRead() async throws {
        let bench = try await Bench.started { $0.limits.imageBytes = 1000 }
        let writer = bench.sandbox.open("a.jpg")
        _ = unsafe truncate(bench.sandbox.inbox + "/a.jpg", 4 << 30)
        writer.close()
        try await bench.finish()
        #expect(await bench.books == ["a.json: image_too_large"])
    }

    @Test func aPairOfAnOddFileIsOneError() async throws {
        let bench = try await Bench.started()
        bench.sandbox.drop("a.gif", [1, 2, 3])
        bench.sandbox.drop("a.yaml", text: "task: caption")
        try await bench.finish()
        #expect(await bench.books == ["a.json: unsupported_type"])
        await bench.expectAtRest()
    }

    @Test func aSpecWhosePhotoNeverComes() async throws {
        let bench = try await Bench.started()
        bench.sandbox.drop("a.yaml", text: "image: b.jpg")
        await bench.pass(.seconds(3599), pace: .seconds(60))
        #expect(await bench.books.isEmpty)
        #expect(await bench.spool.snapshot().waiting.first?.reason == "waiting for b.jpg")
        await bench.pass(.seconds(2))
        #expect(await bench.books == ["a.json: image_missing"])
    }

    @Test func aLateSpecNamesTheOutcome() async throws {
        let bench = try await Bench.started()
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(1))
        try await bench.workAll()
        bench.sandbox.drop("a.yaml", text: "task: caption")
        await bench.pass(.seconds(1))
        #expect(await bench.books == ["a-2.json: spec_late", "a.json: ok"])
        #expect(await bench.read.first { $0.name == "a-2.json" }?.outcome.cause?.contains("as a.json") == true)
    }

    @Test func aLateSpecIsKnownAfterARestartToo() async throws {
        let bench = try await Bench.started()
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(1))
        try await bench.workAll()
        try await bench.restart()
        bench.sandbox.drop("a.yaml", text: "task: caption")
        await bench.pass(.seconds(1))
        #expect(await bench.books == ["a-2.json: spec_late", "a.json: ok"])
    }

    @Test func aSpecThatComesWhileThePhotoIsAnsweredWaitsForTheEnd() async throws {
        let bench = try await Bench.started()
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
}
