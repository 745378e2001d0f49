// GET /v1/queue and GET /v1/jobs/ID: jobs as values. docs/CONTROL.md describes the members.

/// A job in the queue's list.
public struct QueueEntry: Codable, Sendable, Equatable {
    /// The job's identifier; missing for what still waits in the inbox.
    public var job: String?
    /// Where it stands; the names are those of `QueueState` in this version, and `done` for what was answered and published.
    public var state: String
    /// The image; missing for a spec that still waits for it.
    public var image: FileLabel?
    /// The task spec; missing where there is none.
    public var spec: FileLabel?
    /// From -10 to 10; higher goes first.
    public var priority: Int
    /// When it was claimed, or first seen while it waits in the inbox.
    public var since: Timestamp
    /// Its place in the order of work, from 1; missing when it is not waiting for work.
    public var position: Int?
    /// Why it is where it is, in a few words; missing when the state says it all.
    public var note: String?

    /// Makes the entry.
    public init(
        job: String?, state: String, image: FileLabel?, spec: FileLabel? = nil, priority: Int = 0, since: Timestamp,
        position: Int? = nil, note: String? = nil
    ) {
        self.job = job
        self.state = state
        self.image = image
        self.spec = spec
        self.priority = priority
        self.since = since
        self.position = position
        self.note = note
    }
}

/// The queue's list.
public struct QueueDocument: Codable, Sendable, Equatable {
    /// The version of this document.
    public var api = controlAPIVersion
    /// Whether an operator holds the queue.
    public var held: Bool
    /// How many jobs match what was asked; more than `jobs` has when the list was cut.
    public var total: Int
    /// The jobs, those to be worked on first at the head.
    public var jobs: [QueueEntry]

    /// Makes the document.
    public init(held: Bool, total: Int, jobs: [QueueEntry]) {
        self.held = held
        self.total = total
        self.jobs = jobs
    }
}

/// One job with its history.
public struct JobDocument: Codable, Sendable, Equatable {
    /// A step in the job's life.
    public struct Event: Codable, Sendable, Equatable {
        /// When.
        public var at: Timestamp
        /// The state it came into, or what happened.
        public var event: String
        /// More about it; missing when there is nothing to add.
        public var note: String?

        /// Makes the event.
        public init(at: Timestamp, event: String, note: String? = nil) {
            self.at = at
            self.event = event
            self.note = note
        }
    }

    /// The version of this document.
    public var api = controlAPIVersion
    /// The job as in the queue's list.
    public var entry: QueueEntry
    /// What its state means and what comes next, as sentences: the text of `memvpctl explain`.
    public var explanation: String
    /// What happened to it, the oldest first.
    public var history: [Event]
    /// How often it was started.
    public var attempts: Int
    /// Crashes charged to it; two are poison.
    public var strikes: Int
    /// The job that this one repeats.
    public var retryOf: String?
    /// The answer's file name in the outbox, once there is one.
    public var answer: FileLabel?
    /// Why it failed; missing when it did not.
    public var error: ErrorDetail?
    /// Milliseconds in each stage it went through.
    public var timing: [String: Double]

    /// Makes the document.
    public init(
        entry: QueueEntry, explanation: String, history: [Event], attempts: Int = 0, strikes: Int = 0,
        retryOf: String? = nil, answer: FileLabel? = nil, error: ErrorDetail? = nil, timing: [String: Double] = [:]
    ) {
        self.entry = entry
        self.explanation = explanation
        self.history = history
        self.attempts = attempts
        self.strikes = strikes
        self.retryOf = retryOf
        self.answer = answer
        self.error = error
        self.timing = timing
    }

    private enum CodingKeys: String, CodingKey {
        case api, entry, explanation, history, attempts, strikes, answer, error
        case retryOf = "retry_of"
        case timing = "timing_ms"
    }
}

/// What a verb did.
public struct ActionDocument: Codable, Sendable, Equatable {
    /// The version of this document.
    public var api = controlAPIVersion
    /// What was done, as a sentence.
    public var message: String
    /// The jobs that it made or changed.
    public var jobs: [String]

    /// Makes the document.
    public init(_ message: String, jobs: [String] = []) {
        self.message = message
        self.jobs = jobs
    }
}

/// Whether the daemon can do its work.
public struct HealthDocument: Codable, Sendable, Equatable {
    /// One thing that was looked at.
    public struct Check: Codable, Sendable, Equatable {
        /// What: `model`, `inbox`, `outbox`, `spool`, `workers`, …
        public var name: String
        /// Whether it is well.
        public var ok: Bool
        /// What was found; empty when there is nothing to say. Anybody may read it, so it names no file.
        public var message: String
        /// The directory that it is about; missing when it is about none, and on the metrics socket.
        public var path: String?

        /// Makes the check.
        public init(_ name: String, ok: Bool, message: String = "", path: String? = nil) {
            self.name = name
            self.ok = ok
            self.message = message
            self.path = path
        }
    }

    /// The version of this document.
    public var api = controlAPIVersion
    /// Whether every check is well.
    public var ok: Bool
    /// What was looked at.
    public var checks: [Check]

    /// Makes the document; it is well when all checks are.
    public init(checks: [Check]) {
        self.checks = checks
        ok = checks.allSatisfy(\.ok)
    }
}
