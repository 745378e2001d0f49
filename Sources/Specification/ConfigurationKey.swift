// One table describes the configuration: for every key its place in `DaemonConfiguration`, its text form and its meaning.
//
// The decoder, the printed configuration, etc/memvpd.yaml and memvpd.yaml(5) all derive from it, so a key cannot
// be known to one and not to another. Invariant: names are `key` or `group.key`, each once, the keys of a group together.

/// One key of the configuration.
struct ConfigurationKey: Sendable {
    /// `settle` or `limits.image_bytes`.
    let name: String
    /// What it is for, as sentences of the manual.
    let meaning: String
    /// What values it takes, as in "a whole number from 1 to 64".
    let expected: String
    /// Reads a node into the configuration; whether it was good.
    let read: @Sendable (Node, inout FieldReader, inout DaemonConfiguration) -> Bool
    /// The value as YAML text.
    let write: @Sendable (DaemonConfiguration) -> String

    init<Value: Sendable>(
        _ name: String, _ field: any WritableKeyPath<DaemonConfiguration, Value> & Sendable, _ syntax: Syntax<Value>,
        _ meaning: String
    ) {
        self.name = name
        self.meaning = meaning
        expected = syntax.expected
        read = { node, reader, configuration in
            guard let value = reader.value(node, name, syntax) else { return false }
            configuration[keyPath: field] = value
            return true
        }
        write = { yamlText(syntax.write($0[keyPath: field])) }
    }

    /// The group that the key stands in, if any.
    var group: String? {
        name.split(separator: ".").count == 2 ? name.split(separator: ".").first.map(String.init) : nil
    }
    /// The key as it stands in its mapping.
    var leaf: String { name.split(separator: ".").last.map(String.init) ?? name }

    /// What each group is about.
    static let groups: [(name: String, meaning: String)] = [
        (
            "directories",
            "Where the states of the spool live. Keep them on one file system, then every move is a rename. "
                + "None may lie inside another."
        ),
        (
            "sockets",
            "Where the daemon listens when it is run by hand; under systemd the socket units decide. "
                + "Both speak HTTP/1.1 over Unix sockets; nothing listens on a network."
        ),
        ("adapters", "The adapter for each kind of task; `default` is the one that the model bundle names."),
        ("limits", "What is refused with an explained error, or made to wait."),
        ("retention", "How long the originals of finished jobs are kept. Nothing is deleted unasked."),
        ("pairing", "How photos and task specs find each other."),
        ("watch", "How directories are watched; status shows it."),
        ("scan", "How often the inbox is looked through besides the events that inotify reports."),
        (
            "retry",
            "How jobs with a passing fault (no space, a busy file) are tried again: after `initial`, then after "
                + "twice the last wait, up to `maximum`."
        ),
        ("metrics", "Where metrics are written besides the metrics socket."),
        ("log", "What is logged, to standard error."),
    ]

    /// Every key, in the order of the file.
    static let all: [ConfigurationKey] = directories + model + limits + spool + reports

    private static let directories: [ConfigurationKey] = [
        ConfigurationKey("directories.inbox", \.directories.inbox, .path(), "Where photos and task specs are dropped."),
        ConfigurationKey(
            "directories.spool", \.directories.spool, .path(), "Where claimed jobs are kept until they are answered."),
        ConfigurationKey(
            "directories.outbox", \.directories.outbox, .path(),
            "Where finished answers appear, whole or not at all."),
        ConfigurationKey(
            "directories.failed", \.directories.failed, .path(),
            "Where the inputs of failed jobs are kept with a copy of the reason."),
        ConfigurationKey(
            "directories.done", \.directories.done, .path(), "Where the inputs of answered jobs are kept."),
        ConfigurationKey(
            "sockets.control", \.sockets.control, .path(maximum: 107), "The socket that memvpctl talks to."),
        ConfigurationKey(
            "sockets.metrics", \.sockets.metrics, .path(maximum: 107), "The socket that serves metrics only."),
    ]

    private static let model: [ConfigurationKey] = [
        ConfigurationKey("model", \.model, .path(), "The directory of the model bundle."),
        ConfigurationKey(
            "default_task", \.defaultTask, .word, "What is done with a photo that comes without a task spec."),
        ConfigurationKey(
            "workers", \.workers, .wholeNumber(1...64),
            "How many batches are worked on at the same time. The weights are shared."),
        ConfigurationKey(
            "threads", \.threads, .wholeNumber(0...1_024),
            "How many threads compute, all workers together; 0 is one for each CPU that the process may use. They are "
                + "divided evenly between the workers, of which each has at least one."),
        ConfigurationKey(
            "batch", \.batch, .wholeNumber(1...64), "The most sequences that go through the model together."),
        ConfigurationKey("adapters.caption", \.adapters.caption, .adapter, "The adapter for captions."),
        ConfigurationKey("adapters.ask", \.adapters.ask, .adapter, "The adapter for questions."),
    ]

    private static let limits: [ConfigurationKey] = [
        ConfigurationKey(
            "limits.image_bytes", \.limits.imageBytes, .size(1_024...2_000_000_000), "The largest image file."),
        ConfigurationKey(
            "limits.image_pixels", \.limits.imagePixels, .wholeNumber(1...1_000_000_000),
            "The largest image in pixels, width times height."),
        ConfigurationKey(
            "limits.image_side", \.limits.imageSide, .wholeNumber(1...65_535),
            "The longest side of an image in pixels."),
        ConfigurationKey("limits.spec_bytes", \.limits.specBytes, .size(64...65_536), "The longest task spec."),
        ConfigurationKey("limits.tasks", \.limits.tasks, .wholeNumber(1...64), "The most tasks of one task spec."),
        ConfigurationKey(
            "limits.prompt_tokens", \.limits.promptTokens, .wholeNumber(16...1_000_000),
            "The longest prompt, template and question together, in tokens. The model's context may allow less."),
        ConfigurationKey(
            "limits.answer_tokens", \.limits.answerTokens, .wholeNumber(1...4_096),
            "The most new tokens that a task may ask for."),
        ConfigurationKey(
            "limits.queue", \.limits.queue, .wholeNumber(1...1_000_000),
            "The most jobs in the spool. While it is full, further files wait in the inbox."),
    ]

    private static let spool: [ConfigurationKey] = [
        ConfigurationKey(
            "retention.done", \.retention.done, .retention(.seconds(1)...day * 3_650),
            "How long the inputs of answered jobs are kept."),
        ConfigurationKey(
            "retention.failed", \.retention.failed, .retention(.seconds(1)...day * 3_650),
            "How long the inputs of failed jobs are kept."),
        ConfigurationKey(
            "pairing.grace", \.pairing.grace, .time(.zero...hour),
            "How long a photo waits for a task spec before it gets the default task; 0 is not at all."),
        ConfigurationKey(
            "pairing.timeout", \.pairing.timeout, .time(.milliseconds(10)...day * 30),
            "How long a task spec waits for its photo before it fails."),
        ConfigurationKey(
            "settle", \.settle, .time(.milliseconds(10)...hour),
            "How long a file of unknown completeness must stay unchanged before it is taken."),
        ConfigurationKey(
            "writing_timeout", \.writingTimeout, .time(.milliseconds(10)...day),
            "A file that its writer keeps open is not touched. How long it may stay unchanged before it is taken all the "
                + "same."),
        ConfigurationKey(
            "watch.inbox", \.watch.inbox, .word,
            "`auto` is inotify where it can work, else polling. `inotify` is for file systems that look remote but on "
                + "which nobody else writes. `poll` is for those that look local and are not."),
        ConfigurationKey(
            "scan.interval", \.scan.interval, .time(.milliseconds(10)...day),
            "Where inotify works: a scan this often recovers what it missed."),
        ConfigurationKey(
            "scan.poll", \.scan.poll, .time(.milliseconds(10)...hour),
            "Where the directory is polled: how often it is read."),
        ConfigurationKey(
            "retry.attempts", \.retry.attempts, .wholeNumber(1...1_000),
            "The most tries, the first one counted; then the job fails."),
        ConfigurationKey(
            "retry.initial", \.retry.initial, .time(.milliseconds(10)...hour), "The wait before the second try."),
        ConfigurationKey(
            "retry.maximum", \.retry.maximum, .time(.milliseconds(10)...day), "The longest wait between two tries."),
    ]

    private static let reports: [ConfigurationKey] = [
        ConfigurationKey(
            "metrics.textfile", \.metrics.textfile, .optionalPath,
            "A file that node_exporter's textfile collector reads; its name must end in .prom."),
        ConfigurationKey("log.level", \.log.level, .word, "The least important level that is logged."),
        ConfigurationKey(
            "log.format", \.log.format, .word, "`text` for people and the journal, `json` for one object a line."),
        ConfigurationKey(
            "log.names", \.log.names, .word,
            "`hide` keeps the names of dropped files out of the log: lines name jobs, and faults by their codes alone; "
                + "memvpctl says the rest."),
    ]

    private static let hour = Duration.seconds(3_600)
    private static let day = Duration.seconds(86_400)
}

/// `text` as a YAML scalar: as it is where that is plainly safe, else in double quotes.
func yamlText(_ text: String) -> String {
    let isPlain = text.utf8.allSatisfy { byte in
        switch UInt8(byte) {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "/"), UInt8(ascii: "."), UInt8(ascii: "_"):
            true
        case UInt8(ascii: "-"): true
        default: false
        }
    }
    if isPlain, !text.isEmpty, !text.hasPrefix("-") { return text }
    let escaped = text.unicodeScalars.map { $0 == "\"" || $0 == "\\" ? "\\\($0)" : String($0) }
    return "\"\(escaped.joined())\""
}
