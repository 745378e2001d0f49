import Diagnostics
import Testing
import Vision

/// Every variety of JPEG that is decoded, against Pillow's pixels of the same file.
@Suite struct JPEGVarietyTests {
    @Test(arguments: ["grey", "420", "422", "444", "rgb", "progressive", "restarts", "one-pixel"])
    func coloursAreThoseOfPillow(name: String) throws {
        let photo = try PhotoDecoder.decode(try Fixture.jpeg(name), for: 260)
        let comparison = ByteComparison(photo.image.pixels, try Fixture.bytes("formats/\(name).rgb"))
        #expect(comparison.isWithin(1), "\(comparison)")
        #expect(photo.warnings.isEmpty)
        #expect((photo.width, photo.height) == (photo.image.width, photo.image.height))
    }

    @Test(arguments: ["cmyk", "cmyk-without-adobe", "ycck"])
    func inksAreInvertedAndMultipliedOut(name: String) throws {
        let photo = try PhotoDecoder.decode(try Fixture.jpeg(name), for: 260)
        let comparison = ByteComparison(photo.image.pixels, try Fixture.bytes("formats/\(name).rgb"))
        #expect(comparison.isWithin(1), "\(comparison)")
    }

    /// jpegtran moved the coefficients of 420.jpg losslessly, so the pixels are the same.
    @Test(arguments: ["arithmetic", "three-scans"])
    func otherCodingsOfTheSameCoefficientsGiveTheSamePixels(name: String) throws {
        let plain = try PhotoDecoder.decode(try Fixture.jpeg("420"), for: 260)
        #expect(try PhotoDecoder.decode(try Fixture.jpeg(name), for: 260).image == plain.image)
    }

    @Test(arguments: Orientation.allCases)
    func eachOrientationIsTurnedUpright(orientation: Orientation) throws {
        let name = "orientation-\(orientation.rawValue)"
        let photo = try PhotoDecoder.decode(try Fixture.jpeg(name), for: 260)
        #expect(photo.orientation == orientation)
        #expect((photo.width, photo.height) == (orientation.swapsSides ? (16, 24) : (24, 16)))
        #expect((photo.image.width, photo.image.height) == (photo.width, photo.height))
        let comparison = ByteComparison(photo.image.pixels, try Fixture.bytes("formats/\(name).rgb"))
        #expect(comparison.isWithin(1), "\(comparison)")
    }

    /// 250 × 193 at 1/4 is 63 × 49, and 49 is the first height that is at least twice 24.
    @Test func aLargePhotoIsDecodedAtAQuarter() throws {
        let photo = try PhotoDecoder.decode(try Fixture.jpeg("large"), for: 24)
        #expect((photo.width, photo.height) == (250, 193))
        #expect((photo.image.width, photo.image.height) == (63, 49))
        let comparison = ByteComparison(photo.image.pixels, try Fixture.bytes("formats/large.rgb"))
        #expect(comparison.isWithin(1), "\(comparison)")
    }

    /// Sides asked for, and the height of the 250 × 193 photo as decoded: at least twice the side, or full size.
    @Test(arguments: [(1, 25), (12, 25), (13, 49), (24, 49), (25, 97), (48, 97), (49, 193), (97, 193), (5_000, 193)])
    func bothSidesStayAtLeastTwiceTheTarget(side: Int, height: Int) throws {
        #expect(try PhotoDecoder.decode(try Fixture.jpeg("large"), for: side).image.height == height)
    }

    @Test func aTurnedPhotoIsReducedAndTurned() throws {
        let tiff: [UInt8] = Array("II".utf8) + [42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0]
        let photo = try PhotoDecoder.decode(withEXIF(try Fixture.jpeg("large"), tiff), for: 24)
        #expect((photo.width, photo.height) == (193, 250))
        #expect((photo.image.width, photo.image.height) == (49, 63))
    }

    @Test func harmlessOdditiesAreWarnings() throws {
        var jpeg = try Fixture.jpeg("420")
        let jfif = try position(ofMarker: 0xE0, in: jpeg)
        jpeg[jfif + 9] = 2  // the major version
        let scan = try position(ofMarker: 0xDA, in: jpeg)
        jpeg[scan + 12] = 0  // the end of spectral selection, 63 in a sequential scan
        let photo = try PhotoDecoder.decode(jpeg, for: 16)
        #expect(photo.warnings == [.unknownJFIFVersion, .unusedScanParameters])
        #expect(photo.image == (try PhotoDecoder.decode(try Fixture.jpeg("420"), for: 16).image))
    }

    @Test func anUnknownAdobeTransformIsAWarning() throws {
        var jpeg = try Fixture.jpeg("ycck")
        let adobe = try position(ofMarker: 0xEE, in: jpeg)
        jpeg[adobe + 15] = 9
        let photo = try PhotoDecoder.decode(jpeg, for: 16)
        #expect(photo.warnings == [.unknownColourTransform])
        #expect(photo.image == (try PhotoDecoder.decode(try Fixture.jpeg("ycck"), for: 16).image))
    }

    /// What follows the end marker is no part of the picture: phones append films and depth maps there.
    @Test func bytesAfterTheEndMarkerAreIgnored() throws {
        let jpeg = try Fixture.jpeg("420")
        let photo = try PhotoDecoder.decode(jpeg + jpeg + [0, 1, 2], for: 16)
        #expect(photo.image == (try PhotoDecoder.decode(jpeg, for: 16).image))
    }
}
