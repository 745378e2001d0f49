// What the spool is told: directories, waits and limits. Plain values; the defaults are the documented ones (DESIGN 4, 5).
// `Spool.init` checks what only the file system can tell (directories exist, differ, and allow a rename between them).

internal import Diagnostics

/// Where the spool works and how long it waits.
public struct SpoolConfiguration: Sendable, Equatable {
    /// The five directories, by absolute path. `spool`, `done` and `failed` must allow a rename between them.
    public struct Directories: Sendable, Equatable {
        /// Where people drop files.
        public var inbox: String
        /// Where jobs are kept while they are worked on.
        public var spool: String
        /// Where outcomes appear.
        public var outbox: String
        /// Where inputs of failed jobs are kept, with the reason.
        public var failed: String
        /// Where inputs of answered jobs are kept.
        public var done: String

        /// Names the five directories.
        public init(inbox: String, spool: String, outbox: String, failed: String, done: String) {
            (self.inbox, self.spool, self.outbox, self.failed, self.done) = (inbox, spool, outbox, failed, done)
        }
    }

    /// How photos and specs wait for each other.
    public struct Pairing: Sendable, Equatable {
        /// How long a complete photo waits for a spec; zero: not at all.
        public var grace: Duration = .seconds(1)
        /// How long a complete spec waits for its photo.
        public var timeout: Duration = .seconds(3600)

        /// The defaults.
        public init() {}
    }

    /// What is too much.
    public struct Limits: Sendable, Equatable {
        /// The largest image file, in bytes.
        public var imageBytes = 64 << 20
        /// The largest task spec, in bytes.
        public var specBytes = 64 << 10
        /// How many jobs may be in the spool before further drops are left in the inbox.
        public var jobs = 10_000

        /// The defaults.
        public init() {}
    }

    /// How passing faults are tried again: the first pause, doubled each time.
    public struct Retry: Sendable, Equatable {
        /// The pause after the first fault.
        public var initial: Duration = .seconds(5)
        /// The longest pause.
        public var maximum: Duration = .seconds(900)
        /// After how many attempts the fault becomes the outcome; zero: never. The default is about five days.
        public var attempts = 500

        /// The defaults.
        public init() {}

        /// The pause after the given number of attempts (1 …).
        func pause(afterAttempt attempt: Int) -> Duration {
            var pause = initial
            for _ in 1..<max(1, min(attempt, 64)) where pause < maximum { pause *= 2 }
            return min(pause, maximum)
        }
    }

    /// How long inputs are kept; nil: forever.
    public struct Retention: Sendable, Equatable {
        /// For answered jobs.
        public var done: Duration?
        /// For failed jobs.
        public var failed: Duration?

        /// The defaults: forever.
        public init() {}
    }

    /// How the inbox is watched.
    public enum Watch: String, Sendable, Equatable, CaseIterable {
        /// inotify(7) where it can work, else polling.
        case automatic
        /// inotify(7), whatever the file system; polling only while there is no instance to be had.
        case inotify
        /// Polling, whatever the file system.
        case poll
    }

    /// The directories.
    public var directories: Directories
    /// How long a file must stand unchanged before it is taken for complete, where nothing says so sooner.
    public var settle: Duration = .seconds(2)
    /// How long a file that its writer keeps open may stand unchanged before it is taken all the same.
    public var writingTimeout: Duration = .seconds(3600)
    /// Photos and specs.
    public var pairing = Pairing()
    /// How the inbox is watched.
    public var watch = Watch.automatic
    /// How often a polled inbox is looked at.
    public var pollInterval: Duration = .seconds(2)
    /// How often a watched inbox is scanned without a cause.
    public var scanInterval: Duration = .seconds(60)
    /// What is too much.
    public var limits = Limits()
    /// How passing faults are tried again.
    public var retry = Retry()
    /// How long inputs are kept.
    public var retention = Retention()
    /// Extensions that photos usually have, in lower case.
    static let photoExtensions: Set<String> = ["jpg", "jpeg", "png"]
    /// Extensions of images, in lower case. Any other file is `unsupported_type`.
    public var imageExtensions = SpoolConfiguration.photoExtensions
    /// Extensions of task specs, in lower case.
    public var specExtensions: Set<String> = ["yaml", "yml"]
    /// Names with these endings are being written by somebody; they are ignored and counted, like dot files.
    public var ignoredSuffixes = [".part", ".tmp", ".crdownload", "~"]
    /// Whether a crash of the process is noted by signal handlers (`CLinux`). For the daemon; process-wide.
    public var notesCrashes = false

    /// Refuses values that no clock or limit can mean; the directories are checked when they are opened.
    func check() throws(Failure) {
        let century: Duration = .seconds(100 * 366 * 86_400)
        let waits: [(String, Duration?)] = [
            ("settle", settle), ("writing_timeout", writingTimeout), ("pairing.grace", pairing.grace),
            ("pairing.timeout", pairing.timeout),
            ("scan.poll", pollInterval), ("scan.interval", scanInterval), ("retry.initial", retry.initial),
            ("retry.maximum", retry.maximum), ("retention.done", retention.done),
            ("retention.failed", retention.failed),
        ]
        for (name, wait) in waits {
            guard let wait, wait < .zero || wait > century else { continue }
            throw Failure(.configurationInvalid, name, "is \(wait.text)", hint: "Give a time from 0 to a century.")
        }
        for (name, count) in [
            ("limits.image_bytes", limits.imageBytes), ("limits.spec_bytes", limits.specBytes),
            ("limits.queue", limits.jobs),
        ] {
            guard count < 1 || count == Int.max else { continue }
            throw Failure(.configurationInvalid, name, "is \(count)", hint: "Give a number from 1.")
        }
    }

    /// The defaults for the given directories.
    public init(directories: Directories) {
        self.directories = directories
    }
}
