// What stands where the configuration should be.

import Diagnostics
import Foundation
import Specification
import Testing

@Suite("Configuration as a file")
struct ConfigurationFileTests {
    private func withDirectory(_ body: (URL) throws -> Void) throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "memvpd-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: directory) }
        try body(directory)
    }

    private func complaint(_ path: String) -> Failure? {
        do throws(Failure) {
            _ = try EffectiveConfiguration(file: path)
            return nil
        } catch {
            return error
        }
    }

    @Test("a configuration that is not there, or no file, is refused with what it is; a pipe is not waited for")
    func configuration() throws {
        try withDirectory { directory in
            let (file, pipe) = (directory.appending(path: "a.yaml").path, directory.appending(path: "pipe").path)
            try Data("workers: 2\n".utf8).write(to: URL(filePath: file))
            let isMade = unsafe mkfifo(pipe, 0o600) == 0
            try #require(isMade)
            #expect(try EffectiveConfiguration(file: file).configuration.workers == 2)
            for (path, cause) in [
                ("\(file).none", "does not exist"), ("\(file)/none", "does not exist"),
                (directory.path, "is not a regular file"), (pipe, "is not a regular file"),
            ] {
                let failure = try #require(complaint(path))
                #expect(failure.cause == cause && failure.code == .configurationInvalid && failure.object == path)
                #expect(failure.hint == "Name another file with --config FILE.")
            }
            let handle = try #require(FileHandle(forWritingAtPath: file))
            try handle.truncate(atOffset: 1 << 40)  // a hole, of which nothing may be read
            try handle.close()
            #expect(complaint(file)?.cause == "has \(1 << 40) bytes; at most 65536 are read")
        }
    }

    @Test("a configuration that may not be read says so, and speaks of rights", .enabled(if: geteuid() != 0))
    func forbidden() throws {
        try withDirectory { directory in
            let file = directory.appending(path: "a.yaml").path
            try Data("workers: 2\n".utf8).write(to: URL(filePath: file))
            try FileManager.default.setAttributes([.posixPermissions: 0], ofItemAtPath: file)
            let failure = try #require(complaint(file))
            #expect(failure.cause == "may not be read by this user" && failure.code == .configurationInvalid)
            #expect(failure.hint.contains("chmod"))
        }
    }

    @Test("a disk that fails under it is no matter of set-up: it may be well again")
    func failingDisk() throws {
        // The kernel has nothing at the beginning of a process's memory: reading it fails with EIO.
        let memory = "/proc/self/mem"
        let failure = try #require(complaint(memory))
        #expect(failure.code == .inputOutput && failure.object == memory)
    }
}
