// The learning rate over a run: linear warm-up, then half a cosine down to 0.

import Glibc

/// A schedule of learning rates.
struct LearningRate: Sendable {
    /// The highest rate.
    var peak: Float
    /// Steps of linear warm-up.
    var warmUp: Int
    /// Steps of the whole run.
    var steps: Int

    /// The rate of step `step`, counted from 0.
    func rate(at step: Int) -> Float {
        if step < warmUp { return peak * Float(step + 1) / Float(warmUp) }
        guard steps > warmUp else { return peak }
        let part = min(1, Double(step - warmUp) / Double(steps - warmUp))
        return peak * Float(0.5 * (1 + cos(part * .pi)))
    }
}
