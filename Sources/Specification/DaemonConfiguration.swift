// What memvpd runs with: plain values, their defaults in one place.
//
// The keys, ranges and meanings are the table in `ConfigurationKey.all`; reading is `EffectiveConfiguration`.
// Invariants of every value that came from a document: paths are absolute and normalised, no directory lies in another,
// every number within its range.

/// The daemon's configuration; `init()` is what an empty file gives (DESIGN 4 "Configuration").
public struct DaemonConfiguration: Sendable, Equatable {
    /// Where the spool's states live.
    public var directories = Directories()
    /// Where the Unix sockets are, when the daemon binds them itself.
    public var sockets = Sockets()
    /// The directory of the model bundle.
    public var model = "/var/lib/memvpd/model"
    /// What a photo without a spec gets.
    public var defaultTask = DefaultTask.caption
    /// Model workers, each with a state of its own; weights are shared.
    public var workers = 1
    /// Kernel threads over all workers, divided between them; 0 for all CPUs that the process may use.
    public var threads = 0
    /// The most sequences that go through the model together.
    public var batch = 16
    /// The adapter for each kind of task.
    public var adapters = Adapters()
    /// What is refused or made to wait.
    public var limits = Limits()
    /// How long originals are kept.
    public var retention = RetentionPolicy()
    /// How photos and specs find each other.
    public var pairing = Pairing()
    /// How long a file found by a scan must stay unchanged before it is taken.
    public var settle = Duration.seconds(2)
    /// How long a file that its writer keeps open may stand unchanged before it is taken all the same.
    public var writingTimeout = Duration.seconds(3_600)
    /// How directories are watched.
    public var watch = Watch()
    /// How often the inbox is looked through.
    public var scan = Scan()
    /// How jobs with a passing fault are tried again.
    public var retry = Retry()
    /// Where metrics are written besides the socket.
    public var metrics = Metrics()
    /// What is logged and how.
    public var log = Log()

    /// The defaults.
    public init() {}

    /// The directories of the spool; on one file system, moves between them are renames.
    public struct Directories: Sendable, Equatable {
        /// Where photos and specs are dropped.
        public var inbox = "/var/lib/memvpd/inbox"
        /// Where claimed jobs are kept until they are answered.
        public var spool = "/var/lib/memvpd/spool"
        /// Where finished answers appear.
        public var outbox = "/var/lib/memvpd/outbox"
        /// Where the inputs of failed jobs are kept with the reason.
        public var failed = "/var/lib/memvpd/failed"
        /// Where the inputs of answered jobs are kept.
        public var done = "/var/lib/memvpd/done"
    }

    /// The Unix sockets.
    public struct Sockets: Sendable, Equatable {
        /// The operator's socket.
        public var control = "/run/memvpd/control.sock"
        /// The socket that serves metrics only.
        public var metrics = "/run/memvpd/metrics.sock"
    }

    /// The adapters by kind of task.
    public struct Adapters: Sendable, Equatable {
        /// For captions.
        public var caption = AdapterChoice.bundleDefault
        /// For questions.
        public var ask = AdapterChoice.bundleDefault

        /// The choice for a kind of task.
        public subscript(kind: TaskKind) -> AdapterChoice {
            switch kind {
            case .caption: caption
            case .ask: ask
            }
        }
    }

    /// What is refused or made to wait.
    public struct Limits: Sendable, Equatable {
        /// The largest image file in bytes.
        public var imageBytes = 64 << 20
        /// The largest image in pixels, width times height.
        public var imagePixels = 100_000_000
        /// The longest side of an image in pixels.
        public var imageSide = 30_000
        /// The longest task spec in bytes.
        public var specBytes = 65_536
        /// The most tasks of one spec.
        public var tasks = 64
        /// The most tokens of a prompt.
        public var promptTokens = 1_024
        /// The most new tokens of one answer.
        public var answerTokens = 256
        /// The most jobs in the spool; further files wait in the inbox.
        public var queue = 10_000

        /// The part that concerns task specs.
        public var spec: TaskSpec.Limits {
            var limits = TaskSpec.Limits()
            limits.bytes = specBytes
            limits.tasks = tasks
            limits.answerTokens = answerTokens
            return limits
        }
    }

    /// How long originals are kept.
    public struct RetentionPolicy: Sendable, Equatable {
        /// Those of answered jobs.
        public var done = Retention.forever
        /// Those of failed jobs.
        public var failed = Retention.forever
    }

    /// How photos and specs find each other.
    public struct Pairing: Sendable, Equatable {
        /// How long a photo waits for a spec before it gets the default task.
        public var grace = Duration.seconds(1)
        /// How long a spec waits for its photo before it fails.
        public var timeout = Duration.seconds(3_600)
    }

    /// How directories are watched, each by its name.
    public struct Watch: Sendable, Equatable {
        /// The inbox.
        public var inbox = WatchChoice.auto
    }

    /// How often the inbox is looked through.
    public struct Scan: Sendable, Equatable {
        /// Where inotify works: to recover what it missed.
        public var interval = Duration.seconds(60)
        /// Where it cannot work (network file systems).
        public var poll = Duration.seconds(2)
    }

    /// How jobs with a passing fault are tried again.
    public struct Retry: Sendable, Equatable {
        /// The most tries, the first one counted.
        public var attempts = 500
        /// The wait before the second try; it doubles each time.
        public var initial = Duration.seconds(5)
        /// The longest wait.
        public var maximum = Duration.seconds(900)
    }

    /// Where metrics are written besides the socket.
    public struct Metrics: Sendable, Equatable {
        /// The file for node_exporter's textfile collector; nil for none.
        public var textfile: String?
    }

    /// What is logged and how.
    public struct Log: Sendable, Equatable {
        /// The least important level that is logged.
        public var level = LogLevel.info
        /// The form of a line.
        public var format = LogFormat.text
        /// Whether lines name files.
        public var names = LogNames.show
    }
}

/// Which adapter a kind of task uses.
public enum AdapterChoice: Sendable, Equatable {
    /// The one that the model bundle names for the task.
    case bundleDefault
    /// The one of this name.
    case named(String)
}

/// How a directory is watched.
public enum WatchChoice: String, Sendable, CaseIterable {
    /// inotify(7) where it can work, else polling.
    case auto
    /// inotify(7) whatever the file system; polling only while there is no instance to be had.
    case inotify
    /// Polling.
    case poll
}

/// Levels of log messages, the least important first; the names are swift-log's.
public enum LogLevel: String, Sendable, CaseIterable {
    /// Every step.
    case trace
    /// What a developer wants to see.
    case debug
    /// What happened.
    case info
    /// What an operator should see though nothing is wrong.
    case notice
    /// What may need an operator.
    case warning
    /// What went wrong.
    case error
    /// What stops the service.
    case critical
}

/// The form of a log line.
public enum LogFormat: String, Sendable, CaseIterable {
    /// For people and the journal.
    case text
    /// One JSON object a line.
    case json
}

/// Whether log lines name the files that were dropped. Names may be those of patients.
public enum LogNames: String, Sendable, CaseIterable {
    /// They do, and faults say all that is known.
    case show
    /// They name jobs alone, and faults their codes; `memvpctl` says the rest to those who may ask.
    case hide
}
