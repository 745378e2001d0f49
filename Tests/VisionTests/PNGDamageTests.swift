import Diagnostics
import Testing
import Vision

/// PNG files that are cut, changed or made to harm: one explained error each, never half a picture.
@Suite struct PNGDamageTests {
    @Test(arguments: ["grey-1", "palette-4", "rgba-16-interlaced", "chunks", "animation", "orientation-late", "photo"])
    func everyCutIsAnError(name: String) throws {
        let png = try Fixture.png(name)
        #expect(decodingFailure(png) == nil)
        for length in 1..<png.count {
            let failure = decodingFailure(Array(png.prefix(length)))
            #expect(
                failure?.code == .corruptImage, "\(name) cut to \(length) bytes: \(failure?.description ?? "decoded")")
            #expect(failure?.cause.hasPrefix("the PNG data ends") == true)
        }
    }

    /// Checksums cover everything between signature and end but the lengths, and a wrong length misses its checksum.
    @Test(arguments: ["rgb-8", "palette-2-interlaced", "chunks"])
    func everyFlippedBitIsAnError(name: String) throws {
        let png = try Fixture.png(name)
        for at in png.indices {
            var bent = png
            bent[at] ^= 1 << UInt8(at % 8)
            let code = try #require(decodingFailure(bent)?.code, "\(name): bit \(at % 8) of byte \(at)")
            #expect([.corruptImage, .unsupportedType, .imageTooLarge].contains(code))
        }
    }

    /// The same with the checksums mended, so that the changes reach what lies behind them.
    @Test(arguments: ["grey-16", "palette-4-interlaced", "rgba-8", "grey-alpha-16-interlaced", "chunks", "photo"])
    func changedBytesNeverCrash(name: String) throws {
        let png = try Fixture.png(name)
        let limits = ImageLimits(maxPixels: 1_000_000)
        let codes: Set<FailureCode> = [.corruptImage, .unsupportedType, .imageTooLarge]
        var generator = Generator(state: 2026)
        var refused = 0
        for round in 0..<2_000 {
            var bent = png
            for _ in 0...generator.below(3) { bent[8 + generator.below(png.count - 8)] = generator.byte() }
            do throws(Failure) {
                let photo = try PhotoDecoder.decode(mended(bent), for: 16, limits: limits)
                #expect(photo.image.pixels.count == 3 * photo.image.width * photo.image.height)
            } catch {
                #expect(codes.contains(error.code), "round \(round): \(error)")
                refused += 1
            }
        }
        #expect(refused > 100)
    }

    @Test func aZeroedTailIsAnError() throws {
        let png = try Fixture.png("rgb-8-interlaced")
        for length in 1..<png.count - 1 {
            let zeroed = png.prefix(length) + [UInt8](repeating: 0, count: png.count - length)
            #expect(decodingFailure(Array(zeroed))?.code != nil, "zeros from byte \(length)")
        }
    }

    @Test func aColourThatThePaletteLacksIsAnError() throws {
        let png = try Fixture.png("palette-4")
        var bent = png
        let at = try #require(png.indices.first { png[$0...].starts(with: Array("PLTE".utf8)) })
        bent.replaceSubrange(at - 4..<at + 56, with: chunk("PLTE", [UInt8](repeating: 7, count: 9)))
        let failure = try #require(decodingFailure(bent))
        #expect(failure.code == .corruptImage)
        #expect(failure.cause.contains("a colour that the palette does not have"))
    }

    /// Apple's tools write a chunk CgBI before the header, and pixels that only they understand.
    @Test func anUnknownCriticalChunkIsUnsupported() throws {
        let png = try Fixture.png("rgb-8")
        for at in [8, 33] {
            let failure = try #require(decodingFailure(png.inserting(chunk("CgBI", [0, 0, 0, 1]), at: at)))
            #expect(failure.code == .unsupportedType)
            #expect(failure.cause.contains("43 67 42 49"))
        }
    }

    @Test func picturesWithoutPixelsAreErrors() throws {
        let png = try Fixture.png("rgb-8")
        let head = Array(png.prefix(33))
        #expect(decodingFailure(head + chunk("IEND", []))?.code == .corruptImage)
        #expect(decodingFailure(head + chunk("IDAT", []) + chunk("IEND", []))?.code == .corruptImage)
        #expect(decodingFailure(Array(png.prefix(8)) + chunk("IEND", []))?.code == .corruptImage)
    }
}

/// What a PNG may cost before it is refused.
@Suite struct PNGLimitsTests {
    /// The fixture has 60 × 40 pixels.
    @Test func everyLimitHasItsEdge() throws {
        let png = try Fixture.png("photo")
        #expect(decodingFailure(png, limits: ImageLimits(maxBytes: png.count, maxPixels: 2_400, maxSide: 60)) == nil)
        #expect(decodingFailure(png, limits: ImageLimits(maxBytes: png.count - 1))?.code == .imageTooLarge)
        #expect(decodingFailure(png, limits: ImageLimits(maxPixels: 2_399))?.code == .imageTooLarge)
        #expect(decodingFailure(png, limits: ImageLimits(maxSide: 59))?.code == .imageTooLarge)
    }

    @Test func aHeaderOfTheGreatestSidesIsTooLarge() throws {
        let failure = try #require(decodingFailure(try withSides(.max >> 1)))
        #expect(failure.code == .imageTooLarge)
        #expect(failure.cause.contains("2147483647 × 2147483647"))
        #expect(decodingFailure(try withSides(.max))?.code == .corruptImage)
    }

    private func withSides(_ side: UInt32) throws -> [UInt8] {
        var png = try Fixture.png("rgb-16-interlaced")
        let bytes = [24, 16, 8, 0].map { UInt8(side >> $0 & 0xFF) }
        png.replaceSubrange(16..<24, with: bytes + bytes)
        return mended(png)
    }

    /// One pixel, and 16 MB of pixels after it in 16 KB: libpng alone would inflate them all to throw them away.
    @Test func pixelsThatNobodyAskedForAreNotInflated() throws {
        let png = try Fixture.bytes("png/bombs/one-pixel.png")
        let failure = try #require(decodingFailure(png))
        #expect(failure.code == .corruptImage)
    }

    /// The same again behind so much data that reading on would be seen: the call ends within 64 KiB of the last row.
    @Test func aBombIsLeftAloneEarly() throws {
        let stored: [UInt8] = [0x78, 0x01]
        // Deflate blocks without compression, of 65,535 bytes each, none the last: the pixel and 6.5 MB more.
        let block: [UInt8] = [0, 0xFF, 0xFF, 0, 0] + [UInt8](repeating: 0, count: 65_535)
        let data = stored + (0..<100).flatMap { _ in block }
        let png = try Fixture.png("one-pixel").prefix(33) + chunk("IDAT", data) + chunk("IEND", [])
        let failure = try #require(decodingFailure(Array(png)))
        #expect(failure.cause.contains("More compressed data than the picture needs"))
    }

    /// Texts and profiles are never decompressed, and a chunk of megabytes that nobody knows is passed over.
    @Test func largeChunksAreSkipped() throws {
        let png = try Fixture.png("rgb-8")
        let plain = try PhotoDecoder.decode(png, for: 16)
        let text = Array("Comment\0\0".utf8) + [UInt8](repeating: 0x5A, count: 9_000_000)
        for name in ["zTXt", "iCCP", "iTXt", "prIv"] {
            let photo = try PhotoDecoder.decode(png.inserting(chunk(name, text), at: 33), for: 16)
            #expect(photo.image == plain.image, "\(name)")
            // Behind the pixels too, where the bound on what the last row may take has had its day.
            let late = try PhotoDecoder.decode(png.inserting(chunk(name, text), at: png.count - 12), for: 16)
            #expect(late.image == plain.image, "\(name) behind the pixels")
        }
    }

    /// Alpha is dropped, so what says how transparent a colour is does not count, not even when it is broken.
    @Test func transparencyIsNotRead() throws {
        for name in ["rgb-8", "palette-4", "grey-8"] {
            let png = try Fixture.png(name)
            let photo = try PhotoDecoder.decode(png.inserting(chunk("tRNS", [1]), at: png.count - 12), for: 16)
            let early = try PhotoDecoder.decode(png.inserting(chunk("tRNS", [1]), at: 33), for: 16)
            let plain = try PhotoDecoder.decode(png, for: 16)
            #expect(photo.image == plain.image && early.image == plain.image, "\(name)")
        }
    }
}
