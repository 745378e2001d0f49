// Work beside the daemon: what stands still is not waited for and gathers nothing; the watchdog is fed by what the workers do.

import Dispatch
import Synchronization
import Testing

@testable import Daemon

@Suite("Work on threads of its own")
struct SideThreadTests {
    @Test("work that does not come back is left to itself; of what is given meanwhile only the newest is done")
    func standstill() async {
        let side = SideThread()
        let standstill = Standstill()
        let done = Mutex<[Int]>([])
        let isLeft = await ends {
            await side.run(within: .milliseconds(1)) {
                standstill.stand()
                done.withLock { $0.append(0) }
            }
        }
        #expect(isLeft)
        #expect(await offPool { standstill.hasBegun() })
        for number in 1...5 {
            await side.run(within: .milliseconds(1)) { done.withLock { $0.append(number) } }
        }
        standstill.go()
        await side.run(within: .seconds(600)) { done.withLock { $0.append(6) } }
        // The fifth may have begun before the sixth was given.
        let order = done.withLock { $0 }
        #expect([[0, 6], [0, 5, 6]].contains(order), "\(order)")
    }

    @Test("a look at the outbox that does not come back is answered by what the last one found")
    func lastKnown() async {
        let standstill = Standstill()
        let isStuck = Atomic(false)
        let look = OutboxLook(patience: .milliseconds(1)) { _ in
            if isStuck.load(ordering: .acquiring) { standstill.stand() }
            return "is not writable"
        }
        // However long the first one takes.
        while await look.obstacle(at: "/") == nil {}
        isStuck.store(true, ordering: .releasing)
        #expect(await ends { _ = await look.obstacle(at: "/") })
        #expect(await look.obstacle(at: "/") == "is not writable")
        standstill.go()
    }

    @Test("without a thread to be had nobody waits, and the next work is done if there is one again")
    func noThread() async {
        let done = Mutex<[Int]>([])
        let isThere = Atomic(false)
        let side = SideThread { body in
            guard isThere.load(ordering: .acquiring) else { return false }
            return ThreadBridge.start(body)
        }
        #expect(await ends { await side.run(within: .seconds(3_600)) { done.withLock { $0.append(1) } } })
        isThere.store(true, ordering: .releasing)
        #expect(await ends { await side.run(within: .seconds(3_600)) { done.withLock { $0.append(2) } } })
        #expect(done.withLock { $0 } == [2])
    }

    @Test("a milestone lets through whoever waits for it or less, at once if it is reached, and nobody else")
    func milestone() async {
        let milestone = Milestone()
        let waiting = [1, 2, 2].map { number in
            Task { await milestone.wait(for: number, within: .seconds(3_600)) }
        }
        // Whoever came later would be let through by what is reached already, and nobody need be woken.
        while milestone.waiters < waiting.count { await Task.yield() }
        milestone.reach(2)
        let passed = Mutex<[Bool]>([])
        let areThrough = await ends {
            for task in waiting {
                let isThere = await task.value
                passed.withLock { $0.append(isThere) }
            }
        }
        #expect(areThrough && passed.withLock { $0 } == [true, true, true])
        #expect(milestone.waiters == 0)
        #expect(await milestone.wait(for: 3, within: .milliseconds(20)) == false)
        #expect(await ends { _ = await milestone.wait(for: 2, within: .seconds(3_600)) })
        let cancelled = Task { await milestone.wait(for: 3, within: .seconds(3_600)) }
        cancelled.cancel()
        #expect(await ends { _ = await cancelled.value })
    }

    @Test("the watchdog is fed while no pass is too long, and barks when one is")
    func watchdog() async throws {
        let seen = Mutex<[String]>([])
        let fed = DispatchSemaphore(value: 0)
        // Two passes that take too long, between others.
        let stalls: [Duration?] = [nil, .seconds(119), .seconds(120), .seconds(500)]
        let watchdog = try Watchdog(
            every: .milliseconds(1),
            stall: {
                seen.withLock { seen -> Duration? in
                    defer { seen.append("asked") }
                    let asked = seen.count { $0 == "asked" }
                    return asked < stalls.count ? stalls[asked] : nil
                }
            },
            feed: {
                seen.withLock { $0.append("fed") }
                fed.signal()
            })
        #expect(await offPool { (0..<3).allSatisfy { _ in fed.wait(timeout: .now() + 600) == .success } })
        watchdog.stop()
        let order = seen.withLock { Array($0.prefix(8)) }
        #expect(order == ["asked", "fed", "asked", "fed", "asked", "asked", "asked", "fed"])
    }
}
