// A file read whole into memory, within a limit: photos, rows, prompts, configurations. What is named may be anything.
//
// System calls of this file are the unsafe code of it. Invariants: at most `limit` bytes and one are held, whatever the
// file grows to meanwhile; a pipe that nobody writes to is not waited for. Failure modes: `not_found`, `unreadable`,
// `not_regular_file`, `input_output`, and the caller's own code for a file that is too large.

public import Diagnostics
import Glibc

/// The reading end of files that are taken whole.
public enum InputFile {
    /// The bytes of a regular file of at most `limit` bytes; symbolic links are followed.
    ///
    /// - Parameter tooLarge: what a larger file is: it depends on what the file is for.
    /// - Throws: `not_found`, `unreadable`, `not_regular_file`, `input_output`; `tooLarge`.
    public static func read(_ path: String, limit: Int, tooLarge: FailureCode) throws(Failure) -> [UInt8] {
        // C would end the path there, and find another file.
        guard !path.utf8.contains(0) else { throw openFailure(path, ENOENT) }
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw openFailure(path, errno) }
        defer { close(descriptor) }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { throw unreadable(path, errno) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw notRegular(path) }
        let size = Int(status.st_size)
        guard size <= limit else {
            throw Failure(tooLarge, path, "has \(size) bytes; at most \(limit) are read")
        }
        let bytes = try contents(of: descriptor, path, size: size, limit: limit)
        guard bytes.count <= limit else {
            throw Failure(tooLarge, path, "has more than the \(limit) bytes that are read")
        }
        return bytes
    }

    /// All bytes up to the end, but at most one more than `limit`. The size is only where to begin: a file may grow,
    /// and those of /proc say 0.
    private static func contents(
        of descriptor: Int32, _ path: String, size: Int, limit: Int
    ) throws(Failure) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: size + 1)
        var count = 0
        while true {
            if count == bytes.count {
                guard count <= limit else { break }
                bytes += [UInt8](repeating: 0, count: min(max(count, 4_096), limit + 1 - count))
            }
            let got = unsafe bytes.withUnsafeMutableBytes {
                unsafe Glibc.read(descriptor, $0.baseAddress?.advanced(by: count), $0.count - count)
            }
            if got < 0, errno == EINTR { continue }
            guard got >= 0 else { throw unreadable(path, errno) }
            guard got > 0 else { break }
            count += got
        }
        bytes.removeLast(bytes.count - count)
        return bytes
    }

    private static func openFailure(_ path: String, _ number: Int32) -> Failure {
        switch number {
        case ENOENT, ENOTDIR, ENAMETOOLONG, ELOOP:
            return Failure(.notFound, path, "does not exist", hint: "Check the path.")
        case ENXIO: return notRegular(path)  // a socket
        default: return unreadable(path, number)
        }
    }

    private static func notRegular(_ path: String) -> Failure {
        Failure(.notRegularFile, path, "is not a regular file", hint: "Name a file.")
    }

    private static func unreadable(_ path: String, _ number: Int32) -> Failure {
        guard number != EACCES, number != EPERM else {
            return Failure(
                .unreadable, path, "may not be read by this user",
                hint: "Give the user the right to it and to the directories above it (chmod, chgrp or setfacl).")
        }
        let text = unsafe strerror(number).map { unsafe String(cString: $0) } ?? "errno \(number)"
        // Not the file's fault: a disk, a mount, or no descriptor that is free.
        return Failure(
            .inputOutput, path, "cannot be read: \(text)", hint: "Try again; if it stays so, see dmesg for its disk.")
    }
}
