// The thread pool: every part runs once a job, also after the threads have gone to sleep; creation says why it fails.
import Glibc
import Testing

@Suite struct PoolTests {
    @Test(arguments: [1, 2, 3, 8])
    func everyPartRunsOnceAJob(threads: Int) throws {
        let pool = try Pool(threads: threads)
        #expect(pool.threads == threads)
        let counts = Guarded<Int64>(threads + 1, filledWith: 0)
        for _ in 0..<2000 { pool.countCalls(into: counts) }
        #expect(counts.values(0..<threads) == Array(repeating: 2000, count: threads))
        #expect(counts[threads] == 0 && counts.isIntact)
    }

    @Test(arguments: [2, 3, 5])
    func everyThreadTakesPart(threads: Int) throws {
        let pool = try Pool(threads: threads)
        for _ in 0..<20 { #expect(pool.meet() == threads) }
    }

    /// Between jobs the caller works on for longer than the others look out, so that they sleep when the next one comes.
    @Test func sleepersWakeForTheNextJob() throws {
        let pool = try Pool(threads: 3)
        for _ in 0..<20 {
            let awake = ContinuousClock.now
            while ContinuousClock.now < awake + .microseconds(300) {}
            #expect(pool.meet() == 3)
        }
    }

    @Test func poolsComeAndGo() throws {
        for threads in 1...20 {
            let pool = try Pool(threads: threads)
            let counts = Guarded<Int64>(threads + 1, filledWith: 0)
            pool.countCalls(into: counts)
            #expect(counts.values(0..<threads) == Array(repeating: 1, count: threads))
        }
    }

    @Test func poolsWithoutThreadsAreRefused() {
        #expect(Pool.creationError(threads: 0) == EINVAL)
        #expect(Pool.creationError(threads: -3) == EINVAL)
        #expect(Pool.creationError(threads: 1) == nil)
    }
}
