// Drops in the order people make them, from the inbox to the outbox, with real directories and real inotify.

import Diagnostics
import Foundation
import Testing

@testable import Spool

@Suite struct LifeTests {
    @Test func aPhotoAloneGetsTheDefaultTaskAfterTheGrace() async throws {
        let bench = try Bench()
        try await bench.start()
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

    @Test func aSpecFirstMeansNoWait() async throws {
        let bench = try Bench()
        try await bench.start()
        bench.sandbox.drop("photo.yaml", text: "priority: 3")
        await bench.settle()
        #expect(await bench.spool.snapshot().waiting.first?.reason == "waiting for a photo of its stem")
        bench.sandbox.drop("photo.jpg", photo("a"))
        await bench.settle()
        let jobs = await bench.spool.takeJobs(atMost: 8)
        #expect(jobs.map(\.spec?.description) == ["photo.yaml"])
        #expect(jobs.map(\.priority) == [3])
        for job in jobs { try await bench.work(job) }
        #expect(await bench.books == ["photo.json: ok"])
        await bench.expectAtRest()
    }
}
