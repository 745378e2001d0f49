// A spool under test: real directories and inotify, a clock that tests move, a worker that answers, and the books that
// are kept of every drop.

import Diagnostics
import Foundation
import Synchronization
import SystemPackage
import Testing

@testable import Spool

/// A clock that stands still until a test moves it.
final class ManualClock: SpoolClock {
    private let passed = Mutex(Duration.seconds(1000))
    private let start = SystemClock().unixMicroseconds

    var monotonic: Duration { passed.withLock { $0 } }
    var unixMicroseconds: Int64 { start + monotonic.microseconds - 1_000_000_000 }
    func advance(_ duration: Duration) { passed.withLock { $0 += duration } }
}

/// Reads specs of lines `image: NAME` and `priority: N`; anything else is refused. YAML is another module's.
struct LineInspector: SpecInspector {
    func inspect(_ bytes: [UInt8]) throws(Failure) -> SpecSummary {
        var summary = SpecSummary()
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1).map { $0.trimmingCharacters(in: .whitespaces) }
            switch (parts.first, parts.count) {
            case ("image", 2): summary.image = parts[1]
            case ("priority", 2): summary.priority = Int(parts[1]) ?? 0
            case ("task", 2): break
            default: throw Failure(.specInvalid, "", "line '\(line)' is not known", hint: "Write task: caption.")
            }
        }
        return summary
    }
}

/// What stands in the outbox.
struct Outcome: Codable, Hashable, Sendable {
    var job: String
    var status: String
    var code: String?
    var image: String?
    var spec: String?
    var cause: String?
    var hint: String?
    /// Of the image's bytes as the worker read them.
    var tag: String?
    var retryOf: String?

    /// The printable part of an image's bytes.
    static func tag(_ bytes: [UInt8]) -> String {
        String(decoding: bytes.filter { (0x20..<0x7F).contains($0) }, as: UTF8.self)
    }

    var document: [UInt8] { (try? JSONEncoder().encode(self)).map { Array($0) } ?? [] }
}

/// Cuts calls off: counts them, and from the chosen one on lets every one fail, as the end of the process would.
final class Saboteur: Sendable {
    struct Plan: Sendable {
        /// Which call, counted from zero among those that `counts` picks; nil: only count.
        var target: Int?
        var fault: InjectedFault = .fails(Saboteur.dead)
        /// Whether every later call fails as well.
        var isDeath = true
        /// Which calls count.
        var counts: @Sendable (FileOperation) -> Bool = Saboteur.isVisible
        /// Calls that always fail, whatever the count.
        var refuses: @Sendable (FileOperation, Location) -> InjectedFault? = { _, _ in nil }
        /// Sees every call before it is made: what others do at that very moment.
        var meanwhile: @Sendable (FileOperation, Location) -> Void = { _, _ in }
    }

    /// Calls that leave the disk other than it was: dying before any other call is dying before the next one of these.
    static let isVisible: @Sendable (FileOperation) -> Bool = { operation in
        switch operation {
        case .makeDirectory, .create, .write, .rename, .renameNoReplace, .link, .unlink, .removeDirectory: true
        case .openRoot, .open, .read, .list, .status, .own, .sync, .syncDirectory: false
        }
    }

    static let dead = Errno(rawValue: 9999)

    private struct State {
        var plan = Plan()
        var count = 0
        var isDead = false
        var isArmed = false
        var hit: String?
    }
    private let state = Mutex(State())

    init(_ plan: Plan = Plan()) { state.withLock { $0.plan = plan } }

    var count: Int { state.withLock { $0.count } }
    /// The call that was cut off.
    var hit: String? { state.withLock { $0.hit } }
    var isDead: Bool { state.withLock { $0.isDead } }

    /// Counts from now on: what a start does is the same for every scenario.
    func arm() { state.withLock { $0.isArmed = true } }

    func kill() { state.withLock { $0.isDead = true } }

    var hook: FileSystem.Hook {
        { [self] operation, location in
            state.withLock { $0.plan.meanwhile }(operation, location)
            if let fault = state.withLock({ $0.plan.refuses })(operation, location) { return fault }
            return state.withLock { state in
                if state.isDead { return .fails(Saboteur.dead) }
                guard state.isArmed, state.plan.counts(operation) else { return nil }
                defer { state.count += 1 }
                guard state.count == state.plan.target else { return nil }
                state.hit = "\(state.count) \(operation.rawValue) \(location)"
                state.isDead = state.plan.isDeath
                return state.plan.fault
            }
        }
    }
}

/// Lets so many in at a time. Each bench has an inotify instance, of which a user has 128 (fs.inotify.max_user_instances): suites
/// that make benches are serialized, or pass here.
final class Turnstile: Sendable {
    static let shared = Turnstile(places: 8)

    private let state: Mutex<(places: Int, waiting: [CheckedContinuation<Void, Never>])>

    init(places: Int) { state = Mutex((places, [])) }

    func enter() async {
        await withCheckedContinuation { continuation in
            let mayEnter = state.withLock { state in
                if state.places > 0 {
                    state.places -= 1
                    return true
                }
                state.waiting.append(continuation)
                return false
            }
            if mayEnter { continuation.resume() }
        }
    }

    func leave() {
        let next = state.withLock { state in
            if state.waiting.isEmpty {
                state.places += 1
                return nil as CheckedContinuation<Void, Never>?
            }
            return state.waiting.removeFirst()
        }
        next?.resume()
    }
}

/// A spool in a sandbox, with everything that happened to it.
actor Bench {
    nonisolated let sandbox: Sandbox
    nonisolated let clock = ManualClock()
    nonisolated let configuration: SpoolConfiguration
    private(set) var spool: Spool
    private nonisolated let log = Log()
    /// Outcomes that `readOutbox` has taken out of the outbox, with their names.
    private(set) var read: [(name: String, outcome: Outcome)] = []

    final class Log: Sendable {
        private let events = Mutex<[SpoolEvent]>([])
        var all: [SpoolEvent] { events.withLock { $0 } }
        func add(_ event: SpoolEvent) { events.withLock { $0.append(event) } }
    }

    init(
        _ sandbox: Sandbox = Sandbox(), saboteur: Saboteur? = nil,
        adjust: @Sendable (inout SpoolConfiguration) -> Void = { _ in }
    ) throws {
        self.sandbox = sandbox
        var configuration = sandbox.configuration
        adjust(&configuration)
        self.configuration = configuration
        let log = log
        spool = try Bench.make(configuration, clock, saboteur, log)
    }

    private static func make(
        _ configuration: SpoolConfiguration, _ clock: ManualClock, _ saboteur: Saboteur?, _ log: Log
    ) throws -> Spool {
        try Spool(
            configuration: configuration, inspector: LineInspector(), clock: clock,
            files: FileSystem(hook: saboteur?.hook), render: render, report: { log.add($0) })
    }

    static let render: Spool.Renderer = { drop in
        Outcome(
            job: drop.job.description, status: "error", code: drop.failure.code.rawValue,
            image: drop.image?.description, spec: drop.spec?.description, cause: drop.failure.cause,
            hint: drop.failure.hint, retryOf: drop.retryOf?.description
        ).document
    }

    nonisolated var events: [SpoolEvent] { log.all }
    var gate: Gate { get async { await spool.gate } }

    // MARK: Lives

    /// A spool that has recovered and looked around.
    static func started(
        _ sandbox: Sandbox = Sandbox(), adjust: @Sendable (inout SpoolConfiguration) -> Void = { _ in }
    ) async throws -> Bench {
        let bench = try Bench(sandbox, adjust: adjust)
        try await bench.start()
        return bench
    }

    /// Recovers and looks around, as a daemon does at its start.
    func start() async throws {
        try await spool.recover()
        await settle()
    }

    /// The process dies as it is; another one starts.
    func restart(saboteur: Saboteur? = nil) async throws {
        await spool.abandon()
        spool = try Bench.make(configuration, clock, saboteur, log)
        try await start()
    }

    // MARK: Time

    /// Does all that can be done at this instant.
    func settle() async {
        for _ in 0..<100_000 {
            guard let next = await spool.step(), next <= clock.monotonic else { return }
        }
        Issue.record("the spool does not come to rest")
    }

    /// Lets time pass, in paces short enough that nothing is passed over.
    func pass(_ duration: Duration, pace: Duration = .milliseconds(500)) async {
        await settle()
        var rest = duration
        while rest > .zero {
            clock.advance(min(rest, pace))
            rest -= pace
            await settle()
        }
    }

    // MARK: The worker

    /// What the worker makes of a job: bytes that end like a JPEG are answered, others are `corrupt_image`.
    func work(_ job: Job) async throws {
        let bytes: [UInt8]
        do {
            bytes = try job.readImage()
            _ = try job.readSpec()
        } catch {
            guard error.code.isPassing else {
                try await spool.fail(job, error, document: document(job, error))
                return
            }
            try await spool.deferJob(job, error)
            return
        }
        guard bytes.suffix(2) == [0xFF, 0xD9] else {
            if try await spool.returnIfChanging(job) { return }
            let failure = Failure(.corruptImage, job.image.description, "ends early")
            try await spool.fail(job, failure, document: document(job, failure, bytes))
            return
        }
        try await spool.commit(job, answer: document(job, nil, bytes))
    }

    nonisolated func document(_ job: Job, _ failure: Failure?, _ bytes: [UInt8] = []) -> [UInt8] {
        Outcome(
            job: job.id.description, status: failure == nil ? "ok" : "error", code: failure?.code.rawValue,
            image: job.image.description, spec: job.spec?.description, cause: failure?.cause,
            tag: Outcome.tag(bytes),
            retryOf: job.retryOf?.description
        ).document
    }

    /// Takes and works on everything there is now.
    func workAll(batch: Int = 4) async throws {
        while true {
            let jobs = await spool.takeJobs(atMost: batch)
            guard !jobs.isEmpty else { return }
            for job in jobs { try await work(job) }
            await settle()
        }
    }

    /// Time passes and workers work until nothing moves any more.
    func finish(_ duration: Duration = .seconds(12)) async throws {
        await settle()
        for job in await spool.jobs() where job.state == .held { try await spool.release(job.id) }
        try await workAll()
        var rest = duration
        while rest > .zero {
            if await spool.entries.isEmpty, Sandbox.isEmpty(sandbox.inbox) { return }
            clock.advance(.seconds(1))
            rest -= .seconds(1)
            await settle()
            try await workAll()
        }
    }

    // MARK: The reader

    /// Takes every outcome out of the outbox, as a reader does who deletes what he has read.
    @discardableResult
    func readOutbox() -> [Outcome] {
        for found in Sandbox.files(under: sandbox.outbox) where !found.path.hasPrefix(".") {
            guard let bytes = found.bytes, let outcome = try? JSONDecoder().decode(Outcome.self, from: Data(bytes))
            else {
                Issue.record("\(found.path) is not whole")
                continue
            }
            read.append((found.path, outcome))
            do {
                try FileSystem().remove(found.location)
            } catch {
                Issue.record("\(error)")
            }
        }
        return read.map(\.outcome)
    }

    /// Outcomes as `name: ok` or `name: code`, sorted.
    var books: [String] {
        readOutbox()
        return read.map { "\($0.name): \($0.outcome.code ?? "ok")" }.sorted()
    }

    // MARK: The auditor

    /// Nothing is left under way: no job in the spool, nothing half-copied, nothing hidden in the outbox, and of finished jobs
    /// nothing but what is kept of them.
    func expectAtRest(_ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation) {
        let bookkeeping = Set(["lock", "session", "strikes", "hold"] + JobState.inSpool.map { "\($0.rawValue)/" })
        let left = Sandbox.files(under: sandbox.spool, directories: true).map(\.path).filter {
            !bookkeeping.contains($0)
        }
        #expect(left.isEmpty, comment, sourceLocation: sourceLocation)
        let hidden = Sandbox.files(under: sandbox.outbox).map(\.path).filter { $0.hasPrefix(".") }
        #expect(hidden.isEmpty, comment, sourceLocation: sourceLocation)
        let aside = Sandbox.files(under: sandbox.inbox, directories: true).map(\.path)
            .filter { $0.hasPrefix(".memvpd/") && !$0.contains("/kept/") && $0 != ".memvpd/" }
        #expect(aside.isEmpty, comment, sourceLocation: sourceLocation)
        let kept = Set(["input", "job.json", "reason.json", "retried"])
        let leftovers = [sandbox.done, sandbox.failed].flatMap { Sandbox.files(under: $0).map(\.path) }.filter { path in
            // What is being removed after its retention has a hidden name.
            guard !path.hasPrefix("."), let name = path.split(separator: "/").dropFirst().first else { return false }
            return !kept.contains(String(name))
        }
        #expect(leftovers.isEmpty, comment, sourceLocation: sourceLocation)
    }

    /// Where the dropped files are now, by their contents: names of directories.
    func whereabouts(_ bytes: [UInt8]) -> [String] {
        var places: [String] = []
        for directory in [sandbox.inbox, sandbox.failed, sandbox.done, sandbox.spool] {
            for found in Sandbox.files(under: directory) where found.bytes == bytes {
                places.append("\(directory.split(separator: "/").last ?? "")/\(found.path)")
            }
        }
        return places
    }
}
