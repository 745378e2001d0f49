import Testing

@testable import Text

@Suite struct PairMergerTests {
    /// A word of n equal letters in which every pair merges up to pieces of 1,024: the work must stay at a few pairs a
    /// letter. Counted, not timed.
    @Test func longWordsTakeLinearlyManyPairs() {
        let count = 65_536
        var merger = PairMerger()
        for index in 0..<count { merger.append(Symbol(start: index, length: 1, token: 0)) }
        var asked = 0
        var lengths: [Int] = []
        merger.run { left, right in
            asked += 1
            guard left.length == right.length, left.length < 1024 else { return nil }
            return PairMerger.Merge(rank: UInt32(left.length), token: left.token + 1)
        } each: {
            lengths.append($0.length)
        }
        #expect(lengths == Array(repeating: 1024, count: 64))
        #expect(asked <= 3 * count)
    }

    @Test func frozenSymbolsStay() {
        var merger = PairMerger()
        for index in 0..<4 { merger.append(Symbol(start: index, length: 1, token: 0, isFrozen: index == 1)) }
        var lengths: [Int] = []
        merger.run { _, _ in
            PairMerger.Merge(rank: 0, token: 1)
        } each: {
            lengths.append($0.length)
        }
        #expect(lengths == [1, 1, 2])
    }

    @Test func buffersAreReusedFromWordToWord() {
        var merger = PairMerger()
        for length in [3, 1, 0, 2] {
            merger.removeAll()
            for index in 0..<length { merger.append(Symbol(start: index, length: 1, token: 0)) }
            var total = 0
            merger.run { _, _ in
                PairMerger.Merge(rank: 0, token: 1)
            } each: {
                total += $0.length
            }
            #expect(total == length)
        }
    }
}
