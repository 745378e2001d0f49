// A training run as people and scripts see it: a line that rewrites itself, what is worth a line of its own, or JSON Lines.
//
// Invariants: with --json standard output has every event that the run's log has, in the same words. Warnings go to standard
// error in any case. A run is worth more than its lines: what keeps them from standard output is told at its end.

internal import Diagnostics
internal import FineTuning

/// Shows the events of a run.
final class ToolboxTrainingView {
    private let json: Bool
    private let output: (String) throws(Failure) -> Void
    /// What keeps lines from the output, if anything.
    private var failure: Failure?
    private var progress = ToolboxProgress()
    private var lastStep = 0
    /// When the line that rewrites itself was last written: features that are at hand go by faster than anybody reads.
    private var shown: ContinuousClock.Instant?
    /// The step and the tokens that this process began with: rate and time left are its own.
    private var before: (step: Int, tokens: Int, at: ContinuousClock.Instant)?
    private var badRows = 0

    /// A view that writes its lines to `output`, each as it comes.
    init(json: Bool, output: @escaping (String) throws(Failure) -> Void) {
        self.json = json
        self.output = output
    }

    /// Shows one event.
    func show(_ event: Trainer.Event) {
        switch event {
        case .features(let done, let all): advance("features", done, all)
        case .validation(let done, let all): advance("validation after step \(lastStep)", done, all)
        case .badRow(let text):
            badRows += 1
            ToolboxTerminal.write("memvp: left out: \(text)\n")
        case .step(let record, let steps): step(record, steps)
        case .record(let record):
            progress.end()
            lastStep = record.step
            if record.event == "warning" {
                ToolboxTerminal.write("memvp: warning: step \(record.step): \(record.note ?? "")\n")
            }
            if json { return line(record) }
            if let words = words(record) { say(words) }
        }
    }

    /// Clears the progress line and says how it ended.
    ///
    /// - Throws: what kept lines from the output.
    func end(_ words: String) throws(Failure) {
        progress.end()
        if badRows > 0 { ToolboxTerminal.write("memvp: \(badRows) rows were left out\n") }
        if !json { say(words) }
        if let failure { throw failure }
    }

    private func advance(_ stage: String, _ done: Int, _ all: Int) {
        let now = ContinuousClock.now
        if done > 0, let shown, shown.duration(to: now) < .milliseconds(100) { return }
        shown = now
        progress.show(stage, done, of: all, unit: "rows")
    }

    private func step(_ record: TrainingRecord, _ steps: Int) {
        lastStep = record.step
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

    /// An event as people read it; nil for one that is said elsewhere.
    private func words(_ record: TrainingRecord) -> String? {
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
            // What rows and the model say is one line, whatever is in it.
            let (image, prompt) = ((record.image ?? "").harmless, (record.prompt ?? "").harmless)
            return "  \(image): \(prompt) → \((record.answer ?? "").harmless)  [\((record.reference ?? "").harmless)]"
        case "warning", "end": return nil
        default: return "step \(record.step): \(record.event), \(record.note ?? "")"
        }
    }

    private func line(_ record: TrainingRecord) {
        do throws(Failure) {
            say(try ToolboxJSON.line(record))
        } catch { failure = error }
    }

    private func say(_ line: String) {
        guard failure == nil else { return }
        do throws(Failure) {
            try output(line)
        } catch { failure = error }
    }
}
