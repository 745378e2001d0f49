// The only place of this library where C's file calls are made.
//
// Failure modes: every call that fails is turned into a `Failure` with the kernel's words, or `nil` where absence is normal.

import Diagnostics
import Glibc

/// What tells one file from another: a path may come to name something else, this pair does not.
struct FileIdentity: Sendable, Equatable {
    let device: UInt64
    let inode: UInt64
}

/// Small files: reading, replacing, examining.
enum FileBridge {
    /// The kernel's words for an error number (strerror(3)).
    static func errorText(_ number: Int32) -> String {
        guard let message = unsafe strerror(number) else { return "errno \(number)" }
        return unsafe String(cString: message)
    }

    /// What a clock says, in seconds (clock_gettime(2)).
    static func seconds(of clock: clockid_t) -> Double {
        var time = timespec()
        _ = unsafe clock_gettime(clock, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    /// The whole text of a small file, `nil` when it cannot be read, is not UTF-8 or has more than `limit` bytes.
    static func readText(_ path: String, limit: Int) -> String? {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = unsafe chunk.withUnsafeMutableBytes { unsafe read(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { return nil }
            if count == 0 { return String(validating: bytes, as: UTF8.self) }
            guard count <= limit - bytes.count else { return nil }
            bytes += chunk[..<count]
        }
    }

    /// How many entries a directory has, without `.` and `..`.
    static func entryCount(_ path: String) -> Int? {
        guard let directory = unsafe opendir(path) else { return nil }
        defer { unsafe closedir(directory) }
        var count = -2
        while unsafe readdir(directory) != nil { count += 1 }
        return max(0, count)
    }

    /// The soft limit on open descriptors (getrlimit(2)).
    static func descriptorLimit() -> UInt64? {
        var limit = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return nil }
        return UInt64(limit.rlim_cur)
    }

    /// The kind (`S_IFMT` bits), permission bits and identity of what stands at `path`, no symlink followed; `nil` when
    /// nothing does.
    static func status(_ path: String) throws(Failure) -> (kind: UInt32, mode: UInt32, identity: FileIdentity)? {
        var status = stat()
        guard unsafe lstat(path, &status) == 0 else {
            if errno == ENOENT { return nil }
            throw failure(errno, path, "cannot be examined")
        }
        let identity = FileIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
        return (status.st_mode & S_IFMT, status.st_mode & 0o7777, identity)
    }

    /// Removes the name `path` (unlink(2)).
    static func remove(_ path: String) throws(Failure) {
        guard unsafe unlink(path) == 0 else { throw failure(errno, path, "cannot be removed") }
    }

    /// Sets the permission bits of what `path` names (chmod(2)).
    static func setMode(_ path: String, _ mode: UInt32) throws(Failure) {
        guard unsafe chmod(path, mode) == 0 else { throw failure(errno, path, "cannot be given its mode") }
    }

    /// Opens a directory and takes the exclusive lock on it (flock(2)); `unlockDirectory` gives it back.
    static func lockDirectory(_ path: String) throws(Failure) -> Int32 {
        let descriptor = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure(errno, path, "cannot be opened as a directory") }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let number = errno
            close(descriptor)
            if number == EWOULDBLOCK {
                throw Failure(
                    .temporary, path, "another process is setting up sockets in this directory", hint: "Try again.")
            }
            throw failure(number, path, "cannot be locked")
        }
        return descriptor
    }

    /// Gives the lock back and closes the descriptor. Closing alone would not do while a child that was just forked, and has
    /// not yet come to its exec, shares it.
    static func unlockDirectory(_ descriptor: Int32) {
        _ = flock(descriptor, LOCK_UN)
        close(descriptor)
    }

    /// Replaces `path` by a file with `bytes`: temporary file, fsync, rename, fsync of the directory.
    static func replaceFile(_ path: String, with bytes: [UInt8], mode: UInt32) throws(Failure) {
        let (directory, name) = split(path)
        // One fixed name: what a killed process left is removed here instead of piling up.
        let temporary = "\(directory)/.\(name).tmp"
        _ = unsafe unlink(temporary)
        let descriptor = unsafe open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode)
        guard descriptor >= 0 else { throw failure(errno, path, "cannot be written: \(temporary)") }
        var renamed = false
        defer { if !renamed { _ = unsafe unlink(temporary) } }
        do throws(Failure) {
            try writeAll(descriptor, bytes, path)
            // The mode given to open(2) is cut by the umask.
            guard fchmod(descriptor, mode) == 0, fsync(descriptor) == 0 else {
                throw failure(errno, path, "cannot be written")
            }
        } catch {
            close(descriptor)
            throw error
        }
        guard close(descriptor) == 0 else { throw failure(errno, path, "cannot be written") }
        guard unsafe rename(temporary, path) == 0 else { throw failure(errno, path, "cannot be replaced") }
        renamed = true
        try syncDirectory(directory)
    }

    /// The directory and the last part of a path.
    static func split(_ path: String) -> (directory: String, name: String) {
        guard let slash = path.lastIndex(of: "/") else { return (".", path) }
        let directory = slash == path.startIndex ? "/" : String(path[..<slash])
        return (directory, String(path[path.index(after: slash)...]))
    }

    private static func writeAll(_ descriptor: Int32, _ bytes: [UInt8], _ path: String) throws(Failure) {
        var done = 0
        while done < bytes.count {
            let count = unsafe bytes.withUnsafeBytes {
                unsafe write(descriptor, $0.baseAddress?.advanced(by: done), $0.count - done)
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw failure(errno, path, "cannot be written") }
            done += count
        }
    }

    private static func syncDirectory(_ path: String) throws(Failure) {
        let descriptor = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure(errno, path, "cannot be opened to be synced") }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure(errno, path, "cannot be synced") }
    }

    private static func failure(_ number: Int32, _ object: String, _ what: String) -> Failure {
        let cause = "\(what): \(errorText(number))"
        switch number {
        case ENOENT, ENOTDIR, ENAMETOOLONG, EISDIR:
            return Failure(.cannotCreate, object, cause, hint: "Check the path and make its directory.")
        case EACCES, EPERM, EROFS:
            return Failure(.permissionDenied, object, cause, hint: "Check the owner and mode of the directory.")
        case ENOSPC, EDQUOT: return Failure(.noSpace, object, cause, hint: "Make room there.")
        default: return Failure(.inputOutput, object, cause)
        }
    }
}
