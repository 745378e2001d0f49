// A training run as people and scripts see it: a line that rewrites itself, what is worth a line of its own, or JSON Lines.

internal import Diagnostics
internal import FineTuning
internal import Glibc

/// Shows the events of a run.
final class ToolboxTrainingView {
    private let json: Bool
    private var progress = ToolboxProgress()
    /// The step and the tokens that this process began with: rate and time left are its own.
    private var before: (step: Int, tokens: Int, at: ContinuousClock.Instant)?
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
        let (tokens, loss) = (record.tokens ?? 0, ToolboxTime.rounded(record.loss ?? 0, 3))
        guard let before else { return before = (record.step, tokens, .now) }
        let spent = ToolboxTime.seconds(before.at.duration(to: .now))
        guard spent > 0, record.step > before.step else { return }
        let rate = Int(Double(tokens - before.tokens) / spent)
        let left = Int(spent / Double(record.step - before.step) * Double(steps - record.step))
        let reward = record.ciderD.map { "CIDEr-D \(ToolboxTime.rounded($0, 3)), " } ?? ""
        let line = "step \(record.step) of \(steps), loss \(loss), \(reward)\(rate) tokens/s, \(left) s left"
        progress.show(line: line)
        if record.step % 50 == 0, !ToolboxTerminal.isWatched { say(line) }
    }

    private func words(_ record: TrainingRecord) -> String {
        switch record.event {
        case "validation":
            let loss = ToolboxTime.rounded(record.validationLoss ?? 0, 4)
            let scores = [("CIDEr-D", record.ciderD), ("exact", record.exact)].compactMap { name, value in
                value.map { ", \(name) \(ToolboxTime.rounded($0, 4))" }
            }
            return
                "step \(record.step): validation loss \(loss), blind \(ToolboxTime.rounded(record.blindLoss ?? 0, 4))"
                + scores.joined()
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
