// Many byte strings in one allocation: a vocabulary of 49,152 pieces and as many merges is read in milliseconds and
// need not be valid UTF-8.

/// An immutable list of byte strings stored end to end.
public struct ByteStrings: Sendable, Equatable {
    /// All strings, end to end.
    public let bytes: [UInt8]
    /// The end offset of each string in `bytes`; never decreasing, the last at most `bytes.count`.
    public let ends: [Int]

    /// Collects strings; used by tests and importers.
    public init(_ strings: some Sequence<some Sequence<UInt8>>) {
        var bytes: [UInt8] = []
        var ends: [Int] = []
        for string in strings {
            bytes.append(contentsOf: string)
            ends.append(bytes.count)
        }
        self.bytes = bytes
        self.ends = ends
    }

    /// Takes over storage already laid out end to end; offsets that do not fit give nil.
    public init?(bytes: [UInt8], ends: [Int]) {
        var start = 0
        for end in ends {
            guard end >= start, end <= bytes.count else { return nil }
            start = end
        }
        self.bytes = bytes
        self.ends = ends
    }

    /// How many strings there are.
    public var count: Int { ends.count }

    /// The string at `index`, which must be below `count`.
    public subscript(index: Int) -> ArraySlice<UInt8> {
        bytes[(index == 0 ? 0 : ends[index - 1])..<ends[index]]
    }
}
