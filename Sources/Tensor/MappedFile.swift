// A read-only memory mapping of a whole file: how weights are loaded without being copied.
//
// Invariant: the mapping lives exactly as long as the object and is never written. Model files are ours and are replaced by
// rename, never truncated in place: a mapped file that shrinks would raise SIGBUS, which is why dropped photos are
// read into memory instead (DESIGN 5).

public import Diagnostics
import Glibc

/// A file mapped read-only and shared between processes (mmap(2), MAP_SHARED).
@safe public final class MappedFile: @unchecked Sendable {
    /// The path it was opened by, for messages.
    public let path: String
    /// The file's length in bytes.
    public let count: Int

    /// The first byte, for weights that stay mapped; only Tensor uses it.
    let base: UnsafeRawPointer

    /// Maps the regular file at `path`.
    ///
    /// - Throws: `model_missing` when it is not there, `permission_denied`, `model_invalid` when it is empty or not a
    ///   regular file, `input_output` when mapping fails.
    public init(path: String) throws(Failure) {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw MappedFile.openFailure(path, errno) }
        defer { close(descriptor) }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else {
            throw Failure(.inputOutput, path, "cannot be examined: \(MappedFile.text(errno))")
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw Failure(.modelInvalid, path, "is not a regular file")
        }
        guard status.st_size > 0 else {
            throw Failure(.modelInvalid, path, "has no bytes", hint: "Copy or convert it again.")
        }
        count = Int(status.st_size)
        guard let base = unsafe mmap(nil, count, PROT_READ, MAP_SHARED, descriptor, 0),
            unsafe base != MAP_FAILED
        else {
            throw Failure(.inputOutput, path, "cannot be mapped: \(MappedFile.text(errno))")
        }
        self.path = path
        unsafe self.base = UnsafeRawPointer(base)
    }

    deinit {
        unsafe munmap(UnsafeMutableRawPointer(mutating: base), count)
    }

    /// The file's bytes, valid while the object lives.
    public var bytes: RawSpan {
        @_lifetime(borrow self)
        get {
            let raw = unsafe UnsafeRawBufferPointer(start: base, count: count)
            return unsafe _overrideLifetime(RawSpan(_unsafeBytes: raw), borrowing: self)
        }
    }

    /// Lets go of the pages that were read: they stay in the page cache but no longer count as this process's memory.
    /// For who reads a file larger than memory: converters once from end to end, training a few records at a time.
    public func release() { unsafe madvise(UnsafeMutableRawPointer(mutating: base), count, MADV_DONTNEED) }

    /// A copy of some bytes; `range` lies inside the file.
    public func copy(_ range: Range<Int>) -> [UInt8] {
        precondition(range.lowerBound >= 0 && range.upperBound <= count)
        return unsafe Array(UnsafeRawBufferPointer(start: base + range.lowerBound, count: range.count))
    }

    private static func openFailure(_ path: String, _ number: Int32) -> Failure {
        switch number {
        case ENOENT, ENOTDIR:
            return Failure(
                .modelMissing, path, "does not exist", hint: "Check the path, or make the model with `make models`.")
        case EACCES, EPERM:
            return Failure(.permissionDenied, path, "may not be read by this user", hint: "Try chmod a+r on it.")
        default: return Failure(.inputOutput, path, "cannot be opened: \(text(number))")
        }
    }

    private static func text(_ number: Int32) -> String {
        guard let message = unsafe strerror(number) else { return "errno \(number)" }
        return unsafe String(cString: message)
    }
}
