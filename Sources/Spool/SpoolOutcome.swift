// Outcomes: S7 to S10. Every answer and every failure goes through `seal`, `promote`, `publish`, in this order.
//
// Invariants: `answer.json` appears whole and durable, once; with it the outcome is fixed; it leaves the spool by one rename (or,
// to another file system, by one rename there that `publishing` makes recognisable), so no reader meets it twice. The outbox is the
// directory that its path leads to when an outcome is published, whatever was opened at the start.

internal import Diagnostics
internal import SystemPackage

extension Spool {
    /// Ends a job with a failure that the spool found itself, and publishes it. Throws only if nothing was fixed.
    func conclude(_ id: JobID, _ failure: Failure) throws(FileFault) {
        try seal(id, failing: failure)
        advance(id)
    }

    /// Ends a job with the document of a worker, and publishes it. Throws only if nothing was fixed.
    func conclude(_ id: JobID, document: [UInt8], _ failure: Failure?) throws(FileFault) {
        try seal(id, document, failure)
        advance(id)
    }

    /// Fixes a failure that the spool found itself.
    func seal(_ id: JobID, failing failure: Failure) throws(FileFault) {
        guard let entry = entries[id] else { return }
        let drop = FailedDrop(
            job: id, image: entry.image, spec: entry.spec, failure: failure,
            retryOf: entry.record.retryOf.flatMap { JobID($0) }, attempts: entry.record.attempts, milliseconds: age(id))
        entries[id]?.record.timing = ["total": drop.milliseconds]
        try seal(id, render(drop), failure)
    }

    /// The commit function, for every outcome there is.
    ///
    /// Writes the outcome into the job's directory; with the last rename it is fixed.
    private func seal(_ id: JobID, _ document: [UInt8], _ failure: Failure?) throws(FileFault) {
        guard var entry = entries[id], !entry.isSealed else { return }
        let home = home(id, entry.state)
        if failure != nil {
            try files.writeWhole(home / Layout.reason, document, durable: true)
        } else {
            try files.remove(home / Layout.reason)
        }
        entry.record.outcomeCode = failure?.code.rawValue
        if let failure { entry.record.lastFailure = RecordedFailure(failure) }
        entry.record.add(
            failure == nil ? .answered : .failed, failure?.code.rawValue, at: clock.unixMicroseconds)
        remember(entry)
        try write(entry.record, in: home, durable: false)
        try files.writeWhole(home / Layout.answer, document, durable: true, group: outboxGroup())
        entries[id]?.isSealed = true
        queue.remove(id)
        inHand.remove(id)
    }

    /// S7 to S8, the commit point.
    func promote(_ id: JobID) throws(FileFault) {
        guard let state = entries[id]?.state else { return }
        try files.syncDirectory(home(id, state))
        try move(id, to: .answered)
    }

    /// S8 to S10.
    func advanceAnswered(_ id: JobID) throws(FileFault) {
        guard let entry = entries[id] else { return }
        let home = home(id, .answered)
        try files.syncDirectory(directory(.answered))
        let isFailure = try files.exists(home / Layout.reason)
        if try files.exists(home / Layout.answer) {
            try followOutbox()
            try publish(id)
        }
        try files.syncDirectory(outbox.here)
        try files.syncDirectory(home)
        try files.rename(home, self.home(id, isFailure ? .failed : .done))
        finish(entries[id] ?? entry, isFailure)
    }

    private func finish(_ entry: Entry, _ isFailure: Bool) {
        let now = clock.monotonic
        if let image = entry.image {
            recent.add(entry.id, image: image, spec: entry.spec, outcome: entry.record.outcomeName, at: now)
        }
        let bytes = (try? size(home(entry.id, isFailure ? .failed : .done))) ?? 0
        census.add(entry.id, isFailure ? .failed : .done, bytes: bytes)
        forget(entry.id)
        let failure = isFailure ? entry.record.lastFailure?.failure : nil
        report(.published(entry.id, entry.record.outcomeName ?? FileName.placeholder, failure))
    }

    // MARK: Publishing

    /// Moves `answer.json` into the outbox under the first free name.
    private func publish(_ id: JobID) throws(FileFault) {
        let home = home(id, .answered)
        guard try !files.exists(home / Layout.publishing) else { return try publishElsewhere(id) }
        do {
            try publish(id, from: home / Layout.answer)
        } catch let fault where fault.errno == .improperLink {
            try copyToOutbox(id)
            try publishElsewhere(id)
        }
    }

    /// Renames a document to the first free name; the name is noted before, so that it is known after a crash.
    private func publish(_ id: JobID, from source: Location) throws(FileFault) {
        guard var entry = entries[id] else { return }
        let stem = (entry.image ?? entry.spec)?.stem ?? id.fileName
        var ordinal = entry.record.firstOrdinal
        while true {
            let name = OutcomeName.name(stem: stem, ordinal: ordinal)
            ordinal += 1
            if let standing = try files.status(outbox / name) {
                guard try files.status(source)?.identity == standing.identity else { continue }
                // link(2) and unlink(2) instead of a rename, cut off between the two: it is published.
                return try files.remove(source)
            }
            if entry.record.outcomeName != name {
                entry.record.outcomeName = name
                entry.record.add(.published, name.description, at: clock.unixMicroseconds)
                remember(entry)
                try write(entry.record, in: home(id, .answered), durable: false)
            }
            do {
                return try files.renameNoReplace(source, outbox / name)
            } catch let fault where fault.errno == .fileExists {
                continue
            } catch let fault where fault.errno != .improperLink {
                // What is in the way is the outbox's, not the document's.
                throw FileFault(errno: fault.errno, operation: .create, object: (outbox / name).description)
            }
        }
    }

    /// Copies the document beside its place in an outbox on another file system, and notes that the copy is whole.
    private func copyToOutbox(_ id: JobID) throws(FileFault) {
        let home = home(id, .answered)
        let hidden = outbox / Layout.hidden(id)
        let document = try files.contents(home / Layout.answer, atMost: Int.max) ?? []
        try files.create(hidden, group: outboxGroup()) { (descriptor) throws(FileFault) in
            try files.write(descriptor, hidden, document[...])
            try files.sync(descriptor, hidden)
        }
        try files.syncDirectory(outbox.here)
        let inode = try files.status(outbox.here)?.identity.inode
        try files.writeWhole(home / Layout.publishing, Array((inode.map { "\($0)" } ?? "").utf8), durable: true)
        try files.syncDirectory(home)
    }

    /// With `publishing` there, the hidden copy tells: there, it is not published; gone, it is. But where the outbox is another than the
    /// one that got the copy, nothing is known of that, and the document goes to this one as if it had gone to none.
    private func publishElsewhere(_ id: JobID) throws(FileFault) {
        let (home, hidden) = (home(id, .answered), outbox / Layout.hidden(id))
        if try files.exists(hidden) {
            try publish(id, from: hidden)
        } else if try wasBegunElsewhere(id) {
            try files.remove(home / Layout.publishing)
            return try publish(id)
        }
        try files.syncDirectory(outbox.here)
        try files.remove(home / Layout.answer)
        try files.remove(home / Layout.publishing)
    }

    /// Whether `publishing` names another outbox than this one: by its inode, since a device has another number after a restart. Earlier
    /// versions named none.
    private func wasBegunElsewhere(_ id: JobID) throws(FileFault) -> Bool {
        let noted = try files.contents(home(id, .answered) / Layout.publishing, atMost: 32) ?? []
        guard let inode = UInt64(String(decoding: noted, as: UTF8.self)) else { return false }
        return try files.status(outbox.here)?.identity.inode != inode
    }

    /// A setgid outbox gives its group to what is made in it, but not to what is renamed into it: so it is given here.
    private func outboxGroup() -> UInt32? {
        guard let status = try? files.status(outbox.here), status.isSetGroupID else { return nil }
        return status.group
    }

    /// Finds out whether outcomes can be given the outbox's group, and tells when that changes.
    func checkOutboxGroup() {
        let before = outboxTrouble
        outboxTrouble = nil
        guard let group = outboxGroup(), !SystemBridge.isMember(of: group) else { return }
        let trouble = Failure(
            .permissionDenied, configuration.directories.outbox,
            "its group (\(group)) is not one of the daemon's user: outcomes cannot be given to it, nor its members read them",
            hint: "Make the daemon's user a member of that group (usermod -aG) and restart, or chgrp the outbox.")
        outboxTrouble = trouble
        if trouble != before { note(trouble) }
    }

    /// Turns to the directory that the outbox's path leads to now: the one that was opened may have been moved away, and answers with
    /// it, or have had another mounted over it.
    ///
    /// - Throws: the fault of opening the path.
    private func followOutbox() throws(FileFault) {
        let path = configuration.directories.outbox
        let descriptor = try files.perform(.open, outbox.here) { () throws(Errno) in try SystemBridge.openRoot(path) }
        let standing = DirectoryHandle(descriptor: descriptor, path: path)
        let identity = try files.status(of: standing.descriptor, standing.here).identity
        // Of a file system that has ended (FUSE) the old handle tells nothing any more.
        guard (try? files.status(of: outbox.descriptor, outbox.here).identity) != identity else { return }
        outbox = standing
        checkOutboxGroup()
    }
}
