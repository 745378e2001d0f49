// What the view of the inbox keeps beside the sightings, so as not to walk them all, against walks of them all.

import Diagnostics
import Testing

@testable import Spool

@Suite struct SightingTests {
    private static let rules = SightingRules(
        SpoolConfiguration(directories: .init(inbox: "/i", spool: "/s", outbox: "/o", failed: "/f", done: "/d")))

    /// Numbers that are the same in every run (Knuth's MMIX generator; the high bits are the good ones).
    private struct Numbers {
        private var state: UInt64 = 1

        mutating func next(below limit: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % limit
        }
    }

    private static let names = ["a.jpg", "a.yaml", "a.yml", "b.jpg", "b.yaml", "c.png", "c.yaml", "odd"]
        .compactMap { FileName($0) }
    private static let arrivals: [Arrival?] = [.created, .written, .closed, .moved, .found, nil]
    private static let specs: [Result<SpecSummary, Failure>] = [
        .success(SpecSummary()), .success(SpecSummary(image: "b.jpg")), .success(SpecSummary(image: "a.jpeg")),
        .failure(Failure(.specInvalid, "", "is nonsense")),
    ]

    private func status(_ modified: Int64) -> FileStatus {
        FileStatus(
            kind: .regular, mode: 0o640, links: 1, owner: 0, group: 0, identity: .init(device: 1, inode: 1),
            content: .init(inode: 1, size: 9, modified: modified), changed: modified)
    }

    /// Something that may happen to the inbox, or to what is known of it.
    private func change(_ view: inout InboxView, _ numbers: inout Numbers, now: Duration) {
        let name = SightingTests.names[numbers.next(below: SightingTests.names.count)]
        switch numbers.next(below: 12) {
        case 0: view.observe(name, nil, nil, now: now)
        case 1: view.forget(name)
        case 2: view.keepOnly(Set(SightingTests.names.filter { _ in numbers.next(below: 4) > 0 }))
        case 3: view.trustNoArrival()
        case 4: view.postpone(name, now: now)
        case 5: view.note(name, looksWhole: numbers.next(below: 2) == 0)
        case 6...8:
            let spec = SightingTests.specs[numbers.next(below: SightingTests.specs.count)]
            view.complete(
                name, spec: SightingTests.rules.isSpec(name) ? spec : nil, settled: numbers.next(below: 2) == 0,
                now: now)
        default:
            let arrival = SightingTests.arrivals[numbers.next(below: SightingTests.arrivals.count)]
            view.observe(name, status(Int64(numbers.next(below: 3))), arrival, now: now)
        }
    }

    @Test func whatIsKeptIsWhatAWalkFinds() {
        var view = InboxView(rules: SightingTests.rules)
        var numbers = Numbers()
        for round in 0..<5000 {
            let now = Duration.milliseconds(round * 100)
            change(&view, &numbers, now: now)
            let unfinished = view.sightings.values.filter { !$0.isComplete }
            let due = unfinished.filter { SightingTests.rules.mayBeComplete($0, now: now) }
            #expect(view.due(now: now) == due.sorted { $0.order < $1.order }.map(\.name))
            #expect(view.nextDeadline == unfinished.map { SightingTests.rules.deadline($0) }.min())
            #expect(Set(view.unfinishedSpecs.map(\.name)) == Set(unfinished.filter(\.isSpec).map(\.name)))
            let specs = view.sightings.values.filter(\.isSpec)
            #expect(Set(view.specs(ofStems: { _ in true }).map(\.name)) == Set(specs.map(\.name)))
            for image in ["a.jpg", "a.jpeg", "b.jpg", "c.png", "odd"].compactMap({ FileName($0) }) {
                let since = now - .seconds(20)
                #expect(view.specs(about: image, since: since) == walk(Array(specs), about: image, since: since))
            }
        }
    }

    /// As `InboxView.specs(about:since:)` tells it, of all the specs there are.
    private func walk(_ specs: [Sighting], about image: FileName, since: Duration) -> InboxView.SpecInSight {
        let isUnfinished = specs.contains { !$0.isComplete && $0.name.stem == image.stem && $0.seenAt > since }
        let isComplete = specs.contains { Target($0)?.matches(image) == true }
        return isUnfinished ? .unfinished : isComplete ? .complete : .none
    }
}
