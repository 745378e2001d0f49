// The checksum of stored records: what it must notice, and that it stays what it is, since files hold it.

import Tensor
import Testing

@Suite("Checksums")
struct ChecksumTests {
    private func sum(_ bytes: [UInt8]) -> UInt64 { Checksum.of(RawSpan(_elements: bytes.span)) }

    @Test("a flipped bit changes the sum, wherever it is, and so do two at the same place of neighbouring words")
    func bits() {
        let bytes = (0..<67).map { UInt8(truncatingIfNeeded: $0 * 37 + 11) }
        let whole = sum(bytes)
        for place in 0..<8 * bytes.count {
            let bit = UInt8(1) << UInt8(place % 8)
            var changed = bytes
            changed[place / 8] ^= bit
            #expect(sum(changed) != whole, "bit \(place)")
            guard place / 8 + 8 < bytes.count else { continue }
            changed[place / 8 + 8] ^= bit
            #expect(sum(changed) != whole, "bits \(place) and \(place + 64)")
        }
    }

    @Test("length and order count")
    func order() {
        let words = [[UInt8](repeating: 1, count: 8), [UInt8](repeating: 2, count: 8)]
        #expect(sum(words[0] + words[1]) != sum(words[1] + words[0]))
        let zeros = (0..<20).map { sum([UInt8](repeating: 0, count: $0)) }
        #expect(Set(zeros).count == zeros.count)
    }

    @Test("the sum is what it was when files were written")
    func known() {
        #expect(sum([]) == 0xCBF2_9CE4_8422_2325)
        #expect(sum((1..<20).map { UInt8($0) }) == 0x7A90_C804_D8A4_DDA1)
    }
}
