// The promise, tested at every call: each scenario is cut off at each system call that changes something, the process
// "dies" there, another recovers, and the books must show exactly one outcome for each drop.
//
// And once more with faults that pass: the call fails once, nothing dies, and the books must be the same.

import Diagnostics
import Foundation
import SystemPackage
import Testing

@testable import Spool

@Suite struct CrashSweepTests {
    /// Runs a scenario against a saboteur; returns the books.
    private func play(_ scenario: Scenario, _ saboteur: Saboteur, dies: Bool) async throws -> (Bench, [String]) {
        await Turnstile.shared.enter()
        defer { Turnstile.shared.leave() }
        let bench = try Bench(Sandbox(scenario.layout), adjust: scenario.adjust)
        try await bench.start()
        try? await bench.restart(saboteur: saboteur)
        saboteur.arm()
        try? await scenario.act(bench)
        if dies {
            saboteur.kill()
            // The reader takes what it finds at the moment of death: what comes back later comes twice.
            await bench.readOutbox()
        }
        if dies || scenario.stops { try await bench.restart() }
        try await bench.finish()
        return (bench, await bench.books)
    }

    private func expect(
        _ scenario: Scenario, _ bench: Bench, _ books: [String], _ comment: Comment
    ) async {
        #expect(scenario.allowed.map { $0.sorted() }.contains(books), comment)
        await bench.expectAtRest(comment)
        for (bytes, count) in scenario.kept {
            #expect(count.contains(await bench.whereabouts(bytes).count), comment)
        }
    }

    private static let scenarios = Scenario.all.filter { $0.layout == .oneFileSystem || Sandbox.hasTwoFileSystems }

    @Test(arguments: scenarios)
    func noCrashLosesOrDoublesAnOutcome(_ scenario: Scenario) async throws {
        let counter = Saboteur()
        let (bench, books) = try await play(scenario, counter, dies: false)
        await expect(scenario, bench, books, "undisturbed")
        #expect(books == scenario.allowed[0].sorted(), "the scenario must show what it is about")
        let calls = counter.count
        try #require(calls > 5)
        for target in 0..<calls {
            let saboteur = Saboteur(.init(target: target))
            let (bench, books) = try await play(scenario, saboteur, dies: true)
            await expect(scenario, bench, books, "died at \(saboteur.hit ?? "the end")")
        }
    }

    /// Leaves jobs behind in as many states as a life can, and dies.
    private func leaveSomethingInEveryState(_ bench: Bench) async throws {
        try await bench.start()
        for name in ["run", "held", "wait", "free"] { bench.sandbox.drop("\(name).jpg", photo(name)) }
        await bench.pass(.seconds(1))
        for job in await bench.spool.jobs() where job.image == FileName("held.jpg") {
            try await bench.spool.hold(job.id)
        }
        for job in await bench.spool.takeJobs(atMost: 2) where job.image == FileName("wait.jpg") {
            try await bench.spool.deferJob(job, Failure(.temporary, "model", "is busy"))
        }
        bench.sandbox.drop("new.jpg", photo("new"))
        bench.sandbox.drop("new.yaml", text: "priority: 2")
        bench.sandbox.drop("odd.txt", text: "odd")
    }

    @Test func noCrashOfAStartLosesOrDoublesAnOutcome() async throws {
        let right = ["free", "held", "new", "run", "wait"].map { "\($0).json: ok" } + ["odd.json: unsupported_type"]
        var calls = Int.max
        var target = 0
        while target < calls {
            let bench = try Bench()
            try await leaveSomethingInEveryState(bench)
            let saboteur = Saboteur(.init(target: target))
            saboteur.arm()
            try? await bench.restart(saboteur: saboteur)
            if saboteur.hit == nil { calls = target }
            saboteur.kill()
            await bench.readOutbox()
            try await bench.restart()
            try await bench.finish()
            #expect(await bench.books == right.sorted(), "died at \(saboteur.hit ?? "the end")")
            await bench.expectAtRest("died at \(saboteur.hit ?? "the end")")
            target += 1
        }
        #expect(calls > 10)
    }

    @Test(arguments: scenarios)
    func noTornWriteIsTakenForAWholeOne(_ scenario: Scenario) async throws {
        let counts: @Sendable (FileOperation) -> Bool = { $0 == .write }
        let counter = Saboteur(.init(counts: counts))
        _ = try await play(scenario, counter, dies: false)
        for target in 0..<counter.count {
            let saboteur = Saboteur(.init(target: target, fault: .tears(Saboteur.dead), counts: counts))
            let (bench, books) = try await play(scenario, saboteur, dies: true)
            await expect(scenario, bench, books, "torn at \(saboteur.hit ?? "the end")")
        }
    }

    @Test(arguments: scenarios)
    func noPassingFaultLosesOrDoublesAnOutcome(_ scenario: Scenario) async throws {
        let counter = Saboteur(.init(counts: { _ in true }))
        _ = try await play(scenario, counter, dies: false)
        let faults: [Errno] = [.noSpace, .ioError, .tooManyOpenFiles]
        // All of them take a minute; each scenario begins elsewhere, so that between them they meet every kind of call.
        let stride = ProcessInfo.processInfo.environment["MEMVP_SWEEP"] == "all" ? 1 : 7
        for target in Swift.stride(from: scenario.name.utf8.count % stride, to: counter.count, by: stride) {
            let fault = faults[target % faults.count]
            let saboteur = Saboteur(.init(target: target, fault: .fails(fault), isDeath: false, counts: { _ in true }))
            let (bench, books) = try await play(scenario, saboteur, dies: false)
            await expect(scenario, bench, books, "\(fault) at \(saboteur.hit ?? "the end")")
        }
    }
}
