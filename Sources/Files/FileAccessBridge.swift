// Who may read a file, taken from one and given to another: whoever changes a bundle may be root with a mask of their own, whoever
// serves it is not.
//
// System calls of this file are the unsafe code of it. Failure mode: none; what this user may not give is not given.

import Glibc

/// Owner, group and mode of a file or directory.
public struct FileAccess: Sendable, Equatable {
    private let owner: uid_t
    private let group: gid_t
    private let mode: mode_t

    /// Those of what stands at `path`; nil where nothing stands.
    public init?(of path: String) {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else { return nil }
        owner = status.st_uid
        group = status.st_gid
        mode = status.st_mode & 0o777
    }

    /// Gives them to what stands at `path`, but not to what a link there leads to.
    public func apply(to path: String) {
        let descriptor = unsafe open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        apply(toDescriptor: descriptor)
        close(descriptor)
    }

    /// Gives them to an open file.
    func apply(toDescriptor descriptor: Int32) {
        // Only root gives files away; a group one is a member of can be had without.
        if fchown(descriptor, owner, group) != 0 { _ = fchown(descriptor, uid_t.max, group) }
        _ = fchmod(descriptor, mode)
    }
}
