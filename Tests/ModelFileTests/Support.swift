// What the tests of this target share: fixtures, goldens, temporary files, a seeded generator, the expected failure.

import Diagnostics
import Foundation
import Testing

@testable import ModelFile

/// The path of a fixture.
func fixture(_ name: String) throws -> String {
    let folder = try #require(Bundle.module.resourcePath)
    return "\(folder)/Fixtures/\(name)"
}

/// A fixture's bytes.
func fixtureBytes(_ name: String) throws -> [UInt8] {
    try [UInt8](Data(contentsOf: URL(fileURLWithPath: fixture(name))))
}

/// The lines of a golden file, each split at tabs.
func goldenLines(_ name: String) throws -> [[String]] {
    try String(decoding: fixtureBytes(name), as: UTF8.self).split(separator: "\n")
        .map { $0.split(separator: "\t", omittingEmptySubsequences: false).map(String.init) }
}

/// A directory that goes away with the value.
final class TemporaryDirectory {
    let path: String

    init() throws {
        // In memory where there is such a place: rewriting one file thousands of times makes a disk flush each time.
        let memory = FileManager.default.isWritableFile(atPath: "/dev/shm")
        let parent = memory ? "/dev/shm" : FileManager.default.temporaryDirectory.path
        path = "\(parent)/modelfile-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Writes a file of these bytes and gives its path.
    func file(_ bytes: [UInt8], _ name: String = "file") throws -> String {
        try Data(bytes).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
        return "\(path)/\(name)"
    }

    /// The names of what is in the directory.
    func contents() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }
}

/// SplitMix64: the same sequence everywhere.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

/// Expects a failure with a code whose text holds all of `parts`.
func expectFailure(
    _ code: FailureCode, _ parts: String..., sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () throws -> Void
) {
    do {
        try body()
        Issue.record("nothing was thrown", sourceLocation: sourceLocation)
    } catch let failure as Failure {
        #expect(failure.code == code, "\(failure)", sourceLocation: sourceLocation)
        for part in parts {
            #expect(failure.description.contains(part), "\(failure)", sourceLocation: sourceLocation)
        }
    } catch {
        Issue.record(error, sourceLocation: sourceLocation)
    }
}

/// The little-endian bytes of an integer.
func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
    (0..<value.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
}

/// `bytes` with some replaced.
func patched(_ bytes: [UInt8], _ offset: Int, _ replacement: [UInt8]) -> [UInt8] {
    var result = bytes
    for (index, byte) in replacement.enumerated() where offset + index < result.count { result[offset + index] = byte }
    return result
}

/// Where `pattern` first stands in `bytes`, from `start` on.
func firstOffset(of pattern: [UInt8], in bytes: [UInt8], from start: Int = 0) throws -> Int {
    try #require(
        (start...bytes.count - pattern.count).first { Array(bytes[$0..<$0 + pattern.count]) == pattern },
        "pattern not found")
}

/// Compares every tensor of a container with golden lines, bit for bit, in order.
func expectGolden(
    _ container: some TensorContainer, _ lines: [[String]], sourceLocation: SourceLocation = #_sourceLocation
) throws {
    for line in lines {
        let entry = try container.tensor(named: line[0])
        #expect(entry.type.rawValue == line[1], "\(line[0])", sourceLocation: sourceLocation)
        #expect(entry.shape == line[2].split(separator: ",").compactMap { Int($0) }, sourceLocation: sourceLocation)
        let values =
            entry.type.isFloatingPoint
            ? try container.floats(of: entry).map { hexadecimal($0.bitPattern) }
            : try container.integers(of: entry).map { String($0) }
        #expect(values == line[3].split(separator: " ").map(String.init), "\(line[0])", sourceLocation: sourceLocation)
    }
}

/// Eight lower-case digits.
func hexadecimal(_ bits: UInt32) -> String {
    let digits = String(bits, radix: 16)
    return String(repeating: "0", count: 8 - digits.count) + digits
}
