// An inbox that no rename reaches from the spool (EXDEV): another file system, or a bind mount (docs/QUEUE.md, "Inbox elsewhere").
//
// Invariants: the claim itself is still one rename, inside the inbox; a copy stands in `input/` only when whole and durable, and
// only then the source is unlinked. What cannot be copied is never unlinked.

internal import Diagnostics
internal import SystemPackage

extension Spool {
    private func asideRoot(_ inbox: DirectoryHandle) -> Location { inbox / Layout.transfer }
    private func aside(_ inbox: DirectoryHandle, _ id: JobID) -> Location { asideRoot(inbox) / id.fileName }
    private func keptRoot(_ inbox: DirectoryHandle) -> Location { asideRoot(inbox) / Layout.kept }

    /// Where the files of a job stand that could not be copied.
    func keptDirectory(_ id: JobID) -> Location? { watch.handle.map { keptRoot($0) / id.fileName } }

    /// Whether a file has left the inbox for this job.
    func isTaken(_ name: FileName, by id: JobID) throws(FileFault) -> Bool {
        if try files.exists(home(id, .claimed) / Layout.input / name) { return true }
        guard let inbox = watch.handle else { return false }
        if try files.exists(aside(inbox, id) / name) { return true }
        return try files.exists(keptRoot(inbox) / id.fileName / name)
    }

    /// Renames a file to its job's place beside the inbox.
    func takeAside(_ name: FileName, for id: JobID, _ inbox: DirectoryHandle) throws(FileFault) {
        try files.makeDirectory(asideRoot(inbox), mode: 0o700)
        try files.makeDirectory(aside(inbox, id), mode: 0o700)
        do {
            try files.rename(inbox / name, aside(inbox, id) / name)
        } catch {
            // What failed is told, not what failed while clearing up.
            try? files.removeDirectory(aside(inbox, id))
            guard error.errno == .noSuchFileOrDirectory else { throw error }
        }
    }

    /// Copies what stands beside the inbox for this job; false while it is still being written.
    func bringOver(_ id: JobID) throws(FileFault) -> Bool {
        guard let inbox = watch.handle, try files.exists(aside(inbox, id)) else { return true }
        let names = try files.list(aside(inbox, id))
        // The rename is what claimed them: it has to last before anything is built on it.
        try files.syncDirectory(aside(inbox, id))
        for name in names {
            guard try bringOver(name, aside(inbox, id) / name, id, inbox) else { return false }
        }
        try files.removeDirectory(aside(inbox, id))
        try files.syncDirectory(asideRoot(inbox))
        return true
    }

    private func bringOver(
        _ name: FileName, _ source: Location, _ id: JobID, _ inbox: DirectoryHandle
    ) throws(FileFault) -> Bool {
        let home = home(id, .claimed)
        let target = home / Layout.input / name
        guard let status = try files.status(source) else { return true }
        let limit = view.rules.isSpec(name) ? configuration.limits.specBytes : configuration.limits.imageBytes
        guard status.kind == .regular, status.size <= Int64(limit) else {
            try keep(name, source, id, inbox)
            return true
        }
        do {
            try files.copyWhole(source, target, temporary: home / Layout.incoming)
        } catch  where error.isDenied && error.object == source.description {
            try keep(name, source, id, inbox)
            return true
        } catch  where error.errno == .resourceBusy && error.operation == .read {
            return false
        }
        try files.syncDirectory(home / Layout.input)
        noteCopy(of: name, try files.status(target)?.content, id)
        try files.remove(source)
        return true
    }

    private func noteCopy(of name: FileName, _ content: FileStatus.Content?, _ id: JobID) {
        if entries[id]?.record.image == name { entries[id]?.record.imageContent = content }
        if entries[id]?.record.spec == name { entries[id]?.record.specContent = content }
    }

    /// Puts a file where it stays for good.
    private func keep(_ name: FileName, _ source: Location, _ id: JobID, _ inbox: DirectoryHandle) throws(FileFault) {
        try files.makeDirectory(keptRoot(inbox), mode: 0o700)
        try files.makeDirectory(keptRoot(inbox) / id.fileName, mode: 0o700)
        try files.rename(source, keptRoot(inbox) / id.fileName / name)
        try files.syncDirectory(keptRoot(inbox) / id.fileName)
    }

    /// When the inbox was opened: finds what stands beside it for jobs that no longer wait for it.
    func recoverTransfers() {
        guard let inbox = watch.handle else { return }
        do {
            for name in try files.list(asideRoot(inbox)) {
                guard let id = JobID(name), entries[id]?.state != .claimed else { continue }
                try recoverTransfer(id, inbox)
            }
        } catch {
            note(error)
        }
    }

    private func recoverTransfer(_ id: JobID, _ inbox: DirectoryHandle) throws(FileFault) {
        let directory = aside(inbox, id)
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
            try files.rename(directory, aside(inbox, new))
        }
        remember(Entry(id: new, state: .claimed, record: JobRecord()))
        advance(new)
    }
}
