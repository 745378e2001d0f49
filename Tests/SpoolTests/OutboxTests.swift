// An outbox that is not the daemon's alone: others remove copies from it, or publish into it, and hundreds of outcomes of one name stand
// in it. Nothing is lost, and nothing answered twice.

import Diagnostics
import Foundation
import Glibc
import Synchronization
import SystemPackage
import Testing

@testable import Spool

@Suite(.serialized) struct OutboxTests {
    private static let needsTwo: Comment = "needs /dev/shm and /tmp on two file systems"

    private func started(_ sandbox: Sandbox = Sandbox(), _ saboteur: Saboteur? = nil) async throws -> Bench {
        let bench = try Bench(sandbox, saboteur: saboteur) { $0.pairing.grace = .zero }
        try await bench.start()
        return bench
    }

    /// Answers a photo, as far as that goes.
    private func answer(_ bench: Bench, _ tag: String) async throws {
        bench.sandbox.moveIn("a.jpg", photo(tag))
        await bench.settle()
        try await bench.workAll()
    }

    /// Does something the first time that the copy in the outbox is renamed.
    private func atFirstRename(
        in outbox: String, _ act: @escaping @Sendable (_ copy: String) -> InjectedFault?
    ) -> Saboteur {
        let isFirst = Mutex(true)
        return Saboteur(
            .init(refuses: { operation, location in
                guard operation == .renameNoReplace, "\(location)".hasPrefix(outbox + "/") else { return nil }
                let mayAct = isFirst.withLock { first in
                    defer { first = false }
                    return first
                }
                return mayAct ? act("\(location)") : nil
            }))
    }

    // MARK: Copies that others remove

    /// Two daemons, one outbox, on another file system than their spools: the second starts while the first cannot rename its copy.
    @Test(.enabled(if: Sandbox.hasTwoFileSystems, needsTwo))
    func theCopyOfAnotherDaemonIsLeftAlone() async throws {
        let sandbox = Sandbox(.outboxElsewhere)
        let outbox = sandbox.outbox
        let fault = Fault(.ioError) { $0 == .renameNoReplace && $1.hasPrefix(outbox + "/") }
        let first = try await started(sandbox, fault.saboteur)
        try await answer(first, "a")
        let copies = Sandbox.files(under: outbox).map(\.path)
        #expect(copies.count == 1 && copies.first?.hasPrefix(".") == true)
        let second = try Bench(Sandbox()) { $0.directories.outbox = outbox }
        try await second.start()
        #expect(Sandbox.files(under: outbox).map(\.path) == copies)
        fault.lift()
        await first.pass(.seconds(70))
        #expect(await first.books == ["a.json: ok"])
        await first.expectAtRest()
    }

    @Test(.enabled(if: Sandbox.hasTwoFileSystems, needsTwo))
    func aCopyThatIsRemovedJustBeforeItsRenameIsMadeAgain() async throws {
        let sandbox = Sandbox(.outboxElsewhere)
        let saboteur = atFirstRename(in: sandbox.outbox) { copy in
            _ = unsafe unlink(copy)
            return nil
        }
        let bench = try await started(sandbox, saboteur)
        try await answer(bench, "a")
        #expect(await bench.spool.snapshot().unpublished == 1)
        await bench.pass(.seconds(5))
        #expect(await bench.books == ["a.json: ok"])
        await bench.expectAtRest()
    }

    @Test(.enabled(if: Sandbox.hasTwoFileSystems, needsTwo))
    func aCopyThatIsRemovedWhileTheOutboxRefusesItIsMadeAgain() async throws {
        let sandbox = Sandbox(.outboxElsewhere)
        let saboteur = atFirstRename(in: sandbox.outbox) { _ in .fails(.permissionDenied) }
        let bench = try await started(sandbox, saboteur)
        try await answer(bench, "a")
        let copy = try #require(Sandbox.files(under: sandbox.outbox).first?.path)
        _ = unsafe unlink("\(sandbox.outbox)/\(copy)")
        await bench.pass(.seconds(5))
        #expect(await bench.books == ["a.json: ok"])
        await bench.expectAtRest()
    }

    /// As a file server may whose answer is lost on the way: the reader has the outcome, and must not get it again.
    @Test(.enabled(if: Sandbox.hasTwoFileSystems, needsTwo))
    func aRenameThatFailsAndIsMadeAllTheSameIsNotMadeAgain() async throws {
        let sandbox = Sandbox(.outboxElsewhere)
        let outbox = sandbox.outbox
        let saboteur = atFirstRename(in: outbox) { copy in
            Sandbox.move(copy, outbox + "/a.json")
            return .fails(.ioError)
        }
        let bench = try await started(sandbox, saboteur)
        try await answer(bench, "a")
        #expect(await bench.spool.snapshot().unpublished == 1)
        #expect(await bench.books == ["a.json: ok"])
        await bench.pass(.seconds(5))
        #expect(await bench.books == ["a.json: ok"])
        await bench.expectAtRest()
    }

    // MARK: Names

    @Test func theNextOutcomeOfANameDoesNotTryAllTheNamesBeforeIt() async throws {
        let sandbox = Sandbox()
        let outbox = sandbox.outbox
        let looks = Mutex(0)
        let saboteur = Saboteur(
            .init(meanwhile: { operation, location in
                guard operation == .status, "\(location)".hasPrefix(outbox + "/") else { return }
                looks.withLock { $0 += 1 }
            }))
        let bench = try await started(sandbox, saboteur)
        for number in 1...20 {
            looks.withLock { $0 = 0 }
            try await answer(bench, "\(number)")
        }
        #expect(looks.withLock { $0 } <= 3)
        let names = (1...20).map { $0 == 1 ? "a.json" : "a-\($0).json" }
        #expect(Sandbox.files(under: outbox).map(\.path).sorted() == names.sorted())
    }

    @Test func aNameWhoseAnswerWasTakenAwayIsGivenAgain() async throws {
        let bench = try await started()
        for tag in ["one", "two"] { try await answer(bench, tag) }
        #expect(await bench.books == ["a-2.json: ok", "a.json: ok"])
        try await answer(bench, "three")
        #expect(await bench.books == ["a-2.json: ok", "a.json: ok", "a.json: ok"])
    }

    /// A file system without RENAME_NOREPLACE: one outcome is linked, and its unlink fails; the next one of that name goes past it.
    @Test func anOutcomeThatIsHalfPublishedIsFoundBehindLaterOnes() async throws {
        let isBroken = Mutex(false)
        let saboteur = Saboteur(
            .init(refuses: { operation, location in
                if operation == .renameNoReplace { return .fails(.invalidArgument) }
                let isOriginal = operation == .unlink && "\(location)".hasSuffix("/answer.json")
                return isOriginal && isBroken.withLock { $0 } ? .fails(.ioError) : nil
            }))
        let bench = try await started(Sandbox(), saboteur)
        try await answer(bench, "one")
        isBroken.withLock { $0 = true }
        try await answer(bench, "two")
        isBroken.withLock { $0 = false }
        #expect(await bench.spool.snapshot().unpublished == 1)
        // No time passes: the second is not tried again yet.
        try await answer(bench, "three")
        await bench.pass(.seconds(5))
        #expect(await bench.books == ["a-2.json: ok", "a-3.json: ok", "a.json: ok"])
        #expect(await bench.read.first { $0.name == "a-2.json" }?.outcome.tag == "two")
        await bench.expectAtRest()
    }

    @Test func theMemoryOfOrdinalsIsBounded() {
        var ordinals = LastOrdinals()
        let stems = (0...LastOrdinals.capacity).compactMap { FileName("stem\($0)") }
        for stem in stems { ordinals.note(2, of: stem) }
        #expect(ordinals.last(of: stems[0]) == 0)
        #expect(ordinals.last(of: stems[LastOrdinals.capacity]) == 2)
        // It only rises, and the first name costs nothing.
        ordinals.note(7, of: stems[0])
        ordinals.note(3, of: stems[0])
        ordinals.note(1, of: stems[1])
        #expect(ordinals.last(of: stems[0]) == 7 && ordinals.last(of: stems[1]) == 0)
    }
}
