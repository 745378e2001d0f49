// The lines of a file of JSON Lines, with their numbers.
//
// Failure modes: `not_found`, `unreadable`, `not_regular_file`; `spec_invalid` for a file that is too large.

internal import Diagnostics
internal import Files

/// The lines of a file that have something in them, numbered from 1 with those that have not; without a byte order mark.
struct DataLines: Sequence, IteratorProtocol {
    private var bytes: ArraySlice<UInt8>
    private var number = 0

    /// Reads the file.
    ///
    /// - Throws: the failures above.
    init(of path: String) throws(Failure) {
        bytes = try InputFile.read(path, limit: ExampleRows.fileLimit, tooLarge: .specInvalid)[...]
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes = bytes.dropFirst(3) }
    }

    mutating func next() -> (number: Int, line: ArraySlice<UInt8>)? {
        while !bytes.isEmpty {
            let end = bytes.firstIndex(of: UInt8(ascii: "\n")) ?? bytes.endIndex
            let line = bytes[bytes.startIndex..<end]
            bytes = bytes[Swift.min(end + 1, bytes.endIndex)...]
            number += 1
            if !line.allSatisfy({ $0 == 0x20 || $0 == 0x0D || $0 == 0x09 }) { return (number, line) }
        }
        return nil
    }
}
