// Whether the log names the files that were dropped: they may be those of patients.

import Control
import Diagnostics
import Logging
import Specification
import Spool
import Synchronization
import Testing

@testable import Daemon

/// Keeps what was logged.
final class Lines: LogHandler, Sendable {
    private let lines = Mutex<[String]>([])
    var metadata: Logger.Metadata {
        get { [:] }
        set {}
    }
    var logLevel: Logger.Level {
        get { .trace }
        set {}
    }
    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { nil }
        set {}
    }
    var all: [String] { lines.withLock { $0 } }

    func log(event: LogEvent) {
        let text = "\(event.message) \((event.metadata ?? [:]).map { "\($0.key)=\($0.value)" }.sorted().joined())"
        lines.withLock { $0.append(text) }
    }
}

@Suite("Names in the log")
struct LogNamesTests {
    private static let secret = "Meier-Anna"
    private static let job = JobID("20261127T021500.000000Z-01234567")
    private static let failure = Failure(
        .corruptImage, "\(secret).jpg", "is no photo of \(secret)", hint: "Look at \(secret).jpg")

    /// Every event that has a name or a failure in it, and some that have none.
    private func events() throws -> [SpoolEvent] {
        let job = try #require(Self.job)
        let photo = try #require(FileName("\(Self.secret).jpg"))
        let spec = try #require(FileName("\(Self.secret).yaml"))
        let removed = Failure(.removed, Self.secret, "was removed")
        return [
            .specRefused(spec, Self.failure), .queued(job, image: photo, spec: spec),
            .queued(job, image: photo, spec: nil), .joined(job, spec: spec), .taken(job), .requeued(job),
            .deferred(job, Self.failure, pause: .seconds(2)), .published(job, photo, of: photo, nil),
            .published(job, photo, of: photo, Self.failure), .published(job, photo, of: photo, removed),
            .held(job, true),
            .expired(job, .done), .struck(job, strikes: 1), .trouble(Self.failure),
        ]
    }

    private func lines(_ names: LogNames) throws -> [String] {
        let lines = Lines()
        let catalog = MetricCatalog(build: { BuildInformation(version: "1", kernels: "scalar", model: "m") })
        let reporter = Reporter(catalog: catalog, log: Logger(label: "test") { _ in lines }, names: names)
        for event in try events() { reporter.handle(event) }
        reporter.fault(Self.failure)
        return lines.all
    }

    @Test("hidden, no line has anything of a file in it, but the job and the code of what is wrong")
    func hidden() throws {
        let lines = try lines(.hide)
        #expect(try lines.count == events().count + 1)
        for line in lines { #expect(!line.contains("Meier") && !line.contains("Anna"), "\(line)") }
        #expect(lines.first == "a spec is refused: [corrupt_image] ")
        #expect(lines.count { $0.contains("[corrupt_image]") } == 5)
        let job = try #require(Self.job)
        #expect(lines.count { $0.contains("job=\(job)") } == lines.count - 3)
        #expect(lines.contains("a photo is queued with a spec job=\(job)") && lines.contains("answered job=\(job)"))
    }

    @Test("shown, each line names its file, and faults say all that is known")
    func shown() throws {
        let lines = try lines(.show)
        #expect(lines.count { $0.contains("Meier-Anna") } == 10)
        #expect(lines.first == "Meier-Anna.yaml is refused: \(Self.failure) ")
        #expect(lines.contains { $0.hasPrefix("Meier-Anna.jpg is queued with Meier-Anna.yaml job=") })
    }
}
