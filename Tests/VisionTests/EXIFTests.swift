import Diagnostics
import Testing
import Vision

/// EXIF as hostile bytes: whatever stands there, the photo is decoded.
@Suite struct EXIFTests {
    /// A directory of one entry, little-endian: tag, type, count, value.
    private static func tiff(tag: UInt8 = 0x12, type: UInt8 = 3, count: UInt8 = 1, value: [UInt8]) -> [UInt8] {
        Array("II".utf8) + [42, 0, 8, 0, 0, 0, 1, 0, tag, 1, type, 0, count, 0, 0, 0] + value
    }

    private static func decode(_ tiff: [UInt8]) throws -> DecodedPhoto {
        try PhotoDecoder.decode(withEXIF(try Fixture.jpeg("420"), tiff), for: 260)
    }

    @Test func theValueMayHaveAnyIntegerType() throws {
        for (type, value) in [(1, [6, 0, 0, 0]), (3, [6, 0, 0, 0]), (4, [6, 0, 0, 0])] as [(UInt8, [UInt8])] {
            #expect(try Self.decode(Self.tiff(type: type, value: value)).orientation == .rightTop)
        }
    }

    @Test func aTagAfterOthersIsFound() throws {
        let entry: [UInt8] = [0x0F, 1, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0]
        let orientation: [UInt8] = [0x12, 1, 3, 0, 1, 0, 0, 0, 3, 0, 0, 0]
        let tiff = Array("II".utf8) + [42, 0, 8, 0, 0, 0, 3, 0] + entry + entry + orientation
        #expect(try Self.decode(tiff).orientation == .bottomRight)
    }

    @Test func noTagIsNoWarning() throws {
        let photo = try Self.decode(Self.tiff(tag: 0x10, value: [1, 0, 0, 0]))
        #expect(photo.orientation == .topLeft && photo.warnings.isEmpty)
    }

    /// Wrong values, types and counts; offsets behind the end and at 2³² − 1; a directory of 65,535 entries.
    @Test func brokenStructuresAreWarnings() throws {
        let head = Array("II".utf8)
        let broken: [[UInt8]] = [
            Self.tiff(value: [0, 0, 0, 0]), Self.tiff(value: [9, 0, 0, 0]), Self.tiff(value: [1, 1, 0, 0]),
            Self.tiff(type: 4, value: [1, 0, 1, 0]), Self.tiff(type: 2, value: [1, 0, 0, 0]),
            Self.tiff(count: 2, value: [1, 0, 1, 0]), Self.tiff(value: [1]), Self.tiff(value: []),
            head, head + [42, 0], head + [43, 0, 8, 0, 0, 0, 0, 0], Array("IM".utf8) + [42, 0, 8, 0, 0, 0, 0, 0],
            head + [42, 0, 255, 255, 255, 255], head + [42, 0, 8, 0, 0, 0], head + [42, 0, 8, 0, 0, 0, 255, 255],
            [0], Array("MM".utf8) + [0, 42, 0x7F, 0xFF, 0xFF, 0xFF, 0, 1],
        ]
        for tiff in broken {
            let photo = try Self.decode(tiff)
            #expect(photo.orientation == .topLeft)
            guard case .orientationIgnored = photo.warnings.first else {
                Issue.record("no warning for \(tiff)")
                continue
            }
        }
    }

    @Test func everyCutOfASegmentIsDecoded() throws {
        let whole = Self.tiff(value: [6, 0, 0, 0])
        for length in 0..<whole.count - 2 {
            #expect(try Self.decode(Array(whole.prefix(length))).orientation == .topLeft)
        }
    }

    @Test func randomSegmentsAreDecoded() throws {
        var generator = Generator(state: 1)
        for _ in 0..<2_000 {
            var tiff = Self.tiff(value: [6, 0, 0, 0])
            for _ in 0..<3 { tiff[generator.below(tiff.count)] = generator.byte() }
            #expect(try Self.decode(tiff).width > 0)
        }
    }
}
