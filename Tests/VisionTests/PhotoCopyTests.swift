// Small copies of photos: their size, that they are upright, and that they show the photo.

import Diagnostics
import Testing

@testable import Vision

@Suite("Copies of photos")
struct PhotoCopyTests {
    /// Red grows to the right, green downwards.
    private func image(_ width: Int, _ height: Int) throws -> RGBImage {
        var pixels: [UInt8] = []
        for y in 0..<height {
            for x in 0..<width { pixels += [UInt8(x * 255 / width), UInt8(y * 255 / height), 90] }
        }
        return try RGBImage(width: width, height: height, pixels: pixels)
    }

    /// The mean difference of two images' values.
    private func distance(_ one: RGBImage, _ other: RGBImage) -> Double {
        zip(one.pixels, other.pixels).reduce(0) { $0 + abs(Double($1.0) - Double($1.1)) } / Double(one.pixels.count)
    }

    @Test("what is encoded is decoded to nearly the same pixels", arguments: [(1, 1), (90, 70), (64, 200)])
    func encodes(width: Int, height: Int) throws {
        let image = try image(width, height)
        let bytes = try JPEGBridge.encode(image, quality: 95)
        let decoded = try PhotoDecoder.decode(bytes, for: .max).image
        #expect((decoded.width, decoded.height) == (width, height))
        #expect(distance(image, decoded) < 3)
        // The comparer sees another picture.
        let mirrored = PhotoView(isMirrored: true).applied(to: image)
        #expect(width == 1 || distance(mirrored, decoded) > 30)
    }

    @Test(
        "the longer side is what was asked for, the other one in proportion; a small photo keeps its size",
        arguments: [(1600, 900, 640, 360), (300, 1200, 160, 640), (4000, 2, 640, 1), (90, 60, 90, 60)])
    func sizes(width: Int, height: Int, copyWidth: Int, copyHeight: Int) throws {
        let source = try image(width, height)
        let copy = try PhotoCopy.jpeg(of: JPEGBridge.encode(source, quality: 95), side: 640)
        let seen = try PhotoDecoder.decode(copy, for: .max).image
        #expect((seen.width, seen.height) == (copyWidth, copyHeight))
        let expected = try Resize.bicubic(source, width: copyWidth, height: copyHeight)
        #expect(distance(seen, expected) < 5)
    }

    @Test("a copy is upright and has no orientation left", arguments: 1...8)
    func upright(orientation: Int) throws {
        let bytes = try Fixture.jpeg("orientation-\(orientation)")
        let copy = try PhotoDecoder.decode(PhotoCopy.jpeg(of: bytes, side: 640), for: .max)
        #expect(copy.orientation == .topLeft)
        #expect(try distance(copy.image, PhotoDecoder.decode(bytes, for: .max).image) < 6)
    }

    @Test("noise at the best quality fits; sides that no JPEG has are refused")
    func bounds() throws {
        let noise = try RGBImage(width: 100, height: 90, pixels: Fixture.noise(27_000, seed: 3))
        #expect(try !JPEGBridge.encode(noise, quality: 100).isEmpty)
        let wide = try RGBImage(width: 65_501, height: 1, pixels: [UInt8](repeating: 9, count: 3 * 65_501))
        let failure = #expect(throws: Failure.self) { try JPEGBridge.encode(wide, quality: 85) }
        #expect(failure?.code == .imageTooLarge)
    }
}
