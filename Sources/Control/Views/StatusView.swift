// `memvpctl status`: the status document as at most 80 columns of plain text.
//
// Invariant: whatever the document holds, a newer daemon's too, there is a text for it; unknown states come after the known.

internal import Diagnostics

/// Draws `StatusDocument` for the terminal.
public enum StatusView {
    /// The text, ended by a line feed; `now` gives ages their end.
    public static func render(_ status: StatusDocument, now: Timestamp = .now) -> String {
        var sections = [header(status), queue(status)]
        if !status.stages.isEmpty { sections.append(stages(status.stages)) }
        if !status.directories.isEmpty { sections.append(directories(status)) }
        if let error = status.lastError { sections.append(lastError(error, now)) }
        if let troubles = status.troubles, !troubles.isEmpty {
            sections.append(
                troubles.map { TextLayout.paragraph("trouble", "\($0.message). \($0.hint)".harmless) }
                    .joined())
        }
        if !status.warnings.isEmpty {
            sections.append(
                status.warnings.map { TextLayout.paragraph("warning", $0.harmless) }.joined())
        }
        return sections.joined(separator: "\n")
    }

    private static func header(_ status: StatusDocument) -> String {
        let daemon = status.daemon
        var text = TextLayout.paragraph(
            "memvpd",
            [
                status.state.harmless, "version \(daemon.version.harmless)",
                "up \(TextLayout.time(seconds: daemon.uptimeSeconds))", "process \(daemon.processID)",
            ].joined(separator: ", "))
        guard let model = status.model else { return text + TextLayout.paragraph("model", "not loaded") }
        text += TextLayout.paragraph(
            "model",
            [
                model.name, model.precision, "\(model.kernels) kernels", TextLayout.plural(model.threads, "thread"),
                TextLayout.plural(model.workers, "worker"), "batches of \(model.batch)",
            ].joined(separator: ", ").harmless)
        guard !model.adapters.isEmpty else { return text }
        let adapters = model.adapters.sorted { $0.key < $1.key }.map { "\($0.value) for \($0.key)" }
        return text + TextLayout.paragraph("adapters", adapters.joined(separator: ", ").harmless)
    }

    private static func queue(_ status: StatusDocument) -> String {
        let known = QueueState.allCases.map(\.rawValue)
        let unknown = status.queue.jobs.keys.filter { !known.contains($0) }.sorted()
        // Six known states fit on a line; how many a newer daemon adds is not known, so they go below.
        var text = TextLayout.table(
            [["queue   "] + known, [""] + known.map { TextLayout.count(status.queue.jobs[$0] ?? 0) }],
            right: Set(1...known.count))
        if !unknown.isEmpty {
            let counts = unknown.map { "\(TextLayout.count(status.queue.jobs[$0] ?? 0)) \($0.harmless)" }
            text += TextLayout.paragraph("", counts.joined(separator: ", "))
        }
        var facts: [String] = []
        if status.queue.held { facts.append("held: memvpctl release lets it go on") }
        if let oldest = status.queue.oldestSeconds { facts.append("oldest \(TextLayout.time(seconds: oldest))") }
        let done = status.throughput
        facts.append("\(TextLayout.count(done.perMinute)) per minute")
        facts.append("since start \(TextLayout.count(done.answered)) answered")
        facts.append(TextLayout.plural(done.errors, "error"))
        return text + TextLayout.paragraph("", facts.joined(separator: ", "))
    }

    private static func stages(_ stages: [StatusDocument.StageTime]) -> String {
        let rows = stages.map { stage in
            [
                TextLayout.cut(stage.stage.harmless, to: 20),
                TextLayout.time(seconds: stage.p50Milliseconds / 1000),
                TextLayout.time(seconds: stage.p95Milliseconds / 1000), TextLayout.count(stage.count),
            ]
        }
        return TextLayout.table([["stage    ", "p50", "p95", "jobs"]] + rows, right: [1, 2, 3])
    }

    private static func directories(_ status: StatusDocument) -> String {
        let rows = status.directories.map { directory in
            var facts: [String] = []
            if let jobs = directory.jobs { facts.append(TextLayout.plural(jobs, "job")) }
            if let bytes = directory.bytes { facts.append(TextLayout.bytes(bytes)) }
            return [
                TextLayout.cut(directory.role.harmless, to: 20),
                TextLayout.cut((directory.watch ?? "-").harmless, to: 11),
                facts.isEmpty ? "-" : facts.joined(separator: ", "), directory.path.harmless,
            ]
        }
        var text = TextLayout.table([["directory", "watch", "holds", "path"]] + rows)
        for directory in status.directories {
            guard let note = directory.note else { continue }
            text += TextLayout.paragraph("", "\(directory.role): \(note)".harmless)
        }
        let ignored = status.inbox.ignored.sorted { $0.key < $1.key }.filter { $0.value != 0 }
        if !ignored.isEmpty {
            let counts = ignored.map { "\(TextLayout.count($0.value)) \($0.key)" }.joined(separator: ", ")
            text += TextLayout.paragraph("", "inbox: left alone \(counts)".harmless)
        }
        if !status.inbox.directories.isEmpty {
            let names = status.inbox.directories.map(\.text).joined(separator: ", ")
            text += TextLayout.paragraph("", "inbox: directories in it are not read: \(names)".harmless)
        }
        return text + waiting(status.inbox.waiting ?? [])
    }

    private static func waiting(_ files: [StatusDocument.Inbox.Waiting]) -> String {
        var text = ""
        for file in files.prefix(5) {
            let rest = file.remainingSeconds.map { ", at most \(TextLayout.time(seconds: $0)) more" } ?? ""
            text += TextLayout.paragraph("", "inbox: \(file.file.text): \(file.reason)\(rest)".harmless)
        }
        if files.count > 5 { text += TextLayout.paragraph("", "inbox: more files wait: memvpctl queue") }
        return text
    }

    private static func lastError(_ error: StatusDocument.LastError, _ now: Timestamp) -> String {
        var head = ["\(QueueView.age(error.at, now)) ago"]
        if let job = error.job { head.append("job \(job)") }
        if let file = error.file { head.append(file.text) }
        return TextLayout.paragraph("last error", head.joined(separator: ", ").harmless)
            + JobView.error(error.error, label: "")
    }
}
