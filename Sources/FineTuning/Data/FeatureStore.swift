// Frozen vision features on disk, computed once a photo and encoder: an append-only file of half-precision records, mapped
// for reading; an index of one line a record, the photo's key; and beside them a file of the records' checksums (`Checksum`, eight
// bytes each, little-endian). A record of which there is no sum, or 0, is taken as it is: stores of earlier revisions have none.
//
// Invariants: a record is complete before its line is written, and its line before its sum; so whatever a crash leaves is cut off at
// the next opening, and nothing half-written is ever read. Nothing that has a whole line is cut off: another run may be reading it.
// A record is held against its checksum when a run first reads it. One process appends at a time (flock(2)).
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
    private let sumsPath: String
    private let data: FileDescriptor
    private let index: FileDescriptor
    private let sums: FileDescriptor
    /// Records by their numbers.
    private var places: [String: Int] = [:]
    /// How many records there are, those among them whose line names no photo.
    private var count = 0
    /// Checksums of the records, in order; 0 for unknown, and fewer than there are records where the rest is.
    private var known: [UInt64] = []
    /// Records that this run has held against their checksums.
    private var checked: Set<Int> = []
    private var mapping: MappedFile?

    private var recordBytes: Int { patches * width * 2 }
    private static let hashLength = 64
    private static let lineLength = hashLength + 1
    private static let sumBytes = 8

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
        sumsPath = "\(directory)/\(encoder).sums"
        let indexPath = "\(directory)/\(encoder).index"
        do {
            try FolderBridge.make(directory)
            data = try Self.open(dataPath)
            index = try Self.open(indexPath)
            sums = try Self.open(sumsPath)
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
        for file in [data, index, sums] { try? file.close() }
    }

    private static func open(_ path: String) throws -> FileDescriptor {
        try FileDescriptor.open(
            FilePath(path), .readWrite, options: [.create, .closeOnExec], permissions: [.ownerReadWrite])
    }

    /// Lets go of the pages that were read: they stay in the page cache, and no longer count as this process's memory.
    func releasePages() { mapping?.release() }

    /// Lets other runs append; reading goes on.
    func release() { flock(index.rawValue, LOCK_UN) }

    /// Whether the features of the photo with this SHA-256 are there.
    func holds(_ hash: String) -> Bool { places[hash] != nil }

    /// Adds a photo's features. [patches, width]
    ///
    /// - Throws: `model_invalid` for a feature that half precision cannot hold; `no_space`, `input_output`.
    func append(_ hash: String, features: FloatRows) throws(Failure) {
        guard places[hash] == nil, hash.utf8.count == Self.hashLength else { return }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(recordBytes)
        for patch in 0..<patches {
            let row = features.row(patch)
            for column in 0..<width {
                let half = Float16(row[column])
                guard half.isFinite else {
                    throw Failure(
                        .modelInvalid, hash, "has a feature of \(row[column]), which half precision cannot hold",
                        hint: "The encoder is not one that features can be kept of; see memvp inspect.")
                }
                let bits = half.bitPattern
                bytes.append(UInt8(truncatingIfNeeded: bits))
                bytes.append(UInt8(truncatingIfNeeded: bits >> 8))
            }
        }
        do {
            let number = count
            let sum = Checksum.of(RawSpan(_elements: bytes.span))
            try data.writeAll(toAbsoluteOffset: Int64(number * recordBytes), bytes)
            try index.writeAll(toAbsoluteOffset: Int64(number * Self.lineLength), Array("\(hash)\n".utf8))
            (count, places[hash]) = (number + 1, number)
            try sums.writeAll(toAbsoluteOffset: Int64(number * Self.sumBytes), Self.bytes(of: sum))
            known += Array(repeating: 0, count: max(0, number - known.count)) + [sum]
        } catch {
            let full = (error as? Errno) == .noSpace
            throw Failure(
                full ? .noSpace : .inputOutput, dataPath, "cannot be written: \(error)",
                hint: full ? "Free space, or name another directory with --cache." : "")
        }
    }

    /// Puts a photo's features into rows `row` ..< `row` + patches of `rows`.
    ///
    /// - Throws: `input_output` when the record is not there, or is not what was written.
    func read(_ hash: String, into rows: FloatRows, at row: Int, compute: Compute) throws(Failure) {
        guard let number = places[hash] else { throw Failure(.inputOutput, dataPath, "has no features of \(hash)") }
        let offset = number * recordBytes
        if mapping == nil || offset + recordBytes > (mapping?.count ?? 0) { mapping = try MappedFile(path: dataPath) }
        guard let mapping, compute.expandHalf(mapping, offset: offset, rows: patches, into: rows, at: row) else {
            throw Failure(.inputOutput, dataPath, "is shorter than its index says", hint: "Delete it and try again.")
        }
        try check(number, of: hash, in: mapping)
        guard !factors.isEmpty else { return }
        rows.storage.withMutableSpan { span in
            for patch in row..<row + patches {
                for (column, factor) in factors.enumerated() { span[patch * rows.stride + column] *= factor }
            }
        }
    }

    /// Holds a record against its checksum, once a run: it is read in every epoch.
    private func check(_ number: Int, of hash: String, in mapping: MappedFile) throws(Failure) {
        guard number < known.count, known[number] != 0, !checked.contains(number) else { return }
        let offset = number * recordBytes
        guard Checksum.of(mapping.bytes.extracting(offset..<offset + recordBytes)) == known[number] else {
            throw Failure(
                .inputOutput, dataPath, "is damaged: the features of photo \(hash) are not those that were written",
                hint: "Delete it, and the features are computed again; then look after the disk.")
        }
        checked.insert(number)
    }

    private static func bytes(of sum: UInt64) -> [UInt8] {
        (0..<sumBytes).map { UInt8(truncatingIfNeeded: sum >> (8 * $0)) }
    }

    private static func sum(of bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// Reads the lines whose records are there, and cuts off what a crash has left behind them, which the lock allows: a piece of a
    /// line, a line without a record, a record without a line. A line that a disk has changed costs its own record.
    private func readIndex(_ path: String) throws(Failure) {
        guard let lines = FileManager.default.contents(atPath: path).map({ [UInt8]($0) }),
            let stored = FileManager.default.contents(atPath: sumsPath).map({ [UInt8]($0) })
        else { throw Failure(.inputOutput, path, "cannot be read") }
        let size: Int64
        do {
            size = try data.seek(offset: 0, from: .end)
        } catch {
            throw Failure(.inputOutput, dataPath, "cannot be read: \(error)")
        }
        count = min(lines.count / Self.lineLength, Int(size) / recordBytes)
        var named = 0
        for number in 0..<count {
            let line = lines[number * Self.lineLength..<(number + 1) * Self.lineLength]
            guard line.last == UInt8(ascii: "\n") else { continue }
            places[String(decoding: line.dropLast(), as: UTF8.self)] = number
            named += 1
        }
        guard places.count == named else {
            throw Failure(.inputOutput, path, "names a photo twice", hint: "Delete the cache and try again.")
        }
        known = (0..<min(count, stored.count / Self.sumBytes)).map { number in
            Self.sum(of: stored[number * Self.sumBytes..<(number + 1) * Self.sumBytes])
        }
        try cut(path)
    }

    /// Cuts all files to their whole records. Left alone, a line without a record would get the next one appended, if a crash came
    /// before that one's line.
    private func cut(_ path: String) throws(Failure) {
        do {
            try index.resize(to: Int64(count * Self.lineLength))
            try data.resize(to: Int64(count * recordBytes))
            try sums.resize(to: Int64(known.count * Self.sumBytes))
        } catch {
            throw Failure(
                .inputOutput, path, "cannot be cut to its whole records: \(error)",
                hint: "Delete the cache and try again.")
        }
    }
}
