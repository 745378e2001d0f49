// A reading position in foreign bytes: every length is bounded by what remains before anything is allocated or read.
//
// Failure modes: `model_invalid` naming the file, the part being read and the byte where it ends. No read traps, whatever
// the bytes hold.

import Diagnostics

/// Reads numbers, strings and lengths from foreign bytes, throwing where they end too early.
struct ByteCursor: ~Escapable {
    /// The bytes read from.
    let bytes: RawSpan
    /// The offset of the next byte.
    private(set) var position: Int
    /// The file, for messages.
    let path: String
    /// The key, tensor or part being read, for messages.
    var part: String

    @_lifetime(copy bytes)
    init(_ bytes: RawSpan, path: String, part: String, position: Int = 0) {
        self.bytes = bytes
        self.path = path
        self.part = part
        self.position = min(max(position, 0), bytes.byteCount)
    }

    /// Bytes that are left.
    var remaining: Int { bytes.byteCount - position }

    /// An error about the part being read.
    func invalid(_ cause: String) -> Failure {
        Failure(.modelInvalid, "\(path): \(part)", cause, hint: "Copy or convert the file again.")
    }

    /// An error about something in the part being read that is not supported.
    func unsupported(_ cause: String, hint: String) -> Failure {
        Failure(.modelUnsupported, "\(path): \(part)", cause, hint: hint)
    }

    /// The next little-endian integer.
    @inline(__always)
    mutating func integer<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type) throws(Failure) -> T {
        let size = MemoryLayout<T>.size
        guard size <= remaining else { throw truncated(UInt64(size)) }
        defer { position += size }
        return bytes.load(position, as: type)
    }

    /// A 64-bit count of things that take at least `minimumBytes` each, bounded by what remains.
    mutating func count(of things: StaticString, minimumBytes: Int) throws(Failure) -> Int {
        let count = try integer(UInt64.self)
        guard count <= UInt64(remaining / minimumBytes) else {
            throw invalid("announces \(count) \(things), more than the \(remaining) bytes left can hold")
        }
        return Int(count)
    }

    /// The range of the next `count` bytes, which are skipped.
    @inline(__always)
    mutating func take(_ count: some BinaryInteger) throws(Failure) -> Range<Int> {
        guard count >= 0, count <= remaining else { throw truncated(UInt64(clamping: count)) }
        let start = position
        position += Int(count)
        return start..<position
    }

    /// The next `count` bytes as UTF-8 text.
    mutating func text(_ count: some BinaryInteger, _ what: StaticString) throws(Failure) -> String {
        let range = try take(count)
        guard let text = String(validating: bytes.copy(range), as: UTF8.self) else {
            throw invalid("holds a \(what) that is not UTF-8 at byte \(range.lowerBound)")
        }
        return text
    }

    private func truncated(_ needed: UInt64) -> Failure {
        invalid("needs \(needed) bytes at byte \(position), but only \(remaining) are left")
    }
}
