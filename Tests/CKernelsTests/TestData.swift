// Deterministic data for the kernels' tests: random numbers, and the integers that break careless kernels.

/// Splitmix-style generator: the same data on every machine.
struct Random: RandomNumberGenerator {
    private var state: UInt64

    init(seed: Int) { state = UInt64(bitPattern: Int64(seed)) &* 0x9E37_79B9_7F4A_7C15 &+ 0x1234_5678 }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// Roughly normal, standard deviation 1.
    mutating func normal() -> Float {
        var bits = next()
        var sum: Int64 = 0
        for _ in 0..<4 {
            sum += Int64(bits & 0xffff)
            bits >>= 16
        }
        return (Float(sum) - 131070) / 37837
    }

    mutating func floats(_ count: Int, times scale: Float = 1) -> [Float] {
        var values = [Float]()
        values.reserveCapacity(count)
        for _ in 0..<count { values.append(normal() * scale) }
        return values
    }

    /// -127 ... 127.
    mutating func integers(_ count: Int) -> [Int8] {
        var values = [Int8]()
        values.reserveCapacity(count)
        while values.count < count {
            var bits = next()
            for _ in 0..<min(4, count - values.count) {
                values.append(Int8(truncatingIfNeeded: Int(bits & 0xffff) % 255 - 127))
                bits >>= 16
            }
        }
        return values
    }
}

/// Integers for weights and activations.
enum IntegerPattern: String, CaseIterable, Sendable {
    case random, allPositive, opposite, alternating

    func activations(_ count: Int, _ random: inout Random) -> [Int8] {
        switch self {
        case .random: random.integers(count)
        case .allPositive, .opposite: Array(repeating: 127, count: count)
        case .alternating: (0..<count).map { $0 % 2 == 0 ? 127 : -127 }
        }
    }

    func weights(_ count: Int, _ random: inout Random) -> [Int8] {
        switch self {
        case .random: random.integers(count)
        case .allPositive: Array(repeating: 127, count: count)
        case .opposite: Array(repeating: -127, count: count)
        case .alternating: (0..<count).map { $0 % 3 == 0 ? 127 : -127 }
        }
    }
}
