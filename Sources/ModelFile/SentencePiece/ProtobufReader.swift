// The wire format of protocol buffers (protobuf.dev/programming-guides/encoding), as far as a flat message needs it.
//
// Invariant: every length is bounded by the message's own end; varints of more than ten bytes and groups are refused.

import Diagnostics

/// A field of a message, still undecoded.
enum ProtobufValue {
    /// Wire type 0.
    case varint(UInt64)
    /// Wire type 1.
    case fixed64(UInt64)
    /// Wire type 2: where the bytes stand.
    case bytes(Range<Int>)
    /// Wire type 5.
    case fixed32(UInt32)
}

/// Reads the fields of one message.
struct ProtobufReader: ~Escapable {
    /// The position, and the bytes up to the message's end.
    private(set) var cursor: ByteCursor

    /// A reader of the message at `range`.
    @_lifetime(copy bytes)
    init(_ bytes: RawSpan, _ range: Range<Int>, path: String, part: String) {
        cursor = ByteCursor(
            bytes.extracting(0..<range.upperBound), path: path, part: part, position: range.lowerBound)
    }

    /// The next field, or nil at the message's end.
    mutating func next() throws(Failure) -> (number: UInt64, value: ProtobufValue)? {
        guard cursor.remaining > 0 else { return nil }
        let key = try varint()
        guard key >> 3 > 0, key >> 3 < 1 << 29 else { throw cursor.invalid("has the field number \(key >> 3)") }
        switch key & 7 {
        case 0: return (key >> 3, .varint(try varint()))
        case 1: return (key >> 3, .fixed64(try cursor.integer(UInt64.self)))
        case 2: return (key >> 3, .bytes(try cursor.take(varint())))
        case 5: return (key >> 3, .fixed32(try cursor.integer(UInt32.self)))
        default: throw cursor.invalid("has a field of wire type \(key & 7)")
        }
    }

    private mutating func varint() throws(Failure) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: 0, through: 63, by: 7) {
            let byte = try cursor.integer(UInt8.self)
            guard shift < 63 || byte <= 1 else { break }
            value |= UInt64(byte & 0x7f) << UInt64(shift)
            if byte < 0x80 { return value }
        }
        throw cursor.invalid("has a number of more than 64 bits")
    }
}
