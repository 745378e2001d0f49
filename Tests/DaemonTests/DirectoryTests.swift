// What stands where the model and the outbox should be.

import Diagnostics
import Foundation
import Specification
import Testing

@testable import Daemon

@Suite("Directories that the configuration names")
struct DirectoryTests {
    private func withDirectory(_ body: (URL) throws -> Void) throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "memvpd-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: directory) }
        try body(directory)
    }

    @Test("a disk that fails under model.yaml is no matter of set-up: it may be well again")
    func failingDisk() throws {
        // The kernel has nothing at the beginning of a process's memory: reading it fails with EIO.
        let memory = "/proc/self/mem"
        try withDirectory { directory in
            var configuration = DaemonConfiguration()
            configuration.model = directory.path
            func refusal() -> Failure? {
                do throws(Failure) { _ = try ServedModel.load(configuration) } catch { return error }
                return nil
            }
            let missing = try #require(refusal())
            #expect(missing.code == .modelMissing && missing.cause == "does not exist")
            #expect(missing.hint.contains("memvp models install FILE.tar"))
            let yaml = directory.appending(path: "model.yaml")
            try FileManager.default.createSymbolicLink(atPath: yaml.path, withDestinationPath: memory)
            let failing = try #require(refusal())
            #expect(failing.code == .inputOutput && failing.object == yaml.path)
            try FileManager.default.removeItem(at: yaml)
            try FileManager.default.createDirectory(at: yaml, withIntermediateDirectories: false)
            #expect(refusal()?.code == .configurationInvalid)
        }
    }

    @Test("health says what keeps outcomes from the outbox")
    func outbox() throws {
        try withDirectory { directory in
            let file = directory.appending(path: "file").path
            try Data().write(to: URL(filePath: file))
            #expect(OutboxLook.obstacle(toWriting: directory.path) == nil)
            #expect(OutboxLook.obstacle(toWriting: "\(file).none") == "does not exist")
            #expect(OutboxLook.obstacle(toWriting: file) == "is not a directory")
            guard geteuid() != 0 else { return }
            try FileManager.default.setAttributes([.posixPermissions: 0o555], ofItemAtPath: directory.path)
            #expect(OutboxLook.obstacle(toWriting: directory.path) == "is not writable")
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: directory.path)
        }
    }
}
