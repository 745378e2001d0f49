// The jobs that ended a short while ago: what makes a spec late instead of early (docs/QUEUE.md, "Pairing", rule 7).

/// Ended jobs by the stem of their image, for `window`; the oldest go first when there are too many.
struct RecentJobs: Sendable {
    let window: Duration
    private static let capacity = 65_536
    private var byStem: [FileName: [KnownJob]] = [:]
    private var order: [(at: Duration, stem: FileName, id: JobID)] = []
    private var first = 0

    init(window: Duration) { self.window = window }

    mutating func add(_ id: JobID, image: FileName, spec: FileName?, outcome: FileName?, at: Duration) {
        let stem = image.stem
        byStem[stem, default: []].append(
            KnownJob(id: id, image: image, spec: spec, stage: .ended(outcome: outcome, at: at)))
        order.append((at, stem, id))
        forget(before: at - window)
    }

    func jobs(_ stem: FileName) -> [KnownJob] { byStem[stem] ?? [] }

    private mutating func forget(before limit: Duration) {
        while first < order.count, order[first].at < limit || order.count - first > RecentJobs.capacity {
            let (_, stem, id) = order[first]
            byStem[stem]?.removeAll { $0.id == id }
            if byStem[stem]?.isEmpty == true { byStem[stem] = nil }
            first += 1
        }
        if first > 1024, first * 2 > order.count {
            order.removeFirst(first)
            first = 0
        }
    }
}
