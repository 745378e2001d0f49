// Files that are read whole: what is one, what is none, and how much of it is read.

import Diagnostics
import Files
import Foundation
import Testing

@Suite("Files read whole")
struct InputFileTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func read(_ name: String, limit: Int = 1_000) throws -> [UInt8] {
        try InputFile.read("\(directory.path)/\(name)", limit: limit, tooLarge: .promptTooLong)
    }

    @Test("up to its limit a file is read, links followed; beyond it is what the caller says")
    func limits() throws {
        let bytes = (0..<100).map { UInt8($0) }
        _ = try directory.file(bytes)
        _ = try directory.file([], "empty")
        try FileManager.default.createSymbolicLink(
            atPath: "\(directory.path)/link", withDestinationPath: "\(directory.path)/file")
        #expect(try read("file", limit: 100) == bytes)
        #expect(try read("link", limit: 101) == bytes)
        #expect(try read("empty", limit: 0).isEmpty)
        expectFailure(.promptTooLong, "file", "has 100 bytes; at most 99 are read") { _ = try read("file", limit: 99) }
        expectFailure(.configurationInvalid, "file") {
            _ = try InputFile.read("\(directory.path)/file", limit: 99, tooLarge: .configurationInvalid)
        }
    }

    @Test("a file that does not say how long it is is read to its end, and no farther than its limit")
    func sizeless() throws {
        let path = "/proc/self/status"
        let whole = try InputFile.read(path, limit: 1 << 20, tooLarge: .promptTooLong)
        #expect(String(decoding: whole, as: UTF8.self).contains("VmRSS:"))
        expectFailure(.promptTooLong, path, "has more than the 20 bytes") {
            _ = try InputFile.read(path, limit: 20, tooLarge: .promptTooLong)
        }
    }

    @Test("what is not there, no file or not to be read is told apart, and a pipe is not waited for")
    func others() throws {
        _ = try directory.file([1])
        expectFailure(.notFound, "nowhere", "does not exist") { _ = try read("nowhere") }
        expectFailure(.notFound, "file/below") { _ = try read("file/below") }
        expectFailure(.notFound, "does not exist") { _ = try read("file\u{0}") }
        expectFailure(.notFound, "does not exist") { _ = try InputFile.read("", limit: 1, tooLarge: .usage) }
        expectFailure(.notRegularFile, "is not a regular file") { _ = try read("") }
        let made = unsafe mkfifo("\(directory.path)/pipe", 0o600)
        try #require(made == 0)
        expectFailure(.notRegularFile, "pipe") { _ = try read("pipe") }
        expectFailure(.notRegularFile, "/dev/null") {
            _ = try InputFile.read("/dev/null", limit: 1, tooLarge: .usage)
        }
        // Root reads everything.
        guard geteuid() != 0 else { return }
        try FileManager.default.setAttributes([.posixPermissions: 0], ofItemAtPath: "\(directory.path)/file")
        expectFailure(.unreadable, "may not be read by this user") { _ = try read("file") }
    }
}
