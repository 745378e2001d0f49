// Angles of the rotary position embedding, computed once for all positions a model may see.

import Glibc

/// Cosines and sines of the rotary position embedding (RoPE, arXiv 2104.09864). [positions, headSize / 2] each
@safe public final class RotaryTable: @unchecked Sendable {
    /// Positions there are angles for.
    public let positions: Int
    let headSize: Int
    let cosines: AlignedStorage<Float>
    let sines: AlignedStorage<Float>

    /// angle(position, i) = position · theta^(−2i / headSize), computed in Double.
    public init(positions: Int, headSize: Int, theta: Double) {
        self.positions = positions
        self.headSize = headSize
        cosines = AlignedStorage(count: positions * headSize / 2)
        sines = AlignedStorage(count: positions * headSize / 2)
        for pair in 0..<headSize / 2 {
            let frequency = pow(theta, -2 * Double(pair) / Double(headSize))
            for position in 0..<positions {
                let angle = Double(position) * frequency
                unsafe cosines.base[position * headSize / 2 + pair] = Float(cos(angle))
                unsafe sines.base[position * headSize / 2 + pair] = Float(sin(angle))
            }
        }
    }
}
