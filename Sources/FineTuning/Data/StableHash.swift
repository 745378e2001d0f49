// A hash that is the same on every machine and in every run, which Swift's own is not: it decides held-out photos and the
// order in which questions are drawn.

/// FNV-1a in 64 bits, stirred at the end so that all bits depend on all bytes.
enum StableHash {
    /// The hash of texts under a seed; texts are kept apart.
    static func of(_ texts: String..., seed: UInt64 = 0) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325 ^ (seed &* 0x9E37_79B9_7F4A_7C15)
        for text in texts {
            for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
            hash = (hash ^ 0xFF) &* 0x100_0000_01B3
        }
        hash = (hash ^ (hash >> 30)) &* 0xBF58_476D_1CE4_E5B9
        hash = (hash ^ (hash >> 27)) &* 0x94D0_49BB_1331_11EB
        return hash ^ (hash >> 31)
    }

    /// A number in 0 ..< 1 from the hash.
    static func fraction(of text: String, seed: UInt64 = 0) -> Double {
        Double(of(text, seed: seed) >> 11) / Double(1 << 53)
    }
}
