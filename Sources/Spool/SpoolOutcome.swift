// Outcomes: S7 to S10. Every answer and every failure goes through `seal`, `promote`, `publish`, in this order.
//
// Invariants: `answer.json` appears whole and durable, once; with it the outcome is fixed; it leaves the spool by one rename (or,
// to another file system, by one rename there that `publishing` makes recognisable), so no reader meets it twice. The outbox is the
// directory that its path leads to when an outcome is published, whatever was opened at the start (`SpoolFollowing`).

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
        try write(entry.record, in: home, durable: false)
        remember(entry)
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
        try markRetried(by: entry)
        try removeLeftovers(home)
        try files.syncDirectory(home)
        try followFinished(isFailure ? .failed : .done)
        try files.rename(home, self.home(id, isFailure ? .failed : .done))
        finish(entries[id] ?? entry, isFailure)
    }

    /// Removes what kills and faults have left in the directory of a published job, since nobody touches it from here on: torn
    /// writes, copies that were given up, and `publishing`, once the answer is gone. What people dropped is in `input/`.
    private func removeLeftovers(_ home: Location) throws(FileFault) {
        for name in try files.list(home) where name == Layout.publishing || name.hasSuffix(".tmp") {
            try files.remove(home / name)
        }
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
        let name = entry.record.outcomeName ?? FileName.placeholder
        report(.published(entry.id, name, of: entry.image ?? entry.spec, failure))
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

    /// Renames a document to the first free name, or, where the first of all is taken, to the first one after the last that was given
    /// to this stem: looking for a free one among hundreds would cost a call for each.
    private func publish(_ id: JobID, from source: Location) throws(FileFault) {
        guard let entry = entries[id] else { return }
        let own = try files.status(source)?.identity
        // link(2) and unlink(2) instead of a rename, cut off between the two: it is published, and only its other name is to go.
        if let noted = entry.record.outcomeName, let standing = try files.status(outbox / noted),
            standing.identity == own
        {
            return try files.remove(source)
        }
        let stem = (entry.image ?? entry.spec)?.stem ?? id.fileName
        var ordinal = entry.record.firstOrdinal
        while true {
            let name = OutcomeName.name(stem: stem, ordinal: ordinal)
            if let standing = try files.status(outbox / name) {
                guard standing.identity != own else { return try files.remove(source) }
            } else if try give(name, to: id, from: source) {
                return lastOrdinals.note(ordinal, of: stem)
            }
            ordinal = max(ordinal, lastOrdinals.last(of: stem)) + 1
        }
    }

    /// Renames a document to a name in the outbox; false when that is taken at the last moment. The name is noted before, so that it is
    /// known after a crash.
    private func give(_ name: FileName, to id: JobID, from source: Location) throws(FileFault) -> Bool {
        if var entry = entries[id], entry.record.outcomeName != name {
            entry.record.outcomeName = name
            entry.record.add(.published, name.description, at: clock.unixMicroseconds)
            // Remembered first, the next attempt would take it for written.
            try write(entry.record, in: home(id, .answered), durable: false)
            remember(entry)
        }
        do {
            try files.renameNoReplace(source, outbox / name)
            return true
        } catch let fault where fault.errno == .fileExists {
            return false
        } catch let fault where fault.errno != .improperLink {
            // What is in the way is the outbox's, not the document's.
            throw FileFault(errno: fault.errno, operation: .create, object: (outbox / name).description)
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
    /// one that got the copy, nothing is known of that, and the document goes to this one as if it had gone to none. So it does where
    /// this process knows that the copy was not renamed.
    private func publishElsewhere(_ id: JobID) throws(FileFault) {
        let (home, hidden) = (home(id, .answered), outbox / Layout.hidden(id))
        if try files.exists(hidden) {
            try publishCopy(id, hidden)
        } else if try isUnrenamed(id) {
            try files.remove(home / Layout.publishing)
            try files.syncDirectory(home)
            entries[id]?.hasUnrenamedCopy = false
            return try publish(id)
        }
        try files.syncDirectory(outbox.here)
        try files.remove(home / Layout.answer)
        try files.remove(home / Layout.publishing)
    }

    /// Publishes the hidden copy. Refused, it was not renamed, and that is remembered for as long as nobody else can tell: a copy that
    /// somebody removes must not be taken for published. A disk or a file server that fails may have renamed it all the same.
    private func publishCopy(_ id: JobID, _ hidden: Location) throws(FileFault) {
        entries[id]?.hasUnrenamedCopy = true
        do {
            try publish(id, from: hidden)
        } catch {
            entries[id]?.hasUnrenamedCopy = !error.isOfMedium
            throw error
        }
        entries[id]?.hasUnrenamedCopy = false
    }

    /// Whether a copy that is gone was not renamed.
    private func isUnrenamed(_ id: JobID) throws(FileFault) -> Bool {
        if entries[id]?.hasUnrenamedCopy == true { return true }
        return try wasBegunElsewhere(id)
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
}

/// The last ordinal that was given to each stem, so that the next outcome of that name need not try all the names before it.
struct LastOrdinals: Sendable {
    /// So many are remembered; then all are forgotten, and each costs one search anew.
    static let capacity = 4096
    private var byStem: [FileName: Int] = [:]

    /// 0 where none is remembered.
    func last(of stem: FileName) -> Int { byStem[stem] ?? 0 }

    mutating func note(_ ordinal: Int, of stem: FileName) {
        // The first is tried in any case.
        guard ordinal > 1 else { return }
        if byStem[stem] == nil, byStem.count >= LastOrdinals.capacity { byStem = [:] }
        byStem[stem] = max(ordinal, last(of: stem))
    }
}
