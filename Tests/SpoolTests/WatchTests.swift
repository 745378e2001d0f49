// How the inbox is watched: by inotify with its lost and missed events, by polling, and when it goes away and comes back.

import Diagnostics
import Foundation
import Glibc
import Testing

@testable import Spool

@Suite(.serialized) struct WatchTests {
    @Test func lostEventsAreMadeUpForByAScan() async throws {
        let bench = try await Bench.started { $0.scanInterval = .seconds(100_000) }
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
        let bench = try await Bench.started { $0.watch = .poll }
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

    /// The event is read by somebody else, so that nothing but the scan without a cause can find the drop.
    @Test func aMissedEventIsFoundByTheNextScan() async throws {
        let bench = try await Bench.started { $0.scanInterval = .seconds(60) }
        bench.sandbox.moveIn("a.jpg", photo("a"))
        let watch = try #require(await bench.spool.watch.inotify)
        #expect(try watch.read().names.contains { $0.name.description == "a.jpg" })
        await bench.pass(.seconds(59))
        #expect(await bench.spool.snapshot().inInbox == 0, "the event must have been missed")
        await bench.pass(.seconds(1))
        #expect(await bench.spool.snapshot().inInbox == 1)
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok"])
    }

    @Test func anInboxThatGoesAndComesBack() async throws {
        let bench = try await Bench.started()
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
