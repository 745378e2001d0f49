// Five real directories on a real file system, removed with the object, and the handful of things people do in them.

import Foundation
import Glibc

@testable import Spool

/// The directories of one spool. `inbox` and `outbox` may be on another file system.
final class Sandbox: Sendable {
    let root: String
    let otherRoot: String

    /// Where fsync costs nothing; most tests need many.
    static let memory: String? = FileManager.default.isWritableFile(atPath: "/dev/shm") ? "/dev/shm" : nil
    static let disk = "/tmp"

    enum Layout: Sendable {
        case oneFileSystem
        case inboxElsewhere
        case outboxElsewhere
    }

    let layout: Layout
    private let isOwner: Bool

    /// A sandbox that another process made, and will remove.
    init(at root: String) {
        (self.root, otherRoot, layout, isOwner) = (root, root, .oneFileSystem, false)
    }

    init(_ layout: Layout = .oneFileSystem, on base: String = Sandbox.memory ?? Sandbox.disk) {
        self.layout = layout
        isOwner = true
        let name = "memvpd-spool-\(UInt64.random(in: .min ... .max))"
        root = "\(base)/\(name)"
        otherRoot =
            layout == .oneFileSystem ? root : "\(base == Sandbox.disk ? Sandbox.memory ?? base : Sandbox.disk)/\(name)"
        for path in [inbox, spool, outbox, failed, done] {
            try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        }
    }

    deinit {
        guard isOwner else { return }
        try? FileManager.default.removeItem(atPath: root)
        try? FileManager.default.removeItem(atPath: otherRoot)
    }

    /// Whether there really are two file systems.
    static let hasTwoFileSystems: Bool = {
        guard let memory, let first = handle(memory), let second = handle(disk) else { return false }
        let devices = [first, second].map { try? SystemBridge.status(of: $0.descriptor).identity.device }
        return devices[0] != nil && devices[1] != nil && devices[0] != devices[1]
    }()

    var inbox: String { (layout == .inboxElsewhere ? otherRoot : root) + "/inbox" }
    var spool: String { root + "/spool" }
    var outbox: String { (layout == .outboxElsewhere ? otherRoot : root) + "/outbox" }
    var failed: String { root + "/failed" }
    var done: String { root + "/done" }

    var configuration: SpoolConfiguration {
        SpoolConfiguration(
            directories: .init(inbox: inbox, spool: spool, outbox: outbox, failed: failed, done: done))
    }

    // MARK: What people do

    func path(_ name: [UInt8], in directory: String) -> [CChar] {
        (Array(directory.utf8) + [0x2F] + name + [0]).map { CChar(bitPattern: $0) }
    }

    /// cp: created, written, closed.
    func drop(_ name: String, _ bytes: [UInt8]) { drop(Array(name.utf8), bytes) }

    func drop(_ name: [UInt8], _ bytes: [UInt8]) {
        let writer = Writer(path(name, in: inbox))
        writer.write(bytes)
        writer.close()
    }

    func drop(_ name: String, text: String) { drop(name, Array(text.utf8)) }

    /// mv: appears whole.
    func moveIn(_ name: String, _ bytes: [UInt8]) {
        drop(".moving-\(name)", bytes)
        Sandbox.move("\(inbox)/.moving-\(name)", "\(inbox)/\(name)")
    }

    /// rename(2): unlike FileManager's, over whatever stands there.
    static func move(_ from: String, _ to: String) { _ = unsafe rename(from, to) }

    /// A writer who takes its time.
    func open(_ name: String, truncating: Bool = true) -> Writer {
        Writer(path(Array(name.utf8), in: inbox), truncating: truncating)
    }

    final class Writer: Sendable {
        private let path: [CChar]
        private let descriptor: Int32

        init(_ path: [CChar], truncating: Bool = true) {
            self.path = path
            let flags = O_WRONLY | O_CREAT | O_CLOEXEC | (truncating ? O_TRUNC : O_APPEND)
            descriptor = unsafe Glibc.open(path, flags, 0o644)
        }

        func write(_ bytes: [UInt8]) { _ = unsafe Glibc.write(descriptor, bytes, bytes.count) }

        func close() {
            _ = Glibc.close(descriptor)
            // A process that another test forks at this moment has a copy of the descriptor until it execs, and IN_CLOSE_WRITE
            // comes with the last copy. A read lease is granted once nobody has the file open for writing.
            let (setLease, readLease, noLease) = (Int32(1024), Int32(0), Int32(2))
            let reader = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC)
            while fcntl(reader, setLease, readLease) != 0, errno == EAGAIN { sched_yield() }
            _ = fcntl(reader, setLease, noLease)
            _ = Glibc.close(reader)
        }
    }

    /// A file somewhere under a directory.
    struct Found: Sendable {
        /// Relative to that directory, escaped.
        let path: String
        let location: Location
        var bytes: [UInt8]? { (try? FileSystem().contents(location, atMost: 1 << 26)) ?? nil }
    }

    /// All files under a directory, and with `directories` the empty directories too, with a slash at their end.
    static func files(under directory: String, directories: Bool = false) -> [Found] {
        guard let root = handle(directory) else { return [] }
        let files = FileSystem()
        var found: [Found] = []
        func walk(_ at: Location, _ prefix: String) {
            for name in (try? files.list(at)) ?? [] {
                let status = try? files.status(at / name)
                guard status?.kind == .directory else {
                    found.append(Found(path: prefix + name.description, location: at / name))
                    continue
                }
                let before = found.count
                walk(at / name, "\(prefix)\(name)/")
                if directories, found.count == before {
                    found.append(Found(path: "\(prefix)\(name)/", location: at / name))
                }
            }
        }
        walk(root.here, "")
        return found.sorted { $0.path < $1.path }
    }

    /// A file's contents as text, by its path in the sandbox.
    func text(_ path: String) -> String {
        FileManager.default.contents(atPath: "\(root)/\(path)").map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    static func handle(_ directory: String) -> DirectoryHandle? {
        (try? SystemBridge.openRoot(directory)).map { DirectoryHandle(descriptor: $0, path: directory) }
    }

    /// Whether there is nothing but dot files.
    static func isEmpty(_ directory: String) -> Bool {
        guard let handle = handle(directory) else { return true }
        return ((try? FileSystem().list(handle.here)) ?? []).allSatisfy(\.isHidden)
    }

    static func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }
}

/// Bytes that end like a JPEG; no decoder reads them here. The tag makes them tell from others.
func photo(_ tag: String, size: Int = 0) -> [UInt8] {
    [0xFF, 0xD8] + Array(tag.utf8) + [UInt8](repeating: 0x2A, count: size) + [0xFF, 0xD9]
}
