// From bytes to the floats an encoder was trained on, as data of the model bundle describes it.
//
// A byte has 256 values, so each channel is a table of 256 floats: one rounding for each step of the formula, the same on
// every machine, and no arithmetic per pixel.

public import Diagnostics

/// (byte / divisor − mean) / deviation, for each channel.
public struct Normalisation: Sendable, Equatable {
    /// How the normalised pixels lie in memory.
    public enum Layout: Sendable {
        /// [height, width, 3]: the channels of a pixel together.
        case channelsLast
        /// [3, height, width]: one plane a channel.
        case channelsFirst
    }

    /// What EfficientNet-Lite was trained with: (byte − 127) / 128.
    public static let efficientNetLite = Normalisation(
        divisor: 1, means: [127, 127, 127], validDeviations: [128, 128, 128])
    /// What CLIP was trained with (openai/CLIP, `clip.py`): bytes over 255, then mean and deviation of its photos.
    public static let clip = Normalisation(
        divisor: 255, means: [0.481_454_66, 0.457_827_5, 0.408_210_73],
        validDeviations: [0.268_629_54, 0.261_302_58, 0.275_777_11])

    private let table: [Float]  // [3, 256]

    /// Makes a normalisation from a model bundle's numbers.
    ///
    /// - Throws: `model_invalid` unless there are three finite means, three finite deviations other than zero, and a
    ///   finite divisor other than zero.
    public init(divisor: Float, means: [Float], deviations: [Float]) throws(Failure) {
        let denominators = deviations + [divisor]
        guard means.count == 3, deviations.count == 3, means.allSatisfy(\.isFinite),
            denominators.allSatisfy({ $0.isFinite && $0 != 0 })
        else {
            throw Failure(
                .modelInvalid, "",
                "means \(means), deviations \(deviations) and divisor \(divisor) normalise no pixel",
                hint: "Give three finite means, and three deviations and a divisor that are not zero.")
        }
        self.init(divisor: divisor, means: means, validDeviations: deviations)
    }

    private init(divisor: Float, means: [Float], validDeviations deviations: [Float]) {
        table = zip(means, deviations).flatMap { mean, deviation in
            (0...255).map { (Float($0) / divisor - mean) / deviation }
        }
    }

    /// The image's pixels, normalised: [height, width, 3] or [3, height, width] by `layout`.
    public func apply(to image: RGBImage, layout: Layout) -> [Float] {
        let pixels = image.pixels.span  // [height, width, 3]
        let count = image.width * image.height
        var values = [Float](repeating: 0, count: pixels.count)
        var target = values.mutableSpan
        let (pixelStep, channelStep) = layout == .channelsLast ? (3, 1) : (1, count)
        for channel in 0..<3 {
            let channelTable = table.span.extracting(256 * channel..<256 * (channel + 1))
            var to = channel * channelStep
            var from = channel
            for _ in 0..<count {
                target[to] = channelTable[Int(pixels[from])]
                to += pixelStep
                from += 3
            }
        }
        return values
    }
}
