// A job in a worker's hands, and how its files are read.
//
// Invariants: files are opened beneath the job's own directory, no symbolic link is followed and no open ever blocks; they
// are read whole into memory within the limits, never mapped (a mapped file that shrinks is a SIGBUS); bytes that
// changed while they were read are not handed out.

public import Diagnostics
internal import SystemPackage

/// A job that `Spool.takeJobs` handed out. It ends with exactly one call of `commit`, `fail`, `requeue`, `deferJob`, or
/// of `returnIfChanging` that returned true.
public struct Job: Sendable, Identifiable {
    /// The job's name.
    public let id: JobID
    /// When it was claimed, in microseconds since 1970.
    public let claimedAt: Int64
    /// The image's own name, as it was dropped.
    public let image: FileName
    /// The task spec's own name; nil: the default task.
    public let spec: FileName?
    /// -10 … 10, of the spec.
    public let priority: Int
    /// How many attempts a passing fault ended before this one.
    public let attempts: Int
    /// The finished job that this one retries.
    public let retryOf: JobID?
    /// Whether the process ended uncleanly while this job was in flight: it must run by itself, in a batch of one.
    public let aloneRequired: Bool

    let location: Location
    let imageContent: FileStatus.Content?
    let limits: SpoolConfiguration.Limits
    let files: FileSystem

    /// The image's bytes, whole. Blocks on the disk: not for the cooperative pool.
    ///
    /// - Throws: `temporary` while the file is still changing (defer the job, or use `Spool.returnIfChanging`), `unreadable`,
    ///   `image_too_large`, `input_output`.
    public func readImage() throws(Failure) -> [UInt8] {
        try read(image, limit: limits.imageBytes, expected: imageContent, tooLarge: .imageTooLarge)
    }

    /// The spec's bytes, whole; nil without a spec. Blocks on the disk.
    ///
    /// - Throws: `temporary` while the file is still changing, `unreadable`, `spec_invalid` when it is too large, `input_output`.
    public func readSpec() throws(Failure) -> [UInt8]? {
        guard let spec else { return nil }
        return try read(spec, limit: limits.specBytes, expected: nil, tooLarge: .specInvalid)
    }

    private func read(
        _ name: FileName, limit: Int, expected: FileStatus.Content?, tooLarge: FailureCode
    ) throws(Failure) -> [UInt8] {
        let at = location / Layout.input / name
        do {
            return try files.readWhole(at, name: name, limit: limit, expected: expected, tooLarge: tooLarge)
        } catch {
            throw error.failure(about: name)
        }
    }
}

/// Why an input could not be read.
enum ReadFault: Error {
    case refused(Failure)
    case changing
    case fault(FileFault)

    func failure(about name: FileName) -> Failure {
        switch self {
        case .refused(let failure): failure
        case .changing:
            Failure(.temporary, name.description, "is still being written", hint: "It is read again once it settles.")
        case .fault(let fault): fault.isDenied ? FileFault.unreadable(name) : fault.failure
        }
    }
}

extension FileFault {
    var isDenied: Bool { errno == .permissionDenied || errno == .notPermitted }

    /// What to tell about a file that the daemon's user may not read.
    static func unreadable(_ name: FileName) -> Failure {
        Failure(
            .unreadable, name.description, "may not be read by the daemon's user",
            hint: "Run chmod g+r on it before it is dropped, or give the inbox a default ACL once: "
                + "setfacl -m d:u:memvpd:r INBOX. Then drop it again.")
    }
}

extension FileSystem {
    /// Reads a regular file whole, within a limit, and only if it is and stays what was expected.
    func readWhole(
        _ at: Location, name: FileName, limit: Int, expected: FileStatus.Content?, tooLarge: FailureCode
    ) throws(ReadFault) -> [UInt8] {
        let outcome: Result<[UInt8], ReadFault>
        do {
            outcome = try withFile(at) { (descriptor) throws(FileFault) -> Result<[UInt8], ReadFault> in
                let before = try status(of: descriptor, at)
                guard before.kind == .regular else {
                    return .failure(.refused(Failure.notRegular(name, before.kind)))
                }
                if let expected, before.content != expected { return .failure(.changing) }
                guard before.size <= Int64(limit) else {
                    return .failure(.refused(Failure.tooLarge(tooLarge, name, before.size, limit)))
                }
                // One byte more than there should be tells growth; the size is bounded by the limit just checked.
                let bytes = try read(descriptor, at, atMost: Int(before.size) + 1)
                guard bytes.count == Int(before.size), try status(of: descriptor, at).content == before.content else {
                    return .failure(.changing)
                }
                return .success(bytes)
            }
        } catch {
            // A symbolic link answers an open with ELOOP.
            guard error.errno == .tooManySymbolicLinkLevels else { throw .fault(error) }
            throw .refused(Failure.notRegular(name, .symbolicLink))
        }
        return try outcome.get()
    }
}

extension Failure {
    static func notRegular(_ name: FileName, _ kind: FileStatus.Kind) -> Failure {
        Failure(
            .notRegularFile, name.description, "is \(kind.rawValue), not a regular file",
            hint: "Copy the file itself into the inbox.")
    }

    static func tooLarge(_ code: FailureCode, _ name: FileName, _ size: Int64, _ limit: Int) -> Failure {
        Failure(
            code, name.description, "has \(size) bytes; the limit is \(limit)",
            hint: code == .imageTooLarge ? "Make it smaller, or raise limits.image_bytes." : "Make it shorter.")
    }

    static func vanished(_ id: JobID) -> Failure {
        Failure(.imageMissing, "job \(id)", "its image is no longer in the spool", hint: "Drop it again.")
    }

    static func empty(_ name: FileName) -> Failure {
        Failure(.emptyFile, name.description, "is empty", hint: "Drop the file again, with its contents.")
    }
}
