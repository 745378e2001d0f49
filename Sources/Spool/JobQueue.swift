// The order in which jobs are taken: suspects of a crash alone and first, then fresh and retried jobs in turn, each by
// priority and then arrival.
//
// Invariant: a ticket counts only while its job still carries the ticket's number; leaving the queue just changes the
// number, so nothing is ever searched for. A queue of jobs that keep failing cannot delay a fresh one by more than one.

internal import HeapModule

/// One job's place in the queue.
struct Ticket: Comparable, Sendable {
    let id: JobID
    let priority: Int
    let number: UInt64

    /// "Less" is taken earlier.
    static func < (left: Ticket, right: Ticket) -> Bool {
        left.priority != right.priority ? left.priority > right.priority : left.id < right.id
    }

    static func == (left: Ticket, right: Ticket) -> Bool { left.id == right.id && left.number == right.number }
}

/// A moment at which a deferred job may be taken again.
private struct Alarm: Comparable, Sendable {
    let at: Duration
    let ticket: Ticket
    let lane: JobQueue.Lane

    static func < (left: Alarm, right: Alarm) -> Bool { left.at < right.at }
}

/// The jobs that wait to be taken.
struct JobQueue: Sendable {
    /// Jobs of one lane are taken in order; the lanes of `fresh` and `retried` take turns.
    enum Lane: Sendable, CaseIterable {
        case suspect
        case fresh
        case retried
    }

    private var lanes: [Lane: Heap<Ticket>] = [:]
    private var alarms = Heap<Alarm>()
    private var numbers: [JobID: UInt64] = [:]
    private var nextNumber: UInt64 = 0
    private var retriedIsNext = false

    var count: Int { numbers.count }
    func contains(_ id: JobID) -> Bool { numbers[id] != nil }

    /// Puts a job in its place, or into another; from `at` on, or at once.
    mutating func insert(_ id: JobID, priority: Int, lane: Lane, at: Duration? = nil) {
        nextNumber += 1
        numbers[id] = nextNumber
        let ticket = Ticket(id: id, priority: priority, number: nextNumber)
        if let at {
            alarms.insert(Alarm(at: at, ticket: ticket, lane: lane))
        } else {
            lanes[lane, default: Heap()].insert(ticket)
        }
    }

    mutating func remove(_ id: JobID) {
        numbers[id] = nil
    }

    /// Lets jobs in whose time has come; returns whether there were any.
    @discardableResult
    mutating func admitDue(now: Duration) -> Bool {
        var admitted = false
        while let alarm = alarms.min, alarm.at <= now || !isCurrent(alarm.ticket) {
            alarms.removeMin()
            guard isCurrent(alarm.ticket) else { continue }
            lanes[alarm.lane, default: Heap()].insert(alarm.ticket)
            admitted = true
        }
        return admitted
    }

    /// When the next deferred job may be taken.
    mutating func nextAlarm() -> Duration? {
        while let alarm = alarms.min, !isCurrent(alarm.ticket) { alarms.removeMin() }
        return alarms.min?.at
    }

    /// The next suspect, which stays in the queue.
    mutating func nextSuspect() -> JobID? { peek(.suspect)?.id }

    /// Takes the next job of the other lanes that `isReady`; those that are not keep their places.
    mutating func next(where isReady: (JobID) -> Bool) -> JobID? {
        let order: [Lane] = retriedIsNext ? [.retried, .fresh] : [.fresh, .retried]
        for lane in order {
            var passedOver: [Ticket] = []
            defer { for ticket in passedOver { lanes[lane]?.insert(ticket) } }
            while let ticket = peek(lane) {
                lanes[lane]?.removeMin()
                guard isReady(ticket.id) else {
                    passedOver.append(ticket)
                    continue
                }
                numbers[ticket.id] = nil
                retriedIsNext = lane == .fresh
                return ticket.id
            }
        }
        return nil
    }

    private mutating func peek(_ lane: Lane) -> Ticket? {
        while let ticket = lanes[lane]?.min {
            if isCurrent(ticket) { return ticket }
            lanes[lane]?.removeMin()
        }
        return nil
    }

    private func isCurrent(_ ticket: Ticket) -> Bool { numbers[ticket.id] == ticket.number }
}
