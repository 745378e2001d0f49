// Directories made, renamed and synced: the system calls of an installation, and the only unsafe code of this module.
//
// Invariant: a call here does one thing, so that whoever fails between two knows what stands where. Failure modes: errno as `permission_denied`, `no_space`,
// `cannot_create` or `input_output`, naming the path.

internal import CLinux
internal import Diagnostics
internal import Glibc

/// System calls on directories.
enum DirectoryBridge {
    /// Makes a directory that all may read; one that stands there is kept.
    static func make(_ path: String) throws(Failure) {
        guard unsafe mkdir(path, 0o755) == 0 || errno == EEXIST else { throw failure(path, "cannot be made", errno) }
        allow(0o755, path)
    }

    /// Sets a mode; a file system without modes is no failure.
    static func allow(_ mode: mode_t, _ path: String) { _ = unsafe chmod(path, mode) }

    /// Renames a directory; one that stands at `target` must be empty. Durable after `syncParent`.
    static func rename(_ path: String, to target: String) throws(Failure) {
        guard unsafe Glibc.rename(path, target) == 0 else { throw failure(target, "cannot be put in place", errno) }
    }

    /// Exchanges two names in one step; false where the file system cannot. Durable after `syncParent`.
    static func exchange(_ path: String, _ target: String) throws(Failure) -> Bool {
        guard unsafe clinux_rename_exchange(path, target) == 0 else {
            if errno == EINVAL || errno == ENOSYS { return false }
            throw failure(target, "cannot be put in place", errno)
        }
        return true
    }

    /// Whether anything has the name, be it a link that leads nowhere.
    static func exists(_ path: String) -> Bool {
        var status = stat()
        return unsafe lstat(path, &status) == 0
    }

    /// Takes the lock on a directory, or says that another has it; `unlock` gives it back, and so does the end of the process.
    static func lock(_ path: String) throws(Failure) -> Int32 {
        let descriptor = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            let number = errno
            guard number == ENOENT else { throw failure(path, "cannot be opened", number) }
            throw Failure(.modelMissing, path, "does not exist", hint: "Check the path of the model bundle.")
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let number = errno
            close(descriptor)
            guard number == EWOULDBLOCK else { throw failure(path, "cannot be locked", number) }
            throw Failure(
                .temporary, path, "is being changed by another program", hint: "Try again when that one has ended.")
        }
        return descriptor
    }

    /// Gives back the lock that `lock` took.
    static func unlock(_ descriptor: Int32) { close(descriptor) }

    /// The bytes as an array.
    static func array(_ bytes: RawSpan) -> [UInt8] { unsafe bytes.withUnsafeBytes { unsafe [UInt8]($0) } }

    /// Makes renames in the directory of `path` durable.
    static func syncParent(of path: String) throws(Failure) {
        let slash = path.lastIndex(of: "/")
        let parent = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let descriptor = unsafe open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure(parent, "cannot be opened", errno) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure(parent, "cannot be made durable", errno) }
    }

    private static func failure(_ path: String, _ what: String, _ number: Int32) -> Failure {
        let text = unsafe strerror(number).map { unsafe String(cString: $0) } ?? "errno \(number)"
        switch number {
        case EACCES, EPERM, EROFS:
            return Failure(.permissionDenied, path, "\(what): \(text)", hint: "Install as a user who may write there.")
        case ENOSPC, EDQUOT: return Failure(.noSpace, path, "\(what): \(text)", hint: "Free space there and try again.")
        case ENOENT, ENOTDIR, EEXIST, ENOTEMPTY: return Failure(.cannotCreate, path, "\(what): \(text)")
        default: return Failure(.inputOutput, path, "\(what): \(text)")
        }
    }
}
