// etc/memvpd.yaml and man/memvpd.yaml.5 as they follow from the table of keys.
//
// `MEMVP_RECORD=1 swift test --filter ShippedFiles` writes both files anew and fails, so that it cannot be left on.

@testable import Specification

enum ReferencePages {
    /// Every key with its default and a comment.
    static var yaml: String {
        var lines = [
            "# Configuration of memvpd; memvpd.yaml(5) says more. Every key is here with its default.",
            "# Checked with `memvpd --check-config`; taken up with `systemctl reload memvpd`.",
            "# Paths are absolute; durations look like 500ms, 2s, 5m, 1h, 7d, sizes like 64KiB, 20MB.",
            "# Unknown keys, relative paths and values out of range are refused, all at once, with their lines.",
        ]
        var group: String?
        for key in ConfigurationKey.all {
            lines.append("")
            if let entered = key.group, entered != group {
                let meaning = ConfigurationKey.groups.first { $0.name == entered }?.meaning ?? ""
                lines += comment(meaning, indent: "") + ["\(entered):"]
            }
            group = key.group
            let indent = group == nil ? "" : "  "
            lines += comment("\(key.meaning)\(allowed(key))", indent: indent)
            lines.append("\(indent)\(key.leaf): \(key.write(DaemonConfiguration()))")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// What the key takes, as a sentence; nothing for paths, which both pages explain once for all.
    private static func allowed(_ key: ConfigurationKey) -> String {
        key.expected.hasPrefix("an absolute path") ? "" : " Allowed: \(key.expected)."
    }

    private static func comment(_ text: String, indent: String) -> [String] {
        var lines = [indent + "#"]
        for word in text.split(separator: " ") {
            if lines[lines.count - 1].count + 1 + word.count > 100 { lines.append(indent + "#") }
            lines[lines.count - 1] += " \(word)"
        }
        return lines
    }

    /// memvpd.yaml(5) in mdoc(7).
    static var manual: String {
        var lines = ReferencePages.opening
        var group: String?
        for key in ConfigurationKey.all {
            if group != nil, key.group != group { lines.append(".El") }
            if let entered = key.group, entered != group {
                let meaning = ConfigurationKey.groups.first { $0.name == entered }?.meaning ?? ""
                lines.append(".It Ic \(entered)")
                lines += roff(meaning) + [".Bl -tag -width Ds"]
            }
            group = key.group
            lines.append(".It Ic \(key.name)")
            lines += roff("\(key.meaning)\(allowed(key))")
            lines += ["Default:", ".Ql \(key.write(DaemonConfiguration()).replacing("-", with: "\\-")) ."]
        }
        if group != nil { lines.append(".El") }
        return (lines + closing).joined(separator: "\n") + "\n"
    }

    /// One line a sentence; words between grave accents become quoted literals.
    private static func roff(_ text: String) -> [String] {
        text.replacing(". ", with: ".\n").split(separator: "\n").map { sentence in
            let pieces = sentence.split(separator: "`", omittingEmptySubsequences: false).map(String.init)
            return pieces.enumerated().map { $0.offset % 2 == 0 ? $0.element : "\\(oq\($0.element)\\(cq" }.joined()
                .replacing("-", with: "\\-")
        }
    }

    private static let opening = """
        .\\" Made from Sources/Specification/ConfigurationKey.swift by Tests/SpecificationTests/ReferencePages.swift.
        .Dd November 23, 2026
        .Dt MEMVPD.YAML 5
        .Os
        .Sh NAME
        .Nm memvpd.yaml
        .Nd configuration of the memvpd image captioning daemon
        .Sh DESCRIPTION
        .Nm
        sets up
        .Xr memvpd 8 .
        Every key may be left out and then has its default; an empty file is a valid configuration.
        .Pp
        The file is read strictly.
        It is one YAML document in UTF\\-8 of at most 64 KiB, nested at most 8 levels deep.
        Anchors, aliases, tags, merge keys, directives, duplicate and unknown keys are errors.
        So are relative paths, values out of range, and directories that lie inside one another.
        All errors are reported at once, each with line and column; for an unknown key the nearest known one is named.
        .Pp
        .Dl memvpd \\-\\-check\\-config
        .Pp
        reads the file and prints the value of every key with the line that it comes from, or
        .Ql default .
        .Pp
        .Dl systemctl reload memvpd
        .Pp
        has the running daemon read it anew.
        If it then has errors, the daemon goes on with the configuration that it has.
        In force at once are model, default_task, adapters, batch, metrics.textfile and, of limits, image_pixels, image_side,
        prompt_tokens and answer_tokens; other changes wait for a restart, and
        .Xr memvpctl 1
        names them.
        .Ss Values
        .Bl -tag -width Ds
        .It duration
        A whole number with one of the units ms, s, m, h and d; 0 needs no unit.
        .It size
        A whole number of bytes, or one with one of the units B, KB, MB and GB
        (powers of 1000) or KiB, MiB and GiB (powers of 1024).
        .It path
        An absolute path without \\(oq.\\(cq, \\(oq..\\(cq and control characters, at most 4000 bytes long, that of
        a socket at most 107.
        Doubled and final slashes are dropped.
        .El
        .Pp
        Quotation marks change no value: the key decides what its value is.
        .Sh KEYS
        .Bl -tag -width Ds
        """.split(separator: "\n").map(String.init)

    private static let closing = """
        .El
        .Sh FILES
        .Bl -tag -width Ds
        .It Pa /etc/memvpd.yaml
        The configuration; it ships with every key at its default, commented.
        .It Pa /var/lib/memvpd
        The directories of the spool and the model, unless the configuration names others.
        .El
        .Sh EXIT STATUS
        .Xr memvpd 8
        does not start with a configuration that has errors: it exits with 78, and
        .Xr systemd 1
        does not start it again.
        .Sh EXAMPLES
        An inbox on a network file system, and originals of answered photos deleted after a week:
        .Bd -literal -offset indent
        directories:
          inbox: /srv/photos/inbox
        scan:
          poll: 5s
        retention:
          done: 7d
        .Ed
        .Pp
        A directory outside of
        .Pa /var/lib/memvpd
        must be opened to the service by a drop\\-in; an example ships as
        .Pa 10\\-inbox\\-elsewhere.conf.example .
        .Sh SEE ALSO
        .Xr memvpctl 1 ,
        .Xr systemd.unit 5 ,
        .Xr memvpd 8
        """.split(separator: "\n").map(String.init)
}
