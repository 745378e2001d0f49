// The one thing memvpd wants of EXIF: the orientation in the first image file directory (EXIF 2.32, 4.5; TIFF 6.0, 2).
//
// Invariant: every offset and count is checked against the segment before it is followed; a segment is at most 64 KiB and
// only one directory is walked, once, so the work is bounded. Failure modes: broken EXIF is a finding, not an error.

/// What an EXIF segment says about the orientation.
enum EXIFOrientation: Equatable {
    /// No such tag.
    case absent
    /// The tag's value.
    case found(Orientation)
    /// The segment or the tag breaks the format, with the reason.
    case broken(String)

    /// Reads the TIFF structure that follows "Exif\0\0" in an APP1 segment.
    init(reading segment: [UInt8]) {
        do throws(TIFFReader.Broken) {
            self = try TIFFReader(segment).orientation().map { .found($0) } ?? .absent
        } catch {
            self = .broken(error.reason)
        }
    }
}

/// A bounded reader of a TIFF structure, in the byte order that its first two bytes name.
private struct TIFFReader {
    struct Broken: Error {
        let reason: String
    }

    private let bytes: [UInt8]
    private let isBigEndian: Bool

    private static let orientationTag: UInt32 = 0x0112
    private static let entryLength = 12

    init(_ bytes: [UInt8]) throws(Broken) {
        switch bytes.prefix(2) {
        case [0x4D, 0x4D]: isBigEndian = true
        case [0x49, 0x49]: isBigEndian = false
        default: throw Broken(reason: "the EXIF segment names no byte order")
        }
        self.bytes = bytes
        guard try number(at: 2, length: 2) == 42 else {
            throw Broken(reason: "the EXIF segment is not TIFF")
        }
    }

    /// The value of the tag Orientation in directory 0, nil without it.
    func orientation() throws(Broken) -> Orientation? {
        let directory = Int(try number(at: 4, length: 4))
        let count = Int(try number(at: directory, length: 2))
        for index in 0..<count {
            let entry = directory + 2 + index * TIFFReader.entryLength
            guard try number(at: entry, length: 2) == TIFFReader.orientationTag else { continue }
            return try value(ofEntryAt: entry)
        }
        return nil
    }

    private func value(ofEntryAt entry: Int) throws(Broken) -> Orientation {
        let type = try number(at: entry + 2, length: 2)
        let count = try number(at: entry + 4, length: 4)
        // BYTE, SHORT and LONG; the format says SHORT, some writers differ.
        let lengths: [UInt32: Int] = [1: 1, 3: 2, 4: 4]
        guard let length = lengths[type], count == 1 else {
            throw Broken(reason: "the tag has type \(type) and count \(count)")
        }
        let value = try number(at: entry + 8, length: length)
        guard let orientation = UInt8(exactly: value).flatMap(Orientation.init(rawValue:)) else {
            throw Broken(reason: "the tag has the value \(value), not one of 1 to 8")
        }
        return orientation
    }

    /// The unsigned number of `length` (up to 4) bytes at `offset`.
    private func number(at offset: Int, length: Int) throws(Broken) -> UInt32 {
        guard offset >= 0, offset <= bytes.count, bytes.count - offset >= length else {
            throw Broken(reason: "the EXIF segment ends too early")
        }
        let field = bytes[offset..<offset + length]
        let ordered = isBigEndian ? Array(field) : field.reversed()
        return ordered.reduce(0) { $0 << 8 | UInt32($1) }
    }
}
