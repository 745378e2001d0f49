// The pairing rules of docs/QUEUE.md, numbered as there, on values alone: every order of arrival, no file, no clock.

import Diagnostics
import Testing

@testable import Spool

@Suite struct PairingTests {
    private let pairing = Pairing(grace: .seconds(1), timeout: .seconds(60))
    private static let status = FileStatus(
        kind: .regular, mode: 0o640, links: 1, owner: 0, group: 0, identity: .init(device: 1, inode: 1),
        content: .init(inode: 1, size: 9, modified: 0), changed: 0)

    private func name(_ text: String) -> FileName { FileName(text) ?? .placeholder }

    private func photo(_ text: String, _ order: UInt64 = 0, since: Int? = 0) -> Sighting {
        sighting(text, isSpec: false, order, since, nil)
    }

    private func spec(
        _ text: String, _ order: UInt64 = 0, since: Int? = 0, image: String? = nil, refused: Bool = false
    ) -> Sighting {
        let result: Result<SpecSummary, Failure> =
            refused ? .failure(Failure(.specInvalid, text, "is nonsense")) : .success(SpecSummary(image: image))
        return sighting(text, isSpec: true, order, since, since == nil ? nil : result)
    }

    private func sighting(
        _ text: String, isSpec: Bool, _ order: UInt64, _ since: Int?, _ spec: Result<SpecSummary, Failure>?
    ) -> Sighting {
        var sighting = Sighting(
            name: name(text), isSpec: isSpec, order: order, seenAt: .zero, arrival: .closed,
            status: PairingTests.status,
            changedAt: .zero)
        sighting.spec = spec
        if let since { sighting.stage = .complete(since: .seconds(since), settled: false) }
        return sighting
    }

    private func plan(_ sightings: [Sighting], jobs: [KnownJob] = [], at now: Double) -> Pairing.Plan {
        pairing.plan(
            sightings, jobs: { stem in jobs.filter { $0.image.stem == stem } }, now: .milliseconds(Int(now * 1000)))
    }

    private func job(_ image: String, _ spec: String? = nil, _ stage: KnownJob.Stage) -> KnownJob {
        KnownJob(
            id: JobID(unixMicroseconds: 1, random: 1), image: name(image), spec: spec.map { name($0) }, stage: stage)
    }

    private var job: JobID { JobID(unixMicroseconds: 1, random: 1) }

    // MARK: Rules 1 to 3

    @Test func rule1TakesThePairInEitherOrder() {
        for sightings in [[photo("a.jpg", 0), spec("a.yaml", 1)], [spec("a.yaml", 0), photo("a.jpg", 1)]] {
            #expect(plan(sightings, at: 0).decisions == [.claim(photo: name("a.jpg"), spec: name("a.yaml"))])
        }
    }

    @Test func rule1FollowsTheNameInTheSpec() {
        let sightings = [photo("b.jpg"), photo("a.jpg"), spec("a.yaml", image: "b.jpg")]
        #expect(plan(sightings, at: 0).decisions == [.claim(photo: name("b.jpg"), spec: name("a.yaml"))])
        #expect(plan(sightings, at: 1).decisions.contains(.claim(photo: name("a.jpg"), spec: nil)))
    }

    @Test func rule1PairsARefusedSpecWithThePhotoOfItsStem() {
        let sightings = [photo("a.jpg"), spec("a.yaml", refused: true)]
        #expect(plan(sightings, at: 0).decisions == [.claim(photo: name("a.jpg"), spec: name("a.yaml"))])
    }

    @Test func rule2WaitsForASpecThatIsBeingWritten() {
        let waiting = plan([photo("a.jpg"), spec("a.yaml", since: nil)], at: 50)
        #expect(waiting.decisions.isEmpty)
        #expect(waiting.waiting.map(\.reason) == ["a.yaml is still being written"])
    }

    @Test func rule2EndsWithTheTimeout() {
        let sightings = [photo("a.jpg"), spec("a.yaml", since: nil)]
        #expect(plan(sightings, at: 59.9).wakeAt == .seconds(60))
        #expect(plan(sightings, at: 60).decisions == [.claim(photo: name("a.jpg"), spec: nil)])
    }

    @Test func rule3EndsWithTheGrace() {
        let before = plan([photo("a.jpg")], at: 0.999)
        #expect(before.decisions.isEmpty)
        #expect(before.wakeAt == .seconds(1))
        #expect(plan([photo("a.jpg")], at: 1).decisions == [.claim(photo: name("a.jpg"), spec: nil)])
    }

    @Test func rule3WithoutAGrace() {
        let pairing = Pairing(grace: .zero, timeout: .seconds(60))
        #expect(pairing.plan([photo("a.jpg")], jobs: { _ in [] }, now: .zero).decisions.count == 1)
    }

    // MARK: Rule 4

    @Test func rule4GivesTheSpecToTheFirstComplete() {
        let jpeg = [photo("a.jpg", 1, since: 5), photo("a.jpeg", 2, since: 4), spec("a.yaml", 3, since: 5)]
        #expect(
            plan(jpeg, at: 9).decisions == [
                .claim(photo: name("a.jpeg"), spec: name("a.yaml")), .claim(photo: name("a.jpg"), spec: nil),
            ])
        let tie = [photo("a.jpg", 1), photo("a.jpeg", 2), spec("a.yaml", 3)]
        #expect(plan(tie, at: 0).decisions == [.claim(photo: name("a.jpg"), spec: name("a.yaml"))])
    }

    // MARK: Rule 5

    @Test func rule5JoinsAJobThatWaits() {
        let jobs = [job("a.jpg", nil, .waiting)]
        #expect(plan([spec("a.yaml")], jobs: jobs, at: 0).decisions == [.join(spec: name("a.yaml"), job)])
        #expect(plan([spec("x.yaml", image: "a.jpg")], jobs: jobs, at: 0).decisions.isEmpty == false)
        #expect(plan([spec("a.yaml", image: "a.jpeg")], jobs: jobs, at: 0).decisions.isEmpty)
    }

    @Test func rule5WaitsWhileThePhotoIsAnswered() {
        let waiting = plan([spec("a.yaml")], jobs: [job("a.jpg", nil, .running)], at: 59)
        #expect(waiting.decisions.isEmpty)
        #expect(waiting.waiting.first?.until == nil)
    }

    @Test func rule5JoinsAJobOnce() {
        let both = plan([spec("a.yaml", 0), spec("a.yml", 1)], jobs: [job("a.jpg", nil, .waiting)], at: 9)
        #expect(both.decisions.first == .join(spec: name("a.yaml"), job))
        #expect(both.decisions.count == 2)
        guard case .refuse(let spec, let failure)? = both.decisions.last else {
            Issue.record("the second spec is not refused")
            return
        }
        #expect(spec == name("a.yml"))
        #expect(failure.code == .specConflict)
    }

    // MARK: Rules 6 and 7

    @Test(arguments: [KnownJob.Stage.waiting, .running, .ended(outcome: FileName("a.json"), at: .zero)])
    func rule6RefusesASecondSpecAfterTheGrace(_ stage: KnownJob.Stage) {
        let jobs = [job("a.jpg", "a.yaml", stage)]
        #expect(plan([spec("a.yml")], jobs: jobs, at: 0.5).decisions.isEmpty)
        guard case .refuse(_, let failure)? = plan([spec("a.yml")], jobs: jobs, at: 1).decisions.first else {
            Issue.record("the second spec is not refused")
            return
        }
        #expect(failure.code == .specConflict)
        #expect(failure.cause.contains("a.yaml"))
    }

    @Test func rule6TakesTheSameNameForTheNextPhoto() {
        let jobs = [job("a.jpg", "a.yaml", .ended(outcome: FileName("a.json"), at: .zero))]
        #expect(plan([spec("a.yaml")], jobs: jobs, at: 10).decisions.isEmpty)
        let next = plan([spec("a.yaml"), photo("a.jpg", since: 10)], jobs: jobs, at: 10)
        #expect(next.decisions == [.claim(photo: name("a.jpg"), spec: name("a.yaml"))])
    }

    @Test func rule7RefusesALateSpecNamingTheOutcome() {
        let jobs = [job("a.jpg", nil, .ended(outcome: FileName("a-2.json"), at: .seconds(1)))]
        #expect(plan([spec("a.yaml", since: 3)], jobs: jobs, at: 3.9).decisions.isEmpty)
        guard case .refuse(_, let failure)? = plan([spec("a.yaml", since: 3)], jobs: jobs, at: 4).decisions.first else {
            Issue.record("the late spec is not refused")
            return
        }
        #expect(failure.code == .specLate)
        #expect(failure.cause.contains("a-2.json"))
        // After the window it is an early spec.
        #expect(plan([spec("a.yaml", since: 62)], jobs: jobs, at: 65).decisions.isEmpty)
    }

    @Test func rule7LetsANewPhotoTakeTheSpec() {
        let jobs = [job("a.jpg", nil, .ended(outcome: FileName("a.json"), at: .zero))]
        let pair = plan([spec("a.yaml", since: 3), photo("a.jpg", since: 3)], jobs: jobs, at: 3)
        #expect(pair.decisions == [.claim(photo: name("a.jpg"), spec: name("a.yaml"))])
    }

    // MARK: Rules 8 and 9

    @Test func rule8EndsWithTheTimeout() {
        #expect(plan([spec("a.yaml")], at: 59).decisions.isEmpty)
        #expect(plan([spec("a.yaml")], at: 59).waiting.first?.isLong == true)
        #expect(refusal(plan([spec("a.yaml")], at: 60))?.code == .imageMissing)
        #expect(refusal(plan([spec("a.yaml")], at: 60))?.hint == "Drop the photo and its spec again, together.")
        // Named after all of the photo's name: dropping both again would change nothing.
        let hint = "To go with a.JPG it must be named a.yaml: drop both again."
        #expect(refusal(plan([spec("a.JPG.yaml")], at: 60))?.hint == hint)
        #expect(refusal(plan([spec("a.yaml", refused: true)], at: 60))?.code == .specInvalid)
        #expect(plan([spec("a.yaml", refused: true)], at: 59).waiting.first?.reason.contains("nonsense") == true)
    }

    @Test func rule8WaitsForAPhotoThatIsBeingWritten() {
        #expect(plan([spec("a.yaml"), photo("a.jpg", since: nil)], at: 100).decisions.isEmpty)
    }

    private func refusal(_ plan: Pairing.Plan) -> Failure? {
        guard case .refuse(_, let failure)? = plan.decisions.first else { return nil }
        return failure
    }

    @Test func rule9PairsOddFilesLikePhotos() {
        let odd = plan([photo("a.gif"), spec("a.yaml")], at: 0)
        #expect(odd.decisions == [.claim(photo: name("a.gif"), spec: name("a.yaml"))])
    }
}

@Suite struct CompletenessTests {
    private let rules = SightingRules(
        SpoolConfiguration(directories: .init(inbox: "/i", spool: "/s", outbox: "/o", failed: "/f", done: "/d")))

    private func status(
        size: Int64 = 9, links: Int = 1, kind: FileStatus.Kind = .regular, modified: Int64 = 0
    ) -> FileStatus {
        FileStatus(
            kind: kind, mode: 0o640, links: links, owner: 0, group: 0, identity: .init(device: 1, inode: 1),
            content: .init(inode: 1, size: size, modified: modified), changed: modified)
    }

    /// When a file that was seen at 0 is complete, in seconds.
    private func completeAt(_ arrival: Arrival, _ status: FileStatus, whole: Bool?) -> Duration {
        var view = InboxView(rules: rules)
        let name = FileName("a.jpg") ?? .placeholder
        view.observe(name, status, arrival, now: .zero)
        if let whole { view.note(name, looksWhole: whole) }
        return view.nextDeadline ?? .seconds(-1)
    }

    @Test func theTableOfTaking() {
        #expect(completeAt(.moved, status(), whole: nil) == .zero)
        #expect(completeAt(.closed, status(), whole: true) == .zero)
        #expect(completeAt(.closed, status(), whole: false) == .seconds(2))
        #expect(completeAt(.written, status(), whole: true) == .seconds(3600))
        #expect(completeAt(.written, status(), whole: false) == .seconds(3600))
        #expect(completeAt(.created, status(), whole: false) == .seconds(2))
        #expect(completeAt(.found, status(), whole: nil) == .seconds(2))
        for arrival in [Arrival.moved, .closed, .found] {
            #expect(completeAt(arrival, status(size: 0), whole: nil) == .seconds(2))
        }
        #expect(completeAt(.created, status(size: 0), whole: nil) == .seconds(3600))
        #expect(completeAt(.written, status(size: 0), whole: nil) == .seconds(3600))
        for kind in [FileStatus.Kind.symbolicLink, .pipe, .socket, .device] {
            #expect(completeAt(.created, status(kind: kind), whole: nil) == .zero)
        }
    }

    @Test(
        arguments: [
            ([0xFF, 0xD9], true), ([0xFF], false), ([], false), ([0xFF, 0xD9, 0x00], false),
            ([0x49, 0x45, 0x4E, 0x44, 0xAE, 0x42, 0x60, 0x82], true),
            ([0x45, 0x4E, 0x44, 0xAE, 0x42, 0x60, 0x82], false),
        ] as [([UInt8], Bool)])
    func endsOfImages(_ tail: [UInt8], _ isEnd: Bool) {
        #expect(SightingRules.endsImage(tail) == isEnd)
    }

    @Test func aChangeStartsOver() {
        var view = InboxView(rules: rules)
        let name = FileName("a.jpg") ?? .placeholder
        view.observe(name, status(), .found, now: .zero)
        view.observe(name, status(), .found, now: .seconds(1))
        #expect(view.nextDeadline == .seconds(2))
        view.observe(name, status(modified: 5), .found, now: .seconds(1))
        #expect(view.nextDeadline == .seconds(3))
        // A writer is at work: its file is held, however long it pauses, and whatever a scan or a look finds.
        view.observe(name, status(modified: 5), .written, now: .seconds(2))
        #expect(view.nextDeadline == .seconds(3601))
        view.observe(name, status(modified: 5), .found, now: .seconds(100))
        view.observe(name, status(modified: 5), nil, now: .seconds(200))
        #expect(view.nextDeadline == .seconds(3601))
        view.observe(name, status(modified: 6), .found, now: .seconds(300))
        #expect(view.nextDeadline == .seconds(3900))
        view.observe(name, status(modified: 6), .closed, now: .seconds(301))
        #expect(view.nextDeadline == .seconds(302))
        view.observe(name, status(modified: 7), .closed, now: .seconds(9))
        #expect(view.nextDeadline == .seconds(11))
        view.trustNoArrival()
        #expect(view.nextDeadline == .seconds(11))
    }

    @Test func lostEventsMakeEveryWriterUnknown() {
        var view = InboxView(rules: rules)
        view.observe(FileName("a.jpg") ?? .placeholder, status(), .written, now: .zero)
        #expect(view.nextDeadline == .seconds(3600))
        view.trustNoArrival()
        #expect(view.nextDeadline == .seconds(2))
    }

    @Test(arguments: [".a.jpg", "a.part", "a.jpg.tmp", "a.crdownload", "a.jpg~", ".memvpd"])
    func namesOfFilesInTheMaking(_ name: String) throws {
        #expect(rules.isIgnored(try #require(FileName(name))))
        #expect(!rules.isIgnored(try #require(FileName("a.jpg"))))
    }
}
