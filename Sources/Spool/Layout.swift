// Names in the spool, in one place (docs/QUEUE.md, "Where things are").

/// The states of a job that has a directory of its own; each is a directory.
public enum JobState: String, Sendable, CaseIterable {
    /// Being taken in.
    case claimed
    /// Waiting for a worker.
    case queued
    /// Kept back by an operator.
    case held
    /// Waiting for a passing fault to pass.
    case deferred
    /// In a worker's hands.
    case running
    /// The outcome is fixed; it is being published.
    case answered
    /// The inputs of an answered job, kept.
    case done
    /// The inputs of a failed job, kept with the reason.
    case failed

    /// Those whose directories are in the spool; `done` and `failed` have directories of their own.
    static let inSpool: [JobState] = [.claimed, .queued, .held, .deferred, .running, .answered]

    /// Those in which a spec may still join and an operator may still remove.
    var isWaiting: Bool { self == .queued || self == .held || self == .deferred }
}

enum Layout {
    static let input = known("input")
    static let record = known("job.json")
    static let answer = known("answer.json")
    static let reason = known("reason.json")
    static let publishing = known("publishing")
    static let retried = known("retried")
    static let incoming = known("incoming.tmp")

    static let lock = known("lock")
    static let session = known("session")
    static let strikes = known("strikes")
    static let hold = known("hold")

    /// In an inbox that is not on the spool's file system.
    static let transfer = known(".memvpd")
    static let kept = known("kept")

    /// Where an answer is copied before it appears in an outbox on another file system.
    static func hidden(_ id: JobID) -> FileName { known(".\(id).tmp") }

    /// The job of such a name, nil for any other name.
    static func job(ofHidden name: FileName) -> JobID? {
        guard let text = name.text, text.hasPrefix("."), text.hasSuffix(".tmp") else { return nil }
        return JobID(String(text.dropFirst().dropLast(4)))
    }

    /// Where an expired job's directory is removed from.
    static func expiring(_ id: JobID) -> FileName { known(".\(id)") }

    static func job(ofExpiring name: FileName) -> JobID? {
        guard let text = name.text, text.hasPrefix(".") else { return nil }
        return JobID(String(text.dropFirst()))
    }

    /// A name written in this program. The fallback is never reached: every caller passes a valid name.
    static func known(_ text: String) -> FileName {
        FileName(text) ?? FileName.placeholder
    }
}

extension FileName {
    static let placeholder = FileName(unchecked: [0x3F])

    private init(unchecked bytes: [UInt8]) { self.bytes = bytes }
}

extension JobID {
    var fileName: FileName { Layout.known(description) }
}

extension JobState {
    var fileName: FileName { Layout.known(rawValue) }
}

/// Names of outcomes (docs/QUEUE.md, "Names in the outbox").
enum OutcomeName {
    /// `STEM.json` for 1, else `STEM-N.json`; the stem is cut where the whole would be too long.
    static func name(stem: FileName, ordinal: Int) -> FileName {
        let suffix = Array((ordinal <= 1 ? ".json" : "-\(ordinal).json").utf8)
        let bytes = cut(stem.bytes, to: FileName.maximumLength - suffix.count) + suffix
        return FileName(bytes) ?? FileName.placeholder
    }

    /// The number in an outcome's name, given the stem it was made of; 1 when it cannot be told.
    static func ordinal(of name: FileName, stem: FileName) -> Int {
        let bytes = name.stem.bytes
        guard let dash = bytes.lastIndex(of: UInt8(ascii: "-")), stem.bytes.starts(with: bytes[..<dash]),
            let number = Int(String(decoding: bytes[(dash + 1)...], as: UTF8.self)), number > 1,
            OutcomeName.name(stem: stem, ordinal: number) == name
        else { return 1 }
        return number
    }

    private static func cut(_ bytes: [UInt8], to limit: Int) -> [UInt8] {
        guard bytes.count > limit else { return bytes }
        var end = limit
        if String(validating: bytes, as: UTF8.self) != nil {
            while end > 0, bytes[end] & 0xC0 == 0x80 { end -= 1 }
        }
        return Array(bytes[..<end])
    }
}
