// A checksum of stored bytes: whether what is read is what was written. Whether somebody changed it on purpose is SHA-256's
// to say.
//
// Invariant: equal bytes have equal sums on every machine. A change within eight bytes that are taken together always changes
// the sum, as each step maps different sums to different ones; any other does with the odds of a 64-bit hash.

/// Checksums of bytes.
public enum Checksum {
    private static let start: UInt64 = 0xCBF2_9CE4_8422_2325
    private static let factor: UInt64 = 0x9E37_79B9_7F4A_7C15

    /// 64 bits over `bytes`, taken eight at a time: disks are slower.
    public static func of(_ bytes: RawSpan) -> UInt64 {
        var sum = start ^ UInt64(bytes.byteCount)
        let whole = bytes.byteCount / 8 * 8
        for place in stride(from: 0, to: whole, by: 8) {
            let word = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: place, as: UInt64.self)
            sum = stirred(sum ^ UInt64(littleEndian: word))
        }
        for place in whole..<bytes.byteCount {
            let byte = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: place, as: UInt8.self)
            sum = stirred(sum ^ UInt64(byte))
        }
        return sum
    }

    /// A product carries differences upwards only; the shift brings them back down, or two flipped top bits would cancel.
    private static func stirred(_ value: UInt64) -> UInt64 {
        let product = value &* factor
        return product ^ (product >> 32)
    }
}
