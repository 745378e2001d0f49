// A file that appears whole or not at all: written under a temporary name in its own directory, fsynced, renamed.
//
// With FileAccessBridge.swift and InputFileBridge.swift all of the module, which has unsafe code because files are system calls.
// Invariant: until `commit` is called, the target is untouched; an object that goes away uncommitted removes its
// temporary file (only a kill or power loss leaves one, named .memvp-*.partial, which nothing reads).
// Failure modes: `cannot_create`, `permission_denied`, `no_space`, `input_output`, each naming the target.

public import Diagnostics
import Glibc

/// The writing end of a file that replaces its target in one step.
public final class OutputFile {
    /// Where the file will stand.
    public let path: String
    /// Bytes written so far.
    public private(set) var count = 0

    private let directory: String
    private let temporary: String
    private var descriptor: Int32

    /// Creates the temporary file beside `path`.
    ///
    /// - Throws: `cannot_create`, `permission_denied`, `no_space`.
    public init(path: String) throws(Failure) {
        self.path = path
        let slash = path.utf8.lastIndex(of: UInt8(ascii: "/"))
        directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        temporary = "\(directory)/.memvp-\(String(UInt64.random(in: .min ... .max), radix: 36)).partial"
        descriptor = unsafe open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw OutputFile.creationFailure(path, directory, errno) }
    }

    /// Whether a file can be put at `path`, before the work whose result it shall be.
    ///
    /// - Throws: as `init`; `not_regular_file` for a directory.
    public static func check(_ path: String) throws(Failure) {
        _ = try OutputFile(path: path)
        let directory = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory < 0 else {
            close(directory)
            throw Failure(.notRegularFile, path, "is a directory", hint: "Name a file in it.")
        }
    }

    deinit {
        guard descriptor >= 0 else { return }
        close(descriptor)
        unsafe unlink(temporary)
    }

    /// Writes all of `bytes`.
    ///
    /// - Throws: `no_space`, `input_output`.
    public func write(_ bytes: RawSpan) throws(Failure) {
        var offset = 0
        while offset < bytes.byteCount {
            let rest = bytes.extracting(offset..<bytes.byteCount)
            let written = unsafe rest.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
            guard written > 0 else {
                // Nothing written and no error is no progress: it must not be tried for ever.
                let reason = written < 0 ? errno : EIO
                if reason == EINTR { continue }
                throw failure("cannot be written", reason)
            }
            offset += written
        }
        count += bytes.byteCount
    }

    /// Writes `bytes`.
    ///
    /// - Throws: `no_space`, `input_output`.
    public func write(_ bytes: [UInt8]) throws(Failure) { try write(RawSpan(_elements: bytes.span)) }

    /// Writes zeros up to the next multiple of `alignment`.
    ///
    /// - Throws: `no_space`, `input_output`.
    public func pad(to alignment: Int) throws(Failure) {
        let padding = (alignment - count % alignment) % alignment
        if padding > 0 { try write([UInt8](repeating: 0, count: padding)) }
    }

    /// Lets those read the file who may read another, from the moment on that it stands.
    public func grant(_ access: FileAccess) { access.apply(toDescriptor: descriptor) }

    /// Makes what was written durable and puts it in place of the target. What is thrown after that says so: the file then
    /// stands, and may be gone after a power cut.
    ///
    /// - Throws: `no_space`, `input_output`.
    public func commit() throws(Failure) {
        guard fsync(descriptor) == 0 else { throw failure("cannot be made durable", errno) }
        guard unsafe rename(temporary, path) == 0 else { throw failure("cannot be put in place", errno) }
        close(descriptor)
        descriptor = -1
        let parent = unsafe open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard parent >= 0 else { throw failure("its directory cannot be opened", errno) }
        defer { close(parent) }
        guard fsync(parent) == 0 else { throw failure("its directory cannot be made durable", errno) }
    }

    private func failure(_ what: String, _ number: Int32) -> Failure {
        let full = number == ENOSPC || number == EDQUOT
        return Failure(
            full ? .noSpace : .inputOutput, path, "\(what): \(OutputFile.text(number))",
            hint: full ? "Free space where it is written and try again." : "")
    }

    private static func creationFailure(_ path: String, _ directory: String, _ number: Int32) -> Failure {
        let cause = "cannot be created in \(directory): \(text(number))"
        switch number {
        case EACCES, EPERM, EROFS:
            return Failure(.permissionDenied, path, cause, hint: "Choose a directory this user may write to.")
        case ENOENT, ENOTDIR: return Failure(.cannotCreate, path, cause, hint: "Make the directory first.")
        case ENOSPC, EDQUOT: return Failure(.noSpace, path, cause, hint: "Free space there and try again.")
        default: return Failure(.cannotCreate, path, cause)
        }
    }

    private static func text(_ number: Int32) -> String {
        guard let message = unsafe strerror(number) else { return "errno \(number)" }
        return unsafe String(cString: message)
    }
}
