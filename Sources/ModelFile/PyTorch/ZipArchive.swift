// The central directory of a zip file (PKWARE APPNOTE 6.3, with zip64), as far as PyTorch writes it: entries are stored,
// not compressed, and are read in place.
//
// Invariants: every entry's bytes lie before the central directory; names are unique. Compressed or encrypted entries may
// stand in the file (TorchScript compresses debug files) and are refused by name only when asked for. Checksums are not
// computed: PyTorch itself may write them unset.

import Diagnostics

/// The entries of a zip file.
struct ZipArchive {
    /// An entry as the central directory lists it.
    private struct Entry {
        let flags: UInt16
        let method: UInt16
        let compressed: UInt64
        let uncompressed: UInt64
        let header: UInt64
    }

    /// Names in the order of the central directory.
    private(set) var names: [String] = []
    private var entries: [String: Entry] = [:]
    private let path: String
    private var directory = 0..<0

    /// Reads the central directory of a whole file's bytes.
    init(parsing bytes: RawSpan, path: String) throws(Failure) {
        self.path = path
        let (range, count) = try ZipEnd.directory(of: bytes, path: path)
        directory = range
        var cursor = ByteCursor(
            bytes.extracting(0..<range.upperBound), path: path, part: "zip directory", position: range.lowerBound)
        guard count <= UInt64(cursor.remaining / 46) else {
            throw cursor.invalid("announces \(count) entries in \(cursor.remaining) bytes")
        }
        for _ in 0..<count { try readEntry(&cursor) }
        guard cursor.remaining == 0 else { throw cursor.invalid("has \(cursor.remaining) bytes after its last entry") }
    }

    /// Whether there is an entry of that name.
    func has(_ name: String) -> Bool { entries[name] != nil }

    /// Where an entry's bytes stand in the file.
    ///
    /// - Throws: `model_invalid` when it is not there or its own header disagrees; `model_unsupported` when it is
    ///   compressed or encrypted.
    func range(of name: String, in bytes: RawSpan) throws(Failure) -> Range<Int> {
        var cursor = ByteCursor(bytes.extracting(0..<directory.lowerBound), path: path, part: "zip entry \(name)")
        guard let entry = entries[name] else { throw cursor.invalid("is not there") }
        guard entry.method == 0, entry.flags & 1 == 0 else {
            throw cursor.unsupported(
                "is compressed or encrypted (method \(entry.method))", hint: "Save it with torch.save, which stores.")
        }
        guard entry.compressed == entry.uncompressed else { throw cursor.invalid("is stored with two sizes") }
        _ = try cursor.take(entry.header)
        guard try cursor.integer(UInt32.self) == 0x0403_4b50 else { throw cursor.invalid("has no header of its own") }
        _ = try cursor.take(22)
        let nameLength = try cursor.integer(UInt16.self)
        let extraLength = try cursor.integer(UInt16.self)
        guard try cursor.text(nameLength, "name") == name else {
            throw cursor.invalid("has another name in its header")
        }
        _ = try cursor.take(extraLength)
        return try cursor.take(entry.uncompressed)
    }

    private mutating func readEntry(_ cursor: inout ByteCursor) throws(Failure) {
        cursor.part = "zip entry number \(names.count)"
        guard try cursor.integer(UInt32.self) == 0x0201_4b50 else { throw cursor.invalid("has no signature") }
        _ = try cursor.take(4)  // versions
        let flags = try cursor.integer(UInt16.self)
        let method = try cursor.integer(UInt16.self)
        _ = try cursor.take(8)  // time, date, checksum
        let compressed = try cursor.integer(UInt32.self)
        let uncompressed = try cursor.integer(UInt32.self)
        let nameLength = try cursor.integer(UInt16.self)
        let extraLength = try cursor.integer(UInt16.self)
        let commentLength = try cursor.integer(UInt16.self)
        _ = try cursor.take(8)  // disk, attributes
        let header = try cursor.integer(UInt32.self)
        let name = try cursor.text(nameLength, "name")
        let extra = try cursor.take(extraLength)
        _ = try cursor.take(commentLength)
        // Fields that do not fit stand in the zip64 extra field, in this order.
        var wide = try ZipWideFields(cursor, extra)
        let wideUncompressed = try wide.value(uncompressed)
        let wideCompressed = try wide.value(compressed)
        let entry = Entry(
            flags: flags, method: method, compressed: wideCompressed, uncompressed: wideUncompressed,
            header: try wide.value(header))
        guard entries.updateValue(entry, forKey: name) == nil else {
            throw Failure(.modelInvalid, "\(path): zip entry \(name)", "is there twice", hint: "Copy the file again.")
        }
        names.append(name)
    }
}
