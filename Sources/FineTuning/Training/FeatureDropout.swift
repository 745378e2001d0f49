// Dropout on image features (Srivastava et al., JMLR 15, 2014), whole channels of a photo at a time (Tompson et al., arXiv
// 1411.4280): what a channel says of one patch it says of the patches beside it, so single values would be filled in from there.
//
// Invariant: the masks of a step follow from seed and step, so a resumed run equals one that was never stopped.

internal import Tensor

/// Drops channels of photos and scales the others up; the gradient passes where the value did.
struct FeatureDropout {
    /// The part of channels that is dropped, at least 0 and less than 1.
    let rate: Float
    private var random: TrainingRandom
    private var masks: [[Float]] = []  // of each photo of the group, [features]

    /// The masks of step `step`.
    init(rate: Float, seed: UInt64, step: Int) {
        self.rate = rate
        random = TrainingRandom(seed: seed, stream: 0xD309_0117 &+ UInt64(step))
    }

    /// New masks for a group of `photos`, applied to their features. [photos · patches, features]
    mutating func drop(_ features: FloatRows, photos: Int, patches: Int) {
        guard rate > 0 else { return }
        let kept = 1 / (1 - rate)
        masks = (0..<photos).map { _ in
            (0..<features.columns).map { _ in Float(random.uniform()) < rate ? 0 : kept }
        }
        apply(to: features, patches: patches)
    }

    /// The masks of the last group, applied to the gradient of its features.
    func apply(to rows: FloatRows, patches: Int) {
        guard rate > 0 else { return }
        let (columns, stride) = (rows.columns, rows.stride)
        rows.storage.withMutableSpan { span in
            for (photo, mask) in masks.enumerated() {
                for patch in photo * patches..<(photo + 1) * patches {
                    for column in 0..<columns { span[patch * stride + column] *= mask[column] }
                }
            }
        }
    }
}
