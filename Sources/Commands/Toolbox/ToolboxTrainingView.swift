// A training run as people and scripts see it: a line that rewrites itself, what is worth a line of its own, or JSON Lines.

internal import Diagnostics
internal import FineTuning
internal import Glibc

/// Shows the events of a run.
final class ToolboxTrainingView {
    private let json: Bool
    private let start = ContinuousClock.now
    private var progress = ToolboxProgress()
    private var lastLoss = 0.0
    private var firstStep: Int?
    private var badRows = 0

    init(json: Bool) { self.json = json }

    /// Shows one event.
    func show(_ event: Trainer.Event) {
        switch event {
        case .features(let done, let all): progress.show("features", Double(done) / Double(max(1, all)))
        case .badRow(let text):
            badRows += 1
            ToolboxTerminal.write("memvp: left out: \(text)\n")
        case .step(let record, let steps): step(record, steps)
        case .record(let record):
            progress.end()
            if json { return line(record) }
            say(words(record))
        }
    }

    /// Clears the progress line and says how it ended.
    func end(_ words: String) {
        progress.end()
        if badRows > 0 { ToolboxTerminal.write("memvp: \(badRows) rows were left out\n") }
        if !json { print(words) }
    }

    private func step(_ record: TrainingRecord, _ steps: Int) {
        if json { return line(record) }
        let first = firstStep ?? record.step - 1
        firstStep = first
        lastLoss = record.loss ?? 0
        let seconds = ToolboxTime.seconds(start.duration(to: .now))
        let rate = Double(record.tokens ?? 0) / max(0.001, record.seconds ?? seconds)
        progress.show(
            "step \(record.step) of \(steps), loss \(ToolboxTime.rounded(lastLoss, 3)), \(Int(rate)) tokens/s",
            Double(record.step) / Double(steps))
        if record.step % 50 == 0, !ToolboxTerminal.isWatched {
            say("step \(record.step) of \(steps): loss \(ToolboxTime.rounded(lastLoss, 3)), \(Int(rate)) tokens/s")
        }
    }

    private func words(_ record: TrainingRecord) -> String {
        switch record.event {
        case "validation":
            let loss = ToolboxTime.rounded(record.validationLoss ?? 0, 4)
            return
                "step \(record.step): validation loss \(loss), blind \(ToolboxTime.rounded(record.blindLoss ?? 0, 4))"
        case "sample":
            return
                "  \(record.image ?? ""): \(record.prompt ?? "") → \(record.answer ?? "")  [\(record.reference ?? "")]"
        default: return "step \(record.step): \(record.event) \(record.note ?? "")"
        }
    }

    /// A line at once, where output goes to a file too: a run takes hours.
    private func say(_ line: String) {
        print(line)
        fflush(nil)
    }

    private func line(_ record: TrainingRecord) {
        if let line = try? ToolboxJSON.line(record) { say(line) }
    }
}
