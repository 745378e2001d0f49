// How the inbox is watched: by inotify(7) where the kernel sees every change, by polling where it does not.
//
// Invariants: the watch is set before the scan whose gaps it closes; a watch that ends (unmounted, removed, renamed) or
// overflows is reported as "scan again", never passed over. Failure mode: no inotify instance to be had; then polling.

internal import CLinux
internal import Glibc
internal import SystemPackage

/// How a directory is watched, for status.
public enum WatchMethod: Sendable, Equatable {
    /// inotify(7), and a scan now and then.
    case inotify
    /// Looked at every `pollInterval`, for the reason given.
    case polled(reason: String)
    /// Not watched: the directory cannot be opened, for the reason given. Tried again all the time.
    case unavailable(reason: String)
}

/// What a name in the inbox was seen to do.
enum Arrival: Sendable, Equatable {
    /// Created: by a writer who has not written yet, or as a link.
    case created
    /// Written to, by a writer who has not closed it yet.
    case written
    /// Closed by a writer.
    case closed
    /// Renamed into the inbox.
    case moved
    /// Met by a scan: nothing is known of its writer.
    case found

    /// Whether a close is to come.
    var isWriting: Bool { self == .created || self == .written }
}

/// What a look at the watch brought.
struct WatchReport: Sendable, Equatable {
    /// Names that something happened to, each with the last thing; nil: it left, or something that needs no more than a look.
    var names: [(name: FileName, arrival: Arrival?)] = []
    /// Events were lost: everything must be looked at.
    var overflowed = false
    /// The watch has ended: the directory must be opened again.
    var ended = false

    static func == (left: WatchReport, right: WatchReport) -> Bool {
        left.overflowed == right.overflowed && left.ended == right.ended
            && left.names.elementsEqual(right.names) { $0.name == $1.name && $0.arrival == $1.arrival }
    }
}

/// An inotify instance on one directory.
final class InotifyWatch: Sendable {
    let descriptor: Int32

    /// Watches the directory that `handle` holds open; throws ESTALE when its path leads elsewhere by now.
    init(_ handle: DirectoryHandle) throws(Errno) {
        descriptor = try SystemBridge.makeInotify()
        try SystemBridge.watch(descriptor, handle.path)
        let byPath = DirectoryHandle(descriptor: try SystemBridge.openRoot(handle.path), path: handle.path)
        let watched = try SystemBridge.status(of: byPath.descriptor).identity
        guard watched == (try SystemBridge.status(of: handle.descriptor).identity) else { throw .staleNFSFileHandle }
    }

    deinit { SystemBridge.close(descriptor) }

    /// Reads what has happened; at most some thousand events, more next time.
    func read() throws(Errno) -> WatchReport {
        var records: [UInt8] = []
        for _ in 0..<8 {
            let part = try SystemBridge.readRecords(descriptor, capacity: 64 << 10)
            guard !part.isEmpty else { break }
            records += part
        }
        return InotifyWatch.parse(records)
    }

    /// Whether the last `read` may have left something behind is told by `poll`; this reads the records themselves.
    static func parse(_ records: [UInt8]) -> WatchReport {
        let headerSize = 16
        var report = WatchReport()
        var last: [FileName: Int] = [:]
        var rest = records[...]
        while rest.count >= headerSize {
            let start = rest.startIndex
            func word(_ offset: Int) -> UInt32 {
                (0..<4).reduce(0) { $0 | UInt32(rest[start + offset + $1]) << (8 * $1) }
            }
            let mask = word(4)
            let nameSize = Int(word(12))
            guard nameSize <= rest.count - headerSize else { break }
            let nameBytes = rest[(start + headerSize)..<(start + headerSize + nameSize)].prefix { $0 != 0 }
            rest = rest.dropFirst(headerSize + nameSize)

            if mask & UInt32(IN_Q_OVERFLOW) != 0 { report.overflowed = true }
            if mask & UInt32(IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED) != 0 { report.ended = true }
            guard let name = FileName(Array(nameBytes)) else { continue }
            let arrival: Arrival? =
                if mask & UInt32(IN_MOVED_TO) != 0 {
                    .moved
                } else if mask & UInt32(IN_CLOSE_WRITE) != 0 {
                    .closed
                } else if mask & UInt32(IN_MODIFY) != 0 {
                    .written
                } else if mask & UInt32(IN_CREATE) != 0 {
                    .created
                } else {
                    nil
                }
            if let index = last[name] {
                report.names[index].arrival = arrival
            } else {
                last[name] = report.names.count
                report.names.append((name, arrival))
            }
        }
        return report
    }
}

/// The inbox, opened and watched one way or another.
struct InboxWatch: Sendable {
    let path: String
    let configured: SpoolConfiguration.Watch
    private(set) var handle: DirectoryHandle?
    private(set) var inotify: InotifyWatch?
    private(set) var method: WatchMethod = .unavailable(reason: "not opened yet")
    /// Polled for want of an inotify instance: another attempt may succeed.
    private(set) var wantsInotify = false
    /// How often in a row it could not be opened.
    private(set) var failedOpens = 0

    init(path: String, configured: SpoolConfiguration.Watch) {
        (self.path, self.configured) = (path, configured)
    }

    /// Opens the directory by its path and watches it. The caller scans afterwards.
    mutating func open(_ files: FileSystem) {
        close()
        do throws(FileFault) {
            let handle = try files.openRoot(path)
            (self.handle, failedOpens) = (handle, 0)
            if configured == .poll {
                method = .polled(reason: "the configuration says so")
            } else if configured == .automatic, let remote = SystemBridge.remoteFileSystem(handle.descriptor) {
                method = .polled(reason: "inotify does not see what others do on \(remote)")
            } else {
                do {
                    inotify = try InotifyWatch(handle)
                    method = .inotify
                } catch {
                    method = .polled(reason: "inotify: \(error)")
                    wantsInotify = true
                }
            }
        } catch {
            failedOpens += 1
            method = .unavailable(reason: "\(error.errno)")
        }
    }

    /// Whether the path still leads to the directory that is open. A path that cannot be looked at for another reason is no
    /// reason to let go of it.
    var isInPlace: Bool {
        guard let handle else { return false }
        let standing: FileStatus.Identity
        do {
            let byPath = DirectoryHandle(descriptor: try SystemBridge.openRoot(path), path: path)
            standing = try SystemBridge.status(of: byPath.descriptor).identity
        } catch {
            return ![.noSuchFileOrDirectory, .notDirectory, .staleNFSFileHandle].contains(error)
        }
        // Of a file system that has ended (FUSE) the handle tells nothing any more, while another stands at its path.
        return (try? SystemBridge.status(of: handle.descriptor).identity) == standing
    }

    /// Looks at the watch. A polled or closed directory has nothing to report.
    mutating func read() -> WatchReport {
        guard let inotify else { return WatchReport() }
        do {
            return try inotify.read()
        } catch {
            return WatchReport(ended: true)
        }
    }

    mutating func close() {
        (handle, inotify) = (nil, nil)
        wantsInotify = false
        method = .unavailable(reason: "not opened yet")
    }
}
