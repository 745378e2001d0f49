// What is left when nothing moves any more, and what the spool shows of itself without a word for each file.

import Diagnostics
import Foundation
import Glibc
import SystemPackage
import Testing

@testable import Spool

@Suite(.serialized) struct UndeliveredTests {
    private func started(_ sandbox: Sandbox = Sandbox(), _ fault: Fault? = nil) async throws -> Bench {
        let bench = try Bench(sandbox, saboteur: fault?.saboteur) { $0.pairing.grace = .zero }
        try await bench.start()
        return bench
    }

    /// Whoever ran it with `--once` is told the fault, with what to do, and not that anything is tried again.
    private func expectUndelivered(
        _ bench: Bench, _ code: FailureCode, _ object: String, _ hint: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async {
        #expect(await bench.spool.isEmpty, "it must be at its end", sourceLocation: sourceLocation)
        let failure = await bench.spool.undelivered
        #expect(failure?.code == code && failure?.object == object, sourceLocation: sourceLocation)
        #expect(failure?.hint.contains(hint) == true, "\(failure?.hint ?? "")", sourceLocation: sourceLocation)
        #expect(failure?.hint.contains("tried again") == false, sourceLocation: sourceLocation)
        #expect(await bench.spool.snapshot(waiting: 0).undelivered == failure, sourceLocation: sourceLocation)
        await bench.spool.close()
        #expect(await bench.spool.undelivered == failure, "also after the end", sourceLocation: sourceLocation)
    }

    // MARK: The end

    @Test func whereEverythingIsAnsweredNothingIsUndelivered() async throws {
        let bench = try await started()
        bench.sandbox.drop("a.jpg", photo("a"))
        bench.sandbox.drop("b.gif", [1])
        bench.sandbox.drop("waits.yaml", text: "priority: 1")
        try await bench.finish()
        #expect(await bench.spool.isEmpty)
        #expect(await bench.spool.undelivered == nil)
        await bench.spool.close()
        #expect(await bench.spool.undelivered == nil)
    }

    @Test func anInboxThatIsMissingIsTold() async throws {
        let sandbox = Sandbox()
        _ = unsafe rmdir(sandbox.inbox)
        let bench = try await started(sandbox)
        #expect(await !bench.spool.isEmpty, "it may be mounted in a moment")
        await bench.pass(.seconds(10))
        await expectUndelivered(bench, .unavailable, sandbox.inbox, "Make it or mount it")
    }

    @Test func anInboxThatCannotBeClaimedFromIsTold() async throws {
        let fault = Fault(.permissionDenied) { $0 == .rename && $1.hasSuffix("/inbox/a.jpg") }
        let bench = try await started(Sandbox(), fault)
        let inbox = bench.sandbox.inbox
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(10))
        // It is the inbox that needs the right, not the photo.
        #expect(await bench.spool.snapshot().intakeTrouble?.hint.contains("write to \(inbox) ") == true)
        await expectUndelivered(bench, .permissionDenied, inbox, "write to \(inbox) ")
    }

    @Test func aClaimThatAFaultStopsIsTold() async throws {
        let fault = Fault(.ioError) { $0 == .open && $1.hasSuffix("/input/a.jpg") }
        let bench = try await started(Sandbox(), fault)
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(10))
        let id = try #require(await bench.spool.jobs().first?.id)
        await expectUndelivered(bench, .inputOutput, "job \(id)", "Have the disk")
    }

    @Test func anOutcomeThatTheOutboxRefusesIsTold() async throws {
        let fault = Fault(.permissionDenied) { $0 == .renameNoReplace && $1.hasSuffix("/answer.json") }
        let bench = try await started(Sandbox(), fault)
        bench.sandbox.drop("a.jpg", photo("a"))
        try await bench.finish(.seconds(10))
        let cause = "an outcome waits to be put there: one cannot be created: Permission denied"
        #expect(await bench.spool.undelivered?.cause == cause)
        await expectUndelivered(bench, .permissionDenied, bench.sandbox.outbox, "the next start publishes them")
    }

    // MARK: Snapshots

    @Test func aSnapshotWithoutWordsHasTheSameCounts() async throws {
        let bench = try await started()
        await bench.spool.setIntake(false)
        for number in 0..<5 { bench.sandbox.drop("p\(number).jpg", photo("\(number)")) }
        let writer = bench.sandbox.open("half.jpg")
        writer.write([0xFF, 0xD8])
        await bench.pass(.seconds(1))
        let whole = await bench.spool.snapshot()
        #expect(whole.waiting.map(\.name.description) == ["half.jpg"] + (0..<5).map { "p\($0).jpg" })
        #expect(whole.waiting.first?.reason == "is being written")
        let two = await bench.spool.snapshot(waiting: 2)
        #expect(two.waiting.map(\.name) == whole.waiting.prefix(2).map(\.name))
        #expect(two.waiting.map(\.reason) == whole.waiting.prefix(2).map(\.reason))
        let counts = await bench.spool.snapshot(waiting: 0)
        #expect(counts.waiting.isEmpty && counts.inInbox == 6)
        writer.close()
    }

    @Test func whatIsIgnoredIsCountedByItsReason() async throws {
        let bench = try await started()
        for name in [".hidden.jpg", ".b.part", "a.jpg.part", "b.tmp", "c.crdownload", "d.jpg~"] {
            bench.sandbox.drop(name, [1])
        }
        await bench.settle()
        let snapshot = await bench.spool.snapshot()
        #expect(snapshot.ignored == 6)
        #expect(snapshot.ignoredByReason == [.dotFile: 2, .partial: 2, .temporary: 2])
    }
}
