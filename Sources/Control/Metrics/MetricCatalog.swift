// Every metric of memvpd, in one table: `MetricCatalog.init`. docs/METRICS.md is checked against it by a test.
//
// Invariants: names carry their base unit (seconds, bytes); label values come from the closed enums below.

public import Diagnostics

/// How a job ended.
public enum JobOutcome: String, MetricLabel {
    /// Published with `status: ok`.
    case answered
    /// Published with `status: error`.
    case error
    /// Taken out by an operator.
    case removed

    /// The label `outcome`.
    public static let labelName = "outcome"
}

/// Where a job stands.
public enum QueueState: String, MetricLabel, Codable {
    /// In the inbox, not yet claimed: settling, or half of a pair.
    case waiting
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
    /// The outcome is fixed, not yet published.
    case answered
    /// Ended with an error; its inputs are kept.
    case failed

    /// The label `state`.
    public static let labelName = "state"
}

/// The stages of a job, as in an answer's `timing_ms`.
public enum Stage: String, MetricLabel, Codable {
    /// From claim to start.
    case queued
    /// Decoding the image, whatever its format.
    case jpeg
    /// The vision encoder.
    case vision
    /// The prompt through the language model.
    case prefill
    /// The answer's tokens.
    case generate
    /// From claim to commit.
    case total

    /// The label `stage`.
    public static let labelName = "stage"
}

/// What a token was for.
public enum TokenKind: String, MetricLabel {
    /// Read as part of a prompt.
    case prompt
    /// Written as part of an answer.
    case generated

    /// The label `kind`.
    public static let labelName = "kind"
}

/// Which of the two sockets.
public enum SocketRole: String, MetricLabel, Codable {
    /// Status, queue and verbs, for operators.
    case control
    /// Metrics, status and health only.
    case metrics

    /// The label `socket`.
    public static let labelName = "socket"
}

/// The class of an HTTP status.
public enum ResponseClass: String, MetricLabel {
    /// Answered as asked.
    case success = "2xx"
    /// The client's fault.
    case clientError = "4xx"
    /// Our fault, or not now.
    case serverError = "5xx"

    /// The label `class`.
    public static let labelName = "class"

    /// The class of a status code; anything below 400 counts as success.
    public init(status: Int) {
        switch status {
        case ..<400: self = .success
        case 400..<500: self = .clientError
        default: self = .serverError
        }
    }
}

extension FailureCode: MetricLabel {
    /// The label `code`.
    public static let labelName = "code"
}

/// What `memvpd_build_info` says.
public struct BuildInformation: Sendable, Equatable {
    /// memvpd's version.
    public var version: String
    /// The kernel path chosen at start: `scalar`, `avx2`, …
    public var kernels: String
    /// The name of the model bundle in force: a reload may bring another.
    public var model: String

    /// Makes the three labels.
    public init(version: String, kernels: String, model: String) {
        self.version = version
        self.kernels = kernels
        self.model = model
    }
}

/// All metrics of the daemon, declared in order.
public struct MetricCatalog: Sendable {
    /// Holds the families and writes them out.
    public let registry: MetricsRegistry

    /// `memvpd_jobs_total`.
    public let jobs: Counter<JobOutcome>
    /// `memvpd_errors_total`.
    public let errors: Counter<FailureCode>
    /// `memvpd_queue_jobs`.
    public let queue: Gauge<QueueState>
    /// `memvpd_queue_oldest_seconds`.
    public let queueOldest: Gauge<NoLabel>
    /// `memvpd_spool_standstill_seconds`.
    public let spoolStandstill: Gauge<NoLabel>
    /// `memvpd_held`.
    public let held: Gauge<NoLabel>
    /// `memvpd_stage_seconds`.
    public let stages: Histogram<Stage>
    /// `memvpd_batch_jobs`.
    public let batchJobs: Histogram<NoLabel>
    /// `memvpd_tokens_total`.
    public let tokens: Counter<TokenKind>
    /// `memvpd_inbox_ignored`.
    public let inboxIgnored: Gauge<NoLabel>
    /// `memvpd_watch_overflows_total`.
    public let watchOverflows: Counter<NoLabel>
    /// `memvpd_strikes_total`.
    public let strikes: Counter<NoLabel>
    /// `memvpd_done_jobs`.
    public let doneJobs: Gauge<NoLabel>
    /// `memvpd_done_bytes`.
    public let doneBytes: Gauge<NoLabel>
    /// `memvpd_last_answer_timestamp_seconds`.
    public let lastAnswer: Gauge<NoLabel>
    /// `memvpd_control_requests_total` of the control socket.
    public let controlRequests: Counter<ResponseClass>
    /// `memvpd_metrics_requests_total`.
    public let metricsRequests: Counter<ResponseClass>

    /// Declares every metric. `build` is read whenever metrics are asked for; `start` is the instant from which the uptime counts.
    public init(build: @escaping @Sendable () -> BuildInformation, start: ContinuousClock.Instant = .now) {
        let registry = MetricsRegistry()
        self.registry = registry
        registry.info(
            "memvpd_build_info", "Version, kernel path and model; always 1.",
            labels: ["version", "kernels", "model"]
        ) {
            let build = build()
            return [build.version, build.kernels, build.model]
        }
        registry.sampled("memvpd_up_seconds", "Seconds since the daemon started.") {
            let up = start.duration(to: .now).components
            return Double(up.seconds) + Double(up.attoseconds) * 1e-18
        }
        jobs = registry.counter("memvpd_jobs_total", "Jobs that ended, by outcome.", by: JobOutcome.self)
        errors = registry.counter("memvpd_errors_total", "Errors published, by code.", by: FailureCode.self)
        queue = registry.gauge("memvpd_queue_jobs", "Jobs now, by state.", by: QueueState.self)
        queueOldest = registry.gauge(
            "memvpd_queue_oldest_seconds", "Age of the oldest job in the spool, held ones too; 0 when there is none.")
        spoolStandstill = registry.gauge(
            "memvpd_spool_standstill_seconds",
            "For how long the spool has not answered: a disk stands still, or there is a great deal to read; 0 while it answers."
                + " Jobs now and what is kept are meanwhile of before."
        )
        held = registry.gauge("memvpd_held", "1 while an operator holds the queue, else 0.")
        stages = registry.histogram(
            "memvpd_stage_seconds", "Time of a job in each stage.", by: Stage.self,
            bounds: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800])
        batchJobs = registry.histogram(
            "memvpd_batch_jobs", "Jobs that went through the model together.", bounds: [1, 2, 4, 8, 16, 32])
        tokens = registry.counter("memvpd_tokens_total", "Tokens through the model, by kind.", by: TokenKind.self)
        inboxIgnored = registry.gauge(
            "memvpd_inbox_ignored",
            "Entries of the inbox that are left alone: dot files, partial downloads, directories.")
        watchOverflows = registry.counter(
            "memvpd_watch_overflows_total", "Times the kernel dropped inotify events and the inbox was scanned instead."
        )
        strikes = registry.counter("memvpd_strikes_total", "Crashes charged to a job that ran alone.")
        doneJobs = registry.gauge("memvpd_done_jobs", "Answered jobs whose inputs are kept.")
        doneBytes = registry.gauge("memvpd_done_bytes", "Bytes of the inputs of answered jobs that are kept.")
        lastAnswer = registry.gauge(
            "memvpd_last_answer_timestamp_seconds",
            "When the latest answer was published, since 1970; 0 before the first.")
        controlRequests = registry.counter(
            "memvpd_control_requests_total", "Requests on the control socket, by class of status.",
            by: ResponseClass.self)
        metricsRequests = registry.counter(
            "memvpd_metrics_requests_total", "Requests on the metrics socket, by class of status.",
            by: ResponseClass.self)
        Self.declareProcess(in: registry)
    }

    /// Counts an answered HTTP request; made to be `ControlServer`'s `onResponse`.
    public func countRequest(_ socket: SocketRole, status: Int) {
        switch socket {
        case .control: controlRequests.increment(ResponseClass(status: status))
        case .metrics: metricsRequests.increment(ResponseClass(status: status))
        }
    }

    /// Prometheus's standard process metrics.
    private static func declareProcess(in registry: MetricsRegistry) {
        registry.sampled("process_resident_memory_bytes", "Resident memory size in bytes.") {
            ProcessStatistics.residentBytes()
        }
        registry.sampled("process_virtual_memory_bytes", "Virtual memory size in bytes.") {
            ProcessStatistics.virtualBytes()
        }
        registry.sampled("process_cpu_seconds_total", "User and system time in seconds.", kind: .counter) {
            ProcessStatistics.processorSeconds()
        }
        registry.sampled("process_open_fds", "Open file descriptors.") { ProcessStatistics.openDescriptors() }
        registry.sampled("process_max_fds", "Limit on open file descriptors.") {
            ProcessStatistics.maximumDescriptors()
        }
        registry.sampled("process_start_time_seconds", "When the process started, in seconds since 1970.") {
            ProcessStatistics.startSeconds()
        }
    }
}
