import Diagnostics
import Testing
import Vision

@Suite struct LimitsTests {
    @Test func aHeaderOfTheGreatestSidesIsTooLarge() throws {
        let jpeg = try withSides(try Fixture.jpeg("420"), width: 65_535, height: 65_535)
        let failure = try #require(decodingFailure(jpeg))
        #expect(failure.code == .imageTooLarge)
        #expect(failure.object.isEmpty)
        #expect(failure.cause.contains("65535 × 65535"))
        #expect(!failure.hint.isEmpty)
    }

    @Test func libjpegsOwnLimitIsTooLargeWhereOursIsHigher() throws {
        let limits = ImageLimits(maxPixels: .max, maxSide: .max)
        let jpeg = try withSides(try Fixture.jpeg("420"), width: 65_535, height: 8)
        #expect(decodingFailure(jpeg, limits: limits)?.code == .imageTooLarge)
    }

    /// The fixture has 37 × 29 pixels.
    @Test func everyLimitHasItsEdge() throws {
        let jpeg = try Fixture.jpeg("420")
        #expect(
            decodingFailure(jpeg, limits: ImageLimits(maxBytes: jpeg.count, maxPixels: 37 * 29, maxSide: 37)) == nil)
        #expect(decodingFailure(jpeg, limits: ImageLimits(maxBytes: jpeg.count - 1))?.code == .imageTooLarge)
        #expect(decodingFailure(jpeg, limits: ImageLimits(maxPixels: 37 * 29 - 1))?.code == .imageTooLarge)
        #expect(decodingFailure(jpeg, limits: ImageLimits(maxSide: 36))?.code == .imageTooLarge)
    }

    @Test func sidesMultiplyWithoutOverflow() {
        let limits = ImageLimits(maxPixels: .max, maxSide: .max)
        #expect(throws: Failure.self) { try limits.check(width: Int.max, height: 2) }
    }

    @Test func noBytesAreAnEmptyFile() {
        #expect(decodingFailure([])?.code == .emptyFile)
    }

    /// 30,000 × 3,000 in progressive coding: 270 MB of coefficients from a file of one kilobyte.
    @Test func coefficientsCountAgainstTheDecodersMemory() throws {
        let jpeg = try withSides(try Fixture.jpeg("progressive"), width: 30_000, height: 3_000, frame: 0xC2)
        let failure = decodingFailure(jpeg, limits: ImageLimits(maxDecoderBytes: 16 << 20))
        #expect(failure?.code == .imageTooLarge)
        // No key of the configuration would help.
        #expect(failure?.hint == "Save it anew as a baseline JPEG, which needs the least, or smaller.")
    }

    /// The last scan of a sequential picture repeated: legal, cheap to write, a pass over the picture each.
    @Test func scansAreCounted() throws {
        let jpeg = try Fixture.jpeg("three-scans")
        let last = try #require((0..<jpeg.count - 1).last { jpeg[$0] == 0xFF && jpeg[$0 + 1] == 0xDA })
        let scan = Array(jpeg[last..<jpeg.count - 2])
        func repeated(_ times: Int) -> [UInt8] {
            var bent = Array(jpeg.dropLast(2))
            for _ in 0..<times { bent += scan }
            return bent + [0xFF, 0xD9]
        }
        #expect(decodingFailure(repeated(497)) == nil)
        let failure = try #require(decodingFailure(repeated(498)))
        #expect(failure.code == .imageTooLarge)
        #expect(failure.cause.contains("500 scans"))
        let narrow = ImageLimits(maxScannedPixels: 37 * 29 * 20)
        #expect(decodingFailure(repeated(17), limits: narrow) == nil)
        #expect(decodingFailure(repeated(18), limits: narrow)?.cause.contains("20 scans") == true)
    }
}

@Suite struct ImageKindTests {
    @Test(arguments: [ImageKind.gif, .webp, .tiff, .bmp, .avif])
    func otherKindsAreNamed(kind: ImageKind) throws {
        let bytes = try Fixture.bytes("formats/tiny.\(kind.rawValue.lowercased())")
        #expect(ImageKind(sniffing: bytes) == kind)
        let failure = try #require(decodingFailure(bytes))
        #expect(failure.code == .unsupportedType)
        #expect(failure.cause == "\(kind.rawValue) is not supported")
        #expect(failure.hint.contains("JPEG or PNG"))
    }

    /// No tool here writes HEIC; this is the file type box that the format prescribes.
    @Test func heicIsToldByItsBrand() {
        let box: [UInt8] = [0, 0, 0, 24] + Array("ftypheic".utf8) + [0, 0, 0, 0] + Array("mif1heic".utf8)
        #expect(ImageKind(sniffing: box) == .heic)
        #expect(decodingFailure(box)?.cause == "HEIC is not supported")
    }

    @Test func aJPEGIsToldByItsBytesNotItsName() throws {
        #expect(ImageKind(sniffing: try Fixture.jpeg("grey")) == .jpeg)
        #expect(ImageKind(sniffing: [0xFF]) == .jpeg)
    }

    @Test func aPNGIsToldByItsBytesHoweverFewAreLeft() throws {
        let png = try Fixture.png("rgb-8")
        for length in 1...8 { #expect(ImageKind(sniffing: Array(png.prefix(length))) == .png) }
        #expect(ImageKind(sniffing: [0x89, 0x50, 0x4E, 0x48]) == .unknown)
    }

    @Test(arguments: ["not a photo", "naïve café, 日本語\n", "version: 1\ntasks: []\n", " "])
    func textIsNamed(text: String) {
        #expect(ImageKind(sniffing: Array(text.utf8)) == .text)
        #expect(decodingFailure(Array(text.utf8))?.code == .unsupportedType)
    }

    /// Only so much of a file is looked at; where that parts a character, the text is none the less one.
    @Test(arguments: ["é", "日", "🐈"])
    func textIsNamedWhereverItIsCut(character: String) {
        let size = character.utf8.count
        for shift in 0..<size {
            let text = String(repeating: "a", count: shift) + String(repeating: character, count: 600)
            let bytes = Array(text.utf8)
            #expect(ImageKind(sniffing: bytes) == .text, "\(shift)")
            // A file that ends within a character is not whole.
            let end = 512 - (512 - shift) % size
            #expect(ImageKind(sniffing: Array(bytes.prefix(end))) == .text, "\(shift)")
            #expect(ImageKind(sniffing: Array(bytes.prefix(end - 1))) == .unknown, "\(shift)")
        }
        // What no text can go on with is none, before the cut or beyond it.
        let broken = [UInt8](repeating: 0x61, count: 511) + [0xFF] + [UInt8](repeating: 0x61, count: 99)
        #expect(ImageKind(sniffing: broken) == .unknown)
    }

    @Test func anythingElseShowsItsFirstBytes() throws {
        let failure = try #require(decodingFailure([0, 1, 0xAB, 0xCD, 5]))
        #expect(failure.code == .unsupportedType)
        #expect(failure.cause.contains("00 01 AB CD"))
        #expect(ImageKind(sniffing: [0, 0, 0, 8] + Array("ftypisom".utf8)) == .unknown)
        #expect(ImageKind(sniffing: []) != .jpeg)
    }
}
