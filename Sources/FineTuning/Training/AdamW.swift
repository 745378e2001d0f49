// AdamW with decoupled weight decay (arXiv 1711.05101, algorithm 2), as torch.optim.AdamW computes it.
//
// Invariant: one moment pair a parameter tensor, of its size; a step reads gradients and writes parameters in place, in a
// fixed order, so that a resumed run continues to the bit.

/// The constants of AdamW.
public struct AdamWConfiguration: Sendable, Equatable, Codable {
    /// Decay rate of the first moment.
    public var beta1: Float
    /// Decay rate of the second moment.
    public var beta2: Float
    /// Added to the root of the second moment.
    public var epsilon: Float
    /// Decoupled weight decay, of tensors with more than one dimension only.
    public var weightDecay: Float

    /// The official MemVP code's constants by default.
    public init(beta1: Float = 0.9, beta2: Float = 0.95, epsilon: Float = 1e-8, weightDecay: Float = 0.02) {
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.weightDecay = weightDecay
    }
}

/// The moments of one parameter tensor.
struct AdamWMoments: Sendable, Equatable {
    /// Exponential mean of the gradients.
    var first: [Float]
    /// Exponential mean of their squares.
    var second: [Float]

    /// Zero moments of `count` values.
    init(count: Int) {
        first = [Float](repeating: 0, count: count)
        second = first
    }
}

extension AdamWConfiguration {
    /// One step on one tensor:
    ///
    ///     p ← p (1 − lr · decay);  m ← β₁ m + (1 − β₁) g;  v ← β₂ v + (1 − β₂) g²
    ///     p ← p − lr / (1 − β₁ᵗ) · m / ( √v / √(1 − β₂ᵗ) + ε )
    ///
    /// - Parameters:
    ///   - step: t, from 1.
    ///   - decays: whether weight decay applies (tensors of one dimension have none).
    func update(
        _ parameter: inout [Float], gradient: [Float], moments: inout AdamWMoments, step: Int, learningRate: Float,
        decays: Bool
    ) {
        precondition(parameter.count == gradient.count && parameter.count == moments.first.count && step >= 1)
        let shrink = decays ? 1 - learningRate * weightDecay : 1
        let stepSize = learningRate / Float(1 - power(Double(beta1), step))
        let inverseRoot = 1 / Float((1 - power(Double(beta2), step)).squareRoot())
        for index in parameter.indices {
            let g = gradient[index]
            let m = beta1 * moments.first[index] + (1 - beta1) * g
            let v = beta2 * moments.second[index] + (1 - beta2) * g * g
            moments.first[index] = m
            moments.second[index] = v
            parameter[index] = parameter[index] * shrink - stepSize * m / (v.squareRoot() * inverseRoot + epsilon)
        }
    }

    private func power(_ base: Double, _ exponent: Int) -> Double {
        var result = 1.0
        var factor = base
        var rest = exponent
        while rest > 0 {
            if rest & 1 == 1 { result *= factor }
            factor *= factor
            rest >>= 1
        }
        return result
    }
}
