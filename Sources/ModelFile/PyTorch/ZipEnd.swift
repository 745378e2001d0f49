// Finding a zip file's central directory from its end, and the 64-bit fields of entries beyond 4 GB.

import Diagnostics

/// The end of a zip file.
enum ZipEnd {
    private static let endLength = 22
    private static let locatorLength = 20

    /// The bytes of the central directory and how many entries it announces.
    static func directory(of bytes: RawSpan, path: String) throws(Failure) -> (range: Range<Int>, count: UInt64) {
        var cursor = ByteCursor(bytes, path: path, part: "zip end")
        guard let end = position(in: bytes) else {
            throw cursor.invalid("is not there: the file is truncated or not a zip file")
        }
        _ = try cursor.take(end + 4)
        let disk = try cursor.integer(UInt16.self)
        let directoryDisk = try cursor.integer(UInt16.self)
        _ = try cursor.take(2)
        var count = UInt64(try cursor.integer(UInt16.self))
        var size = UInt64(try cursor.integer(UInt32.self))
        var offset = UInt64(try cursor.integer(UInt32.self))
        var limit = end
        if let wide = try wideEnd(of: bytes, before: end, path: path) {
            // The narrow fields repeat the wide ones, or are all ones where those do not fit.
            let agrees =
                (count == 0xffff || count == wide.count) && (size == 0xffff_ffff || size == wide.size)
                && (offset == 0xffff_ffff || offset == wide.offset)
            guard agrees else { throw cursor.invalid("and the zip64 end place the directory differently") }
            (count, size, offset, limit) = wide
        }
        guard disk == directoryDisk, disk == 0 || disk == .max else {
            throw cursor.unsupported("belongs to an archive of several disks", hint: "Save it as one file.")
        }
        guard size <= UInt64(limit), offset <= UInt64(limit) - size else {
            throw cursor.invalid("places its directory of \(size) bytes at byte \(offset), outside the file")
        }
        return (Int(offset)..<Int(offset + size), count)
    }

    /// The end record: the last signature whose comment ends with the file.
    private static func position(in bytes: RawSpan) -> Int? {
        guard bytes.byteCount >= endLength else { return nil }
        let last = bytes.byteCount - endLength
        for position in stride(from: last, through: max(0, last - 0xffff), by: -1)
        where bytes.load(position, as: UInt32.self) == 0x0605_4b50 {
            if Int(bytes.load(position + 20, as: UInt16.self)) == last - position { return position }
        }
        return nil
    }

    /// The zip64 end record, where a locator stands before the end record.
    private static func wideEnd(
        of bytes: RawSpan, before end: Int, path: String
    ) throws(Failure) -> (count: UInt64, size: UInt64, offset: UInt64, limit: Int)? {
        guard end >= locatorLength, bytes.load(end - locatorLength, as: UInt32.self) == 0x0706_4b50 else { return nil }
        let limit = end - locatorLength
        let position = bytes.load(limit + 8, as: UInt64.self)
        var cursor = ByteCursor(bytes.extracting(0..<limit), path: path, part: "zip64 end")
        _ = try cursor.take(position)
        guard try cursor.integer(UInt32.self) == 0x0606_4b50 else { throw cursor.invalid("has no signature") }
        _ = try cursor.take(28)  // length, versions, disks, entries on this disk
        let count = try cursor.integer(UInt64.self)
        let size = try cursor.integer(UInt64.self)
        let offset = try cursor.integer(UInt64.self)
        return (count, size, offset, Int(position))
    }
}

/// The zip64 extra field (identifier 1) of an entry: 64-bit values for fields that hold 0xffffffff.
struct ZipWideFields: ~Escapable {
    private var cursor: ByteCursor
    private var isPresent = false

    /// Finds the field among the extra fields at `extra`.
    @_lifetime(copy entry)
    init(_ entry: ByteCursor, _ extra: Range<Int>) throws(Failure) {
        cursor = ByteCursor(
            entry.bytes.extracting(0..<extra.upperBound), path: entry.path, part: entry.part,
            position: extra.lowerBound)
        // PyTorch pads with extra fields of its own; fewer than four bytes left are padding too.
        while cursor.remaining >= 4 {
            let identifier = try cursor.integer(UInt16.self)
            let length = try cursor.integer(UInt16.self)
            guard identifier != 1 else {
                isPresent = true
                return
            }
            _ = try cursor.take(length)
        }
    }

    /// The field itself, or its 64-bit stand-in.
    mutating func value(_ narrow: UInt32) throws(Failure) -> UInt64 {
        guard narrow == .max else { return UInt64(narrow) }
        guard isPresent else { return UInt64(narrow) }
        return try cursor.integer(UInt64.self)
    }
}
