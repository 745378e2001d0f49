// The spool's directories, opened, checked and locked, before anything is moved.
//
// What is refused here would otherwise break a promise later: two roles for one directory, a second daemon, a `done` or
// `failed` that a rename cannot reach. Directories that administrators make are taken as they are: never made, never chmodded.

internal import Diagnostics
internal import Glibc
internal import SystemPackage

struct OpenedDirectories {
    let spool: DirectoryHandle
    let outbox: DirectoryHandle
    let failed: DirectoryHandle
    let done: DirectoryHandle
    let lock: DirectoryHandle

    init(_ paths: SpoolConfiguration.Directories, _ files: FileSystem) throws(Failure) {
        spool = try OpenedDirectories.open(paths.spool, files)
        outbox = try OpenedDirectories.open(paths.outbox, files)
        failed = try OpenedDirectories.open(paths.failed, files)
        done = try OpenedDirectories.open(paths.done, files)
        // The inbox may be a mount that is not there yet: Spool opens it, again and again. It is looked at here all the same.
        let inbox = try? OpenedDirectories.open(paths.inbox, files)

        var seen: [FileStatus.Identity: String] = [:]
        for directory in [inbox, spool, outbox, failed, done].compactMap(\.self) {
            guard let status = try? SystemBridge.status(of: directory.descriptor) else { continue }
            if let other = seen.updateValue(directory.path, forKey: status.identity) {
                throw Failure(
                    .configurationInvalid, directory.path, "is the same directory as \(other)",
                    hint: "Give inbox, spool, outbox, failed and done a directory each.")
            }
        }
        lock = try OpenedDirectories.lock(spool, files)
        do {
            for state in JobState.inSpool { try files.makeDirectory(spool / state.fileName) }
            for directory in [failed, done] { try OpenedDirectories.tryRename(spool, directory, files) }
        } catch {
            guard error.errno == .improperLink else { throw error.ending }
            throw Failure(
                .configurationInvalid, paths.spool, "a rename cannot reach \(paths.done) and \(paths.failed) from here",
                hint: "Put spool, done and failed on one file system and one mount.")
        }
    }

    /// Only a path that leads to no directory is the configuration's fault, for which systemd does not try again; what is short or
    /// a disk that fails may be mended while the configuration stays as it is.
    private static func open(_ path: String, _ files: FileSystem) throws(Failure) -> DirectoryHandle {
        do {
            return try files.openRoot(path)
        } catch {
            switch error.errno {
            case .noSuchFileOrDirectory:
                throw Failure(
                    .notFound, path, "does not exist",
                    hint: "Make it or mount it, or correct `directories` in the configuration.")
            case .notDirectory, .tooManySymbolicLinkLevels:
                throw Failure(
                    .configurationInvalid, path, "cannot be opened as a directory: \(error.errno)",
                    hint: "Correct `directories` in the configuration, or put a directory there.")
            case .permissionDenied:
                throw Failure(
                    .permissionDenied, path, "may not be opened by the daemon's user", hint: "Try chown or chmod.")
            default: throw error.ending
            }
        }
    }

    private static func lock(_ spool: DirectoryHandle, _ files: FileSystem) throws(Failure) -> DirectoryHandle {
        let at = spool / Layout.lock
        let handle: DirectoryHandle
        do {
            let descriptor = try files.perform(.create, at) { () throws(Errno) in
                try SystemBridge.open(
                    spool.descriptor, at.path, O_RDWR | O_CREAT | O_NOFOLLOW, mode: FileSystem.fileMode)
            }
            handle = DirectoryHandle(descriptor: descriptor, path: at.description)
        } catch {
            throw error.ending
        }
        do {
            try SystemBridge.lockExclusively(handle.descriptor)
        } catch {
            guard error == .wouldBlock else {
                throw Failure(
                    .inputOutput, at.description, "cannot be locked: \(error)",
                    hint: "Put the spool on a file system that has locks (flock(2)).")
            }
            throw Failure(
                .unavailable, spool.path, "another process works on this spool",
                hint: "Stop the other memvpd, or give this one a spool of its own.")
        }
        return handle
    }

    /// Whether a directory can be renamed from the spool into another: st_dev does not tell (bind mounts share it).
    private static func tryRename(_ spool: DirectoryHandle, _ to: DirectoryHandle, _ files: FileSystem)
        throws(FileFault)
    {
        let name = Layout.known(".probe")
        try files.removeDirectory(to / name)
        try files.makeDirectory(spool / name)
        do {
            try files.rename(spool / name, to / name)
        } catch {
            try files.removeDirectory(spool / name)
            throw error
        }
        try files.removeDirectory(to / name)
    }
}
