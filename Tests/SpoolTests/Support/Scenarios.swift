// What can happen to drops, each as people, workers and operators would do it, with the outcomes that are right.
//
// A scenario must make sense whatever has died meanwhile: people drop their files regardless, and a verb that fails
// is a verb that was not carried out.

import Diagnostics
import Foundation
import Testing

@testable import Spool

struct Scenario: Sendable, CustomTestStringConvertible {
    let name: String
    var layout = Sandbox.Layout.oneFileSystem
    var adjust: @Sendable (inout SpoolConfiguration) -> Void = { _ in }
    /// The outcomes, as `Bench.books` lists them; where the order of events is not the scenario's to choose, more than one list.
    let allowed: [[String]]
    /// Each of these contents must be in so many places at the end.
    var kept: [([UInt8], ClosedRange<Int>)] = []
    /// The scenario ends with a clean stop; another life follows.
    var stops = false
    let act: @Sendable (Bench) async throws -> Void

    var testDescription: String { name }
}

extension Scenario {
    static let all: [Scenario] = basic + specs + workers + operators + elsewhere

    private static let one = photo("one")
    private static let spec = "priority: 1\n"

    static let basic: [Scenario] = [
        Scenario(name: "a photo", allowed: [["a.json: ok"]], kept: [(one, 1...1)]) { bench in
            bench.sandbox.drop("a.jpg", one)
            await bench.pass(.seconds(1))
            try await bench.workAll()
        },
        Scenario(
            name: "two photos with one stem", allowed: [["a-2.json: ok", "a.json: ok"], ["a.json: ok", "a.json: ok"]]
        ) { bench in
            bench.sandbox.drop("a.jpg", one)
            bench.sandbox.drop("a.jpeg", photo("two"))
            await bench.pass(.seconds(1))
            try await bench.workAll()
        },
        Scenario(name: "an empty file", allowed: [["a.json: empty_file"]]) { bench in
            bench.sandbox.drop("a.jpg", [])
            await bench.pass(.seconds(3))
        },
        Scenario(name: "an unsupported file", allowed: [["a.json: unsupported_type"]], kept: [([1, 2], 1...1)]) {
            bench in
            bench.sandbox.drop("a.gif", [1, 2])
            await bench.pass(.seconds(4))
        },
        Scenario(name: "a symbolic link", allowed: [["a.json: not_regular_file"]]) { bench in
            try? FileManager.default.createSymbolicLink(
                atPath: bench.sandbox.inbox + "/a.jpg", withDestinationPath: "/etc/passwd")
            await bench.pass(.seconds(2))
        },
        Scenario(name: "a half image", allowed: [["a.json: corrupt_image"]], kept: [([0xFF, 0xD8, 7], 1...1)]) {
            bench in
            bench.sandbox.drop("a.jpg", [0xFF, 0xD8, 7])
            await bench.pass(.seconds(4))
            try await bench.workAll()
        },
    ]

    static let specs: [Scenario] = [
        Scenario(
            name: "spec, then photo", allowed: [["a.json: ok"]], kept: [(one, 1...1), (Array(spec.utf8), 1...1)]
        ) { bench in
            bench.sandbox.drop("a.yaml", text: spec)
            await bench.settle()
            bench.sandbox.drop("a.jpg", one)
            await bench.settle()
            try await bench.workAll()
        },
        Scenario(
            name: "photo, then spec within the grace", allowed: [["a.json: ok"]],
            kept: [(one, 1...1), (Array(spec.utf8), 1...1)]
        ) { bench in
            bench.sandbox.drop("a.jpg", one)
            await bench.settle()
            bench.sandbox.drop("a.yaml", text: spec)
            await bench.settle()
            try await bench.workAll()
        },
        Scenario(
            name: "a spec joins a queued job", allowed: [["a.json: ok"]],
            kept: [(one, 1...1), (Array(spec.utf8), 1...1)]
        ) { bench in
            bench.sandbox.drop("a.jpg", one)
            await bench.pass(.seconds(1))
            bench.sandbox.drop("a.yml", text: spec)
            await bench.settle()
            try await bench.workAll()
        },
        Scenario(name: "a refused spec", allowed: [["a.json: spec_invalid"]], kept: [(one, 1...1)]) { bench in
            bench.sandbox.drop("a.jpg", one)
            bench.sandbox.drop("a.yaml", text: "imgae: a.jpg")
            await bench.pass(.seconds(3))
        },
        Scenario(name: "a refused spec joins", allowed: [["a.json: spec_invalid"]], kept: [(one, 1...1)]) { bench in
            bench.sandbox.drop("a.jpg", one)
            await bench.pass(.seconds(1))
            bench.sandbox.moveIn("a.yaml", Array("nonsense".utf8))
            await bench.settle()
        },
        Scenario(
            name: "a late spec",
            allowed: [["a-2.json: spec_late", "a.json: ok"], ["a.json: ok", "a.json: spec_late"], ["a.json: ok"]],
            kept: [(one, 1...1), (Array(spec.utf8), 1...1)]
        ) { bench in
            bench.sandbox.drop("a.jpg", one)
            await bench.pass(.seconds(1))
            try? await bench.workAll()
            bench.sandbox.drop("a.yaml", text: spec)
            await bench.pass(.seconds(2))
        },
        Scenario(
            name: "a second spec",
            allowed: [["b.json: ok", "c.json: spec_conflict"], ["a.json: spec_conflict", "b.json: ok"]],
            kept: [(one, 1...1)]
        ) { bench in
            bench.sandbox.drop("a.yaml", text: "image: b.jpg\n")
            bench.sandbox.drop("c.yaml", text: "image: b.jpg\npriority: 2\n")
            bench.sandbox.drop("b.jpg", one)
            await bench.pass(.seconds(2))
            try await bench.workAll()
        },
        Scenario(
            name: "a spec alone", adjust: { $0.pairing.timeout = .seconds(5) }, allowed: [["a.json: image_missing"]]
        ) {
            bench in
            bench.sandbox.drop("a.yaml", text: spec)
            await bench.pass(.seconds(6))
        },
    ]

    static let workers: [Scenario] = [
        Scenario(name: "a passing fault", allowed: [["a.json: ok"]], kept: [(one, 1...1)]) { bench in
            bench.sandbox.drop("a.jpg", one)
            await bench.pass(.seconds(1))
            for job in await bench.spool.takeJobs(atMost: 1) {
                try await bench.spool.deferJob(job, Failure(.temporary, "model", "is busy"))
            }
            await bench.pass(.seconds(6))
            try await bench.workAll()
        },
        Scenario(
            name: "faults without end", adjust: { $0.retry.attempts = 1 },
            allowed: [["a.json: temporary"], ["a.json: ok"]],
            kept: [(one, 1...1)]
        ) { bench in
            bench.sandbox.drop("a.jpg", one)
            await bench.pass(.seconds(1))
            for job in await bench.spool.takeJobs(atMost: 1) {
                try await bench.spool.deferJob(job, Failure(.temporary, "model", "is busy"))
            }
        },
        Scenario(name: "a clean stop", allowed: [["a.json: ok", "b.json: ok"]], kept: [(one, 1...1)], stops: true) {
            bench in
            bench.sandbox.drop("a.jpg", one)
            bench.sandbox.drop("b.jpg", photo("two"))
            await bench.pass(.seconds(1))
            let jobs = await bench.spool.takeJobs(atMost: 2)
            if let job = jobs.first { try await bench.spool.requeue(job) }
            await bench.spool.close()
        },
        Scenario(name: "a reader at once", allowed: [["a.json: ok", "b.json: ok"]]) { bench in
            bench.sandbox.drop("a.jpg", one)
            bench.sandbox.drop("b.jpg", photo("two"))
            await bench.pass(.seconds(1))
            for job in await bench.spool.takeJobs(atMost: 2) {
                try await bench.work(job)
                await bench.readOutbox()
            }
        },
    ]

    static let operators: [Scenario] = [
        Scenario(name: "hold and release", allowed: [["a.json: ok"]], kept: [(one, 1...1)]) { bench in
            bench.sandbox.drop("a.jpg", one)
            await bench.pass(.seconds(1))
            for job in await bench.spool.jobs() {
                try? await bench.spool.hold(job.id)
                try? await bench.spool.release(job.id)
            }
            try await bench.workAll()
        },
        Scenario(name: "remove", allowed: [["a.json: removed"], ["a.json: ok"]], kept: [(one, 1...1)]) { bench in
            bench.sandbox.drop("a.jpg", one)
            await bench.pass(.seconds(1))
            for job in await bench.spool.jobs() { try? await bench.spool.remove(job.id) }
        },
        Scenario(
            name: "retry", allowed: [["a-2.json: corrupt_image", "a.json: corrupt_image"], ["a.json: corrupt_image"]]
        ) { bench in
            bench.sandbox.drop("a.jpg", [0xFF, 0xD8, 9])
            bench.sandbox.drop("a.yaml", text: spec)
            await bench.pass(.seconds(4))
            try? await bench.workAll()
            _ = try? await bench.spool.retryFailed()
        },
        Scenario(
            name: "retention", adjust: { $0.retention.done = .seconds(60) }, allowed: [["a.json: ok"]],
            kept: [(one, 0...1)]
        ) { bench in
            bench.sandbox.drop("a.jpg", one)
            await bench.pass(.seconds(1))
            try? await bench.workAll()
            await bench.pass(.seconds(7300), pace: .seconds(600))
        },
    ]

    static let elsewhere: [Scenario] = [
        Scenario(
            name: "inbox elsewhere, spec and photo", layout: .inboxElsewhere, allowed: [["a.json: ok"]],
            kept: [(one, 1...1), (Array(spec.utf8), 1...1)]
        ) { bench in
            bench.sandbox.drop("a.yaml", text: spec)
            bench.sandbox.drop("a.jpg", one)
            await bench.settle()
            try await bench.workAll()
        },
        Scenario(
            name: "inbox elsewhere, a spec joins", layout: .inboxElsewhere, allowed: [["a.json: ok"]],
            kept: [(one, 1...1), (Array(spec.utf8), 1...1)]
        ) { bench in
            bench.sandbox.drop("a.jpg", one)
            await bench.pass(.seconds(1))
            bench.sandbox.drop("a.yaml", text: spec)
            await bench.settle()
            try await bench.workAll()
        },
        Scenario(
            name: "inbox elsewhere, a link that cannot be copied", layout: .inboxElsewhere,
            allowed: [["a.json: not_regular_file"]]
        ) { bench in
            try? FileManager.default.createSymbolicLink(
                atPath: bench.sandbox.inbox + "/a.jpg", withDestinationPath: "/etc/passwd")
            await bench.pass(.seconds(2))
        },
        Scenario(
            name: "inbox elsewhere, a refused spec", layout: .inboxElsewhere, allowed: [["a.json: spec_invalid"]],
            kept: [(one, 1...1)]
        ) { bench in
            bench.sandbox.drop("a.jpg", one)
            bench.sandbox.drop("a.yaml", text: "nonsense")
            await bench.pass(.seconds(3))
        },
        Scenario(
            name: "outbox elsewhere", layout: .outboxElsewhere,
            allowed: [["a-2.json: ok", "a.json: ok"], ["a.json: ok", "a.json: ok"]],
            kept: [(one, 1...1)]
        ) { bench in
            bench.sandbox.drop("a.jpg", one)
            bench.sandbox.drop("a.jpeg", photo("two"))
            await bench.pass(.seconds(1))
            try await bench.workAll()
        },
    ]
}
