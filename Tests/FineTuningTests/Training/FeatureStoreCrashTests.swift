// The store of features against crashes: what is half-written is not read, and what is read is what was put in.

import Diagnostics
import Foundation
import Tensor
import Testing

@testable import FineTuning

@Suite("Feature store after crashes and beside other runs")
struct FeatureStoreCrashTests {
    private let folder = FeatureFolder()
    private let hashes = ["a", "b", "c"].map { String(repeating: $0, count: 64) }
    private let compute: Compute

    init() throws { compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 1) }

    /// Values that half precision holds: negative, below its normal range, large.
    private func features(_ number: Int) -> [Float] {
        [Float(number), -1.5, 0x1p-20, -0x1.8p-20, 60_000, -0.25 * Float(number)]
    }

    private func put(_ number: Int, into store: FeatureStore) throws {
        let rows = FloatRows(capacity: 2, columns: 3)
        let (first, second) = (Array(features(number)[..<3]), Array(features(number)[3...]))
        rows.setRow(0, first.span)
        rows.setRow(1, second.span)
        try store.append(hashes[number], features: rows)
    }

    private func read(_ number: Int, from store: FeatureStore) throws -> [Float] {
        let rows = FloatRows(capacity: 3, columns: 3)
        try store.read(hashes[number], into: rows, at: 1, compute: compute)
        return rows.array(row: 1) + rows.array(row: 2)
    }

    private func size(_ file: URL) throws -> Int { try Data(contentsOf: file).count }

    @Test("what is put in is read, at once and by a later run; a photo is put in once")
    func contents() throws {
        do {
            let store = try folder.store()
            for number in 0..<3 {
                try put(number, into: store)
                #expect(try read(number, from: store) == features(number))
            }
            let length = try size(folder.data)
            try put(1, into: store)
            #expect(try size(folder.data) == length)
        }
        let later = try folder.store()
        for number in 0..<3 { #expect(try read(number, from: later) == features(number)) }
    }

    @Test("a feature that half precision cannot hold is refused, and nothing of its photo is kept")
    func unholdable() throws {
        let store = try folder.store()
        for value in [70_000, -.infinity, .nan] as [Float] {
            let rows = FloatRows(capacity: 2, columns: 3)
            rows.setRow(1, ([0, value, 0] as [Float]).span)
            let failure = #expect(throws: Failure.self) { try store.append(hashes[0], features: rows) }
            #expect(failure?.code == .modelInvalid && failure?.object == hashes[0])
        }
        #expect(!store.holds(hashes[0]))
        #expect(try size(folder.data) == 0)
    }

    @Test("what is read is multiplied by its columns' factors; what is stored is not")
    func factors() throws {
        do {
            let store = try folder.store()
            try put(1, into: store)
        }
        let scaled = try FeatureStore(
            directory: folder.path, encoder: "e", patches: 2, width: 3, factors: [2, -1, 0.5])
        let plain = features(1)
        let found = try read(1, from: scaled)
        #expect(found == [2 * plain[0], -plain[1], 0.5 * plain[2], 2 * plain[3], -plain[4], 0.5 * plain[5]])
        scaled.release()
        let store = try folder.store()
        let stored = try read(1, from: store)
        #expect(stored == plain)
    }

    @Test("one run fills a store at a time; released, another may")
    func lock() throws {
        let first = try folder.store()
        let failure = #expect(throws: Failure.self) { try folder.store() }
        #expect(failure?.code == .temporary)
        first.release()
        _ = try folder.store()
    }

    @Test("a line that has not ended, one of a record that is not there, and one without its end count for nothing")
    func torn() throws {
        do {
            let store = try folder.store()
            for number in 0..<2 { try put(number, into: store) }
        }
        let (index, data) = (try Data(contentsOf: folder.index), try Data(contentsOf: folder.data))
        for (lines, records) in [(index.dropLast(), data), (index, data.dropLast())] {
            try lines.write(to: folder.index)
            try records.write(to: folder.data)
            let store = try folder.store()
            #expect(store.holds(hashes[0]) && !store.holds(hashes[1]))
            #expect(try read(0, from: store) == features(0))
            try put(1, into: store)
            #expect(try read(1, from: store) == features(1))
            #expect(try size(folder.data) == data.count)
            #expect(try Data(contentsOf: folder.index) == index)
        }
    }

    @Test("a line without its record is cut off: the next record in its place must not be taken for its own")
    func stale() throws {
        do {
            let store = try folder.store()
            for number in 0..<2 { try put(number, into: store) }
        }
        let (lines, records) = (try Data(contentsOf: folder.index), try Data(contentsOf: folder.data))
        let size = records.count / 2
        // Both lines came to the disk, but only the first record.
        try records.prefix(size).write(to: folder.data)
        do { _ = try folder.store() }
        #expect(try Data(contentsOf: folder.index) == lines.prefix(lines.count / 2))
        // Another photo's record is written in the second place, and the machine goes down before its line is.
        try (Data(contentsOf: folder.data) + records.suffix(size)).write(to: folder.data)
        let store = try folder.store()
        #expect(store.holds(hashes[0]) && !store.holds(hashes[1]) && !store.holds(hashes[2]))
        #expect(try read(0, from: store) == features(0))
        // Nor may a line that comes to the disk before its record find that one there.
        #expect(try Data(contentsOf: folder.data) == records.prefix(size))
    }

    @Test("an index that names a photo twice is refused")
    func twice() throws {
        do {
            let store = try folder.store()
            for number in 0..<2 { try put(number, into: store) }
        }
        try Data("\(hashes[0])\n\(hashes[0])\n".utf8).write(to: folder.index)
        let failure = #expect(throws: Failure.self) { try folder.store() }
        #expect(failure?.cause == "names a photo twice")
    }
}
