// `memvpctl show JOB` and `memvpctl explain JOB`: one job for people.

internal import Diagnostics

/// Draws `JobDocument`.
public enum JobView {
    /// Everything about the job, ended by a line feed; `now` gives ages their end.
    public static func render(_ job: JobDocument, now: Timestamp = .now) -> String {
        let entry = job.entry
        var text = TextLayout.paragraph("job", (entry.job ?? "-").harmless)
        text += TextLayout.paragraph(
            "state", "\(entry.state), \(QueueView.age(entry.since, now)) old".harmless)
        let fields: [(String, String?)] = [
            ("image", entry.image?.text), ("spec", entry.spec?.text),
            (job.error == nil ? "answer" : "outcome", job.answer?.text), ("retry of", job.retryOf),
            ("note", entry.note),
            ("priority", entry.priority == 0 ? nil : "\(entry.priority)"),
            ("attempts", job.attempts < 2 ? nil : "\(job.attempts)"),
            ("strikes", job.strikes == 0 ? nil : "\(job.strikes)"),
        ]
        for (label, value) in fields {
            if let value { text += TextLayout.paragraph(label, value.harmless) }
        }
        if let error = job.error { text += Self.error(error, label: "error") }
        if !job.timing.isEmpty {
            let known = Stage.allCases.map(\.rawValue)
            let names = known.filter { job.timing[$0] != nil } + job.timing.keys.filter { !known.contains($0) }.sorted()
            let times = names.map { "\($0) \(TextLayout.time(seconds: (job.timing[$0] ?? 0) / 1000))" }
            text += TextLayout.paragraph("time", times.joined(separator: ", ").harmless)
        }
        if !job.history.isEmpty {
            let rows = job.history.map { event in
                [
                    event.at.description, TextLayout.cut(event.event.harmless, to: 16),
                    (event.note ?? "").harmless,
                ]
            }
            text += "\n" + TextLayout.table(rows)
        }
        return text + "\n" + explanation(job)
    }

    /// What the job's state means and what comes next.
    public static func explanation(_ job: JobDocument) -> String {
        TextLayout.paragraph("", job.explanation.harmless, indent: 0)
    }

    /// An error's code, message and hint.
    static func error(_ error: ErrorDetail, label: String) -> String {
        var text = TextLayout.paragraph(label, "\(error.code.text): \(error.message)".harmless)
        if !error.hint.isEmpty { text += TextLayout.paragraph("", error.hint.harmless) }
        return text
    }
}
