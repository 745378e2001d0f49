// `memvp train` as people and scripts meet it: wrong options by name, events as lines.

import ArgumentParser
import Diagnostics
import Foundation
import Testing

@testable import Commands
@testable import FineTuning

@Suite("memvp train: options and events")
struct ToolboxTrainTests {
    private static let needed = ["--base", "b", "--data", "d", "--out", "o"]

    @Test(
        "a wrong option is named with its value and what it must be",
        arguments: [
            (["--dropout", "1"], "--dropout is 1.0; it must be at least 0 and less than 1."),
            (["--average=-0.5"], "--average is -0.5; it must be at least 0 and less than 1."),
            (["--learning-rate", "0"], "--learning-rate is 0.0; it must be a number above 0."),
            (["--learning-rate", "nan"], "--learning-rate is nan; it must be a number above 0."),
            (["--projector-rate=-1"], "--projector-rate is -1.0; it must be a number above 0."),
            (["--clip=-1"], "--clip is -1.0; it must be a number, at least 0."),
            (["--weight-decay", "inf"], "--weight-decay is inf; it must be a number, at least 0."),
            (["--lambda", "nan"], "--lambda is nan; it must be a number from -1000000 to 1000000."),
            (["--scale", "inf"], "--scale is inf; it must be a number from -1000000 to 1000000."),
            (["--lambda=-1e7"], "--lambda is -10000000.0; it must be a number from -1000000 to 1000000."),
            (["--samples", "4"], "--samples counts for drawn captions, which only --reward cider draws."),
            (
                ["--repeat-penalty", "1"],
                "--repeat-penalty counts for drawn captions, which only --reward cider draws."
            ),
            (
                ["--reward", "cider", "--repeat-penalty", "nan"],
                "--repeat-penalty is nan; it must be a number, at least 0."
            ),
            (["--bleu-weight", "0"], "--bleu-weight counts for drawn captions, which only --reward cider draws."),
            (["--reward", "cider", "--bleu-weight=-1"], "--bleu-weight is -1.0; it must be a number, at least 0."),
            (["--reward", "cider", "--samples", "1"], "--samples is 1; it must be 2 to 64."),
            (["--reward", "cider", "--batch", "6"], "--batch is 6; it counts drawn captions, 4 of each photo"),
            (["--reward", "cider", "--samples", "64", "--batch", "2"], "--batch is 2; it counts drawn captions, 64"),
            (["--lambda", "-1e7"], "--lambda is -10000000.0; it must be a number from -1000000 to 1000000."),
        ])
    func wrong(options: [String], message: String) {
        let failure = #expect(throws: (any Error).self) { try ToolboxTrain.parse(Self.needed + options) }
        let text = failure.map { ToolboxTrain.message(for: $0) } ?? ""
        #expect(text.contains(message), "\(text)")
    }

    @Test("captions are drawn where they are rewarded, as many as are asked for")
    func samples() throws {
        #expect(try ToolboxTrain.parse(Self.needed + ["--reward", "cider", "--samples", "8"]).samples == 8)
        #expect(try ToolboxTrain.parse(Self.needed).samples == nil)
    }

    /// What a view wrote, or what keeps it from writing.
    private final class Lines {
        var said: [String] = []
        var attempts = 0
        var failure: Failure?

        func write(_ line: String) throws(Failure) {
            attempts += 1
            if let failure { throw failure }
            said.append(line)
        }
    }

    private func record(_ event: String, note: String? = nil) -> TrainingRecord {
        var record = TrainingRecord(event, step: 3)
        record.note = note
        return record
    }

    private func show(_ view: ToolboxTrainingView) {
        view.show(.features(0, 2))
        view.show(.record(record("start", note: "5 examples")))
        view.show(.step(record("step"), of: 9))
        view.show(.validation(1, 2))
        for event in ["validation", "warning", "sample", "end"] {
            view.show(.record(record(event, note: "of \(event)")))
        }
    }

    @Test("with --json every event of the log is a line, and nothing else is")
    func json() throws {
        let lines = Lines()
        let view = ToolboxTrainingView(json: true) { (line) throws(Failure) in try lines.write(line) }
        show(view)
        try view.end("o is written.")
        let events = try lines.said.map { try JSONDecoder().decode(TrainingRecord.self, from: Data($0.utf8)) }
        #expect(events.map(\.event) == ["start", "step", "validation", "warning", "sample", "end"])
        #expect(events.first?.note == "5 examples")
    }

    @Test("people read what a run begins with, validations and samples; warnings are not among the results")
    func words() throws {
        let lines = Lines()
        let view = ToolboxTrainingView(json: false) { (line) throws(Failure) in try lines.write(line) }
        show(view)
        try view.end("o is written.")
        #expect(lines.said.first == "step 3: start, 5 examples" && lines.said.last == "o is written.")
        #expect(lines.said.count == 4 && !lines.said.contains { $0.contains("of warning") })
    }

    @Test("what rows and the model say is one line without control characters")
    func harmless() throws {
        let lines = Lines()
        let view = ToolboxTrainingView(json: false) { (line) throws(Failure) in try lines.write(line) }
        var record = record("sample")
        (record.image, record.prompt) = ("a\u{1B}[2J.jpg", "what\u{7}?")
        (record.answer, record.reference) = ("red\nmemvp: all is well", "\u{9B}31m")
        view.show(.record(record))
        #expect(
            lines.said == [#"  a\u{1b}[2J.jpg: what\u{7}? → red\nmemvp: all is well  [\u{9b}31m]"#], "\(lines.said)")
    }

    @Test("lines that cannot be written end no run, and are told at its end", arguments: [true, false])
    func unwritten(json: Bool) throws {
        let lines = Lines()
        lines.failure = Failure(.noSpace, "standard output", "cannot be written")
        let view = ToolboxTrainingView(json: json) { (line) throws(Failure) in try lines.write(line) }
        show(view)
        let failure = #expect(throws: Failure.self) { try view.end("o is written.") }
        #expect(failure == lines.failure && lines.attempts == 1)
    }
}
