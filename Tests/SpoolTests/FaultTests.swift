// Faults of system calls in words: what is to be done, where, and whether anybody tries again; and starts that end for one.

import Diagnostics
import Foundation
import Glibc
import SystemPackage
import Testing

@testable import Spool

@Suite(.serialized) struct FaultTests {
    // MARK: Words

    @Test(arguments: [
        FileOperation.makeDirectory, .create, .rename, .renameNoReplace, .unlink, .removeDirectory,
    ])
    func aNameNeedsARightToItsDirectory(_ operation: FileOperation) {
        for denied in [Errno.permissionDenied, .notPermitted] {
            let fault = FileFault(errno: denied, operation: operation, object: "/srv/in box/a.jpg")
            for failure in [fault.failure, fault.refusal, fault.ending, fault.outcome] {
                #expect(failure.code == .permissionDenied)
                #expect(failure.hint.contains("the right to write to /srv/in box (chmod, chgrp or setfacl)"))
                // It does not matter to who makes a name, but to who takes one away.
                let takesAway = operation != .makeDirectory && operation != .create
                #expect(failure.hint.contains("sticky bit") == takesAway)
            }
        }
    }

    @Test func aFileNeedsARightToItself() {
        let fault = FileFault(errno: .permissionDenied, operation: .open, object: "/srv/inbox/a.jpg")
        #expect(fault.failure.hint.hasPrefix("Give the daemon's user the right to it (chmod"))
    }

    @Test func whatIsMissingOrFailsSaysWhatToMake() {
        func hint(_ errno: Errno, _ operation: FileOperation, _ object: String) -> String {
            FileFault(errno: errno, operation: operation, object: object).failure.hint
        }
        #expect(hint(.noSuchFileOrDirectory, .openRoot, "/srv/outbox").hasPrefix("Make it or mount it;"))
        #expect(hint(.noSuchFileOrDirectory, .create, "/srv/outbox/a.json").hasPrefix("Make /srv/outbox or mount it;"))
        for errno in [Errno.ioError, .staleNFSFileHandle, .socketNotConnected] {
            #expect(hint(errno, .openRoot, "/srv/outbox").contains("mount it again"))
        }
    }

    @Test func onlyWhatIsTriedAgainSaysSo() {
        let fault = FileFault(errno: .noSpace, operation: .write, object: "/srv/spool/queued")
        #expect(fault.failure.hint.hasSuffix("it is tried again."))
        for failure in [fault.refusal, fault.ending, fault.outcome] { #expect(!failure.hint.contains("tried again")) }
    }

    // MARK: Starts

    /// `configuration_invalid` ends a unit for good (RestartPreventExitStatus=78), and these may pass.
    @Test(
        arguments: [
            (.tooManyOpenFiles, .temporary), (.noMemory, .temporary), (.ioError, .inputOutput),
            (.staleNFSFileHandle, .inputOutput), (.permissionDenied, .permissionDenied),
        ] as [(Errno, FailureCode)])
    func whatMayPassIsNotTheConfigurationsFault(_ errno: Errno, _ code: FailureCode) throws {
        for role in ["spool", "outbox", "failed", "done"] {
            let sandbox = Sandbox()
            let fault = Fault(errno) { $0 == .openRoot && $1.hasSuffix("/\(role)") }
            let failure = #expect(throws: Failure.self) { try Bench(sandbox, saboteur: fault.saboteur) }
            #expect(failure?.code == code && failure?.object == "\(sandbox.root)/\(role)")
            #expect(failure?.hint.isEmpty == false && failure?.hint.contains("tried again") == false)
        }
    }

    @Test func aPathThatLeadsToNoDirectoryIsTheConfigurationsFault() throws {
        let sandbox = Sandbox()
        let outbox = sandbox.outbox
        _ = unsafe rmdir(outbox)
        _ = FileManager.default.createFile(atPath: outbox, contents: nil)
        let file = #expect(throws: Failure.self) { try Bench(sandbox) }
        _ = unsafe unlink(outbox)
        _ = unsafe symlink(outbox, outbox)
        let loop = #expect(throws: Failure.self) { try Bench(sandbox) }
        for failure in [file, loop] {
            #expect(failure?.code == .configurationInvalid && failure?.object == outbox)
            #expect(failure?.hint.contains("`directories`") == true)
        }
    }

    @Test(
        arguments: [(.tooManyOpenFiles, .temporary), (.readOnlyFileSystem, .permissionDenied)] as [(Errno, FailureCode)]
    )
    func aLockThatCannotBeMadeIsTold(_ errno: Errno, _ code: FailureCode) throws {
        let fault = Fault(errno) { $0 == .create && $1.hasSuffix("/spool/lock") }
        let failure = #expect(throws: Failure.self) { try Bench(Sandbox(), saboteur: fault.saboteur) }
        #expect(failure?.code == code && failure?.object.hasSuffix("/spool/lock") == true)
        #expect(failure?.hint.isEmpty == false)
    }

    @Test func aStartThatEndsDoesNotSayThatItIsTriedAgain() async throws {
        let fault = Fault(.ioError) { $0 == .list && $1.hasSuffix("/queued") }
        let bench = try Bench(Sandbox(), saboteur: fault.saboteur)
        let failure = await #expect(throws: Failure.self) { try await bench.start() }
        #expect(failure?.code == .inputOutput)
        #expect(failure?.hint.contains("start memvpd again") == true && failure?.hint.contains("tried again") == false)
    }

    // MARK: Interruptions

    @Test func aCallThatASignalCutsOffIsMadeAgain() throws {
        var calls = 0
        let result = try SystemBridge.retrying {
            calls += 1
            guard calls < 3 else { return 7 }
            errno = EINTR
            return -1
        }
        #expect(result == 7 && calls == 3)
        let failure = #expect(throws: Errno.self) {
            try SystemBridge.retrying {
                errno = ENOENT
                return -1
            }
        }
        #expect(failure == .noSuchFileOrDirectory)
    }
}
