// The views of a photo that training shows in turn, against learning photos by heart: the whole, the whole mirrored, then crops,
// every second one mirrored.
//
// Invariant: a view follows from the photo's hash and its number alone, so its features are computed once and shared by all runs.

internal import MemVP
internal import Vision

/// Numbered views of photos.
enum PhotoViews {
    /// The smallest part of a side that a crop shows.
    private static let smallest = 0.75

    /// Whether view `number` has left and right exchanged.
    static func isMirrored(_ number: Int) -> Bool { number % 2 == 1 }

    /// The key of view `number` in a feature store: the photo's own for the whole.
    static func key(_ number: Int, of hash: String) -> String {
        number == 0 ? hash : ModelBundle.sha256(of: Array("\(hash) view \(number)".utf8))
    }

    /// View `number` of the photo with this SHA-256.
    static func view(_ number: Int, of hash: String) -> PhotoView {
        guard number > 1 else { return PhotoView(isMirrored: isMirrored(number)) }
        var random = TrainingRandom(seed: UInt64(hash.prefix(16), radix: 16) ?? 0, stream: UInt64(number))
        func side() -> (start: Double, part: Double) {
            let part = smallest + (1 - smallest) * random.uniform()
            return ((1 - part) * random.uniform(), part)
        }
        let (across, down) = (side(), side())
        return PhotoView(
            left: across.start, top: down.start, width: across.part, height: down.part,
            isMirrored: isMirrored(number))
    }

    /// Why a row of this view alone cannot be learned where `count` views are shown; nil where it can.
    static func fault(_ view: Int, of count: Int) -> String? {
        (0..<count).contains(view) ? nil : "is true of view \(view) alone, which --views \(count) does not show"
    }

    /// Which of `count` views a row is true of: its own alone where it names one; where it says left or right, none that is mirrored.
    static func fitting(_ count: Int, _ row: ExampleRow) -> [Int] {
        if let view = row.view { return [view] }
        let words = Set(CaptionTokens.words(row.task.text))
        let hasSides = words.contains("left") || words.contains("right")
        return (0..<count).filter { !hasSides || !isMirrored($0) }
    }
}
