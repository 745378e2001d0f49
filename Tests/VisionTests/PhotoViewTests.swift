import Testing

@testable import Vision

@Suite("Views of photos")
struct PhotoViewTests {
    /// Pixel (x, y) is (x, y, 7).
    private func image(_ width: Int, _ height: Int) throws -> RGBImage {
        var pixels: [UInt8] = []
        for y in 0..<height {
            for x in 0..<width { pixels += [UInt8(x), UInt8(y), 7] }
        }
        return try RGBImage(width: width, height: height, pixels: pixels)
    }

    @Test("the whole is the photo; mirrored twice too")
    func whole() throws {
        let photo = try image(5, 3)
        #expect(PhotoView.whole.applied(to: photo) == photo)
        let mirrored = PhotoView(isMirrored: true).applied(to: photo)
        #expect(mirrored != photo)
        #expect(Array(mirrored.pixels.prefix(6)) == [4, 0, 7, 3, 0, 7])
        #expect(PhotoView(isMirrored: true).applied(to: mirrored) == photo)
    }

    @Test("a part has the pixels of its rectangle, mirrored within it")
    func part() throws {
        let photo = try image(10, 8)
        let view = PhotoView(left: 0.2, top: 0.5, width: 0.3, height: 0.25)
        let part = view.applied(to: photo)
        #expect((part.width, part.height) == (3, 2))
        #expect(part.pixels == [2, 4, 7, 3, 4, 7, 4, 4, 7, 2, 5, 7, 3, 5, 7, 4, 5, 7])
        var mirrored = view
        mirrored.isMirrored = true
        #expect(mirrored.applied(to: photo).pixels == [4, 4, 7, 3, 4, 7, 2, 4, 7, 4, 5, 7, 3, 5, 7, 2, 5, 7])
    }

    @Test(
        "a pixel at least, and nothing beyond the photo",
        arguments: [(1.0, 0.0), (0.99, 5), (-3, 0.001), (.infinity, .nan)])
    func bounds(start: Double, part: Double) throws {
        let seen = PhotoView(left: start, top: start, width: part, height: part).applied(to: try image(4, 2))
        #expect((1...4).contains(seen.width) && (1...2).contains(seen.height))
        #expect(seen.pixels.count == 3 * seen.width * seen.height)
    }
}
