// The file system as the spool uses it: every call that reads or changes something has a name, and passes a hook first.
// Tests cut a step off there, as a kill or a fault would; in service the hook is nil.
//
// Invariants: files are made with O_EXCL, mode 0640 whatever the umask; `writeWhole` shows a file whole or not at all;
// nothing here follows a symbolic link. Failure mode: every fault is a FileFault that names call and object.

internal import Glibc
internal import SystemPackage

/// A directory held open, closed with the last reference.
final class DirectoryHandle: Sendable {
    let descriptor: Int32
    let path: String

    init(descriptor: Int32, path: String) {
        (self.descriptor, self.path) = (descriptor, path)
    }

    deinit { SystemBridge.close(descriptor) }
}

/// A path beneath a directory, byte for byte; never absolute.
struct RelativePath: Hashable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
    private(set) var bytes: [UInt8]

    init(_ name: FileName) { bytes = name.bytes }
    init(stringLiteral value: String) { bytes = Array(value.utf8) }

    static func / (base: RelativePath, name: FileName) -> RelativePath {
        var path = base
        path.bytes += [0x2F] + name.bytes
        return path
    }

    var description: String {
        bytes.split(separator: 0x2F).compactMap { FileName(Array($0))?.description }.joined(separator: "/")
    }
}

/// A place beneath one of the spool's directories.
struct Location: Hashable, Sendable, CustomStringConvertible {
    let root: DirectoryHandle
    let path: RelativePath

    static func / (base: Location, name: FileName) -> Location {
        Location(root: base.root, path: base.path / name)
    }

    static func == (left: Location, right: Location) -> Bool { left.root === right.root && left.path == right.path }
    func hash(into hasher: inout Hasher) { hasher.combine(path) }

    var description: String { path == "." ? root.path : "\(root.path)/\(path)" }
}

extension DirectoryHandle {
    /// The directory itself.
    var here: Location { Location(root: self, path: ".") }
    static func / (base: DirectoryHandle, name: FileName) -> Location {
        Location(root: base, path: RelativePath(name))
    }
    static func / (base: DirectoryHandle, path: RelativePath) -> Location { Location(root: base, path: path) }
}

/// The calls that pass the hook. `openRoot` is of a directory by the path that an administrator wrote.
enum FileOperation: String, Sendable, CaseIterable {
    case openRoot, open, read, list, status
    case makeDirectory, create, write, own, sync, syncDirectory, rename, renameNoReplace, link, unlink, removeDirectory
}

/// What a test makes of a call.
enum InjectedFault: Sendable, Equatable {
    /// The call fails and changes nothing.
    case fails(Errno)
    /// A `write` writes its first half, then fails.
    case tears(Errno)
}

/// A failed call.
struct FileFault: Error, Sendable, Equatable, CustomStringConvertible {
    let errno: Errno
    let operation: FileOperation
    let object: String

    var description: String { "\(object): \(operation.rawValue): \(errno)" }
}

/// The named calls.
struct FileSystem: Sendable {
    /// Called before each call; what it returns happens instead of the call.
    typealias Hook = @Sendable (FileOperation, Location) -> InjectedFault?

    var hook: Hook?

    /// The mode of made files and directories, before and whatever the umask.
    static let fileMode: mode_t = 0o640
    static let directoryMode: mode_t = 0o750

    func perform<Value>(
        _ operation: FileOperation, _ at: Location, torn: () -> Void = {}, _ body: () throws(Errno) -> Value
    ) throws(FileFault) -> Value {
        switch hook?(operation, at) {
        case nil: break
        case .fails(let errno): throw FileFault(errno: errno, operation: operation, object: at.description)
        case .tears(let errno):
            torn()
            throw FileFault(errno: errno, operation: operation, object: at.description)
        }
        do {
            return try body()
        } catch {
            throw FileFault(errno: error, operation: operation, object: at.description)
        }
    }

    // MARK: Looking

    /// The status of what stands there; nil when nothing does.
    func status(_ at: Location) throws(FileFault) -> FileStatus? {
        do {
            return try perform(.status, at) { () throws(Errno) in
                try SystemBridge.status(at.root.descriptor, at.path)
            }
        } catch let fault where fault.errno == .noSuchFileOrDirectory {
            return nil
        }
    }

    func exists(_ at: Location) throws(FileFault) -> Bool { try status(at) != nil }

    /// Calls `body` with the names in a directory, some hundred at a time. Nothing to do when the directory is not there.
    func forEachBatch(_ at: Location, _ body: ([FileName]) throws(FileFault) -> Void) throws(FileFault) {
        let directory: DirectoryHandle
        do {
            directory = try openDirectory(at)
        } catch let fault where fault.errno == .noSuchFileOrDirectory {
            return
        }
        while let names = try nextBatch(directory) { try body(names) }
    }

    func nextBatch(_ directory: DirectoryHandle) throws(FileFault) -> [FileName]? {
        try perform(.list, directory.here) { () throws(Errno) in try SystemBridge.entries(directory.descriptor) }
    }

    /// The names in a directory, sorted; none when it is not there.
    func list(_ at: Location) throws(FileFault) -> [FileName] {
        var all: [FileName] = []
        try forEachBatch(at) { all += $0 }
        return all.sorted()
    }

    /// Opens one of the spool's directories by the path that an administrator wrote.
    func openRoot(_ path: String) throws(FileFault) -> DirectoryHandle {
        // What is not open yet has a path and no descriptor; this one only tells the hook which it is.
        let at = DirectoryHandle(descriptor: -1, path: path).here
        let descriptor = try perform(.openRoot, at) { () throws(Errno) in try SystemBridge.openRoot(path) }
        return DirectoryHandle(descriptor: descriptor, path: path)
    }

    func openDirectory(_ at: Location) throws(FileFault) -> DirectoryHandle {
        let descriptor = try perform(.open, at) { () throws(Errno) in
            try SystemBridge.open(at.root.descriptor, at.path, O_RDONLY | O_DIRECTORY)
        }
        return DirectoryHandle(descriptor: descriptor, path: at.description)
    }

    /// Calls `body` with a descriptor on a file, opened for reading without ever blocking: no symbolic link, but it may be a FIFO
    /// or a device that took a regular file's place. Whoever reads a file that is not ours asks for its status first.
    func withFile<Value>(
        _ at: Location, _ body: (Int32) throws(FileFault) -> Value
    ) throws(FileFault) -> Value {
        let descriptor = try perform(.open, at) { () throws(Errno) in
            try SystemBridge.open(at.root.descriptor, at.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)
        }
        defer { SystemBridge.close(descriptor) }
        return try body(descriptor)
    }

    func status(of descriptor: Int32, _ at: Location) throws(FileFault) -> FileStatus {
        try perform(.status, at) { () throws(Errno) in try SystemBridge.status(of: descriptor) }
    }

    func read(
        _ descriptor: Int32, _ at: Location, from offset: Int64 = 0, atMost limit: Int
    ) throws(FileFault) -> [UInt8] {
        try perform(.read, at) { () throws(Errno) in
            try SystemBridge.read(descriptor, from: offset, atMost: limit)
        }
    }

    /// The bytes of a file of ours, at most `limit`; nil when it is not there.
    func contents(_ at: Location, atMost limit: Int) throws(FileFault) -> [UInt8]? {
        do {
            return try withFile(at) { (descriptor) throws(FileFault) in
                let size = try status(of: descriptor, at).size
                return try read(descriptor, at, atMost: min(limit, Int(clamping: max(0, size))))
            }
        } catch let fault where fault.errno == .noSuchFileOrDirectory {
            return nil
        }
    }

    // MARK: Changing

    /// Makes a directory; unless `exclusively`, one that is there already will do.
    func makeDirectory(
        _ at: Location, mode: mode_t = directoryMode, exclusively: Bool = false
    ) throws(FileFault) {
        do {
            try perform(.makeDirectory, at) { () throws(Errno) in
                try SystemBridge.makeDirectory(at.root.descriptor, at.path, mode: mode)
            }
        } catch let fault where fault.errno == .fileExists && !exclusively {
            return
        }
    }

    /// Makes a file that nobody else made, hands it to `finish`, open for writing, and closes it after that.
    func create(
        _ at: Location, group: UInt32? = nil, _ finish: (Int32) throws(FileFault) -> Void
    ) throws(FileFault) {
        let descriptor: Int32
        do {
            descriptor = try createExclusively(at)
        } catch let fault where fault.errno == .fileExists {
            // A torn write of an earlier life, under a name that nobody but us uses.
            try remove(at)
            descriptor = try createExclusively(at)
        }
        defer { SystemBridge.close(descriptor) }
        try perform(.own, at) { () throws(Errno) in
            try SystemBridge.setMode(descriptor, FileSystem.fileMode)
        }
        if let group {
            // Without membership in the group this fails; the outcome is published all the same, and `Spool.checkOutboxGroup` has
            // said why readers may not read it.
            _ = try? SystemBridge.setGroup(descriptor, group)
        }
        try finish(descriptor)
    }

    private func createExclusively(_ at: Location) throws(FileFault) -> Int32 {
        try perform(.create, at) { () throws(Errno) in
            try SystemBridge.open(
                at.root.descriptor, at.path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: FileSystem.fileMode)
        }
    }

    func write(_ descriptor: Int32, _ at: Location, _ bytes: ArraySlice<UInt8>) throws(FileFault) {
        try perform(.write, at, torn: { try? SystemBridge.write(descriptor, bytes.prefix(bytes.count / 2)) }) {
            () throws(Errno) in try SystemBridge.write(descriptor, bytes)
        }
    }

    func sync(_ descriptor: Int32, _ at: Location) throws(FileFault) {
        try perform(.sync, at) { () throws(Errno) in try SystemBridge.sync(descriptor) }
    }

    /// Makes the names in a directory durable.
    func syncDirectory(_ at: Location) throws(FileFault) {
        let directory = try openDirectory(at)
        try perform(.syncDirectory, at) { () throws(Errno) in
            do throws(Errno) {
                try SystemBridge.sync(directory.descriptor)
            } catch let fault where fault == .invalidArgument {
                // A file system that cannot sync a directory (some network and FUSE ones) says so with EINVAL.
            }
        }
    }

    /// Makes a file's bytes durable.
    func syncFile(_ at: Location) throws(FileFault) {
        try withFile(at) { (descriptor) throws(FileFault) in try sync(descriptor, at) }
    }

    /// Puts a whole file in place of whatever stood there, by way of `*.tmp`.
    func writeWhole(_ at: Location, _ bytes: [UInt8], durable: Bool, group: UInt32? = nil) throws(FileFault) {
        let temporary = at.temporary
        try create(temporary, group: group) { (descriptor) throws(FileFault) in
            try write(descriptor, temporary, bytes[...])
            if durable { try sync(descriptor, temporary) }
        }
        try rename(temporary, at)
    }

    func rename(_ from: Location, _ to: Location) throws(FileFault) {
        try perform(.rename, from) { () throws(Errno) in
            try SystemBridge.rename(from.root.descriptor, from.path, to.root.descriptor, to.path)
        }
    }

    /// Renames unless the new name is taken (EEXIST). File systems that cannot (EINVAL) get link(2) and unlink(2), which refuse
    /// a taken name just as surely, but in two steps.
    func renameNoReplace(_ from: Location, _ to: Location) throws(FileFault) {
        do {
            try perform(.renameNoReplace, from) { () throws(Errno) in
                try SystemBridge.renameNoReplace(from.root.descriptor, from.path, to.root.descriptor, to.path)
            }
        } catch let fault where fault.errno == .invalidArgument {
            try link(from, to)
            try remove(from)
        }
    }

    func link(_ from: Location, _ to: Location) throws(FileFault) {
        try perform(.link, from) { () throws(Errno) in
            try SystemBridge.link(from.root.descriptor, from.path, to.root.descriptor, to.path)
        }
    }

    /// Removes a name; one that is not there will do.
    func remove(_ at: Location) throws(FileFault) {
        do {
            try perform(.unlink, at) { () throws(Errno) in try SystemBridge.unlink(at.root.descriptor, at.path) }
        } catch let fault where fault.errno == .noSuchFileOrDirectory {
            return
        }
    }

    /// Removes an empty directory; one that is not there will do.
    func removeDirectory(_ at: Location) throws(FileFault) {
        do {
            try perform(.removeDirectory, at) { () throws(Errno) in
                try SystemBridge.unlink(at.root.descriptor, at.path, directoryItself: true)
            }
        } catch let fault where fault.errno == .noSuchFileOrDirectory {
            return
        }
    }

    /// Copies a regular file, whole and durable, to a name that appears last. Throws EBUSY when it changed meanwhile.
    func copyWhole(_ from: Location, _ to: Location, temporary: Location, group: UInt32? = nil) throws(FileFault) {
        try withFile(from) { (source) throws(FileFault) in
            let before = try status(of: source, from)
            try create(temporary, group: group) { (target) throws(FileFault) in
                var offset: Int64 = 0
                while true {
                    let part = try read(source, from, from: offset, atMost: 1 << 20)
                    guard !part.isEmpty else { break }
                    try write(target, temporary, part[...])
                    offset += Int64(part.count)
                }
                try sync(target, temporary)
            }
            guard try status(of: source, from).content == before.content else {
                throw FileFault(errno: .resourceBusy, operation: .read, object: from.description)
            }
        }
        try rename(temporary, to)
    }
}

extension Location {
    /// The name with `.tmp` after it, where this file is written before it appears.
    var temporary: Location {
        var path = path
        path.append(suffix: ".tmp")
        return Location(root: root, path: path)
    }
}

extension RelativePath {
    mutating func append(suffix: String) { bytes += Array(suffix.utf8) }
}
