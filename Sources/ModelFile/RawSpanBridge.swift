// Fixed-width little-endian loads and copies out of mapped bytes: the only unsafe code of this module.
//
// Invariant: every load here is bounds-checked by the standard library and traps when out of range, so parsers go through
// `ByteCursor`, which bounds each length first and throws. Integers have no invalid bit patterns, so reading one from
// foreign bytes is safe whatever they hold. Model files are little-endian, as are the machines this runs on; the
// conversion keeps the code right on others.

extension RawSpan {
    /// The little-endian integer at a byte offset, which need not be aligned.
    @inline(__always)
    func load<T: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, as type: T.Type) -> T {
        T(littleEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: type))
    }

    /// A copy of the bytes in `range`.
    func copy(_ range: Range<Int>) -> [UInt8] {
        unsafe extracting(range).withUnsafeBytes { unsafe [UInt8]($0) }
    }

    /// Appends the bytes in `range` to `array`.
    func append(_ range: Range<Int>, to array: inout [UInt8]) {
        unsafe extracting(range).withUnsafeBytes { unsafe array.append(contentsOf: $0) }
    }

    /// Where `byte` first stands in `range`.
    func firstIndex(of byte: UInt8, in range: Range<Int>) -> Int? {
        for offset in range where load(offset, as: UInt8.self) == byte { return offset }
        return nil
    }

    /// The same bytes, said to live as long as `owner`, whose mapping they are.
    ///
    /// The compiler cannot see through the two objects between a container and its mapping.
    @_lifetime(borrow owner)
    func living(with owner: borrowing some TensorContainer) -> RawSpan {
        unsafe _overrideLifetime(self, borrowing: owner)
    }
}
