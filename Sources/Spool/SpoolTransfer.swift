// An inbox that no rename reaches from the spool (EXDEV): another file system, or a bind mount (docs/QUEUE.md, "Inbox elsewhere").
//
// Invariants: the claim itself is still one rename, inside the inbox; a copy stands in `input/` only when whole and durable, and
// only then the source is unlinked. What cannot be copied is never unlinked.

internal import Diagnostics
internal import SystemPackage

extension Spool {
    /// Beside an inbox: `.memvpd/`, held open, so that nobody can put another directory or a symbolic link in its place
    /// between two calls.
    struct Aside {
        let root: DirectoryHandle

        func of(_ id: JobID) -> Location { root / id.fileName }
        func kept(_ id: JobID) -> Location { root / (RelativePath(Layout.kept) / id.fileName) }
    }

    /// Opens `.memvpd/`; nil when it is not there, or not the daemon's own: whoever may drop files may have made that.
    private func openAside() throws(FileFault) -> Aside? {
        guard let inbox = watch.handle else { return nil }
        let at = inbox / Layout.transfer
        guard let status = try files.status(at), status.kind == .directory, status.owner == SystemBridge.user,
            status.mode & 0o077 == 0
        else { return nil }
        let root = try files.openDirectory(at)
        return try files.status(root.here)?.identity == status.identity ? Aside(root: root) : nil
    }

    /// Where the files of a job stand that could not be copied; nil when there can be none.
    func keptDirectory(_ id: JobID) throws(FileFault) -> Location? { try openAside()?.kept(id) }

    /// Whether a file of a claim stands beside the inbox, to be copied or kept.
    func isAside(_ name: FileName, _ id: JobID) throws(FileFault) -> Bool {
        guard let aside = try openAside() else { return false }
        for place in [aside.of(id), aside.kept(id)] where try files.exists(place / name) { return true }
        return false
    }

    /// Renames a file to its job's place beside the inbox.
    func takeAside(_ name: FileName, for id: JobID, _ inbox: DirectoryHandle) throws(FileFault) {
        try files.makeDirectory(inbox / Layout.transfer, mode: 0o700)
        guard let aside = try openAside() else {
            throw FileFault(errno: .notPermitted, operation: .open, object: "\(inbox.path)/\(Layout.transfer)")
        }
        try files.makeDirectory(aside.of(id), mode: 0o700)
        do {
            try files.rename(inbox / name, aside.of(id) / name)
        } catch {
            // What failed is told, not what failed while clearing up.
            try? files.removeDirectory(aside.of(id))
            guard error.errno == .noSuchFileOrDirectory else { throw error }
        }
    }

    /// Copies what stands beside the inbox for this job; false while it is still being written.
    func bringOver(_ id: JobID) throws(FileFault) -> Bool {
        guard let aside = try openAside(), try files.exists(aside.of(id)) else { return true }
        let names = try files.list(aside.of(id))
        // The rename is what claimed them: it has to last before anything is built on it.
        try files.syncDirectory(aside.of(id))
        for name in names {
            guard try bringOver(name, id, aside) else { return false }
        }
        try files.removeDirectory(aside.of(id))
        try files.syncDirectory(aside.root.here)
        return true
    }

    private func bringOver(_ name: FileName, _ id: JobID, _ aside: Aside) throws(FileFault) -> Bool {
        let home = home(id, .claimed)
        let source = aside.of(id) / name
        let target = home / Layout.input / name
        guard let status = try files.status(source) else { return true }
        let limit = view.rules.isSpec(name) ? configuration.limits.specBytes : configuration.limits.imageBytes
        guard status.kind == .regular, status.size <= Int64(limit) else {
            try keep(name, id, aside)
            return true
        }
        do {
            try files.copyWhole(source, target, temporary: home / Layout.incoming)
        } catch let fault where fault.object == source.description && (fault.isDenied || isLasting(fault, id)) {
            // Why, if not for want of rights: those are found again when the kept file is checked.
            if !fault.isDenied, var record = entries[id]?.record {
                record.verdict = RecordedFailure(fault.outcome)
                try write(record, in: home, durable: true)
                entries[id]?.record = record
            }
            try keep(name, id, aside)
            return true
        } catch let fault where fault.errno == .resourceBusy && fault.operation == .read {
            return false
        }
        try files.syncDirectory(home / Layout.input)
        noteCopy(of: name, try files.status(target)?.content, id)
        try files.remove(source)
        return true
    }

    /// Whether this claim has met faults for as often as anything is tried, and this is one of the file's own.
    private func isLasting(_ fault: FileFault, _ id: JobID) -> Bool {
        fault.isOfMedium && hasTriedEnough((unfinished[id]?.tries ?? 0) + 1)
    }

    /// What stands beside the inbox and has not been copied.
    func namesAside(_ id: JobID) throws(FileFault) -> [FileName] {
        guard let aside = try openAside() else { return [] }
        return try files.list(aside.of(id))
    }

    /// Keeps what has not been copied where it is: the job ends without it.
    func keepAside(_ id: JobID) throws(FileFault) {
        guard let aside = try openAside(), try files.exists(aside.of(id)) else { return }
        for name in try files.list(aside.of(id)) { try keep(name, id, aside) }
        try files.removeDirectory(aside.of(id))
    }

    private func noteCopy(of name: FileName, _ content: FileStatus.Content?, _ id: JobID) {
        if entries[id]?.record.image == name { entries[id]?.record.imageContent = content }
        if entries[id]?.record.spec == name { entries[id]?.record.specContent = content }
    }

    /// Puts a file where it stays for good.
    private func keep(_ name: FileName, _ id: JobID, _ aside: Aside) throws(FileFault) {
        try files.makeDirectory(aside.root / Layout.kept, mode: 0o700)
        try files.makeDirectory(aside.kept(id), mode: 0o700)
        try files.rename(aside.of(id) / name, aside.kept(id) / name)
        try files.syncDirectory(aside.kept(id))
    }

    /// When the inbox was opened: finds what stands beside it for jobs that no longer wait for it.
    func recoverTransfers() {
        do {
            guard let aside = try openAside() else { return }
            for name in try files.list(aside.root.here) {
                guard let id = JobID(name), entries[id]?.state != .claimed else { continue }
                try recoverTransfer(id, aside)
            }
        } catch {
            note(error)
        }
    }

    private func recoverTransfer(_ id: JobID, _ aside: Aside) throws(FileFault) {
        let directory = aside.of(id)
        let finished = try finishedState(id)
        let state = entries[id]?.state ?? finished
        if let state {
            // The unlink of a copied source, undone by a power cut.
            for name in try files.list(directory) where try files.exists(home(id, state) / Layout.input / name) {
                try files.remove(directory / name)
            }
        }
        guard try !files.list(directory).isEmpty else { return try files.removeDirectory(directory) }
        // A claim whose job never came to be, or not of that job: a job of its own.
        var new = id
        if state != nil {
            new = ids.next(unixMicroseconds: clock.unixMicroseconds)
            try files.rename(directory, aside.of(new))
        }
        remember(Entry(id: new, state: .claimed, record: JobRecord()))
        advance(new)
    }
}
