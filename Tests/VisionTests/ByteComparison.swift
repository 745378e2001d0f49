import Testing

/// How far two arrays of bytes are apart; nothing compares as close when the lengths differ.
struct ByteComparison {
    let count: Int
    let sameLength: Bool
    /// Bytes more than one level apart.
    let overOne: Int
    /// The greatest distance.
    let worst: Int
    let worstIndex: Int?

    init(_ left: [UInt8], _ right: [UInt8]) {
        let distances = zip(left, right).map { abs(Int($0) - Int($1)) }
        count = distances.count
        sameLength = left.count == right.count
        overOne = distances.count { $0 > 1 }
        worst = distances.max() ?? 0
        worstIndex = worst == 0 ? nil : distances.firstIndex(of: worst)
    }

    /// The rule: within 1 level for at least 99.9 % of the bytes, never more than 2.
    var isClose: Bool { sameLength && count > 0 && worst <= 2 && overOne * 1_000 <= count }

    func isWithin(_ levels: Int) -> Bool { sameLength && count > 0 && worst <= levels }
}

@Suite struct ByteComparisonTests {
    @Test func equalBytesAreClose() {
        #expect(ByteComparison([1, 2, 255], [1, 2, 255]).isWithin(0))
        #expect(ByteComparison([1, 2, 255], [1, 2, 255]).isClose)
    }

    @Test func nothingIsCloseToNothing() {
        #expect(!ByteComparison([], []).isClose)
        #expect(!ByteComparison([], []).isWithin(255))
    }

    @Test func aMissingByteIsNotClose() {
        #expect(!ByteComparison([7, 7], [7]).isClose)
        #expect(!ByteComparison([7], [7, 7]).isWithin(255))
    }

    @Test func distancesCountBothWays() {
        #expect(ByteComparison([0, 255], [255, 255]).worst == 255)
        #expect(ByteComparison([255, 255], [255, 0]).worst == 255)
        #expect(ByteComparison([9, 255], [9, 0]).worstIndex == 1)
        #expect(!ByteComparison([10], [12]).isWithin(1))
        #expect(!ByteComparison([12], [10]).isWithin(1))
    }

    @Test func oneInAThousandMayBeTwoApart() {
        let plain = [UInt8](repeating: 100, count: 2_000)
        var other = plain
        other[5] = 102
        other[9] = 98
        #expect(ByteComparison(plain, other).isClose)
        other[77] = 98
        #expect(!ByteComparison(plain, other).isClose)
        other = plain
        other[5] = 103
        #expect(!ByteComparison(plain, other).isClose)
    }
}
