import Diagnostics
import Foundation
import Testing
import Vision

/// Every variety of PNG, against Pillow's pixels of the same file, to the bit.
@Suite struct PNGVarietyTests {
    static let names: [String] = {
        let root = Bundle.module.resourceURL?.appending(path: "Fixtures/png").path ?? ""
        let files = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
        return files.filter { $0.hasSuffix(".png") }.map { String($0.dropLast(4)) }.sorted()
    }()

    @Test func noVarietyIsForgotten() {
        let kinds = ["grey-1", "grey-2", "grey-4", "grey-8", "grey-16", "palette-1", "palette-2", "palette-4"]
        let colours = ["palette-8", "rgb-8", "rgb-16", "grey-alpha-8", "grey-alpha-16", "rgba-8", "rgba-16"]
        for kind in kinds + colours {
            #expect(Self.names.contains(kind) && Self.names.contains("\(kind)-interlaced"), "\(kind)")
        }
        #expect(Self.names.count >= 50)
    }

    @Test(arguments: names)
    func pixelsAreThoseOfPillow(name: String) throws {
        let photo = try PhotoDecoder.decode(try Fixture.png(name), for: 260)
        let comparison = ByteComparison(photo.image.pixels, try Fixture.bytes("png/\(name).rgb"))
        #expect(comparison.isWithin(0), "\(comparison)")
        #expect(photo.warnings.isEmpty)
        #expect((photo.width, photo.height) == (photo.image.width, photo.image.height))
    }

    @Test(arguments: Orientation.allCases)
    func eachOrientationIsTurnedUpright(orientation: Orientation) throws {
        let photo = try PhotoDecoder.decode(try Fixture.png("orientation-\(orientation.rawValue)"), for: 260)
        #expect(photo.orientation == orientation)
        #expect((photo.width, photo.height) == (orientation.swapsSides ? (5, 7) : (7, 5)))
    }

    @Test func anOrientationAfterThePixelsCounts() throws {
        #expect(try PhotoDecoder.decode(try Fixture.png("orientation-late"), for: 260).orientation == .rightTop)
    }

    @Test func aBrokenOrientationIsAWarning() throws {
        let png = try Fixture.png("rgb-8")
        let photo = try PhotoDecoder.decode(png.inserting(chunk("eXIf", [1, 2, 3]), at: 33), for: 16)
        #expect(photo.warnings.count == 1 && photo.orientation == .topLeft)
        let plain = try PhotoDecoder.decode(png, for: 16)
        #expect(photo.image == plain.image && plain.warnings.isEmpty)
    }

    /// A second EXIF chunk, and one that is longer than any that is read.
    @Test func theFirstEXIFCounts() throws {
        let png = try Fixture.png("orientation-8")
        let second = chunk("eXIf", Array("II".utf8) + [42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 3, 0, 0, 0])
        #expect(try PhotoDecoder.decode(png.inserting(second, at: png.count - 12), for: 16).orientation == .leftBottom)
        let long = chunk("eXIf", Array("II".utf8) + [UInt8](repeating: 0, count: 100_000))
        let photo = try PhotoDecoder.decode(try Fixture.png("rgb-8").inserting(long, at: 33), for: 16)
        #expect(photo.warnings.count == 1)
    }

    @Test func bytesAfterTheEndChunkAreIgnored() throws {
        let png = try Fixture.png("rgb-8")
        let photo = try PhotoDecoder.decode(png + png + [0, 1, 2], for: 16)
        #expect(photo.image == (try PhotoDecoder.decode(png, for: 16).image))
    }
}
