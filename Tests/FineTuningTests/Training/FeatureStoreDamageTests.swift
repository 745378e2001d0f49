// The store of features on a disk that changes bits, and stores of revisions that had no checksums.

import Diagnostics
import Foundation
import Tensor
import Testing

@testable import FineTuning

@Suite("Feature store with damaged records")
struct FeatureStoreDamageTests {
    private static let recordBytes = 12
    private let folder = FeatureFolder()
    private let hashes = ["a", "b", "c"].map { String(repeating: $0, count: 64) }
    private let compute: Compute

    init() throws { compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 1) }

    private func put(_ numbers: [Int], into store: FeatureStore) throws {
        for number in numbers {
            let rows = FloatRows(capacity: 2, columns: 3)
            let values = (0..<3).map { Float(10 * number + $0) }
            rows.setRow(0, values.span)
            rows.setRow(1, values.span)
            try store.append(hashes[number], features: rows)
        }
    }

    private func read(_ number: Int, from store: FeatureStore) throws -> [Float] {
        let rows = FloatRows(capacity: 2, columns: 3)
        try store.read(hashes[number], into: rows, at: 0, compute: compute)
        return rows.array(row: 0) + rows.array(row: 1)
    }

    private func values(_ number: Int) -> [Float] {
        let row = (0..<3).map { Float(10 * number + $0) }
        return row + row
    }

    /// Flips a bit of a record where it stands, as a disk does.
    private func damage(_ number: Int) throws {
        let file = try FileHandle(forUpdating: folder.data)
        let place = UInt64(Self.recordBytes * number + 7)
        try file.seek(toOffset: place)
        let byte = try #require(try file.read(upToCount: 1)?.first)
        try file.seek(toOffset: place)
        try file.write(contentsOf: Data([byte ^ 0x10]))
        try file.close()
    }

    @Test("a record that is not what was written is named and refused; the others are read")
    func damaged() throws {
        do { try put([0, 1, 2], into: folder.store()) }
        try damage(1)
        let store = try folder.store()
        #expect(store.holds(hashes[1]))
        #expect(try read(0, from: store) == values(0))
        let failure = #expect(throws: Failure.self) { try read(1, from: store) }
        #expect(failure?.code == .inputOutput && failure?.object == folder.data.path)
        #expect(failure?.cause.contains(hashes[1]) == true && failure?.hint.contains("Delete it") == true)
        #expect(try read(2, from: store) == values(2))
        store.release()
        // What the hint says helps.
        try FileManager.default.removeItem(at: folder.data)
        let next = try folder.store()
        #expect(!next.holds(hashes[0]) && !next.holds(hashes[1]))
        try put([1], into: next)
        #expect(try read(1, from: next) == values(1))
    }

    @Test("a record is held against its checksum once a run: it is read in every epoch")
    func once() throws {
        let store = try folder.store()
        try put([0, 1], into: store)
        #expect(try read(0, from: store) == values(0))
        try damage(0)
        #expect(try read(0, from: store) != values(0))
    }

    @Test("records of earlier revisions, which have no checksums, are read as they are and stand beside others")
    func earlier() throws {
        do { try put([0, 1], into: folder.store()) }
        // What an earlier revision leaves: no sums, and the same data and lines.
        #expect(try Data(contentsOf: folder.index) == Data("\(hashes[0])\n\(hashes[1])\n".utf8))
        try FileManager.default.removeItem(at: folder.sums)
        try damage(1)
        do {
            let store = try folder.store()
            #expect(try read(0, from: store) == values(0))
            #expect(try read(1, from: store) != values(1))
            try put([2], into: store)
        }
        do {
            let store = try folder.store()
            for number in [0, 2] { #expect(try read(number, from: store) == values(number)) }
        }
        try damage(2)
        let store = try folder.store()
        #expect(try read(0, from: store) == values(0))
        #expect(throws: Failure.self) { try read(2, from: store) }
    }

    @Test("a line that a disk has changed costs its own record: others, which a run may be reading, stay in place")
    func malformed() throws {
        do { try put([0, 1, 2], into: folder.store()) }
        let data = try Data(contentsOf: folder.data)
        for place in [0, 40, 64] {
            var lines = try Data(contentsOf: folder.index)
            lines[65 + place] ^= 0x20
            try lines.write(to: folder.index)
            let store = try folder.store()
            #expect(store.holds(hashes[0]) && !store.holds(hashes[1]) && store.holds(hashes[2]))
            for number in [0, 2] { #expect(try read(number, from: store) == values(number)) }
            #expect(try Data(contentsOf: folder.data) == data)
        }
        let store = try folder.store()
        try put([1], into: store)
        for number in 0..<3 { #expect(try read(number, from: store) == values(number)) }
        #expect(try Data(contentsOf: folder.data).prefix(data.count) == data)
    }

    @Test("sums of records that a crash has taken do not count for those that come in their places")
    func staleSums() throws {
        do { try put([0, 1], into: folder.store()) }
        let other = FeatureFolder()
        do { try put([2], into: other.store()) }
        // A crash has left two records, two sums and one line.
        try Data("\(hashes[0])\n".utf8).write(to: folder.index)
        do { _ = try folder.store() }
        // An earlier revision, which knows no sums, appends a photo.
        try (Data(contentsOf: folder.data) + Data(contentsOf: other.data)).write(to: folder.data)
        try (Data(contentsOf: folder.index) + Data("\(hashes[2])\n".utf8)).write(to: folder.index)
        let store = try folder.store()
        for number in [0, 2] { #expect(try read(number, from: store) == values(number)) }
        // And the sum of the next one stands in its own place.
        try put([1], into: store)
        #expect(try Data(contentsOf: folder.sums).count == 3 * 8)
        #expect(try read(1, from: store) == values(1))
    }

    @Test("a cache that cannot be made says why in words")
    func place() throws {
        try FileManager.default.createDirectory(atPath: folder.path, withIntermediateDirectories: true)
        let file = "\(folder.path)/file"
        try Data().write(to: URL(fileURLWithPath: file))
        for path in ["\(file)/cache", file, "\(file)/a/b"] {
            let failure = #expect(throws: Failure.self) {
                try FeatureStore(directory: path, encoder: "e", patches: 2, width: 3)
            }
            #expect(failure?.code == .cannotCreate)
            #expect(failure?.cause == "cannot hold the feature cache: Not a directory")
        }
        // Those above it are made.
        _ = try FeatureStore(directory: "\(folder.path)/a//b/c/", encoder: "e", patches: 2, width: 3)
        #expect(FileManager.default.fileExists(atPath: "\(folder.path)/a/b/c/e.f16"))
    }
}
