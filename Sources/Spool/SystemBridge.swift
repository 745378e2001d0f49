// The one file of this module that hands pointers to the system: each function is one system call (or a loop around
// one that may be interrupted or partial), takes and returns Swift values, and throws the call's errno.
//
// Invariants: descriptors are close-on-exec; nothing but `openRoot` follows a symbolic link on its last component. EINTR is
// retried, but not by the calls that change a name: one that was made all the same must not be made twice, and whoever asked for it
// looks at the disk and tries again (`FileFault` takes EINTR for a passing fault).

internal import CLinux
internal import Glibc
internal import SystemPackage

enum SystemBridge {
    // MARK: Time and waiting

    static func time(of clock: clockid_t) -> (seconds: Int64, nanoseconds: Int64) {
        var time = timespec()
        _ = unsafe clock_gettime(clock, &time)
        return (Int64(time.tv_sec), Int64(time.tv_nsec))
    }

    static func makeEvent() throws(Errno) -> Int32 {
        try check(clinux_event())
    }

    static func signalEvent(_ descriptor: Int32) {
        var one: UInt64 = 1
        // Fails only when the counter is full, which is a signal as well.
        _ = unsafe Glibc.write(descriptor, &one, MemoryLayout<UInt64>.size)
    }

    static func clearEvent(_ descriptor: Int32) {
        var count: UInt64 = 0
        _ = unsafe Glibc.read(descriptor, &count, MemoryLayout<UInt64>.size)
    }

    /// Waits until one of the descriptors is readable; nil: no limit. Returns which are.
    static func poll(_ descriptors: [Int32], milliseconds: Int32?) -> [Bool] {
        var entries = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        let count = unsafe Glibc.poll(&entries, nfds_t(entries.count), milliseconds ?? -1)
        return entries.map { count > 0 && $0.revents != 0 }
    }

    /// Whom new files belong to.
    static var user: UInt32 { geteuid() }

    /// Whether files may be given to this group.
    static func isMember(of group: UInt32) -> Bool {
        guard geteuid() != 0, getegid() != group else { return true }
        let count = getgroups(0, nil)
        guard count > 0 else { return false }
        var groups = [gid_t](repeating: 0, count: Int(count))
        let read = unsafe groups.withUnsafeMutableBufferPointer { unsafe getgroups(count, $0.baseAddress) }
        return read > 0 && groups.prefix(Int(read)).contains(group)
    }

    // MARK: Descriptors

    static func close(_ descriptor: Int32) {
        _ = Glibc.close(descriptor)
    }

    /// Opens a path that an administrator wrote: symbolic links are followed.
    static func openRoot(_ path: String) throws(Errno) -> Int32 {
        try retrying { unsafe Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
    }

    /// How often an open that met EAGAIN is made again.
    private static let mostRaces = 16

    /// Opens what stands beneath a directory: no symbolic link is followed anywhere on the way.
    static func open(_ directory: Int32, _ path: RelativePath, _ flags: Int32, mode: mode_t = 0) throws(Errno) -> Int32
    {
        var races = 0
        while true {
            let descriptor = unsafe withPath(path) {
                unsafe clinux_open_beneath(directory, $0, flags | O_CLOEXEC, mode)
            }
            if descriptor >= 0 { return descriptor }
            if errno == EINTR { continue }
            // EAGAIN: a rename elsewhere on the way raced with RESOLVE_BENEATH (openat2(2)), and the next attempt succeeds; or
            // somebody holds a lease on the file (fcntl(2), F_SETLEASE), for up to 45 s: that passes, but not while we wait.
            guard errno == EAGAIN, flags & O_CREAT == 0, races < mostRaces else { throw Errno(rawValue: errno) }
            races += 1
        }
    }

    static func lockExclusively(_ descriptor: Int32) throws(Errno) {
        _ = try retrying { flock(descriptor, LOCK_EX | LOCK_NB) }
    }

    /// Unlocks at once: closing alone waits for copies of the descriptor that a child between fork and exec still has.
    static func unlock(_ descriptor: Int32) {
        _ = flock(descriptor, LOCK_UN)
    }

    static func status(of descriptor: Int32) throws(Errno) -> FileStatus {
        var status = stat()
        _ = try retrying { unsafe fstat(descriptor, &status) }
        return FileStatus(status)
    }

    static func status(_ directory: Int32, _ path: RelativePath) throws(Errno) -> FileStatus {
        var status = stat()
        _ = try retrying {
            unsafe withPath(path) { unsafe fstatat(directory, $0, &status, AT_SYMLINK_NOFOLLOW) }
        }
        return FileStatus(status)
    }

    /// Reads at most `limit` bytes from `offset`, up to the end of the file.
    static func read(_ descriptor: Int32, from offset: Int64, atMost limit: Int) throws(Errno) -> [UInt8] {
        guard limit > 0 else { return [] }
        var failure: Errno?
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
            while count < limit {
                let part = unsafe pread(
                    descriptor, buffer.baseAddress.map { unsafe $0 + count }, limit - count, off_t(offset) + count)
                if part < 0, errno == EINTR { continue }
                if part < 0 { failure = Errno(rawValue: errno) }
                guard part > 0 else { return }
                count += part
            }
        }
        if let failure { throw failure }
        return bytes
    }

    /// Reads once from a descriptor that hands out records (inotify(7)); empty when there is nothing now.
    static func readRecords(_ descriptor: Int32, capacity: Int) throws(Errno) -> [UInt8] {
        var failure: Errno?
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
            let part = unsafe Glibc.read(descriptor, buffer.baseAddress, capacity)
            if part < 0, errno != EAGAIN, errno != EINTR { failure = Errno(rawValue: errno) }
            count = max(0, part)
        }
        if let failure { throw failure }
        return bytes
    }

    static func write(_ descriptor: Int32, _ bytes: ArraySlice<UInt8>) throws(Errno) {
        var rest = bytes
        while !rest.isEmpty {
            let part = unsafe rest.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if part < 0, errno == EINTR { continue }
            guard part >= 0 else { throw Errno(rawValue: errno) }
            // A regular file on a full disk may take nothing without an error.
            guard part > 0 else { throw .noSpace }
            rest = rest.dropFirst(part)
        }
    }

    static func setMode(_ descriptor: Int32, _ mode: mode_t) throws(Errno) {
        _ = try retrying { fchmod(descriptor, mode) }
    }

    static func setGroup(_ descriptor: Int32, _ group: gid_t) throws(Errno) {
        _ = try retrying { fchown(descriptor, uid_t.max, group) }
    }

    static func sync(_ descriptor: Int32) throws(Errno) {
        _ = try retrying { fsync(descriptor) }
    }

    // MARK: Names

    static func makeDirectory(_ directory: Int32, _ path: RelativePath, mode: mode_t) throws(Errno) {
        _ = try check(unsafe withPath(path) { unsafe mkdirat(directory, $0, mode) })
    }

    static func rename(
        _ from: Int32, _ fromPath: RelativePath, _ to: Int32, _ toPath: RelativePath
    ) throws(Errno) {
        _ = try check(
            unsafe withPath(fromPath) { source in
                unsafe withPath(toPath) { unsafe renameat(from, source, to, $0) }
            })
    }

    static func renameNoReplace(
        _ from: Int32, _ fromPath: RelativePath, _ to: Int32, _ toPath: RelativePath
    ) throws(Errno) {
        _ = try check(
            unsafe withPath(fromPath) { source in
                unsafe withPath(toPath) { unsafe clinux_rename_noreplace(from, source, to, $0) }
            })
    }

    static func link(
        _ from: Int32, _ fromPath: RelativePath, _ to: Int32, _ toPath: RelativePath
    ) throws(Errno) {
        _ = try check(
            unsafe withPath(fromPath) { source in
                unsafe withPath(toPath) { unsafe linkat(from, source, to, $0, 0) }
            })
    }

    static func unlink(_ directory: Int32, _ path: RelativePath, directoryItself: Bool = false) throws(Errno) {
        _ = try check(unsafe withPath(path) { unsafe unlinkat(directory, $0, directoryItself ? AT_REMOVEDIR : 0) })
    }

    /// The next entries of an open directory, without `.` and `..`; nil at its end. Records that are not whole are left out.
    static func entries(_ descriptor: Int32) throws(Errno) -> [FileName]? {
        var failure: Errno?
        let records = unsafe [UInt8](unsafeUninitializedCapacity: 32 << 10) { buffer, count in
            var part: Int
            repeat {
                part = unsafe clinux_directory_entries(descriptor, buffer.baseAddress, buffer.count)
            } while part < 0 && errno == EINTR
            if part < 0 { failure = Errno(rawValue: errno) }
            count = max(0, part)
        }
        if let failure { throw failure }
        guard !records.isEmpty else { return nil }
        let lengthOffset = Int(CLINUX_DIRENT_LENGTH_OFFSET)
        let nameOffset = Int(CLINUX_DIRENT_NAME_OFFSET)
        var names: [FileName] = []
        var rest = records[...]
        while rest.count > nameOffset {
            let start = rest.startIndex
            let length = Int(rest[start + lengthOffset]) | Int(rest[start + lengthOffset + 1]) << 8
            guard length > nameOffset, length <= rest.count else { break }
            let name = rest[(start + nameOffset)..<(start + length)].prefix { $0 != 0 }
            if let name = FileName(Array(name)) { names.append(name) }
            rest = rest.dropFirst(length)
        }
        return names
    }

    /// The name of the remote file system that the descriptor is on; nil for a local one.
    static func remoteFileSystem(_ descriptor: Int32) -> String? {
        guard let name = unsafe clinux_remote_file_system(descriptor) else { return nil }
        return unsafe String(cString: name)
    }

    // MARK: inotify(7)

    static func makeInotify() throws(Errno) -> Int32 {
        try check(inotify_init1(Int32(IN_CLOEXEC) | Int32(IN_NONBLOCK)))
    }

    static func watch(_ descriptor: Int32, _ path: String) throws(Errno) {
        _ = try retrying { unsafe inotify_add_watch(descriptor, path, clinux_inbox_events) }
    }

    // MARK: Crashes

    static func installCrashHandler(writingTo descriptor: Int32) throws(Errno) {
        _ = try check(clinux_crash_install(descriptor))
    }

    static func noteForCrashHandler(_ note: String?) {
        guard let note else { return clinux_crash_note(nil) }
        unsafe note.withCString { unsafe clinux_crash_note($0) }
    }

    static func prepareThreadForCrash() throws(Errno) {
        _ = try check(clinux_crash_thread())
    }

    // MARK: Threads

    /// Runs `body` on a thread of its own, detached.
    static func startThread(_ body: @escaping @Sendable () -> Void) throws(Errno) {
        let box = unsafe Unmanaged.passRetained(ThreadBody(body: body))
        var thread = pthread_t()
        let result = unsafe pthread_create(
            &thread, nil,
            { argument in
                guard let argument = unsafe argument else { return nil }
                let box = unsafe Unmanaged<ThreadBody>.fromOpaque(argument).takeRetainedValue()
                box.body()
                return nil
            }, box.toOpaque())
        guard result == 0 else {
            unsafe box.release()
            throw Errno(rawValue: result)
        }
        pthread_detach(thread)
    }

    private final class ThreadBody: Sendable {
        let body: @Sendable () -> Void
        init(body: @escaping @Sendable () -> Void) { self.body = body }
    }

    // MARK: Helpers

    /// Makes a call until no signal cuts it off: one that may be made twice.
    static func retrying(_ call: () -> Int32) throws(Errno) -> Int32 {
        while true {
            let result = call()
            if result >= 0 { return result }
            guard errno == EINTR else { throw Errno(rawValue: errno) }
        }
    }

    private static func check(_ result: Int32) throws(Errno) -> Int32 {
        guard result >= 0 else { throw Errno(rawValue: errno) }
        return result
    }

    private static func withPath<Result>(
        _ path: RelativePath, _ body: (UnsafePointer<CChar>) -> Result
    ) -> Result {
        let characters = path.bytes.map { CChar(bitPattern: $0) } + [0]
        return unsafe characters.withUnsafeBufferPointer { buffer in
            // The array is never empty, so it has a first byte.
            unsafe body(buffer.baseAddress.unsafelyUnwrapped)
        }
    }
}

extension FileStatus {
    fileprivate init(_ status: stat) {
        let kind: Kind =
            switch status.st_mode & S_IFMT {
            case S_IFREG: .regular
            case S_IFDIR: .directory
            case S_IFLNK: .symbolicLink
            case S_IFIFO: .pipe
            case S_IFSOCK: .socket
            default: .device
            }
        func nanoseconds(_ time: timespec) -> Int64 {
            Int64(time.tv_sec).multipliedReportingOverflow(by: 1_000_000_000).partialValue &+ Int64(time.tv_nsec)
        }
        self.init(
            kind: kind, mode: UInt32(status.st_mode & 0o7777), links: Int(status.st_nlink), owner: status.st_uid,
            group: status.st_gid,
            identity: Identity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino)),
            content: Content(
                inode: UInt64(status.st_ino), size: Int64(status.st_size), modified: nanoseconds(status.st_mtim)),
            changed: nanoseconds(status.st_ctim))
    }
}
