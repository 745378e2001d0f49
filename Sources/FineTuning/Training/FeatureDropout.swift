// Dropout on image features (Srivastava et al., JMLR 15, 2014), whole channels of a photo at a time (Tompson et al., arXiv
// 1411.4280): what a channel says of one patch it says of the patches beside it, so single values would be filled in from there.
//
// Invariant: a mask follows from seed, step and photo. So a resumed run equals one that was never stopped, and a caption that was
// drawn from a photo is learned from what was seen of it.

internal import Tensor

/// Drops channels of photos and scales the others up; the gradient passes where the value did.
struct FeatureDropout {
    /// The part of channels that is dropped, at least 0 and less than 1.
    let rate: Float
    private let seed: UInt64
    private let step: Int
    private var masks: [[Float]] = []  // of each photo of the group, [features]

    /// The masks of step `step`, counted from 1.
    init(rate: Float, seed: UInt64, step: Int) {
        self.rate = rate
        self.seed = seed
        self.step = step
    }

    /// The masks of a group of `photos`, applied to their features. [photos · patches, features]
    mutating func drop(_ features: FloatRows, photos: [String], patches: Int) {
        guard rate > 0 else { return }
        masks = photos.map { mask($0, features.columns) }
        apply(to: features, patches: patches)
    }

    private func mask(_ photo: String, _ channels: Int) -> [Float] {
        let kept = 1 / (1 - rate)
        var random = TrainingRandom(seed: StableHash.of(photo, seed: seed), stream: 0xD309_0117 &+ UInt64(step))
        return (0..<channels).map { _ in Float(random.uniform()) < rate ? 0 : kept }
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
