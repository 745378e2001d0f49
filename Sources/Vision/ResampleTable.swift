// One axis of an antialiased resize: for each target pixel, which source pixels count and how much.
//
// The arithmetic is Pillow's (its Resample.c), since the encoders were trained on Pillow's pixels: cubic convolution with
// a = -0.5 (R. Keys, 1981), stretched by the reduction; weights that sum to one in Double, then fixed point with 22
// fraction bits, rounded half away from zero. A sum of 8-bit pixels times weights stays below 2^31: the weights'
// magnitudes sum to less than 1.5.

/// Source windows and fixed-point weights for every target pixel along one axis.
struct ResampleTable {
    /// Fraction bits of a weight: 32, less 8 for the pixel, less 2 for sign and overshoot.
    static let fractionBits: Int32 = 32 - 8 - 2

    /// First source pixel of each target's window.
    private(set) var starts: [Int]  // [target]
    /// Where each target's weights stand in `weights`; its window is as long as they are.
    private(set) var ranges: [Range<Int>]  // [target]
    /// The weights, window after window.
    private(set) var weights: [Int32]

    /// Makes the table that takes `source` pixels to `target` pixels; both at least 1.
    init(from source: Int, to target: Int) {
        starts = []
        ranges = []
        weights = []
        let scale = Double(source) / Double(target)
        let stretch = max(scale, 1)
        let support = 2 * stretch
        for index in 0..<target {
            let centre = (Double(index) + 0.5) * scale
            let first = max(0, Int(centre - support + 0.5))
            let end = min(source, Int(centre + support + 0.5))
            let window = (first..<end).map {
                ResampleTable.cubic((Double($0) - centre + 0.5) * (1 / stretch))
            }
            let sum = window.reduce(0, +)
            starts.append(first)
            ranges.append(weights.count..<weights.count + window.count)
            weights += window.map { ResampleTable.fixedPoint(sum == 0 ? $0 : $0 / sum) }
        }
    }

    /// The cubic convolution kernel with a = -0.5.
    private static func cubic(_ offset: Double) -> Double {
        let a = -0.5
        let x = abs(offset)
        if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
        if x < 2 { return (((x - 5) * x + 8) * x - 4) * a }
        return 0
    }

    private static func fixedPoint(_ weight: Double) -> Int32 {
        Int32((weight * Double(1 << fractionBits)).rounded(.toNearestOrAwayFromZero))
    }

    /// A weighted sum as a byte: the fraction is dropped (sums start at one half), overshoot is clamped.
    static func byte(_ sum: Int32) -> UInt8 {
        UInt8(truncatingIfNeeded: min(max(sum >> fractionBits, 0), 255))
    }
    /// What sums start at, so that dropping the fraction rounds to nearest.
    static let half: Int32 = 1 << (fractionBits - 1)
}
