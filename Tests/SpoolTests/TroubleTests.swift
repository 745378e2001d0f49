// What goes wrong around the spool: directories, rights, other file systems, two daemons.

import Diagnostics
import Foundation
import Glibc
import Synchronization
import SystemPackage
import Testing

@testable import Spool

@Suite(.serialized) struct TroubleTests {
    // MARK: Directories

    @Test(arguments: ["spool", "outbox", "failed", "done"])
    func missingDirectoriesAreExplained(_ name: String) throws {
        let sandbox = Sandbox()
        _ = unsafe rmdir("\(sandbox.root)/\(name)")
        let failure = #expect(throws: Failure.self) { try Bench(sandbox) }
        #expect(failure?.code == .notFound)
        #expect(failure?.object == "\(sandbox.root)/\(name)")
        #expect(failure?.hint.isEmpty == false)
    }

    @Test func oneDirectoryCannotHaveTwoRoles() throws {
        let sandbox = Sandbox()
        let failure = #expect(throws: Failure.self) {
            try Bench(sandbox) { $0.directories.outbox = $0.directories.inbox + "/../inbox" }
        }
        #expect(failure?.code == .configurationInvalid)
    }

    @Test(.enabled(if: Sandbox.hasTwoFileSystems, "needs /dev/shm and /tmp on two file systems"))
    func doneMustBeWithinReachOfARename() throws {
        let sandbox = Sandbox()
        let elsewhere = Sandbox(on: Sandbox.disk)
        let failure = #expect(throws: Failure.self) { try Bench(sandbox) { $0.directories.done = elsewhere.done } }
        #expect(failure?.code == .configurationInvalid)
        #expect(Sandbox.files(under: sandbox.spool, directories: true).map(\.path).contains(".probe/") == false)
    }

    @Test func twoDaemonsCannotShareASpool() async throws {
        let bench = try await Bench.started()
        let failure = #expect(throws: Failure.self) { try Bench(bench.sandbox) }
        #expect(failure?.code == .unavailable)
        await bench.spool.close()
        _ = try Bench(bench.sandbox)
    }

    @Test func jobsDoNotWaitForAnInboxThatIsAway() async throws {
        let bench = try await Bench.started()
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(1))
        Sandbox.move(bench.sandbox.inbox, bench.sandbox.inbox + "-away")
        try await bench.restart()
        try await bench.workAll()
        #expect(await bench.books == ["a.json: ok"])
    }

    @Test func impossibleConfigurationsAreRefused() throws {
        // By their names in memvpd.yaml(5).
        let changes: [(String, @Sendable (inout SpoolConfiguration) -> Void)] = [
            ("settle", { $0.settle = .seconds(-1) }), ("retry.maximum", { $0.retry.maximum = .seconds(Int64.max) }),
            ("limits.queue", { $0.limits.jobs = 0 }), ("limits.image_bytes", { $0.limits.imageBytes = Int.max }),
            ("retention.done", { $0.retention.done = .seconds(-5) }), ("scan.poll", { $0.pollInterval = .seconds(-1) }),
            ("scan.interval", { $0.scanInterval = .seconds(Int64.max) }),
        ]
        for (key, change) in changes {
            let failure = #expect(throws: Failure.self) { try Bench(Sandbox(), adjust: change) }
            #expect(failure?.code == .configurationInvalid && failure?.object == key)
        }
    }

    // MARK: The outbox

    @Test func anOutboxThatIsAwayHoldsOutcomesBack() async throws {
        let bench = try await Bench.started()
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(1))
        Sandbox.move(bench.sandbox.outbox, bench.sandbox.outbox + "-away")
        try FileManager.default.removeItem(atPath: bench.sandbox.outbox + "-away")
        let job = try #require(await bench.spool.takeJobs(atMost: 1).first)
        #expect(try await bench.spool.commit(job, answer: bench.document(job, nil)) == .committed)
        let snapshot = await bench.spool.snapshot()
        #expect(snapshot.unpublished == 1)
        #expect(snapshot.publishingTrouble?.code == .notFound)
        #expect(snapshot.publishingTrouble?.hint.hasPrefix("Make it or mount it") == true)
        // It survives a restart, though then the outbox must be there for the daemon to start at all.
        await bench.pass(.seconds(10))
        _ = unsafe mkdir(bench.sandbox.outbox, 0o755)
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok"])
        await bench.expectAtRest()
    }

    @Test func anOutboxThatWasMovedAwayIsTheOutboxNoMore() async throws {
        let bench = try await Bench.started()
        let outbox = bench.sandbox.outbox
        bench.sandbox.drop("a.jpg", photo("a"))
        try await bench.finish()
        Sandbox.move(outbox, outbox + "-monday")
        _ = unsafe mkdir(outbox, 0o755)
        bench.sandbox.drop("b.jpg", photo("b"))
        try await bench.finish()
        #expect(Sandbox.files(under: outbox).map(\.path) == ["b.json"])
        // Away and not made anew: the answer waits, and is told of by the path, until one stands there.
        Sandbox.move(outbox, outbox + "-tuesday")
        bench.sandbox.drop("c.jpg", photo("c"))
        try await bench.finish(.seconds(3))
        let snapshot = await bench.spool.snapshot()
        #expect(snapshot.unpublished == 1)
        #expect(snapshot.publishingTrouble?.code == .notFound && snapshot.publishingTrouble?.object == outbox)
        Sandbox.move(outbox + "-monday", outbox)
        await bench.pass(.seconds(90))
        #expect(Sandbox.files(under: outbox).map(\.path).sorted() == ["a.json", "c.json"])
        #expect(Sandbox.files(under: outbox + "-tuesday").map(\.path) == ["b.json"])
        for day in ["-monday", "-tuesday"] { try? FileManager.default.removeItem(atPath: outbox + day) }
        #expect(await bench.books == ["a.json: ok", "c.json: ok"])
        await bench.expectAtRest()
    }

    @Test func whatTheOutboxRefusesIsToldByItsName() async throws {
        let sandbox = Sandbox()
        let saboteur = Saboteur(
            .init(refuses: { operation, location in
                let isOutcome = location.description.hasSuffix("/answer.json")
                return operation == .renameNoReplace && isOutcome ? .fails(.permissionDenied) : nil
            }))
        let bench = try Bench(sandbox, saboteur: saboteur)
        try await bench.start()
        bench.sandbox.drop("a.jpg", photo("a"))
        try await bench.finish(.seconds(3))
        let trouble = await bench.spool.snapshot().publishingTrouble
        #expect(trouble?.object == "\(sandbox.outbox)/a.json" && trouble?.code == .permissionDenied)
        #expect(trouble?.cause.hasPrefix("cannot be created") == true)
    }

    /// In a process of its own: the umask belongs to the process.
    @Test func outcomesHaveTheirModeWhateverTheUmask() async throws {
        let sandbox = Sandbox()
        sandbox.drop("a.jpg", photo("a"))
        sandbox.drop("b.gif", [1])
        let root = sandbox.root
        await #expect(processExitsWith: .success) { [root = root as String] in
            umask(0o077)
            let bench = try Bench(Sandbox(at: root))
            try await bench.start()
            await bench.pass(.seconds(4))
            for job in await bench.spool.takeJobs(atMost: 1) {
                try await bench.spool.commit(job, answer: bench.document(job, nil))
            }
        }
        let outbox = try #require(Sandbox.handle(sandbox.outbox))
        for name in ["a.json", "b.json"] {
            #expect(try FileSystem().status(outbox / Layout.known(name))?.mode == 0o640)
        }
    }

    @Test(.enabled(if: getuid() == 0, "only root may give files to another group"))
    func outcomesGetTheGroupOfASetgidOutbox() async throws {
        let sandbox = Sandbox()
        _ = unsafe chown(sandbox.outbox, 0, 4242)
        _ = unsafe chmod(sandbox.outbox, 0o2750)
        let bench = try await Bench.started(sandbox)
        bench.sandbox.drop("a.jpg", photo("a"))
        bench.sandbox.drop("b.gif", [1])
        try await bench.finish()
        let handle = try #require(Sandbox.handle(bench.sandbox.outbox))
        for name in ["a.json", "b.json"] {
            #expect(try FileSystem().status(handle / Layout.known(name))?.group == 4242)
        }
    }

    @Test func aNameThatIsTakenAtTheLastMomentIsNotOverwritten() async throws {
        let sandbox = Sandbox()
        let saboteur = Saboteur(
            .init(meanwhile: { operation, _ in
                guard operation == .renameNoReplace else { return }
                // Both names that come first, before either is tried.
                for name in ["a.json", "a-2.json"] {
                    _ = FileManager.default.createFile(
                        atPath: "\(sandbox.outbox)/\(name)", contents: Data("theirs".utf8))
                }
            }))
        let bench = try Bench(sandbox, saboteur: saboteur)
        try await bench.start()
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(1))
        let job = try #require(await bench.spool.takeJobs(atMost: 1).first)
        let name = try #require(FileName("a-3.json"))
        #expect(try await bench.spool.commit(job, answer: bench.document(job, nil)) == .published(name))
        #expect(sandbox.text("outbox/a.json") == "theirs")
        #expect(await bench.spool.job(named: job.id)?.outcome == name)
    }

    // MARK: Other file systems

    @Test(.enabled(if: Sandbox.hasTwoFileSystems, "needs /dev/shm and /tmp on two file systems"))
    func anInboxElsewhereLeavesNothingBehind() async throws {
        let bench = try await Bench.started(Sandbox(.inboxElsewhere))
        bench.sandbox.drop("a.jpg", photo("a"))
        bench.sandbox.drop("b.yaml", text: "priority: 1")
        bench.sandbox.drop("b.jpg", photo("b"))
        bench.sandbox.drop("c.txt", text: "odd")
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok", "b.json: ok", "c.json: unsupported_type"])
        await bench.expectAtRest()
        #expect(await bench.whereabouts(photo("a")).count == 1)
        #expect(await bench.whereabouts(photo("a")).first?.hasPrefix("done/") == true)
    }

    @Test(.enabled(if: Sandbox.hasTwoFileSystems, "needs /dev/shm and /tmp on two file systems"))
    func whatCannotBeCopiedStaysAndTheOutcomeSaysWhere() async throws {
        let bench = try await Bench.started(Sandbox(.inboxElsewhere)) { $0.limits.imageBytes = 100 }
        _ = unsafe mkfifo(bench.sandbox.inbox + "/pipe.jpg", 0o644)
        bench.sandbox.drop("huge.jpg", photo("h", size: 200))
        try await bench.finish()
        #expect(await bench.books == ["huge.json: image_too_large", "pipe.json: not_regular_file"])
        for (_, outcome) in await bench.read {
            let place = "\(bench.sandbox.inbox)/.memvpd/kept/\(outcome.job)/\(outcome.image ?? "")"
            #expect(outcome.hint?.contains(place) == true)
            #expect(
                Sandbox.files(under: bench.sandbox.inbox).map { "\(bench.sandbox.inbox)/\($0.path)" }.contains(place))
        }
        // It stays for good: another start must not take it for a drop.
        try await bench.restart()
        try await bench.finish()
        #expect(await bench.books.count == 2)
    }

    /// Whoever may drop files may have made `.memvpd` beforehand, leading elsewhere.
    @Test(.enabled(if: Sandbox.hasTwoFileSystems, "needs /dev/shm and /tmp on two file systems"))
    func aForeignPlaceBesideTheInboxIsNotUsed() async throws {
        let sandbox = Sandbox(.inboxElsewhere)
        let trap = sandbox.otherRoot + "/trap"
        _ = unsafe mkdir(trap, 0o700)
        _ = unsafe symlink(trap, sandbox.inbox + "/.memvpd")
        let bench = try await Bench.started(sandbox)
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(5))
        #expect(await bench.spool.snapshot().intakeTrouble?.code == .permissionDenied)
        #expect(Sandbox.files(under: trap, directories: true).isEmpty)
        #expect(Sandbox.exists(sandbox.inbox + "/a.jpg"))
        _ = unsafe unlink(sandbox.inbox + "/.memvpd")
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok"])
        await bench.expectAtRest()
    }

    /// Somebody else's, or open to others: whoever can write there could exchange files between rename and copy.
    @Test(
        .enabled(if: Sandbox.hasTwoFileSystems, "needs /dev/shm and /tmp on two file systems"),
        arguments: [(nil, 0o770), (nil, 0o707), (4242, 0o700)] as [(UInt32?, UInt32)])
    func aPlaceBesideTheInboxThatOthersReachIsNotUsed(owner: UInt32?, mode: UInt32) async throws {
        // Only root can give a directory away.
        guard owner == nil || geteuid() == 0 else { return }
        let sandbox = Sandbox(.inboxElsewhere)
        let place = sandbox.inbox + "/.memvpd"
        #expect(unsafe mkdir(place, 0o700) == 0)
        #expect(unsafe chmod(place, mode) == 0)
        if let owner { #expect(unsafe chown(place, owner, owner) == 0) }
        let bench = try await Bench.started(sandbox)
        bench.sandbox.drop("a.jpg", photo("a"))
        await bench.pass(.seconds(5))
        #expect(await bench.spool.snapshot().intakeTrouble?.code == .permissionDenied)
        #expect(Sandbox.files(under: place, directories: true).isEmpty)
        #expect(Sandbox.exists(sandbox.inbox + "/a.jpg"))
        #expect(unsafe chown(place, geteuid(), getegid()) == 0)
        #expect(unsafe chmod(place, 0o700) == 0)
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok"])
        await bench.expectAtRest()
    }

    @Test func aForeignPlaceBesideAnOrdinaryInboxDisturbsNobody() async throws {
        let sandbox = Sandbox()
        sandbox.drop(".memvpd", [1])
        let bench = try await Bench.started(sandbox)
        bench.sandbox.drop("a.jpg", photo("a"))
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok"])
    }

    @Test(.enabled(if: Sandbox.hasTwoFileSystems, "needs /dev/shm and /tmp on two file systems"))
    func anOutboxElsewhereShowsOnlyWholeDocuments() async throws {
        let bench = try await Bench.started(Sandbox(.outboxElsewhere))
        bench.sandbox.drop("a.jpg", photo("a"))
        bench.sandbox.drop("a.jpeg", photo("b"))
        try await bench.finish()
        #expect(await bench.books == ["a-2.json: ok", "a.json: ok"])
        await bench.expectAtRest()
    }

    /// The rename in the outbox fails; then another directory stands there, as when a disk is unmounted or exchanged.
    @Test(
        .enabled(if: Sandbox.hasTwoFileSystems, "needs /dev/shm and /tmp on two file systems"),
        arguments: [false, true])
    func anOutboxElsewhereThatIsReplacedLosesNothing(published: Bool) async throws {
        let sandbox = Sandbox(.outboxElsewhere)
        let outbox = sandbox.outbox
        let isBroken = Mutex(true)
        let saboteur = Saboteur(
            .init(refuses: { operation, location in
                guard isBroken.withLock({ $0 }), location.root.path == outbox else { return nil }
                // Before the rename, or just after it.
                return operation == (published ? .syncDirectory : .renameNoReplace)
                    && Sandbox.exists("\(outbox)/\(published ? "a.json" : ".")") ? .fails(.ioError) : nil
            }))
        let bench = try Bench(sandbox, saboteur: saboteur)
        try await bench.start()
        bench.sandbox.drop("a.jpg", photo("a"))
        try await bench.finish(.seconds(3))
        #expect(await bench.spool.snapshot().unpublished == 1)
        if published {
            // The same outbox: its reader has taken the answer, and does not get it twice.
            #expect(await bench.books == ["a.json: ok"])
        } else {
            Sandbox.move(outbox, outbox + "-old")
            _ = unsafe mkdir(outbox, 0o755)
        }
        isBroken.withLock { $0 = false }
        await bench.pass(.seconds(90))
        #expect(await bench.books == ["a.json: ok"])
        try? FileManager.default.removeItem(atPath: outbox + "-old")
        await bench.expectAtRest()
    }

    // MARK: Rights (in a process of another user, since root is refused nothing)

    @Test(.enabled(if: getuid() == 0, "needs root to become another user"))
    func unreadableFilesSayHowToMendThem() async throws {
        let sandbox = Sandbox()
        sandbox.drop("a.jpg", photo("a"))
        sandbox.drop("b.jpg", photo("b"))
        sandbox.drop("b.yaml", text: "task: caption")
        for name in ["a.jpg", "b.yaml"] { _ = unsafe chmod("\(sandbox.inbox)/\(name)", 0o600) }
        for path in [sandbox.inbox, sandbox.spool, sandbox.outbox, sandbox.failed, sandbox.done] {
            _ = unsafe chown(path, 4242, 4242)
        }
        let root = sandbox.root
        await #expect(processExitsWith: .success) { [root = root as String] in
            guard setgid(4242) == 0, setuid(4242) == 0 else { exit(70) }
            let bench = try Bench(Sandbox(at: root))
            try await bench.start()
            try await bench.finish()
            let books = await bench.books
            guard books == ["a.json: unreadable", "b.json: unreadable"] else { exit(1) }
            let hints = await bench.read.compactMap(\.outcome.hint)
            guard hints.count == 2, hints.allSatisfy({ $0.contains("chmod") && $0.contains("setfacl") }) else {
                exit(2)
            }
            // The originals are kept, unread as they are.
            let kept = Sandbox.files(under: bench.sandbox.failed).filter { $0.path.hasSuffix(".jpg") }
            guard kept.count == 2 else { exit(3) }
        }
    }

    @Test(.enabled(if: getuid() == 0, "needs root to become another user"), arguments: [4242, 4343] as [UInt32])
    func anOutboxOfAForeignGroupIsTold(_ group: UInt32) async throws {
        let sandbox = Sandbox()
        for path in [sandbox.inbox, sandbox.spool, sandbox.outbox, sandbox.failed, sandbox.done] {
            _ = unsafe chown(path, 4242, path == sandbox.outbox ? group : 4242)
        }
        _ = unsafe chmod(sandbox.outbox, 0o2750)
        let root = sandbox.root
        await #expect(processExitsWith: .success) { [root = root as String, group = group as UInt32] in
            guard setgroups(0, nil) == 0, setgid(4242) == 0, setuid(4242) == 0 else { exit(70) }
            let bench = try Bench(Sandbox(at: root))
            try await bench.start()
            let trouble = await bench.spool.snapshot().outboxTrouble
            guard group == 4343 else { exit(trouble == nil ? 0 : 1) }
            exit(trouble?.object == bench.sandbox.outbox && trouble?.cause.contains("4343") == true ? 0 : 2)
        }
    }

    @Test(.enabled(if: getuid() == 0, "needs root to become another user"))
    func anInboxThatCannotBeClaimedFromKeepsItsFiles() async throws {
        let sandbox = Sandbox()
        sandbox.drop("a.jpg", photo("a"))
        _ = unsafe chmod(sandbox.inbox, 0o755)
        for path in [sandbox.spool, sandbox.outbox, sandbox.failed, sandbox.done] { _ = unsafe chown(path, 4242, 4242) }
        let root = sandbox.root
        await #expect(processExitsWith: .success) { [root = root as String] in
            guard setgid(4242) == 0, setuid(4242) == 0 else { exit(70) }
            let bench = try Bench(Sandbox(at: root))
            try await bench.start()
            try await bench.finish()
            guard await bench.books.isEmpty else { exit(1) }
            guard Sandbox.exists(bench.sandbox.inbox + "/a.jpg") else { exit(3) }
            // People see why, and what to do.
            let snapshot = await bench.spool.snapshot()
            guard snapshot.intakeTrouble?.code == .permissionDenied else { exit(5) }
            guard snapshot.waiting.first?.reason.contains("setfacl") == true else { exit(6) }
            guard Sandbox.files(under: bench.sandbox.spool).allSatisfy({ !$0.path.hasPrefix("claimed/") }) else {
                exit(4)
            }
        }
    }
}
