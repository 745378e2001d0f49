// GET /v1/status: everything an operator wants at a glance, as one value. docs/CONTROL.md describes the members.
//
// Invariants: states, modes and stages are plain text, so that a reader takes those it does not know; members added after
// version 1 are optional.

/// The version of the documents; a change that an older reader could not take raises it and the `/v1` of the paths.
public let controlAPIVersion = 1

/// The daemon's condition.
public struct StatusDocument: Codable, Sendable, Equatable {
    /// The daemon as a process.
    public struct Daemon: Codable, Sendable, Equatable {
        /// memvpd's version.
        public var version: String
        /// Its process.
        public var processID: Int32
        /// When it started.
        public var startedAt: Timestamp
        /// How long ago that was, in seconds.
        public var uptimeSeconds: Double

        /// Makes the section.
        public init(version: String, processID: Int32, startedAt: Timestamp, uptimeSeconds: Double) {
            self.version = version
            self.processID = processID
            self.startedAt = startedAt
            self.uptimeSeconds = uptimeSeconds
        }

        private enum CodingKeys: String, CodingKey {
            case version
            case processID = "process_id"
            case startedAt = "started_at"
            case uptimeSeconds = "uptime_seconds"
        }
    }

    /// The model and how it runs.
    public struct Model: Codable, Sendable, Equatable {
        /// The bundle's name.
        public var name: String
        /// `int8` or `f32`.
        public var precision: String
        /// The kernel path: `scalar`, `avx2`, …
        public var kernels: String
        /// Compute threads.
        public var threads: Int
        /// Workers that share the weights.
        public var workers: Int
        /// The most jobs in one batch.
        public var batch: Int
        /// The adapter of each task.
        public var adapters: [String: String]

        /// Makes the section.
        public init(
            name: String, precision: String, kernels: String, threads: Int, workers: Int, batch: Int,
            adapters: [String: String]
        ) {
            self.name = name
            self.precision = precision
            self.kernels = kernels
            self.threads = threads
            self.workers = workers
            self.batch = batch
            self.adapters = adapters
        }
    }

    /// The queue by state.
    public struct Queue: Codable, Sendable, Equatable {
        /// Jobs in each state; the names are those of `QueueState` in this version.
        public var jobs: [String: Int]
        /// Whether an operator holds the queue.
        public var held: Bool
        /// The age of the oldest job in the spool, whatever it waits for; missing when there is none.
        public var oldestSeconds: Double?

        /// Makes the section.
        public init(jobs: [String: Int], held: Bool, oldestSeconds: Double?) {
            self.jobs = jobs
            self.held = held
            self.oldestSeconds = oldestSeconds
        }

        private enum CodingKeys: String, CodingKey {
            case jobs, held
            case oldestSeconds = "oldest_seconds"
        }
    }

    /// What was done since the start.
    public struct Throughput: Codable, Sendable, Equatable {
        /// Jobs ended in the last 60 seconds.
        public var perMinute: Int
        /// Jobs answered since the start.
        public var answered: UInt64
        /// Jobs ended with an error since the start.
        public var errors: UInt64

        /// Makes the section.
        public init(perMinute: Int, answered: UInt64, errors: UInt64) {
            self.perMinute = perMinute
            self.answered = answered
            self.errors = errors
        }

        private enum CodingKeys: String, CodingKey {
            case perMinute = "per_minute"
            case answered, errors
        }
    }

    /// The time of one stage over the latest jobs, at most 1,024.
    public struct StageTime: Codable, Sendable, Equatable {
        /// The stage, as in `timing_ms` of an answer.
        public var stage: String
        /// Half of the jobs took no longer, in milliseconds.
        public var p50Milliseconds: Double
        /// 95 of 100 jobs took no longer, in milliseconds.
        public var p95Milliseconds: Double
        /// How many jobs went through the stage since the start.
        public var count: UInt64

        /// Makes the entry.
        public init(stage: String, p50Milliseconds: Double, p95Milliseconds: Double, count: UInt64) {
            self.stage = stage
            self.p50Milliseconds = p50Milliseconds
            self.p95Milliseconds = p95Milliseconds
            self.count = count
        }

        private enum CodingKeys: String, CodingKey {
            case stage
            case p50Milliseconds = "p50_ms"
            case p95Milliseconds = "p95_ms"
            case count
        }
    }

    /// The latest error that was published.
    public struct LastError: Codable, Sendable, Equatable {
        /// When.
        public var at: Timestamp
        /// Of which job; missing when it was of none.
        public var job: String?
        /// Which file it was about; missing when it was about none.
        public var file: FileLabel?
        /// What it was.
        public var error: ErrorDetail

        /// Makes the entry.
        public init(at: Timestamp, job: String?, file: FileLabel?, error: ErrorDetail) {
            self.at = at
            self.job = job
            self.file = file
            self.error = error
        }
    }

    /// One of the directories.
    public struct Directory: Codable, Sendable, Equatable {
        /// `inbox`, `spool`, `outbox`, `failed` or `done`.
        public var role: String
        /// Where it is.
        public var path: String
        /// `inotify`, `poll` or `unavailable` for a directory that is watched; missing for others.
        public var watch: String?
        /// Jobs in it, where they are counted.
        public var jobs: Int?
        /// Their bytes, where they are counted.
        public var bytes: Int64?
        /// Anything else worth saying, such as why it is polled.
        public var note: String?

        /// Makes the entry.
        public init(
            role: String, path: String, watch: String? = nil, jobs: Int? = nil, bytes: Int64? = nil,
            note: String? = nil
        ) {
            self.role = role
            self.path = path
            self.watch = watch
            self.jobs = jobs
            self.bytes = bytes
            self.note = note
        }
    }

    /// What stays in the inbox.
    public struct Inbox: Codable, Sendable, Equatable {
        /// A file that is not taken yet.
        public struct Waiting: Codable, Sendable, Equatable {
            /// The file.
            public var file: FileLabel
            /// What it waits for.
            public var reason: String
            /// How much longer at most; missing where that is not known.
            public var remainingSeconds: Double?

            /// Makes the entry.
            public init(file: FileLabel, reason: String, remainingSeconds: Double?) {
                self.file = file
                self.reason = reason
                self.remainingSeconds = remainingSeconds
            }

            private enum CodingKeys: String, CodingKey {
                case file, reason
                case remainingSeconds = "remaining_seconds"
            }
        }

        /// Ignored entries by reason: `dot_file`, `partial`, `temporary`; a newer daemon may know others.
        public var ignored: [String: Int]
        /// Directories lying in the inbox: they stay, and are named here (at most 20).
        public var directories: [FileLabel]
        /// Files that are not taken yet, and why (at most 20).
        public var waiting: [Waiting]?

        /// Makes the section.
        public init(ignored: [String: Int], directories: [FileLabel], waiting: [Waiting]? = nil) {
            self.ignored = ignored
            self.directories = directories
            self.waiting = waiting
        }
    }

    /// The version of this document.
    public var api = controlAPIVersion
    /// `starting`, `running`, `held`, `draining`, `reloading` or `stopping`.
    public var state: String
    /// The daemon as a process.
    public var daemon: Daemon
    /// The model; missing until it is loaded.
    public var model: Model?
    /// The queue by state.
    public var queue: Queue
    /// What was done since the start.
    public var throughput: Throughput
    /// Stages that at least one job went through.
    public var stages: [StageTime]
    /// The latest error; missing when there was none since the start.
    public var lastError: LastError?
    /// The directories and how each is watched.
    public var directories: [Directory]
    /// What stays in the inbox.
    public var inbox: Inbox
    /// What stands still for a fault and is tried again. Added after version 1 began: optional.
    public var troubles: [ErrorDetail]?
    /// Anything an operator should know, as sentences.
    public var warnings: [String]

    /// Makes the document.
    public init(
        state: String, daemon: Daemon, model: Model?, queue: Queue, throughput: Throughput, stages: [StageTime],
        lastError: LastError?, directories: [Directory], inbox: Inbox, troubles: [ErrorDetail]? = nil,
        warnings: [String]
    ) {
        self.state = state
        self.daemon = daemon
        self.model = model
        self.queue = queue
        self.throughput = throughput
        self.stages = stages
        self.lastError = lastError
        self.directories = directories
        self.inbox = inbox
        self.troubles = troubles
        self.warnings = warnings
    }

    private enum CodingKeys: String, CodingKey {
        case api, state, daemon, model, queue, throughput, stages, directories, inbox, troubles, warnings
        case lastError = "last_error"
    }
}

extension MetricCatalog {
    /// p50 and p95 of every stage that a job went through, for `StatusDocument.stages`.
    public func stageTimes() -> [StatusDocument.StageTime] {
        Stage.allCases.compactMap { stage in
            guard let seconds = stages.quantiles(stage, [0.5, 0.95]) else { return nil }
            return StatusDocument.StageTime(
                stage: stage.rawValue, p50Milliseconds: seconds[0] * 1000, p95Milliseconds: seconds[1] * 1000,
                count: stages.count(stage))
        }
    }
}
