// The daemon's configuration: defaults, every key, all faults at once, and the printed form that can be read again.
import Diagnostics
import Testing

@testable import Specification

private func complaint(_ text: String) -> String? {
    do {
        _ = try EffectiveConfiguration(yaml: Array(text.utf8), named: "memvpd.yaml")
        return nil
    } catch {
        return error.description
    }
}

@Suite("Configuration")
struct ConfigurationTests {
    /// A value for every key that is not its default.
    static let changed = """
        directories: {inbox: /srv/in, spool: /srv/spool, outbox: /srv/out, failed: /srv/failed, done: "/srv/do ne"}
        sockets: {control: /run/x/c.sock, metrics: /run/x/m.sock}
        model: /opt/model/
        default_task: caption
        workers: 2
        threads: 3
        batch: 4
        adapters: {caption: cap, ask: vqa}
        limits:
          image_bytes: 1MiB
          image_pixels: 1000
          image_side: 100
          spec_bytes: 1KiB
          tasks: 5
          prompt_tokens: 99
          answer_tokens: 9
          queue: 7
        retention: {done: 7d, failed: 30d}
        pairing: {grace: 0, timeout: 2m}
        settle: 500ms
        writing_timeout: 3h
        watch: {inbox: poll}
        scan: {interval: 5m, poll: 1s}
        retry: {attempts: 3, initial: 1s, maximum: 1h}
        metrics: {textfile: /var/lib/node/memvpd.prom}
        log: {level: debug, format: json, names: hide}
        """

    private func read(_ text: String) throws -> EffectiveConfiguration {
        try EffectiveConfiguration(yaml: Array(text.utf8), named: "memvpd.yaml")
    }

    @Test("every key is read into its place")
    func everyKey() throws {
        let read = try read(Self.changed)
        var expected = DaemonConfiguration()
        expected.directories.inbox = "/srv/in"
        expected.directories.spool = "/srv/spool"
        expected.directories.outbox = "/srv/out"
        expected.directories.failed = "/srv/failed"
        expected.directories.done = "/srv/do ne"
        expected.sockets.control = "/run/x/c.sock"
        expected.sockets.metrics = "/run/x/m.sock"
        expected.model = "/opt/model"
        expected.workers = 2
        expected.threads = 3
        expected.batch = 4
        expected.adapters.caption = .named("cap")
        expected.adapters.ask = .named("vqa")
        expected.limits.imageBytes = 1 << 20
        expected.limits.imagePixels = 1_000
        expected.limits.imageSide = 100
        expected.limits.specBytes = 1_024
        expected.limits.tasks = 5
        expected.limits.promptTokens = 99
        expected.limits.answerTokens = 9
        expected.limits.queue = 7
        expected.retention.done = .after(.seconds(604_800))
        expected.retention.failed = .after(.seconds(2_592_000))
        expected.pairing.grace = .zero
        expected.pairing.timeout = .seconds(120)
        expected.settle = .milliseconds(500)
        expected.writingTimeout = .seconds(10_800)
        expected.watch.inbox = .poll
        expected.scan.interval = .seconds(300)
        expected.scan.poll = .seconds(1)
        expected.retry.attempts = 3
        expected.retry.initial = .seconds(1)
        expected.retry.maximum = .seconds(3_600)
        expected.metrics.textfile = "/var/lib/node/memvpd.prom"
        expected.log.level = .debug
        expected.log.format = .json
        expected.log.names = .hide
        #expect(read.configuration == expected)
        #expect(
            expected.limits.spec.bytes == 1_024 && expected.limits.spec.tasks == 5
                && expected.limits.spec.answerTokens == 9)
        #expect(expected.adapters[.caption] == .named("cap") && expected.adapters[.ask] == .named("vqa"))
        // `default_task` knows one word only; every other key must have left its default, or it was not tested.
        let defaults = DaemonConfiguration()
        let same = ConfigurationKey.all.filter { $0.write(expected) == $0.write(defaults) }.map(\.name)
        #expect(same == ["default_task"])
    }

    @Test("the printed configuration names the source of each value and reads back as the same")
    func printed() throws {
        let text = Self.changed.split(separator: "\n").filter { !$0.hasPrefix("scan") }.joined(separator: "\n")
        let first = try read(text)
        let printed = first.description
        #expect(
            printed.hasPrefix(
                "# From \"memvpd.yaml\"; keys that it does not have are at their defaults.\ndirectories:\n"))
        #expect(printed.contains("\n  done: \"/srv/do ne\"                        # line 1\n"))
        #expect(printed.contains("\nbatch: 4                                    # line 7\n"))
        #expect(printed.contains("\nscan:\n  interval: 1m                              # default\n"))
        #expect(try read(printed).configuration == first.configuration)
        let defaults = EffectiveConfiguration().description
        #expect(
            defaults.split(separator: "\n").allSatisfy {
                $0.hasSuffix(":") || $0.hasSuffix("# default") || $0 == "# Defaults."
            })
        #expect(try read(defaults).configuration == DaemonConfiguration())
    }

    @Test("an empty file is all defaults", arguments: ["", "# nothing\n", "\n\n"])
    func empty(text: String) throws {
        let read = try read(text)
        #expect(read.configuration == DaemonConfiguration())
        #expect(read.file == "memvpd.yaml")
    }

    @Test(
        "bad values are refused with place and range",
        arguments: [
            (
                "directory:\n  inbox: /a",
                ":1:1: unknown key \"directory\" [configuration_invalid]. Did you mean \"directories\"?"
            ),
            ("limits:\n  task: 4", ":2:3: unknown key \"task\" [configuration_invalid]. Did you mean \"tasks\"?"),
            ("- a", ":1:1: the document: a list is not a mapping of settings [configuration_invalid]"),
            ("limits: 4", ":1:9: limits: \"4\" is not a mapping of settings [configuration_invalid]"),
            ("limits:", ":1:8: limits: nothing is not a mapping of settings [configuration_invalid]"),
            ("workers: 0", ":1:10: workers: \"0\" is not a whole number from 1 to 64 [configuration_invalid]"),
            ("workers:", ":1:9: workers: nothing is not a whole number from 1 to 64 [configuration_invalid]"),
            (
                "directories: {inbox: inbox}",
                ":1:22: directories.inbox: \"inbox\" is not an absolute path of at most 4000 bytes without `.`, `..` "
                    + "and control characters [configuration_invalid]"
            ),
            (
                "sockets: {control: /\(String(repeating: "s", count: 107))}",
                ":1:20: sockets.control: \"/\(String(repeating: "s", count: 59))…\" is not an absolute path of at most 107 bytes "
                    + "without `.`, `..` and control characters [configuration_invalid]"
            ),
            (
                "settle: 2",
                ":1:9: settle: \"2\" is not a duration from 10ms to 1h, such as 500ms or 2m [configuration_invalid]"
            ),
            (
                "limits: {image_bytes: 20Mb}",
                ":1:23: limits.image_bytes: \"20Mb\" is not a size from 1KiB to 2GB, such as 64KiB or 20MB [configuration_invalid]"
            ),
            (
                "log: {level: loud}",
                ":1:14: log.level: \"loud\" is not one of trace, debug, info, notice, warning, error, critical "
                    + "[configuration_invalid]"
            ),
            ("retry: {initial: 20m}", ":1:18: retry.initial is longer than retry.maximum [configuration_invalid]"),
            (
                "pairing: {timeout: 100ms}",
                ":1:20: pairing.grace is longer than pairing.timeout [configuration_invalid]"
            ),
            ("writing_timeout: 1s", ":1:18: settle is longer than writing_timeout [configuration_invalid]"),
            (
                "metrics: {textfile: /a/b.txt}",
                ":1:21: metrics.textfile: \"/a/b.txt\" does not end in .prom [configuration_invalid]. "
                    + "node_exporter reads no other files."
            ),
            ("workers: &w 1", ":1:10: anchors (&name) are not allowed [configuration_invalid]. Remove it."),
        ])
    func refused(text: String, words: String) {
        #expect(complaint(text) == "memvpd.yaml" + words)
    }

    @Test(
        "no directory in another, no file of ours in a directory",
        arguments: [
            (
                "directories: {inbox: /var/lib/memvpd/outbox/in}",
                "directories.inbox \"/var/lib/memvpd/outbox/in\" lies inside directories.outbox \"/var/lib/memvpd/outbox\""
            ),
            (
                "directories: {outbox: /var/lib}",
                "directories.inbox \"/var/lib/memvpd/inbox\" lies inside directories.outbox \"/var/lib\""
            ),
            (
                "directories: {failed: /a, done: //a/}",
                "directories.done \"/a\" is the same as directories.failed \"/a\""
            ),
            (
                "model: /var/lib/memvpd/spool/model",
                "model \"/var/lib/memvpd/spool/model\" lies inside directories.spool \"/var/lib/memvpd/spool\""
            ),
            (
                "sockets: {control: /var/lib/memvpd/inbox/c}",
                "sockets.control \"/var/lib/memvpd/inbox/c\" lies inside directories.inbox \"/var/lib/memvpd/inbox\""
            ),
            ("sockets: {control: /a, metrics: /a}", "sockets.metrics \"/a\" is the same as sockets.control \"/a\""),
            (
                "metrics: {textfile: /var/lib/memvpd/outbox/m.prom}",
                "metrics.textfile \"/var/lib/memvpd/outbox/m.prom\" lies inside directories.outbox \"/var/lib/memvpd/outbox\""
            ),
        ])
    func places(text: String, words: String) throws {
        let failure = try #require(complaint(text))
        #expect(failure.contains(words))
        #expect(failure.contains("Give each a place of its own."))
        #expect(!failure.hasPrefix("memvpd.yaml: \(words)"), "the fault has a place")
    }

    @Test("neighbours whose names begin alike are no conflict")
    func neighbours() throws {
        let read = try read("directories: {inbox: /a/in, spool: /a/in-spool, outbox: /a/inn, failed: /a/i, done: /a/d}")
        #expect(read.configuration.directories.spool == "/a/in-spool")
    }

    @Test("all faults at once, exit code 78")
    func several() {
        let text = """
            directories:
              inbox: inbox
              done: /var/lib/memvpd/failed
            threads: many
            setle: 2s
            """
        let expected = """
            memvpd.yaml: has 4 faults
              2:10: directories.inbox: "inbox" is not an absolute path of at most 4000 bytes without `.`, `..` and control characters
              3:9: directories.done "/var/lib/memvpd/failed" is the same as directories.failed "/var/lib/memvpd/failed". Give each a place of its own.
              4:10: threads: "many" is not a whole number from 0 to 1024
              5:1: unknown key "setle". Did you mean "settle"? [configuration_invalid]
            """
        #expect(complaint(text) == expected)
        #expect(FailureCode.configurationInvalid.exitCode == .configuration)
    }

    @Test("too long a file is refused unread")
    func size() {
        let failure = complaint(String(repeating: "#", count: 65_537))
        #expect(failure == "memvpd.yaml: is 65537 bytes long; at most 65536 are read [configuration_invalid]")
    }

    @Test("the table: names once, groups together, meanings that are sentences")
    func table() {
        let names = ConfigurationKey.all.map(\.name)
        #expect(Set(names).count == names.count)
        #expect(ConfigurationKey.all.allSatisfy { $0.meaning.hasSuffix(".") && !$0.expected.isEmpty })
        let groups = ConfigurationKey.all.compactMap(\.group)
        let runs = groups.enumerated().filter { $0.offset == 0 || groups[$0.offset - 1] != $0.element }.map(\.element)
        #expect(Set(runs).count == runs.count, "the keys of a group stand together")
        #expect(Set(runs) == Set(ConfigurationKey.groups.map(\.name)))
    }
}
