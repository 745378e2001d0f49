// Frozen vision features on disk, computed once a photo and encoder: an append-only file of half-precision records, mapped
// for reading, and an index of one line a record: the photo's key, a space and the record's checksum (`Checksum`) in 16
// hexadecimal digits. Lines of earlier revisions end behind the key; their records are taken as they are.
//
// Invariants: a record is complete before its line is written, and a line counts only when it ends; so whatever a crash
// leaves is cut off at the next opening, and nothing half-written is ever read. A record is held against its checksum when a
// run first reads it. One process appends at a time (flock(2)).
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
    private var places: [String: Place] = [:]
    /// Records that this run has held against their checksums.
    private var checked: Set<Int> = []
    /// Where the next line of the index goes.
    private var indexEnd = 0
    private var mapping: MappedFile?

    private var recordBytes: Int { patches * width * 2 }
    private static let hashLength = 64
    private static let sumLength = 16

    /// A record by its number, with its checksum if its line has one.
    private struct Place {
        let number: Int
        let sum: UInt64?
    }

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
            try FolderBridge.make(directory)
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
            let place = Place(number: places.count, sum: Checksum.of(RawSpan(_elements: bytes.span)))
            let line = Self.line(hash, place)
            try data.writeAll(toAbsoluteOffset: Int64(place.number * recordBytes), bytes)
            try index.writeAll(toAbsoluteOffset: Int64(indexEnd), line)
            indexEnd += line.count
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
    /// - Throws: `input_output` when the record is not there, or is not what was written.
    func read(_ hash: String, into rows: FloatRows, at row: Int, compute: Compute) throws(Failure) {
        guard let place = places[hash] else { throw Failure(.inputOutput, dataPath, "has no features of \(hash)") }
        let offset = place.number * recordBytes
        if mapping == nil || offset + recordBytes > (mapping?.count ?? 0) { mapping = try MappedFile(path: dataPath) }
        guard let mapping, compute.expandHalf(mapping, offset: offset, rows: patches, into: rows, at: row) else {
            throw Failure(.inputOutput, dataPath, "is shorter than its index says", hint: "Delete it and try again.")
        }
        try check(place, of: hash, in: mapping)
        guard !factors.isEmpty else { return }
        rows.storage.withMutableSpan { span in
            for patch in row..<row + patches {
                for (column, factor) in factors.enumerated() { span[patch * rows.stride + column] *= factor }
            }
        }
    }

    /// Holds a record against its checksum, once a run: it is read in every epoch.
    private func check(_ place: Place, of hash: String, in mapping: MappedFile) throws(Failure) {
        guard let sum = place.sum, !checked.contains(place.number) else { return }
        let offset = place.number * recordBytes
        guard Checksum.of(mapping.bytes.extracting(offset..<offset + recordBytes)) == sum else {
            throw Failure(
                .inputOutput, dataPath, "is damaged: the features of photo \(hash) are not those that were written",
                hint: "Delete it, and the features are computed again; then look after the disk.")
        }
        checked.insert(place.number)
    }

    /// A line of the index.
    private static func line(_ hash: String, _ place: Place) -> [UInt8] {
        guard let sum = place.sum else { return Array("\(hash)\n".utf8) }
        let digits = String(sum, radix: 16)
        let zeros = String(repeating: "0", count: sumLength - digits.count)
        return Array("\(hash) \(zeros)\(digits)\n".utf8)
    }

    /// What a line without its end says; nil for what is no line.
    private static func record(_ line: ArraySlice<UInt8>, number: Int) -> (hash: String, place: Place)? {
        let hash = String(decoding: line.prefix(hashLength), as: UTF8.self)
        if line.count == hashLength { return (hash, Place(number: number, sum: nil)) }
        guard line.count == hashLength + 1 + sumLength, line[line.startIndex + hashLength] == UInt8(ascii: " "),
            let sum = UInt64(String(decoding: line.suffix(sumLength), as: UTF8.self), radix: 16)
        else { return nil }
        return (hash, Place(number: number, sum: sum))
    }

    /// Reads the lines whose records are there, and cuts both files off behind them, which the lock allows.
    private func readIndex(_ path: String) throws(Failure) {
        guard let contents = FileManager.default.contents(atPath: path) else {
            throw Failure(.inputOutput, path, "cannot be read")
        }
        let size: Int64
        do {
            size = try data.seek(offset: 0, from: .end)
        } catch {
            throw Failure(.inputOutput, dataPath, "cannot be read: \(error)")
        }
        var count = 0
        var rest = [UInt8](contents)[...]
        while Int64((count + 1) * recordBytes) <= size, let end = rest.firstIndex(of: UInt8(ascii: "\n")),
            let record = Self.record(rest[..<end], number: count)
        {
            places[record.hash] = record.place
            count += 1
            indexEnd += end + 1 - rest.startIndex
            rest = rest[(end + 1)...]
        }
        guard places.count == count else {
            throw Failure(.inputOutput, path, "names a photo twice", hint: "Delete the cache and try again.")
        }
        // Left alone, a line without a record would get the next one appended, if a crash came before that one's line.
        do {
            try index.resize(to: Int64(indexEnd))
            try data.resize(to: Int64(count * recordBytes))
        } catch {
            throw Failure(
                .inputOutput, path, "cannot be cut to its whole records: \(error)",
                hint: "Delete the cache and try again.")
        }
    }
}
