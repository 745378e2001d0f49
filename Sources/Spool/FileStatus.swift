// What stat(2) tells about a file, reduced to what the spool asks: what it is, and whether it is still the same.

/// The status of a file, not of what a symbolic link points to.
struct FileStatus: Sendable, Equatable {
    /// What stands under a name.
    enum Kind: String, Sendable {
        case regular = "a regular file"
        case directory = "a directory"
        case symbolicLink = "a symbolic link"
        case pipe = "a FIFO"
        case socket = "a socket"
        case device = "a device"
    }

    /// Which file it is.
    struct Identity: Sendable, Hashable {
        let device: UInt64
        let inode: UInt64
    }

    /// What tells one state of a file's bytes from another. A rename or a chmod does not change it.
    struct Content: Sendable, Hashable, Codable {
        let inode: UInt64
        let size: Int64
        /// Nanoseconds since 1970.
        let modified: Int64
    }

    let kind: Kind
    let mode: UInt32
    let links: Int
    let owner: UInt32
    let group: UInt32
    let identity: Identity
    let content: Content
    /// Last change of the inode, nanoseconds since 1970: it also moves when a file is renamed, linked or chmodded.
    let changed: Int64

    var size: Int64 { content.size }
    var isSetGroupID: Bool { mode & 0o2000 != 0 }
}
