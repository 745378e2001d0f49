// What the tests of this target share: a directory, the expected failure.

import Diagnostics
import Foundation
import Testing

/// A directory that goes away with the value.
final class TemporaryDirectory {
    let path = FileManager.default.temporaryDirectory.appending(path: "files-\(UUID().uuidString)").path

    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false) }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Writes a file of these bytes and gives its path.
    func file(_ bytes: [UInt8], _ name: String = "file") throws -> String {
        try Data(bytes).write(to: URL(filePath: "\(path)/\(name)"))
        return "\(path)/\(name)"
    }

    /// The names of what is in the directory.
    func contents() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }
}

/// Expects a failure with a code whose text holds all of `parts`.
func expectFailure(
    _ code: FailureCode, _ parts: String..., sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () throws -> Void
) {
    let failure = #expect(throws: Failure.self, sourceLocation: sourceLocation) { try body() }
    guard let failure else { return }
    #expect(failure.code == code, "\(failure)", sourceLocation: sourceLocation)
    for part in parts {
        #expect(failure.description.contains(part), "\(failure)", sourceLocation: sourceLocation)
    }
}
