// Comparing float results with a reference: exact about NaN, infinities, signs and shape.
//
// A difference is judged against `tolerance * magnitude`, where the magnitude is the size of what was summed (never the
// result itself, which cancellation may leave small) and is at least `floor`. Nothing that is not a number ever passes
// for one.

/// How far `actual` is from `expected`; `failure` is nil where they agree.
struct Comparison: Equatable {
    var worst: Double = 0
    var worstIndex: Int?
    var failure: String?

    /// - Parameters:
    ///   - magnitudes: one an element; the absolute value of `expected` where nil.
    init(
        _ actual: [Float], _ expected: [Double], tolerance: Double, magnitudes: [Double]? = nil, floor: Double = 1e-30
    ) {
        guard actual.count == expected.count, magnitudes.map({ $0.count == expected.count }) ?? true else {
            failure = "\(actual.count) elements against \(expected.count)"
            return
        }
        guard !expected.isEmpty else {
            failure = "nothing to compare"
            return
        }
        for (index, (value, wanted)) in zip(actual, expected).enumerated() {
            let value = Double(value)
            guard value.isFinite, wanted.isFinite else {
                if value.isNaN && wanted.isNaN || value == wanted { continue }
                failure = "[\(index)] is \(value), expected \(wanted)"
                return
            }
            let allowance = max(abs(magnitudes?[index] ?? wanted), floor)
            let error = abs(value - wanted) / allowance
            if error > worst { (worst, worstIndex) = (error, index) }
        }
        if worst > tolerance, let worstIndex {
            failure =
                "[\(worstIndex)] is \(actual[worstIndex]), expected \(expected[worstIndex]): \(worst) > \(tolerance)"
        }
    }
}
