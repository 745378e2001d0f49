// What the spool tells others as it happens: for logs and metrics, and to have the document of a failure composed.

public import Diagnostics

/// A drop that the spool itself found at fault, for whoever composes the outcome document.
public struct FailedDrop: Sendable {
    /// The job.
    public let job: JobID
    /// The image's (or odd file's) own name; nil when there was none.
    public let image: FileName?
    /// The spec's own name; nil when there was none.
    public let spec: FileName?
    /// What is wrong.
    public let failure: Failure
    /// The finished job that this one retries.
    public let retryOf: JobID?
    /// How many attempts a passing fault ended.
    public let attempts: Int
    /// From the claim to this outcome.
    public let milliseconds: Double
}

/// Something that happened in the spool. Delivered in order, on the spool's thread: listeners must be quick.
public enum SpoolEvent: Sendable {
    /// Recovery is through; so many jobs were found in each state, and whether the last end was clean.
    case recovered(jobs: [JobState: Int], clean: Bool)
    /// How the inbox is watched has changed.
    case watching(path: String, WatchMethod)
    /// inotify's queue overflowed; the inbox was scanned.
    case overflowed
    /// A spec is refused, and waits for the photo of its stem.
    case specRefused(FileName, Failure)
    /// A drop became a job that waits for a worker.
    case queued(JobID, image: FileName, spec: FileName?)
    /// A spec joined a job.
    case joined(JobID, spec: FileName)
    /// A worker has the job.
    case taken(JobID)
    /// A worker gave the job back.
    case requeued(JobID)
    /// A passing fault ended an attempt; the next one begins after the pause.
    case deferred(JobID, Failure, pause: Duration)
    /// The outcome of what was dropped is in the outbox under a name of its own: an answer, or the failure.
    case published(JobID, FileName, of: FileName?, Failure?)
    /// An operator kept the job back, or let it go on.
    case held(JobID, Bool)
    /// A finished job's inputs went after their retention.
    case expired(JobID, JobState)
    /// The job crashed the process while it ran alone, so many times by now.
    case struck(JobID, strikes: Int)
    /// Something that is tried again: what, and why it failed.
    case trouble(Failure)
}

/// What became of a job that a worker finished.
public enum Disposition: Sendable, Equatable {
    /// The outcome is in the outbox, under this name.
    case published(FileName)
    /// The outcome is fixed and safe; the outbox could not take it yet.
    case committed
    /// The outcome could not be written; the job will be done again.
    case deferred(Failure)
}
