import Diagnostics
import Testing
import Vision

@Suite struct NormalisationTests {
    private static func image() throws -> RGBImage {
        // [2, 2, 3]
        try RGBImage(width: 2, height: 2, pixels: [0, 127, 255, 1, 128, 254, 2, 129, 253, 3, 130, 252])
    }

    @Test func efficientNetLiteIsByteMinus127Over128() throws {
        let lite = try Normalisation(divisor: 1, means: [127, 127, 127], deviations: [128, 128, 128])
        let values = lite.apply(to: try Self.image())
        let numerators: [Float] = [-127, 0, 128, -126, 1, 127, -125, 2, 126, -124, 3, 125]
        #expect(values == numerators.map { $0 / 128 })
    }

    @Test func eachChannelHasItsOwnNumbers() throws {
        let numbers = try Normalisation(divisor: 1, means: [0, 100, 200], deviations: [1, 10, 100])
        let values = numbers.apply(to: try RGBImage(width: 2, height: 1, pixels: [1, 110, 250, 2, 130, 100]))
        #expect(values == [1, 1, 0.5, 2, 3, -1])
    }

    /// Values of torchvision's Normalize formula in NumPy float32, for a black, a middle and a white pixel.
    @Test func clipIsTheFormulaOfItsAuthors() throws {
        let image = try RGBImage(width: 3, height: 1, pixels: [0, 0, 0, 128, 128, 128, 255, 255, 255])
        let clip = try Normalisation(
            divisor: 255, means: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            deviations: [0.268_629_54, 0.261_302_58, 0.275_777_11])
        let values = clip.apply(to: image)
        let expected: [Float] = [
            -1.792262554, -1.752097129, -1.480219841, 0.0763361454, 0.1688973158, 0.3399487733, 1.9303361177,
            2.0748836994, 2.1458969116,
        ]
        #expect(values.count == expected.count)
        for (value, wanted) in zip(values, expected) { #expect(abs(value - wanted) <= 1e-6 * abs(wanted)) }
    }

    @Test func numbersThatNormaliseNothingAreRefused() {
        let cases: [(Float, [Float], [Float])] = [
            (0, [0, 0, 0], [1, 1, 1]), (1, [0, 0], [1, 1, 1]), (1, [0, 0, 0], [1, 0, 1]),
            (1, [0, .nan, 0], [1, 1, 1]),
            (1, [0, 0, 0], [1, .infinity, 1]), (.nan, [0, 0, 0], [1, 1, 1]), (1, [0, 0, 0], [1, 1, 1, 1]),
        ]
        for (divisor, means, deviations) in cases {
            #expect(throws: Failure.self) {
                try Normalisation(divisor: divisor, means: means, deviations: deviations)
            }
        }
    }
}
