// Files that appear whole or not at all, and the rights that are given on.

import Diagnostics
import Files
import Foundation
import Testing

@Suite("Files that replace others in one step")
struct OutputFileTests {
    private let directory: TemporaryDirectory
    private var target: String { "\(directory.path)/target" }

    init() throws { directory = try TemporaryDirectory() }

    private func bytes() throws -> [UInt8] { try [UInt8](Data(contentsOf: URL(filePath: target))) }

    @Test("until commit the target is what it was; then it is all that was written, and nothing else is left")
    func replaces() throws {
        _ = try directory.file([1, 2, 3], "target")
        let output = try OutputFile(path: target)
        try output.write([4, 5, 6, 7, 8])
        try output.pad(to: 4)
        try output.pad(to: 8)
        #expect(try output.count == 8 && bytes() == [1, 2, 3])
        try output.commit()
        #expect(try bytes() == [4, 5, 6, 7, 8, 0, 0, 0])
        #expect(try directory.contents() == ["target"])
    }

    @Test("one that goes away uncommitted leaves neither a file nor a trace, and so does a check")
    func abandoned() throws {
        do {
            let output = try OutputFile(path: target)
            try output.write([1])
            #expect(try directory.contents().count == 1)
        }
        try OutputFile.check(target)
        #expect(try directory.contents().isEmpty)
    }

    @Test("a place where no file can be put is refused before the work, by what it is")
    func refusals() throws {
        let file = try directory.file([1])
        expectFailure(.notRegularFile, directory.path, "is a directory") { try OutputFile.check(directory.path) }
        expectFailure(.cannotCreate, "Make the directory first") { try OutputFile.check("\(directory.path)/none/a") }
        expectFailure(.cannotCreate, "\(file)/a") { try OutputFile.check("\(file)/a") }
        guard geteuid() != 0 else { return }
        try FileManager.default.setAttributes([.posixPermissions: 0o555], ofItemAtPath: directory.path)
        expectFailure(.permissionDenied, target) { try OutputFile.check(target) }
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: directory.path)
    }

    @Test("a directory that has gone is a failure of commit, with the target's name")
    func gone() throws {
        let output = try OutputFile(path: target)
        try output.write([1])
        try FileManager.default.removeItem(atPath: directory.path)
        expectFailure(.inputOutput, target, "cannot be put in place") { try output.commit() }
    }

    @Test("rights of another file are given to one before it stands, and are followed through no link")
    func access() throws {
        let model = try directory.file([1], "model")
        try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: model)
        let access = try #require(FileAccess(of: model))
        #expect(FileAccess(of: "\(model).none") == nil)
        let output = try OutputFile(path: target)
        output.grant(access)
        try output.commit()
        #expect(FileAccess(of: target) == access)
        let (other, link) = (try directory.file([2], "other"), "\(directory.path)/link")
        let before = FileAccess(of: other)
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: other)
        access.apply(to: link)
        #expect(FileAccess(of: other) == before && before != access)
    }
}
