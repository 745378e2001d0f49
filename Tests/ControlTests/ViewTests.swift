// What memvpctl shows, against recorded texts. MEMVP_RECORD=1 writes them anew, and fails, so that a recording run never
// passes for a test run.

import Diagnostics
import Foundation
import Testing

@testable import Control

/// Compares `text` with Fixtures/Snapshots/`name`.txt.
func expectSnapshot(_ text: String, _ name: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
    let path = sourceFile("Fixtures/Snapshots/\(name).txt")
    if ProcessInfo.processInfo.environment["MEMVP_RECORD"] == "1" {
        try text.write(toFile: path, atomically: false, encoding: .utf8)
        Issue.record("recorded \(name); look at it, then run without MEMVP_RECORD", sourceLocation: sourceLocation)
        return
    }
    let recorded = try String(contentsOfFile: path, encoding: .utf8)
    #expect(text == recorded, sourceLocation: sourceLocation)
}

@Suite("Views") struct ViewTests {
    /// The odd characters of a hostile file name, and an honest daemon's worst numbers.
    private func hostile() -> StatusDocument {
        var status = Samples.status
        status.state = "run\u{1B}[31mning"
        status.model?.name = String(repeating: "模", count: 200)
        status.queue.jobs = ["queued": .max, "running": .min, String(repeating: "y", count: 300): 1]
        status.queue.oldestSeconds = 1e300
        status.queue.held = true
        status.daemon.uptimeSeconds = -1e300
        status.stages = [.init(stage: "\u{202E}x\n", p50Milliseconds: 1e300, p95Milliseconds: -5, count: .max)]
        status.throughput = .init(perMinute: .min, answered: .max, errors: .max)
        status.lastError?.at = Timestamp(milliseconds: .min)
        status.lastError?.file = FileLabel("a\r\n\u{7}\u{9B}31mb\t\u{2028}.jpg")
        status.directories[0].path = "/" + String(repeating: "deep/", count: 100) + "end"
        status.directories[0].bytes = .max
        status.directories[1].bytes = .min
        status.inbox.ignored = ["dot_file": .max]
        status.inbox.waiting = [
            .init(
                file: FileLabel("\u{1B}[2J\r.jpg"), reason: String(repeating: "r", count: 300), remainingSeconds: -1e300
            )
        ]
        status.warnings = [
            String(repeating: "w", count: 500) + " and more words that must be wrapped at the end of the line"
        ]
        return status
    }

    @Test("A path is there to be copied: it stays whole, while other words are cut to the line")
    func paths() {
        let path = "/srv/" + String(repeating: "deep/", count: 30) + "photo.jpg"
        let name = String(repeating: "n", count: 100)
        let lines = TextLayout.paragraph("hint", "The file stays in \(path). It was \(name).").split(separator: "\n")
        #expect(lines.contains { $0.hasSuffix(" \(path).") } && !lines.contains { $0.contains(name) })
        #expect(lines.filter { !$0.contains(path) }.allSatisfy { TextLayout.width(String($0)) <= 80 })
    }

    @Test("What stands still for a fault is shown with what to do, without control characters")
    func troubles() {
        var status = Samples.status
        let failure = Failure(.noSpace, "job 1", "waits:\u{1B}[2J /out: cannot be written", hint: "Make room.")
        status.troubles = [ErrorDetail(failure)]
        let text = StatusView.render(status, now: Samples.now)
        #expect(text.contains("trouble") && text.contains("cannot be written. Make room.") && !text.contains("\u{1B}"))
    }

    @Test("Several faults are parts of one line in status; the line feed of a name is none of theirs")
    func severalFaults() throws {
        let cause = "has 2 faults\n  1:1: unknown key \"a\\nb\"\n  2:1: no task"
        let failure = Failure(.specInvalid, "x.yaml\n  9:9: forged", cause, hint: "Mend\n  it.")
        var status = Samples.status
        status.lastError?.error = ErrorDetail(failure)
        status.troubles = [ErrorDetail(failure)]
        let words = StatusView.render(status, now: Samples.now).split(whereSeparator: \.isWhitespace)
            .joined(separator: " ")
        let line = #"x.yaml\n 9:9: forged: has 2 faults; 1:1: unknown key "a\nb"; 2:1: no task"#
        #expect(words.contains("last error") && words.contains("spec_invalid: \(line) Mend; it."))
        #expect(words.contains("trouble \(line). Mend; it."))
        // What a client writes to a terminal as the reason why nothing was done has a line for each.
        #expect(ErrorDocument(failure).error.message == "x.yaml\n  9:9: forged: \(cause)")
        #expect("a \n\n\t b\n".onOneLine == "a; \t b" && " a ".onOneLine == " a ")
    }

    @Test("A directory that cannot be watched is said to be unavailable, in full")
    func unavailable() {
        var status = Samples.status
        status.directories[0].watch = "unavailable"
        #expect(StatusView.render(status, now: Samples.now).contains("inbox      unavailable  -"))
    }

    @Test("The queue says which jobs it shows, and of an empty one what would stand in it")
    func queueOfOneState() {
        func last(_ queue: QueueDocument, _ state: String?) -> Substring? {
            QueueView.render(queue, state: state, now: Samples.now).split(separator: "\n").last
        }
        #expect(last(Samples.queue, nil) == "17 jobs, the first 3 shown")
        #expect(last(Samples.queue, "queued") == "17 jobs, the first 3 shown")
        #expect(last(Samples.queue, "failed") == "17 jobs, the last 3 shown")
        let empty = QueueDocument(held: false, total: 0, jobs: [])
        #expect(last(empty, nil) == "The queue is empty.")
        #expect(last(empty, "running") == "No job is running." && last(empty, "a\u{1B}") == #"No job is a\u{1b}."#)
        #expect(last(empty, "waiting") == "No file waits in the inbox.")
        #expect(last(empty, "failed") == "No failed job is kept.")
        #expect(
            last(empty, "answered")
                == "No outcome waits to be published; jobs that have ended are not in the queue.")
        let held = QueueDocument(held: true, total: 0, jobs: [])
        #expect(last(held, "queued") == "No job is queued. The queue is held.")
    }

    @Test(
        "Views are as recorded",
        arguments: [
            "status", "status-starting", "status-hostile", "queue", "queue-empty", "queue-lines", "job", "explanation",
        ])
    func snapshots(_ name: String) throws {
        var starting = Samples.status
        (starting.state, starting.model, starting.stages, starting.lastError) = ("starting", nil, [], nil)
        starting.warnings = ["The outbox is on another file system: see docs/QUEUE.md for what a crash can do there."]
        let text =
            switch name {
            case "status": StatusView.render(Samples.status, now: Samples.now)
            case "status-starting": StatusView.render(starting, now: Samples.now)
            case "status-hostile": StatusView.render(hostile(), now: Samples.now)
            case "queue": QueueView.render(Samples.queue, now: Samples.now)
            case "queue-empty": QueueView.render(QueueDocument(held: true, total: 0, jobs: []), now: Samples.now)
            case "queue-lines": try QueueView.jsonLines(Samples.queue)
            case "job": JobView.render(Samples.job, now: Samples.now)
            default: JobView.explanation(Samples.job)
            }
        try expectSnapshot(text, name)
        guard name != "queue-lines" else { return }
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            #expect(TextLayout.width(String(line)) <= 80, "\(line)")
        }
        let control = text.unicodeScalars.filter {
            $0 != "\n" && [.control, .format].contains($0.properties.generalCategory)
        }
        #expect(control.isEmpty)
    }

    @Test("Every line of JSON Lines is a job")
    func jsonLines() throws {
        let lines = try QueueView.jsonLines(Samples.queue).split(separator: "\n")
        let entries = try lines.map { try ControlJSON.decode(QueueEntry.self, from: Array($0.utf8)) }
        #expect(entries == Samples.queue.jobs)
    }

    @Test(
        "Numbers have the unit that fits",
        arguments: [
            (0, "0.00 ms"), (0.00042, "0.42 ms"), (0.0123, "12.3 ms"), (0.9996, "1.00 s"), (1.234, "1.23 s"),
            (59.94, "59.9 s"),
            (125, "2 min 5 s"), (3600, "1 h 0 min"), (11_040, "3 h 4 min"), (183_600, "2 d 3 h"), (-1, "?"),
            (.nan, "?"),
            (1e300, "?"),
        ] as [(Double, String)])
    func times(_ seconds: Double, _ text: String) { #expect(TextLayout.time(seconds: seconds) == text) }

    @Test(
        "Sizes and counts",
        arguments: [
            (0, "0 B", "0"), (999, "999 B", "999"), (1000, "1.0 kB", "1,000"),
            (3_214_000_000, "3.2 GB", "3,214,000,000"),
            (-1500, "-1.5 kB", "-1,500"),
        ] as [(Int64, String, String)])
    func sizes(_ value: Int64, _ bytes: String, _ count: String) {
        #expect(TextLayout.bytes(value) == bytes)
        #expect(TextLayout.count(value) == count)
    }

    @Test("Cutting keeps both ends and the width", arguments: 0...12)
    func cutting(_ limit: Int) {
        for text in ["abcdefghijkl", "日本の写真です", "e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}"] {
            let cut = TextLayout.cut(text, to: limit)
            #expect(TextLayout.width(cut) <= limit)
            if TextLayout.width(text) <= limit { #expect(cut == text) }
        }
    }
}
