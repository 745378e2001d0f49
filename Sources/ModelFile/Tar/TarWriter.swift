// Writes tar archives (ustar, POSIX.1-1988) that say nothing but names and bytes: no times, no owners.
//
// Invariant: the same files in the same order give the same bytes; the archive appears whole under its name in `finish`
// or not at all. Failure modes: `model_unsupported` for what ustar cannot hold; those of `OutputFile`.

public import Diagnostics
import Files

/// A tar archive being written.
public final class TarWriter {
    private static let block = 512
    /// ustar's size field has eleven octal digits.
    private static let largest = (1 << 33) - 1

    private let output: OutputFile

    /// Begins an archive; nothing stands at `path` before `finish`.
    ///
    /// - Throws: `cannot_create`, `permission_denied`, `no_space`.
    public init(path: String) throws(Failure) { output = try OutputFile(path: path) }

    /// Appends a regular file.
    ///
    /// - Parameter name: relative, at most 100 bytes.
    /// - Throws: `model_unsupported` for a longer name or more than 8 GiB; `no_space`, `input_output`.
    public func add(_ name: String, _ bytes: RawSpan) throws(Failure) {
        guard name.utf8.count <= 100, bytes.byteCount <= Self.largest else {
            throw Failure(.modelUnsupported, name, "is too long or too large for a tar archive")
        }
        try output.write(Self.header(name, size: bytes.byteCount))
        try output.write(bytes)
        try output.pad(to: Self.block)
    }

    /// Ends the archive and puts it in place, durable.
    ///
    /// - Throws: `no_space`, `input_output`.
    public func finish() throws(Failure) {
        try output.write([UInt8](repeating: 0, count: 2 * Self.block))
        try output.commit()
    }

    private static func header(_ name: String, size: Int) -> [UInt8] {
        var header = [UInt8](repeating: 0, count: block)
        func put(_ text: String, at offset: Int) {
            for (index, byte) in text.utf8.enumerated() { header[offset + index] = byte }
        }
        func octal(_ value: Int, digits: Int) -> String {
            let text = String(value, radix: 8)
            return String(repeating: "0", count: digits - text.count) + text
        }
        put(name, at: 0)
        put(octal(0o644, digits: 7), at: 100)
        put(octal(0, digits: 7), at: 108)  // owner
        put(octal(0, digits: 7), at: 116)  // group
        put(octal(size, digits: 11), at: 124)
        put(octal(0, digits: 11), at: 136)  // time
        put("        ", at: 148)
        put("0", at: 156)
        put("ustar\u{0}00", at: 257)
        put(octal(header.reduce(0) { $0 + Int($1) }, digits: 6) + "\u{0} ", at: 148)
        return header
    }
}
