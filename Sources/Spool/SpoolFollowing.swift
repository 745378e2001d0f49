// Directories that administrators exchange while the daemon runs: a disk that is mounted over, a `done` that was moved to an archive.
//
// Invariant: what is published, finished, listed or removed after its retention is so where the configured path leads at that moment,
// not in the directory that was opened at the start: that may be somebody's archive by now.
// Failure mode: a path that leads nowhere is a fault like any other; the job waits.

internal import SystemPackage

extension Spool {
    /// Turns to the outbox of now.
    ///
    /// - Throws: the fault of opening the path.
    func followOutbox() throws(FileFault) {
        guard let now = try standing(configuration.directories.outbox, insteadOf: outbox) else { return }
        outbox = now
        lastOrdinals = LastOrdinals()
        checkOutboxGroup()
    }

    /// Turns to the `done` or the `failed` of now. What both hold is then counted anew.
    ///
    /// - Throws: the fault of opening the path.
    func followFinished(_ state: JobState) throws(FileFault) {
        if state == .done {
            guard let now = try standing(configuration.directories.done, insteadOf: done) else { return }
            done = now
        } else {
            guard let now = try standing(configuration.directories.failed, insteadOf: failed) else { return }
            failed = now
        }
        census = Census()
    }

    /// The directory that a path leads to, where that is another than the opened one.
    private func standing(
        _ path: String, insteadOf opened: DirectoryHandle
    ) throws(FileFault) -> DirectoryHandle? {
        let standing = try files.openRoot(path)
        let identity = try files.status(of: standing.descriptor, standing.here).identity
        // Of a file system that has ended (FUSE) the old handle tells nothing any more.
        return (try? files.status(of: opened.descriptor, opened.here).identity) == identity ? nil : standing
    }
}
