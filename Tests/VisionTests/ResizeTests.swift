import Diagnostics
import Testing
import Vision

@Suite struct ResizeTests {
    /// Every golden names its case: source-target-seed.
    @Test func everyGoldenIsPillowsByteForByte() throws {
        let names = try Fixture.names(in: "resize")
        try #require(names.count >= 16)
        for name in names {
            let numbers = name.split { !$0.isNumber }.compactMap { Int($0) }
            try #require(numbers.count == 5, "\(name)")
            let noise = Fixture.noise(3 * numbers[0] * numbers[1], seed: UInt32(numbers[4]))
            // Half of the bytes at the extremes, so that the kernel's overshoot is clamped on both sides.
            let pixels = noise.map { $0 < 64 ? 0 : $0 >= 192 ? 255 : $0 }
            let image = try RGBImage(width: numbers[0], height: numbers[1], pixels: pixels)
            let resized = try Resize.bicubic(image, width: numbers[2], height: numbers[3])
            let golden = try Fixture.bytes("resize/\(name)")
            let comparison = ByteComparison(resized.pixels, golden)
            #expect(comparison.isWithin(0), "\(name): \(comparison)")
            #expect(resized.width == numbers[2] && resized.height == numbers[3])
        }
    }

    @Test func impossibleSizesAreExplained() throws {
        let image = try RGBImage(width: 2, height: 2, pixels: [UInt8](repeating: 7, count: 12))
        for side in [0, -1, 65_536, Int.max, Int.min] {
            #expect(throws: Failure.self) { try Resize.bicubic(image, width: side, height: 2) }
            #expect(throws: Failure.self) { try Resize.bicubic(image, width: 2, height: side) }
        }
    }

    @Test func anImageMustHaveTheBytesOfItsSize() {
        let sizes = [(1, 1, 2), (1, 1, 4), (2, 2, 11), (0, 4, 0), (-1, -1, 3), (Int.max, 3, 3), (1, 1, 0), (1, 2, 8)]
        for (width, height, count) in sizes {
            #expect(throws: Failure.self) {
                try RGBImage(width: width, height: height, pixels: [UInt8](repeating: 0, count: count))
            }
        }
    }
}

@Suite struct PhotoPipelineTests {
    /// The whole path, file to square, against pixels made elsewhere.
    @Test(arguments: ["coffee", "rocket"], [224, 260])
    func photosBecomeTheOraclesPixels(name: String, side: Int) throws {
        let photo = try PhotoDecoder.decode(try Fixture.bytes("photos/\(name).jpg"), for: side)
        let square = try Resize.square(photo.image, side: side)
        let comparison = ByteComparison(square.pixels, try Fixture.bytes("photos/\(name)-\(side).rgb"))
        #expect(comparison.isClose, "\(comparison)")
    }
}
