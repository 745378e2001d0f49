// `memvpctl queue`: the queue as a table for people, and as JSON Lines for programs.

public import Diagnostics

/// Draws `QueueDocument`.
public enum QueueView {
    /// The table, ended by a line feed; `state` is the one that was asked for, if any, and `now` gives ages their end.
    public static func render(_ queue: QueueDocument, state: String? = nil, now: Timestamp = .now) -> String {
        guard !queue.jobs.isEmpty else { return empty(state, held: queue.held) }
        let rows = queue.jobs.map { entry in
            [
                TextLayout.cut((entry.job ?? "-").harmless, to: 32),
                TextLayout.cut(entry.state.harmless, to: 10), age(entry.since, now),
                (entry.image?.text ?? entry.spec?.text ?? "-").harmless,
            ]
        }
        let lines = TextLayout.table([["job", "state", "age", "file"]] + rows, right: [2]).split(separator: "\n")
        var table = (lines.first ?? "") + "\n"
        for (entry, line) in zip(queue.jobs, lines.dropFirst()) {
            table += line + "\n"
            var notes = entry.priority == 0 ? [] : ["priority \(entry.priority)"]
            if let note = entry.note { notes.append(note.harmless) }
            if !notes.isEmpty { table += TextLayout.paragraph("", notes.joined(separator: ", "), indent: 4) }
        }
        var facts = [TextLayout.plural(queue.total, "job")]
        if queue.total > queue.jobs.count {
            // Of those that failed the daemon gives the latest.
            let end = state == QueueState.failed.rawValue ? "last" : "first"
            facts.append("the \(end) \(TextLayout.count(queue.jobs.count)) shown")
        }
        if queue.held { facts.append("held") }
        return table + facts.joined(separator: ", ") + "\n"
    }

    /// That there is nothing to list; of one state it says what would be, since ended jobs are in no list.
    private static func empty(_ state: String?, held: Bool) -> String {
        guard let state else { return held ? "The queue is empty and held.\n" : "The queue is empty.\n" }
        let fact =
            switch QueueState(rawValue: state) {
            case .waiting: "No file waits in the inbox."
            case .answered: "No outcome waits to be published; jobs that have ended are not in the queue."
            case .failed: "No failed job is kept."
            default: "No job is \(state.harmless)."
            }
        return held ? "\(fact) The queue is held.\n" : "\(fact)\n"
    }

    /// One line of JSON per job; readers ignore members that they do not know.
    ///
    /// - Throws: `internal_error` when an entry has no JSON form.
    public static func jsonLines(_ queue: QueueDocument) throws(Failure) -> String {
        var bytes: [UInt8] = []
        for entry in queue.jobs { bytes += try ControlJSON.encode(entry) }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// How long ago `then` was; a clock set back gives 0.
    static func age(_ then: Timestamp, _ now: Timestamp) -> String {
        let (difference, overflow) = now.milliseconds.subtractingReportingOverflow(then.milliseconds)
        guard !overflow else { return "?" }
        return TextLayout.time(seconds: Double(max(0, difference)) / 1000)
    }
}
