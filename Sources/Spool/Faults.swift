// From a failed system call to an explained failure: which code, what to do about it, and whether it may pass by itself.

public import Diagnostics
internal import SystemPackage

extension FileFault {
    /// The fault as an explained failure of something that is tried again.
    var failure: Failure {
        Failure(code, object, cause, hint: advice.isEmpty ? "" : "\(advice); nothing is lost, it is tried again.")
    }

    /// The fault as an explained refusal of what an operator asked for.
    var refusal: Failure { Failure(code, object, cause, hint: advice.isEmpty ? "" : "\(advice), then ask again.") }

    /// The fault as the end of a start, or of a life that was to take everything in: nobody tries again by himself.
    var ending: Failure {
        let first = advice.isEmpty ? "Start" : "\(advice), then start"
        return Failure(code, object, cause, hint: "\(first) memvpd again; nothing is lost.")
    }

    /// The fault as the outcome of a drop that was tried often enough.
    var outcome: Failure {
        let first = isOfMedium || advice.isEmpty ? "Have the disk looked at" : advice
        return Failure(code, object, cause, hint: "\(first), then drop it again.")
    }

    /// Whether it is one of the medium (a bad sector, say), and not of what is short for a while.
    var isOfMedium: Bool { code == .inputOutput }

    /// Whether something is short for a while (descriptors, memory) or in other hands: the object itself is sound.
    var isShortage: Bool { code == .temporary }

    private var cause: String { "\(operation.phrase): \(errno)" }

    private var code: FailureCode {
        switch errno {
        case .noSpace, .diskQuotaExceeded: .noSpace
        case .permissionDenied, .notPermitted, .readOnlyFileSystem: .permissionDenied
        case .tooManyOpenFiles, .tooManyOpenFilesInSystem, .noMemory, .resourceTemporarilyUnavailable, .resourceBusy,
            .interrupted:
            .temporary
        case .noSuchFileOrDirectory: .notFound
        default: .inputOutput
        }
    }

    private var advice: String {
        switch errno {
        case .noSpace, .diskQuotaExceeded: "Make room on that file system"
        case .permissionDenied, .notPermitted: adviceOnRights
        case .readOnlyFileSystem: "Mount the file system writable"
        case .tooManyOpenFiles, .tooManyOpenFilesInSystem: "Raise the limit of open files (LimitNOFILE=)"
        case .noSuchFileOrDirectory: adviceOnAbsence
        case .ioError, .staleNFSFileHandle, .socketNotConnected, .timedOut:
            "Have the disk or the file server looked at, or mount it again"
        default: ""
        }
    }

    /// A name is made and taken away by the right to its directory, whatever the rights to the file.
    private var adviceOnRights: String {
        let means = "(chmod, chgrp or setfacl)"
        switch operation {
        case .makeDirectory, .create: return "Give the daemon's user the right to write to \(parent) \(means)"
        case .rename, .renameNoReplace, .link, .unlink, .removeDirectory:
            return "Give the daemon's user the right to write to \(parent) \(means), "
                + "and make that user its owner if it has the sticky bit"
        default: return "Give the daemon's user the right to it \(means)"
        }
    }

    /// Of a directory that should be there; what else is missing was taken away, and there is nothing to advise.
    private var adviceOnAbsence: String {
        switch operation {
        case .openRoot: "Make it or mount it"
        case .makeDirectory, .create: "Make \(parent) or mount it"
        default: ""
        }
    }

    /// The directory that the object's name is in. Names are escaped where they are told, but never hold a slash.
    private var parent: String {
        guard let slash = object.lastIndex(of: "/") else { return "its directory" }
        return slash == object.startIndex ? "/" : String(object[..<slash])
    }
}

extension FileOperation {
    fileprivate var phrase: String {
        switch self {
        case .open, .openRoot: "cannot be opened"
        case .read: "cannot be read"
        case .list: "cannot be listed"
        case .status: "cannot be examined"
        case .makeDirectory, .create: "cannot be created"
        case .write: "cannot be written"
        case .own: "cannot be given its mode"
        case .sync, .syncDirectory: "cannot be made durable"
        case .rename, .renameNoReplace, .link: "cannot be moved"
        case .unlink, .removeDirectory: "cannot be removed"
        }
    }
}

extension FailureCode {
    /// Whether the fault may pass by itself, so that the job is worth another attempt (`Spool.deferJob`) instead of an error.
    public var isPassing: Bool {
        switch self {
        case .temporary, .noSpace, .inputOutput, .unavailable: true
        default: false
        }
    }
}

/// A failure as `job.json` keeps it. Codes are open: one that this version does not know reads as `internal_error`.
struct RecordedFailure: Codable, Sendable, Equatable {
    var code: String
    var object: String
    var cause: String
    var hint: String

    init(_ failure: Failure) {
        (code, object, cause, hint) = (failure.code.rawValue, failure.object, failure.cause, failure.hint)
    }

    var failure: Failure {
        Failure(FailureCode(rawValue: code) ?? .internalError, object, cause, hint: hint)
    }
}
