import Diagnostics
import Testing
import Vision

/// Files that are cut, changed or made to harm: one explained error each, never half a picture.
@Suite struct DamageTests {
    @Test(arguments: [
        "grey", "420", "444", "progressive", "restarts", "cmyk", "ycck", "arithmetic", "three-scans", "orientation-6",
    ])
    func everyCutIsAnError(name: String) throws {
        let jpeg = try Fixture.jpeg(name)
        #expect(decodingFailure(jpeg) == nil)
        for length in 1..<jpeg.count {
            let failure = decodingFailure(Array(jpeg.prefix(length)))
            #expect(
                failure?.code == .corruptImage, "\(name) cut to \(length) bytes: \(failure?.description ?? "decoded")")
        }
    }

    /// Somebody may have closed a cut file with an end marker: then the pixels are all there, or it is an error.
    @Test(arguments: ["grey", "420", "444", "restarts", "cmyk", "three-scans"])
    func noCutThatIsClosedGivesOtherPixels(name: String) throws {
        let jpeg = try Fixture.jpeg(name)
        let whole = try PhotoDecoder.decode(jpeg, for: 16).image
        var refused = 0
        for length in 2..<jpeg.count {
            do throws(Failure) {
                let photo = try PhotoDecoder.decode(jpeg.prefix(length) + [0xFF, 0xD9], for: 16)
                #expect(photo.image == whole, "\(name) cut to \(length) bytes")
            } catch {
                #expect(error.code == .corruptImage)
                refused += 1
            }
        }
        #expect(refused > jpeg.count - 20)
    }

    /// A file system that lost power leaves zeros where data should be.
    @Test func aZeroedTailIsAnError() throws {
        let jpeg = try Fixture.jpeg("420")
        for length in 1..<jpeg.count {
            let zeroed = jpeg.prefix(length) + [UInt8](repeating: 0, count: jpeg.count - length)
            #expect(decodingFailure(Array(zeroed))?.code != nil, "zeros from byte \(length)")
        }
    }

    @Test(arguments: ["420", "progressive", "cmyk", "arithmetic", "three-scans", "restarts", "orientation-5"])
    func changedBytesNeverCrash(name: String) throws {
        let jpeg = try Fixture.jpeg(name)
        let limits = ImageLimits(maxPixels: 1_000_000, maxDecoderBytes: 8 << 20)
        let codes: Set<FailureCode> = [.corruptImage, .unsupportedType, .imageTooLarge]
        var generator = Generator(state: 2026)
        var refused = 0
        for round in 0..<2_000 {
            var bent = jpeg
            for _ in 0...generator.below(3) { bent[generator.below(bent.count)] = generator.byte() }
            do throws(Failure) {
                let photo = try PhotoDecoder.decode(bent, for: 16, limits: limits)
                #expect(photo.image.pixels.count == 3 * photo.image.width * photo.image.height)
            } catch {
                #expect(codes.contains(error.code), "round \(round): \(error)")
                refused += 1
            }
        }
        #expect(refused > 100)
    }

    @Test func shuffledStructureNeverCrashes() throws {
        let files = try ["420", "progressive", "cmyk", "arithmetic"].map { try Fixture.jpeg($0) }
        let limits = ImageLimits(maxPixels: 1_000_000, maxDecoderBytes: 8 << 20)
        var generator = Generator(state: 7)
        for _ in 0..<2_000 {
            let (one, other) = (files[generator.below(4)], files[generator.below(4)])
            let bent = one.prefix(generator.below(one.count)) + other.dropFirst(generator.below(other.count))
            if let failure = decodingFailure(Array(bent), limits: limits) { #expect(failure.code != .internalError) }
        }
    }

    @Test func badHuffmanCodesAreAnError() throws {
        var jpeg = try Fixture.jpeg("444")
        let scan = try position(ofMarker: 0xDA, in: jpeg) + 14
        for at in stride(from: scan + 40, to: jpeg.count - 40, by: 3) { jpeg[at] = 0x7E }
        #expect(decodingFailure(jpeg)?.code == .corruptImage)
    }

    @Test func extraneousBytesBeforeAMarkerAreAnError() throws {
        let jpeg = try Fixture.jpeg("420")
        let padded = jpeg.dropLast(2) + [1, 2, 3, 4, 5, 6, 7, 8, 0xFF, 0xD9]
        #expect(decodingFailure(Array(padded))?.code == .corruptImage)
    }

    @Test func tablesWithoutAPictureAreAnError() {
        #expect(decodingFailure([0xFF, 0xD8, 0xFF, 0xD9])?.code == .corruptImage)
        #expect(decodingFailure([0xFF, 0xD8, 0x00, 0x01])?.code == .corruptImage)
    }

    @Test func otherProcessesAreUnsupported() throws {
        let jpeg = try Fixture.jpeg("420")
        let frame = try position(ofMarker: 0xC0, in: jpeg)
        for process: UInt8 in [0xC3, 0xC5, 0xC6, 0xC7, 0xCB] {
            var bent = jpeg
            bent[frame + 1] = process
            #expect(decodingFailure(bent)?.code == .unsupportedType)
        }
        var deep = jpeg
        deep[frame + 4] = 12
        #expect(decodingFailure(deep)?.code == .unsupportedType)
    }

    /// Two components mean nothing in particular, and libjpeg cannot turn them into RGB.
    @Test func unknownColourModelsAreUnsupported() throws {
        var jpeg = try Fixture.jpeg("three-scans")
        let frame = try position(ofMarker: 0xC0, in: jpeg)
        jpeg[frame + 3] = 14
        jpeg[frame + 9] = 2
        jpeg.removeSubrange(frame + 16..<frame + 19)
        #expect(decodingFailure(jpeg)?.code == .unsupportedType)
    }
}
