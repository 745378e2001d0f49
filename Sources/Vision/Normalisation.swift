// From bytes to the floats an encoder was trained on, as data of the model bundle describes it.
//
// A byte has 256 values, so each channel is a table of 256 floats: one rounding for each step of the formula, the same on
// every machine, and no arithmetic per pixel.

public import Diagnostics

/// (byte / divisor − mean) / deviation, for each channel.
public struct Normalisation: Sendable, Equatable {
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
        table = zip(means, deviations).flatMap { mean, deviation in
            (0...255).map { (Float($0) / divisor - mean) / deviation }
        }
    }

    /// The image's pixels, normalised: [height, width, 3].
    public func apply(to image: RGBImage) -> [Float] {
        let pixels = image.pixels.span  // [height, width, 3]
        var values = [Float](repeating: 0, count: pixels.count)
        var target = values.mutableSpan
        for channel in 0..<3 {
            let channelTable = table.span.extracting(256 * channel..<256 * (channel + 1))
            for place in stride(from: channel, to: pixels.count, by: 3) {
                target[place] = channelTable[Int(pixels[place])]
            }
        }
        return values
    }
}
