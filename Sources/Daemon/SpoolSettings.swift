// From the daemon's configuration to what the spool wants to know, and the reading of specs for it.

internal import Diagnostics
internal import Specification
internal import Spool
internal import Synchronization

extension DaemonConfiguration {
    /// The spool's part of the configuration.
    var spool: SpoolConfiguration {
        var spool = SpoolConfiguration(
            directories: .init(
                inbox: directories.inbox, spool: directories.spool, outbox: directories.outbox,
                failed: directories.failed, done: directories.done))
        (spool.settle, spool.writingTimeout) = (settle, writingTimeout)
        spool.watch =
            switch watch.inbox {
            case .auto: .automatic
            case .inotify: .inotify
            case .poll: .poll
            }
        (spool.pairing.grace, spool.pairing.timeout) = (pairing.grace, pairing.timeout)
        (spool.pollInterval, spool.scanInterval) = (scan.poll, scan.interval)
        (spool.limits.imageBytes, spool.limits.specBytes) = (limits.imageBytes, limits.specBytes)
        spool.limits.jobs = limits.queue
        (spool.retry.initial, spool.retry.maximum, spool.retry.attempts) = (
            retry.initial, retry.maximum, retry.attempts
        )
        (spool.retention.done, spool.retention.failed) = (retention.done.duration, retention.failed.duration)
        // A crash signal while a job runs alone is a strike (DESIGN 5).
        spool.notesCrashes = true
        return spool
    }
}

extension Retention {
    fileprivate var duration: Duration? {
        switch self {
        case .forever: nil
        case .after(let time): time
        }
    }
}

/// Reads task specs for the spool, within the limits in force: a reload may bring others.
final class SpecReader: SpecInspector {
    private let limits: Mutex<TaskSpec.Limits>

    init(limits: TaskSpec.Limits) { self.limits = Mutex(limits) }

    /// A reload has put other limits into force.
    func replace(with limits: TaskSpec.Limits) { self.limits.withLock { $0 = limits } }

    func inspect(_ bytes: [UInt8]) throws(Failure) -> SpecSummary {
        do {
            let spec = try TaskSpec(yaml: bytes, named: "", limits: limits.withLock { $0 })
            return SpecSummary(image: spec.image, priority: spec.priority)
        } catch {
            // The spool puts the file's name before the object, which then is the place alone: ":LINE:COLUMN".
            let place = error.object.split(separator: ":")
            guard error.object.hasPrefix(":"), place.count == 2 else { throw error }
            throw Failure(error.code, "line \(place[0]), column \(place[1])", error.cause, hint: error.hint)
        }
    }
}
