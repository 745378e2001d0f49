// The order in which jobs are taken.

import Testing

@testable import Spool

@Suite struct QueueTests {
    private func id(_ number: Int64) -> JobID { JobID(unixMicroseconds: number, random: 0) }

    private func drain(_ queue: inout JobQueue, where isReady: (JobID) -> Bool = { _ in true }) -> [Int64] {
        var taken: [Int64] = []
        while let next = queue.next(where: isReady) { taken.append(next.unixMicroseconds) }
        return taken
    }

    @Test func priorityThenArrival() {
        var queue = JobQueue()
        for (number, priority) in [(1, 0), (2, 5), (3, -5), (4, 5), (5, 0)] as [(Int64, Int)] {
            queue.insert(id(number), priority: priority, lane: .fresh)
        }
        #expect(drain(&queue) == [2, 4, 1, 5, 3])
    }

    @Test func freshAndRetriedTakeTurns() {
        var queue = JobQueue()
        for number in 1...6 as ClosedRange<Int64> {
            queue.insert(id(number), priority: 10, lane: .retried)
            queue.insert(id(number + 10), priority: -10, lane: .fresh)
        }
        #expect(drain(&queue) == [11, 1, 12, 2, 13, 3, 14, 4, 15, 5, 16, 6])
    }

    @Test func thoseNotReadyKeepTheirPlaces() {
        var queue = JobQueue()
        for number in 1...4 as ClosedRange<Int64> { queue.insert(id(number), priority: 0, lane: .fresh) }
        #expect(drain(&queue, where: { $0.unixMicroseconds % 2 == 0 }) == [2, 4])
        #expect(drain(&queue) == [1, 3])
    }

    @Test func aJobHasOnePlace() {
        var queue = JobQueue()
        queue.insert(id(1), priority: 0, lane: .fresh)
        queue.insert(id(2), priority: 1, lane: .fresh)
        queue.insert(id(1), priority: 9, lane: .fresh)
        #expect(queue.count == 2)
        #expect(drain(&queue) == [1, 2])
        queue.insert(id(3), priority: 0, lane: .retried)
        queue.remove(id(3))
        #expect(drain(&queue).isEmpty)
    }

    @Test func alarmsLetJobsIn() {
        var queue = JobQueue()
        queue.insert(id(1), priority: 0, lane: .retried, at: .seconds(5))
        queue.insert(id(2), priority: 0, lane: .retried, at: .seconds(3))
        let first = queue.nextAlarm()
        #expect(first == .seconds(3))
        #expect(drain(&queue).isEmpty)
        queue.remove(id(2))
        let second = queue.nextAlarm()
        #expect(second == .seconds(5))
        let admitted = queue.admitDue(now: .seconds(5))
        #expect(admitted)
        #expect(drain(&queue) == [1])
    }

    @Test func pausesDoubleUpToTheLongest() {
        let retry = SpoolConfiguration.Retry()
        let pauses = [1, 2, 3, 8, 9, 1000, Int.max].map { retry.pause(afterAttempt: $0) }
        #expect(
            pauses == [
                .seconds(5), .seconds(10), .seconds(20), .seconds(640), .seconds(900), .seconds(900), .seconds(900),
            ])
    }
}
