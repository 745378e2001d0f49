// The comparer itself: each kind of mistake must fail, or the tests that rely on it prove nothing.
import Testing

@Suite struct ComparisonTests {
    private func fails(_ actual: [Float], _ expected: [Double], magnitudes: [Double]? = nil) -> Bool {
        Comparison(actual, expected, tolerance: 1e-5, magnitudes: magnitudes).failure != nil
    }

    @Test func acceptsEqualValues() {
        #expect(!fails([1, -2, 0, .infinity, .nan], [1, -2, 0, .infinity, .nan]))
        #expect(!fails([1 + 0x1p-23], [1]))
    }

    @Test func refusesNaNAndInfinity() {
        #expect(fails([.nan], [1]))
        #expect(fails([1], [.nan]))
        #expect(fails([.infinity], [1]))
        #expect(fails([1], [.infinity]))
        #expect(fails([-.infinity], [.infinity]))
        #expect(fails([.nan], [.infinity]))
    }

    @Test func refusesWrongNegatives() {
        #expect(fails([-10], [-5000]))
        #expect(fails([-10], [0]))
        #expect(fails([-10], [10]))
        #expect(fails([10], [-10]))
        #expect(fails([0], [-1e-3]))
    }

    @Test func refusesWrongShapes() {
        #expect(fails([1, 2], [1]))
        #expect(fails([1], [1, 2]))
        #expect(fails([], []))
        #expect(fails([1], [1], magnitudes: []))
    }

    @Test func judgesEachElementByItsOwnMagnitude() {
        #expect(fails([1000, 0.01], [1000, 0.011]))
        #expect(!fails([1000, 0.011], [1000, 0.0109], magnitudes: [1000, 1000]))
        #expect(fails([1000.1], [1000], magnitudes: [-1000]))
    }

    @Test func namesTheWorst() {
        let comparison = Comparison([1, 2.5, 3.1], [1, 2, 3], tolerance: 1e-5)
        #expect(comparison.worstIndex == 1)
        #expect(comparison.worst == 0.25)
        #expect(comparison.failure?.contains("[1]") == true)
    }
}
