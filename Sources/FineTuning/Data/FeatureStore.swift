// Frozen vision features on disk, computed once a photo and encoder: an append-only file of half-precision records, mapped
// for reading, and an index of one line a record.
//
// Invariants: a record is complete before its line is written, and a line counts only when it ends; so whatever a crash leaves is
// cut off at the next opening, and nothing half-written is ever read. One process appends at a time (flock(2)).
// Failure modes: `cannot_create`, `no_space`, `input_output`; `temporary` while another run is filling the store.

internal import Diagnostics
internal import FoundationEssentials
internal import Glibc
internal import SystemPackage
internal import Tensor

/// Features of photos under one encoder.
final class FeatureStore {
    /// Patches of a photo.
    let patches: Int
    /// Width of a patch's features.
    let width: Int
    /// What the features' columns are multiplied by when they are read; empty for as they are. [width]
    private let factors: [Float]
    private let dataPath: String
    private let data: FileDescriptor
    private let index: FileDescriptor
    private var places: [String: Int] = [:]
    private var mapping: MappedFile?

    private var recordBytes: Int { patches * width * 2 }
    private static let hashLength = 64

    /// Opens or makes the store of `encoder` in `directory`.
    ///
    /// - Parameters:
    ///   - encoder: what the stored features depend on beside the photo, as a file name: hash of encoder, layers and geometry.
    ///   - factors: of each column, applied to what is read. [width]
    init(
        directory: String, encoder: String, patches: Int, width: Int, factors: [Float] = []
    ) throws(Failure) {
        precondition(factors.isEmpty || factors.count == width)
        self.factors = factors
        self.patches = patches
        self.width = width
        dataPath = "\(directory)/\(encoder).f16"
        let indexPath = "\(directory)/\(encoder).index"
        do {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            data = try FileDescriptor.open(
                FilePath(dataPath), .readWrite, options: [.create, .closeOnExec], permissions: [.ownerReadWrite])
            index = try FileDescriptor.open(
                FilePath(indexPath), .readWrite, options: [.create, .closeOnExec], permissions: [.ownerReadWrite])
        } catch {
            throw Failure(
                .cannotCreate, directory, "cannot hold the feature cache: \(error)",
                hint: "Name a writable directory with --cache.")
        }
        guard flock(index.rawValue, LOCK_EX | LOCK_NB) == 0 else {
            throw Failure(
                .temporary, indexPath, "is being filled by another run",
                hint: "Wait until its features are there, or name another directory with --cache.")
        }
        try readIndex(indexPath)
    }

    deinit {
        try? data.close()
        try? index.close()
    }

    /// Lets go of the pages that were read: they stay in the page cache, and no longer count as this process's memory.
    func releasePages() { mapping?.release() }

    /// Lets other runs append; reading goes on.
    func release() { flock(index.rawValue, LOCK_UN) }

    /// Whether the features of the photo with this SHA-256 are there.
    func holds(_ hash: String) -> Bool { places[hash] != nil }

    /// Adds a photo's features. [patches, width]
    func append(_ hash: String, features: FloatRows) throws(Failure) {
        guard places[hash] == nil, hash.utf8.count == Self.hashLength else { return }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(recordBytes)
        for patch in 0..<patches {
            let row = features.row(patch)
            for column in 0..<width {
                let bits = Float16(row[column]).bitPattern
                bytes.append(UInt8(truncatingIfNeeded: bits))
                bytes.append(UInt8(truncatingIfNeeded: bits >> 8))
            }
        }
        do {
            let place = places.count
            try data.writeAll(toAbsoluteOffset: Int64(place * recordBytes), bytes)
            try index.writeAll(
                toAbsoluteOffset: Int64(place * (Self.hashLength + 1)), Array((hash + "\n").utf8))
            places[hash] = place
        } catch {
            let full = (error as? Errno) == .noSpace
            throw Failure(
                full ? .noSpace : .inputOutput, dataPath, "cannot be written: \(error)",
                hint: full ? "Free space, or name another directory with --cache." : "")
        }
    }

    /// Puts a photo's features into rows `row` ..< `row` + patches of `rows`.
    ///
    /// - Throws: `input_output` when the record is not there.
    func read(_ hash: String, into rows: FloatRows, at row: Int, compute: Compute) throws(Failure) {
        guard let place = places[hash] else { throw Failure(.inputOutput, dataPath, "has no features of \(hash)") }
        let offset = place * recordBytes
        if mapping == nil || offset + recordBytes > (mapping?.count ?? 0) { mapping = try MappedFile(path: dataPath) }
        guard let mapping, compute.expandHalf(mapping, offset: offset, rows: patches, into: rows, at: row) else {
            throw Failure(.inputOutput, dataPath, "is shorter than its index says", hint: "Delete it and try again.")
        }
        guard !factors.isEmpty else { return }
        rows.storage.withMutableSpan { span in
            for patch in row..<row + patches {
                for (column, factor) in factors.enumerated() { span[patch * rows.stride + column] *= factor }
            }
        }
    }

    private func readIndex(_ path: String) throws(Failure) {
        guard let bytes = FileManager.default.contents(atPath: path) else {
            throw Failure(.inputOutput, path, "cannot be read")
        }
        let line = Self.hashLength + 1
        let size = (try? data.seek(offset: 0, from: .end)) ?? 0
        var count = 0
        while (count + 1) * line <= bytes.count, Int64((count + 1) * recordBytes) <= size {
            let record = bytes[count * line..<(count + 1) * line]
            guard record.last == UInt8(ascii: "\n") else { break }
            places[String(decoding: record.dropLast(), as: UTF8.self)] = count
            count += 1
        }
        guard places.count == count else {
            throw Failure(.inputOutput, path, "names a photo twice", hint: "Delete the cache and try again.")
        }
    }
}
