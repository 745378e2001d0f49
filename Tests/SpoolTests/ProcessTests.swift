// Real processes, a real clock: the loop that the daemon runs, real crashes with the real handler, real kills.

import Diagnostics
import Foundation
import Glibc
import SystemPackage
import Testing

@testable import Spool

@Suite(.serialized) struct ProcessTests {
    private static func make(_ root: String, crashes: Bool = false, hook: FileSystem.Hook? = nil) throws -> Spool {
        var configuration = Sandbox(at: root).configuration
        configuration.settle = .milliseconds(20)
        configuration.pairing.grace = .milliseconds(5)
        configuration.notesCrashes = crashes
        return try Spool(
            configuration: configuration, inspector: LineInspector(), clock: SystemClock(),
            files: FileSystem(hook: hook), render: Bench.render, report: { _ in })
    }

    /// Runs the loop, with a worker, until nothing is left.
    private static func runToTheEnd(_ spool: Spool) async throws {
        try await spool.recover()
        await spool.endWhenEmpty()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await spool.run() }
            while true {
                let jobs = await spool.nextJobs(atMost: 4)
                guard !jobs.isEmpty else { break }
                for job in jobs {
                    let document = Outcome(
                        job: job.id.description, status: "ok", image: job.image.description,
                        tag: Outcome.tag(try job.readImage())
                    ).document
                    try await spool.commit(job, answer: document)
                }
            }
            group.cancelAll()
        }
        await spool.close()
    }

    private func books(_ sandbox: Sandbox) -> [String] {
        Sandbox.files(under: sandbox.outbox).compactMap { found in
            guard let outcome = try? JSONDecoder().decode(Outcome.self, from: Data(found.bytes ?? [])) else {
                return nil
            }
            return "\(found.path): \(outcome.code ?? "ok")"
        }
    }

    @Test func theLoopEndsWhenEverythingIsAnswered() async throws {
        let sandbox = Sandbox()
        for number in 0..<20 { sandbox.drop("p\(number).jpg", photo("\(number)")) }
        sandbox.drop("waits.yaml", text: "task: caption")
        try await ProcessTests.runToTheEnd(try ProcessTests.make(sandbox.root))
        #expect(books(sandbox) == (0..<20).map { "p\($0).json: ok" }.sorted())
        // What waits for a photo stays, for another start.
        #expect(Sandbox.exists(sandbox.inbox + "/waits.yaml"))
        #expect(!Sandbox.exists(sandbox.spool + "/session"))
    }

    @Test func theLoopWakesForADropAndEndsWithItsTask() async throws {
        let sandbox = Sandbox()
        let spool = try ProcessTests.make(sandbox.root)
        try await spool.recover()
        let loop = Task { await spool.run() }
        async let jobs = spool.nextJobs(atMost: 1)
        sandbox.drop("a.jpg", photo("a"))
        let job = try #require(await jobs.first)
        #expect(job.image.description == "a.jpg")
        loop.cancel()
        await loop.value
        await spool.close()
    }

    @Test func waitingForJobsEndsWithTheTaskAndWithTheSpool() async throws {
        let sandbox = Sandbox()
        let spool = try ProcessTests.make(sandbox.root)
        try await spool.recover()
        let cancelled = Task { await spool.nextJobs(atMost: 1) }
        cancelled.cancel()
        #expect(await cancelled.value.isEmpty)
        let closed = Task { await spool.nextJobs(atMost: 1) }
        await spool.close()
        #expect(await closed.value.isEmpty)
        #expect(await spool.nextJobs(atMost: 1).isEmpty)
    }

    // MARK: Crashes

    /// Takes one job and crashes; the parent sees the signal.
    private static func takeAndCrash(_ root: String, _ signal: Int32) async throws {
        let spool = try make(root, crashes: true)
        try await spool.recover()
        let loop = Task { await spool.run() }
        let jobs = await spool.nextJobs(atMost: 4)
        guard jobs.count == 1 else { exit(70) }
        loop.cancel()
        // As the watchdog sends it: to the process. Whoever took the job must not end before it arrives.
        kill(getpid(), signal)
        while true { pause() }
    }

    @Test func realCrashesAreStrikesAndTwoArePoison() async throws {
        let sandbox = Sandbox()
        sandbox.drop("a.jpg", photo("a"))
        let root = sandbox.root
        await #expect(processExitsWith: .signal(SIGSEGV)) { [root = root as String] in
            try await ProcessTests.takeAndCrash(root, SIGSEGV)
        }
        #expect(sandbox.text("spool/strikes") == "SEGV -\n")
        await #expect(processExitsWith: .signal(SIGABRT)) { [root = root as String] in
            try await ProcessTests.takeAndCrash(root, SIGABRT)
        }
        #expect(sandbox.text("spool/strikes").hasPrefix("ABRT 2"))
        await #expect(processExitsWith: .signal(SIGFPE)) { [root = root as String] in
            try await ProcessTests.takeAndCrash(root, SIGFPE)
        }
        let bench = try Bench(sandbox)
        try await bench.start()
        #expect(await bench.books == ["a.json: poison"])
    }

    @Test func aSwiftTrapAndAStackOverflowAreNoted() async throws {
        let sandbox = Sandbox()
        let path = sandbox.root + "/note"
        await #expect(processExitsWith: .failure) { [path = path as String] in
            let descriptor = unsafe open(path, O_WRONLY | O_CREAT, 0o600)
            try SystemBridge.installCrashHandler(writingTo: descriptor)
            SystemBridge.noteForCrashHandler("trap")
            let empty: [Int] = []
            _ = empty[Int.random(in: 5...9)]
        }
        #expect(["ILL trap\n", "TRAP trap\n"].contains(sandbox.text("note")))
        await #expect(processExitsWith: .signal(SIGSEGV)) { [path = path as String] in
            let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
            try SystemBridge.installCrashHandler(writingTo: descriptor)
            SystemBridge.noteForCrashHandler("deep")
            try SystemBridge.prepareThreadForCrash()
            _ = ProcessTests.descend(1)
        }
        #expect(sandbox.text("note") == "SEGV deep\n")
    }

    @inline(never) private static func descend(_ depth: Int) -> Int {
        depth < 0 ? 0 : descend(depth &+ 1) &+ descend(depth &+ 2)
    }

    // MARK: Kills

    /// SIGKILL between two system calls of a running daemon, again and again, and a last life to the end.
    @Test func realKillsLoseAndDoubleNothing() async throws {
        let sandbox = Sandbox()
        for number in 0..<6 {
            sandbox.drop("p\(number).jpg", photo("\(number)"))
            if number % 2 == 0 { sandbox.drop("p\(number).yaml", text: "priority: 1") }
        }
        let root = sandbox.root
        for calls in [9, 23, 41, 67] {
            await #expect(processExitsWith: .signal(SIGKILL)) { [root = root as String, calls = calls as Int] in
                let saboteur = Saboteur(.init(target: calls, fault: .fails(Saboteur.dead), isDeath: true))
                saboteur.arm()
                let hook = saboteur.hook
                let spool = try ProcessTests.make(root) { operation, location in
                    let fault = hook(operation, location)
                    if fault != nil { kill(getpid(), SIGKILL) }
                    return fault
                }
                try await ProcessTests.runToTheEnd(spool)
            }
        }
        try await ProcessTests.runToTheEnd(try ProcessTests.make(root))
        #expect(books(sandbox) == (0..<6).map { "p\($0).json: ok" })
        let left = Sandbox.files(under: sandbox.spool).map(\.path)
        #expect(left == ["lock", "strikes"])
    }
}
