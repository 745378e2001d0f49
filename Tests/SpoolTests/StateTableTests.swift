// The table of docs/QUEUE.md, row by row: a directory as a crash would leave it is built by hand, a spool recovers, and each
// drop must have exactly one outcome.

import Diagnostics
import Foundation
import Glibc
import SystemPackage
import Testing

@testable import Spool

@Suite(.serialized) struct StateTableTests {
    private let sandbox = Sandbox()
    private static let id = "20261101T120000.000001Z-00000001"
    private static let other = "20261101T120000.000002Z-00000002"
    private let image = photo("one")
    private let spec = Array("priority: 4\n".utf8)

    // MARK: Building by hand

    private func make(_ path: String, _ bytes: [UInt8]) throws {
        let url = URL(fileURLWithPath: path)
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(bytes).write(to: url)
        if path.contains("/.memvpd/") { _ = unsafe chmod(sandbox.inbox + "/.memvpd", 0o700) }
    }

    /// Builds a job's directory: `input/` with the given files, and the given files beside it.
    private func job(
        _ state: JobState, _ inputs: [String: [UInt8]], _ files: [String: [UInt8]] = [:],
        id: String = StateTableTests.id
    ) throws {
        let home =
            "\(state == .done ? sandbox.done : state == .failed ? sandbox.failed : "\(sandbox.spool)/\(state)")/\(id)"
        try FileManager.default.createDirectory(atPath: home + "/input", withIntermediateDirectories: true)
        for (name, bytes) in inputs { try make("\(home)/input/\(name)", bytes) }
        for (name, bytes) in files { try make("\(home)/\(name)", bytes) }
    }

    private func record(_ change: (inout JobRecord) throws -> Void) rethrows -> [UInt8] {
        var record = JobRecord()
        try change(&record)
        return record.bytes
    }

    private func content(_ path: String) throws -> FileStatus.Content {
        let url = URL(fileURLWithPath: path)
        let handle = try #require(Sandbox.handle(url.deletingLastPathComponent().path))
        let name = try #require(FileName(url.lastPathComponent))
        return try #require(try FileSystem().status(handle / name)).content
    }

    private func answer(_ tag: String, code: String? = nil) -> [UInt8] {
        Outcome(job: StateTableTests.id, status: code == nil ? "ok" : "error", code: code, image: "a.jpg", tag: tag)
            .document
    }

    /// Recovers, lets everything end, and compares the books.
    private func recover(
        _ expected: [String], clean: Bool = false, _ adjust: @Sendable (inout SpoolConfiguration) -> Void = { _ in },
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> Bench {
        if !clean { try make(sandbox.spool + "/session", Array("old".utf8)) }
        let bench = try Bench(sandbox, adjust: adjust)
        try await bench.start()
        try await bench.finish()
        #expect(await bench.books == expected.sorted(), sourceLocation: sourceLocation)
        await bench.expectAtRest(sourceLocation: sourceLocation)
        return bench
    }

    // MARK: S1

    @Test func s1WithItsIntent() async throws {
        try make(sandbox.inbox + "/a.jpg", image)
        let seen = try content(sandbox.inbox + "/a.jpg")
        try job(.claimed, [:], ["job.json": record { ($0.image, $0.imageContent) = (FileName("a.jpg"), seen) }])
        let bench = try await recover(["a.json: ok"])
        #expect(await bench.read.first?.outcome.job == StateTableTests.id)
    }

    @Test(
        arguments: [[:], ["job.json.tmp": [0x7B]], ["job.json": []], ["job.json": [0x7B, 0x22]]] as [[String: [UInt8]]])
    func s1WithoutAnIntent(_ files: [String: [UInt8]]) async throws {
        try make(sandbox.inbox + "/a.jpg", image)
        try job(.claimed, [:], files)
        let bench = try await recover(["a.json: ok"])
        #expect(await bench.read.first?.outcome.job != StateTableTests.id)
    }

    @Test func s1WhoseFileWasReplaced() async throws {
        try make(sandbox.inbox + "/a.jpg", image)
        var seen = try content(sandbox.inbox + "/a.jpg")
        seen = FileStatus.Content(inode: seen.inode, size: seen.size + 1, modified: seen.modified)
        try job(.claimed, [:], ["job.json": record { ($0.image, $0.imageContent) = (FileName("a.jpg"), seen) }])
        let bench = try await recover(["a.json: ok"])
        #expect(await bench.read.first?.outcome.job != StateTableTests.id)
    }

    /// The spec goes with the photo that stands there now.
    @Test func s1WhosePhotoWasReplacedBesideItsSpec() async throws {
        try make(sandbox.inbox + "/a.jpg", image)
        try make(sandbox.inbox + "/a.yaml", spec)
        var seen = try content(sandbox.inbox + "/a.jpg")
        seen = FileStatus.Content(inode: seen.inode, size: seen.size + 1, modified: seen.modified)
        let intent = try record {
            ($0.image, $0.imageContent, $0.spec) = (FileName("a.jpg"), seen, FileName("a.yaml"))
            $0.specContent = try content(sandbox.inbox + "/a.yaml")
        }
        try job(.claimed, [:], ["job.json": intent])
        let bench = try await recover(["a.json: ok"])
        #expect(await bench.read.first?.outcome.spec == "a.yaml")
    }

    @Test func s1WhoseFileWasTakenBack() async throws {
        try job(.claimed, [:], ["job.json": record { $0.image = FileName("a.jpg") }])
        _ = try await recover([])
    }

    // MARK: S2

    @Test func s2WithThePartnerStillInTheInbox() async throws {
        try make(sandbox.inbox + "/a.yaml", spec)
        let seen = try content(sandbox.inbox + "/a.yaml")
        let intent = record {
            ($0.image, $0.spec, $0.specContent) = (FileName("a.jpg"), FileName("a.yaml"), seen)
        }
        try job(.claimed, ["a.jpg": image], ["job.json": intent])
        let bench = try await recover(["a.json: ok"])
        #expect(await bench.read.first?.outcome.spec == "a.yaml")
    }

    @Test(arguments: [["a.jpg"], ["a.jpg", "a.yaml"]])
    func s2WithoutARecord(_ names: [String]) async throws {
        let contents = ["a.jpg": image, "a.yaml": spec]
        try job(.claimed, contents.filter { names.contains($0.key) })
        let bench = try await recover(["a.json: ok"])
        #expect(await bench.read.first?.outcome.spec == names.dropFirst().first)
    }

    @Test func s2WithAVerdict() async throws {
        let verdict = record {
            $0.spec = FileName("a.yaml")
            $0.verdict = RecordedFailure(Failure(.specLate, "a.yaml", "came late"))
        }
        try job(.claimed, ["a.yaml": spec], ["job.json": verdict])
        _ = try await recover(["a.json: spec_late"])
    }

    @Test func s2OfAnOddFile() async throws {
        try job(.claimed, ["x.gif": [1, 2, 3]])
        _ = try await recover(["x.json: unsupported_type"])
    }

    @Test func s2OfARetryIsUndone() async throws {
        try job(
            .failed, ["a.jpg": image], ["reason.json": answer("", code: "corrupt_image")], id: StateTableTests.other)
        try job(.claimed, ["a.jpg": image], ["job.json": record { $0.retryOf = StateTableTests.other }])
        let bench = try await recover([])
        #expect(await bench.whereabouts(image) == ["failed/\(StateTableTests.other)/input/a.jpg"])
    }

    @Test func s2OfASpecThatWasToJoin() async throws {
        try job(.queued, ["a.jpg": image], id: StateTableTests.other)
        try job(.claimed, ["a.yaml": spec], ["job.json": record { $0.joins = StateTableTests.other }])
        let bench = try await recover(["a.json: ok"])
        #expect(await bench.read.first?.outcome.spec == "a.yaml")
    }

    // MARK: S3, S4, S5

    @Test func s3() async throws {
        try job(.queued, ["a.jpg": image], ["job.json": record { $0.image = FileName("a.jpg") }])
        _ = try await recover(["a.json: ok"])
    }

    @Test(arguments: [[], [0x00], Array("{\"priority\":".utf8)] as [[UInt8]])
    func s3WithADamagedRecord(_ damage: [UInt8]) async throws {
        try job(.queued, ["a.jpg": image, "a.yaml": spec], ["job.json": damage, "job.json.tmp": [1]])
        let bench = try await recover(["a.json: ok"])
        #expect(await bench.read.first?.outcome.spec == "a.yaml")
    }

    @Test func s3WithARefusedSpecThatHadJustJoined() async throws {
        try job(.queued, ["a.jpg": image, "a.yaml": Array("nonsense".utf8)], ["job.json": record { _ in }])
        _ = try await recover(["a.json: spec_invalid"])
    }

    @Test func s3WhoseImageIsGone() async throws {
        try job(.queued, [:], ["job.json": record { $0.image = FileName("a.jpg") }])
        _ = try await recover(["a.json: image_missing"])
    }

    @Test func s4StaysUntilReleased() async throws {
        try job(.held, ["a.jpg": image])
        let bench = try Bench(sandbox)
        try await bench.start()
        await bench.pass(.seconds(5))
        #expect(await bench.spool.takeJobs(atMost: 1).isEmpty)
        #expect(await bench.spool.jobs().map(\.state) == [.held])
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok"])
    }

    @Test(arguments: [0, Int64.max, Int64.min])
    func s5WaitsAtMostTheLongestPause(_ notBefore: Int64) async throws {
        try job(
            .deferred, ["a.jpg": image],
            ["job.json": record { ($0.attempts, $0.notBefore) = (3, notBefore) }])
        _ = try await recover(["a.json: ok"]) { $0.retry.maximum = .seconds(8) }
    }

    // MARK: S6

    @Test(arguments: [true, false])
    func s6RunsAloneAfterAnUncleanEndOnly(_ clean: Bool) async throws {
        try job(.running, ["a.jpg": image], ["reason.json": answer("stale", code: "stale"), "answer.json.tmp": [0x7B]])
        if !clean { try make(sandbox.spool + "/session", Array("old".utf8)) }
        let bench = try Bench(sandbox)
        try await bench.start()
        let jobs = await bench.spool.takeJobs(atMost: 1)
        #expect(jobs.map(\.aloneRequired) == [!clean])
        for job in jobs { try await bench.work(job) }
        #expect(await bench.books == ["a.json: ok"])
        await bench.expectAtRest()
        #expect(await bench.whereabouts(image) == ["done/\(StateTableTests.id)/input/a.jpg"])
    }

    // MARK: S7, S8, S9

    @Test(arguments: [JobState.claimed, .queued, .held, .deferred, .running])
    func s7IsPublishedAsItIs(_ state: JobState) async throws {
        try job(
            state, ["a.jpg": image],
            ["answer.json": answer("sealed"), "job.json": record { $0.image = FileName("a.jpg") }])
        let bench = try await recover(["a.json: ok"])
        #expect(await bench.read.first?.outcome.tag == "sealed")
        #expect(await bench.whereabouts(image) == ["done/\(StateTableTests.id)/input/a.jpg"])
    }

    @Test func s8OfAnAnswer() async throws {
        try job(.answered, ["a.jpg": image], ["answer.json": answer("committed")])
        let bench = try await recover(["a.json: ok"])
        #expect(await bench.read.first?.outcome.tag == "committed")
    }

    @Test func s8OfAFailure() async throws {
        let document = answer("", code: "corrupt_image")
        try job(.answered, ["a.jpg": image], ["answer.json": document, "reason.json": document])
        let bench = try await recover(["a.json: corrupt_image"])
        #expect(await bench.whereabouts(image) == ["failed/\(StateTableTests.id)/input/a.jpg"])
        #expect(await bench.whereabouts(document) == ["failed/\(StateTableTests.id)/reason.json"])
    }

    @Test func s8NeverOverwrites() async throws {
        try make(sandbox.outbox + "/a.json", answer("first"))
        try make(sandbox.outbox + "/a-2.json", answer("second"))
        try job(.answered, ["a.jpg": image], ["answer.json": answer("third")])
        let bench = try await recover(["a-2.json: ok", "a-3.json: ok", "a.json: ok"])
        #expect(await bench.read.sorted { $0.name < $1.name }.map(\.outcome.tag) == ["second", "third", "first"])
    }

    @Test func s9IsNotPublishedAgain() async throws {
        try job(.answered, ["a.jpg": image], ["job.json": record { $0.outcomeName = FileName("a.json") }])
        let bench = try await recover([])
        #expect(await bench.whereabouts(image) == ["done/\(StateTableTests.id)/input/a.jpg"])
    }

    @Test func s9OfAFailureIsNotPublishedAgain() async throws {
        try job(.answered, ["a.jpg": image], ["reason.json": answer("", code: "poison")])
        let bench = try await recover([])
        #expect(await bench.whereabouts(image) == ["failed/\(StateTableTests.id)/input/a.jpg"])
    }

    /// Whatever kills and faults left in its directory; only `input/` holds what was dropped, whatever its name.
    @Test func s9KeepsTheInputsAndTheRecordAlone() async throws {
        let left = ["job.json", "reason.json", "answer.json", "publishing"].map { $0 + ".tmp" }
        var files: [String: [UInt8]] = [:]
        for name in left + ["incoming.tmp", "publishing"] { files[name] = [0x7B] }
        files["job.json"] = record { $0.image = FileName("a.jpg") }
        try job(.answered, ["a.jpg": image, "publishing": [1], "x.tmp": [2]], files)
        let bench = try await recover([])
        let kept = Sandbox.files(under: bench.sandbox.done).map(\.path)
        #expect(kept == ["input/a.jpg", "input/publishing", "input/x.tmp", "job.json"].map { "\(Self.id)/\($0)" })
    }

    /// File systems without RENAME_NOREPLACE: link(2) done, unlink(2) not.
    @Test func s8HalfPublishedByLinks() async throws {
        try job(.answered, ["a.jpg": image], ["answer.json": answer("linked")])
        try FileManager.default.linkItem(
            atPath: "\(sandbox.spool)/answered/\(StateTableTests.id)/answer.json", toPath: sandbox.outbox + "/a.json")
        _ = try await recover(["a.json: ok"])
    }

    // MARK: Elsewhere

    @Test func s8WithAnOutboxElsewhere() async throws {
        let hidden = "\(sandbox.outbox)/.\(StateTableTests.id).tmp"
        // The copy is whole, and not renamed yet.
        try job(.answered, ["a.jpg": image], ["answer.json": answer("copy"), "publishing": []])
        try make(hidden, answer("copy"))
        _ = try await recover(["a.json: ok"])
    }

    /// The copy is whole, and stays so while the rename fails: sweeping it away would lose the answer.
    @Test func s8WithAnOutboxElsewhereThatHasATrouble() async throws {
        try job(.answered, ["a.jpg": image], ["answer.json": answer("copy"), "publishing": []])
        try make("\(sandbox.outbox)/.\(StateTableTests.id).tmp", answer("copy"))
        let saboteur = Saboteur(
            .init(target: 0, fault: .fails(.ioError), isDeath: false, counts: { $0 == .renameNoReplace }))
        saboteur.arm()
        let bench = try Bench(sandbox, saboteur: saboteur)
        try await bench.start()
        #expect(saboteur.hit != nil)
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok"])
    }

    @Test func s9WithAnOutboxElsewhere() async throws {
        // The copy was renamed, and a reader has taken it.
        try job(.answered, ["a.jpg": image], ["answer.json": answer("copy"), "publishing": []])
        let bench = try await recover([])
        #expect(await bench.whereabouts(image) == ["done/\(StateTableTests.id)/input/a.jpg"])
    }

    @Test func s8WithATornCopyInAnOutboxElsewhere() async throws {
        try job(.answered, ["a.jpg": image], ["answer.json": answer("whole")])
        try make("\(sandbox.outbox)/.\(StateTableTests.id).tmp", [0x7B])
        // A copy of a job of ours that is not being published belongs to nobody. One of a job that is not ours may be another
        // daemon's, and is what that goes by; other people's dot files stay as well.
        try job(.done, ["b.jpg": image], id: StateTableTests.other)
        try make("\(sandbox.outbox)/.\(StateTableTests.other).tmp", [0x7B])
        let theirs = [".20261101T120000.000003Z-00000003.tmp", ".theirs"].map { "\(sandbox.outbox)/\($0)" }
        for path in theirs { try make(path, [0x7B]) }
        try make(sandbox.spool + "/session", Array("old".utf8))
        let bench = try Bench(sandbox)
        try await bench.start()
        #expect(theirs.map(Sandbox.exists) == [true, true])
        for path in theirs { try FileManager.default.removeItem(atPath: path) }
        try await bench.finish()
        #expect(await bench.books == ["a.json: ok"])
        #expect(!Sandbox.exists("\(sandbox.outbox)/.\(StateTableTests.other).tmp"))
    }

    @Test func aSourceBesideTheInboxWithoutACopy() async throws {
        try job(.claimed, [:], ["incoming.tmp": [0xFF]])
        try make("\(sandbox.inbox)/.memvpd/\(StateTableTests.id)/a.jpg", image)
        let bench = try await recover(["a.json: ok"])
        #expect(await bench.whereabouts(image).count == 1)
    }

    @Test func aSourceBesideTheInboxAndItsCopy() async throws {
        try job(.claimed, ["a.jpg": image])
        try make("\(sandbox.inbox)/.memvpd/\(StateTableTests.id)/a.jpg", image)
        let bench = try await recover(["a.json: ok"])
        #expect(await bench.whereabouts(image).count == 1)
    }

    @Test func aSourceBesideTheInboxOfAFinishedJob() async throws {
        try job(.done, ["a.jpg": image])
        try make("\(sandbox.inbox)/.memvpd/\(StateTableTests.id)/a.jpg", image)
        let bench = try await recover([])
        #expect(await bench.whereabouts(image) == ["done/\(StateTableTests.id)/input/a.jpg"])
    }

    @Test func aSourceBesideTheInboxOfNoJob() async throws {
        try make("\(sandbox.inbox)/.memvpd/\(StateTableTests.id)/a.jpg", image)
        let bench = try await recover(["a.json: ok"])
        #expect(await bench.whereabouts(image).count == 1)
    }

    @Test func aForeignFileBesideTheInboxUnderAFinishedJob() async throws {
        try job(.done, ["a.jpg": image])
        try make("\(sandbox.inbox)/.memvpd/\(StateTableTests.id)/b.jpg", photo("two"))
        _ = try await recover(["b.json: ok"])
    }

    // MARK: The rest

    @Test func halfRemovedJobsAreRemoved() async throws {
        try make("\(sandbox.done)/.\(StateTableTests.id)/input/a.jpg", image)
        try make("\(sandbox.failed)/.\(StateTableTests.other)/job.json", [])
        try make("\(sandbox.done)/.mine/keep", [1])
        _ = try await recover([])
        #expect(Sandbox.files(under: sandbox.done, directories: true).map(\.path) == [".mine/keep"])
        #expect(Sandbox.files(under: sandbox.failed, directories: true).isEmpty)
    }

    @Test func aLeftoverThatCannotBeRemovedKeepsNobodyFromStarting() async throws {
        try make("\(sandbox.failed)/.\(StateTableTests.id)/input/a.jpg/inside", [1])
        try make(sandbox.inbox + "/b.jpg", image)
        _ = try await recover(["b.json: ok"])
    }

    @Test func strangersInTheSpoolAreLeftAlone() async throws {
        try make("\(sandbox.spool)/queued/README", [1])
        try make("\(sandbox.spool)/answered/not-a-job/answer.json", answer("stranger"))
        let bench = try Bench(sandbox)
        try await bench.start()
        try await bench.finish()
        #expect(await bench.books.isEmpty)
        #expect(Sandbox.exists("\(sandbox.spool)/answered/not-a-job/answer.json"))
    }
}
