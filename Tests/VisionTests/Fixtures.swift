// Fixtures of this target, made by make_fixtures.py and make_png_fixtures.py with Pillow and jpegtran, and the tools to bend
// them.

import Diagnostics
import Foundation
import Testing
import Vision

enum Fixture {
    static func bytes(_ path: String) throws -> [UInt8] {
        let root = try #require(Bundle.module.resourceURL)
        return [UInt8](try Data(contentsOf: root.appending(path: "Fixtures/\(path)")))
    }

    static func names(in folder: String) throws -> [String] {
        let root = try #require(Bundle.module.resourceURL)
        return try FileManager.default.contentsOfDirectory(atPath: root.appending(path: "Fixtures/\(folder)").path)
            .sorted()
    }

    static func jpeg(_ name: String) throws -> [UInt8] { try bytes("formats/\(name).jpg") }

    static func png(_ name: String) throws -> [UInt8] { try bytes("png/\(name).png") }

    /// Bytes of the linear congruential generator that make_fixtures.py repeats.
    static func noise(_ count: Int, seed: UInt32) -> [UInt8] {
        var generator = Generator(state: seed)
        return (0..<count).map { _ in generator.byte() }
    }
}

/// The generator of Numerical Recipes (state · 1664525 + 1013904223); its high bits are good enough for tests.
struct Generator {
    var state: UInt32

    mutating func byte() -> UInt8 {
        state = state &* 1_664_525 &+ 1_013_904_223
        return UInt8(state >> 24)
    }

    mutating func below(_ bound: Int) -> Int { (Int(byte()) << 16 | Int(byte()) << 8 | Int(byte())) % bound }
}

/// Where the marker 0xFF `code` stands.
func position(ofMarker code: UInt8, in jpeg: [UInt8]) throws -> Int {
    try #require(jpeg.indices.dropLast().first { jpeg[$0] == 0xFF && jpeg[$0 + 1] == code })
}

/// The JPEG with other sides in its frame header, which is what a bomb does.
func withSides(_ jpeg: [UInt8], width: UInt16, height: UInt16, frame: UInt8 = 0xC0) throws -> [UInt8] {
    var bent = jpeg
    let at = try position(ofMarker: frame, in: jpeg) + 5
    bent.replaceSubrange(
        at..<at + 4,
        with: [UInt8(height >> 8), UInt8(height & 0xFF), UInt8(width >> 8), UInt8(width & 0xFF)])
    return bent
}

/// The JPEG with an EXIF segment right after its start marker.
func withEXIF(_ jpeg: [UInt8], _ tiff: [UInt8]) -> [UInt8] {
    let payload = Array("Exif\0\0".utf8) + tiff
    let length = payload.count + 2
    return [0xFF, 0xD8, 0xFF, 0xE1, UInt8(length >> 8), UInt8(length & 0xFF)] + payload + jpeg.dropFirst(2)
}

/// A PNG chunk with its length and checksum.
func chunk(_ name: String, _ data: [UInt8]) -> [UInt8] {
    let body = Array(name.utf8) + data
    return bigEndian(UInt32(data.count)) + body + bigEndian(crc32(body[...]))
}

/// The PNG with the checksums that its chunks should have, as far as its lengths lead.
func mended(_ png: [UInt8]) -> [UInt8] {
    var bytes = png
    var at = 8
    while at + 12 <= bytes.count {
        let length = bytes[at..<at + 4].reduce(0) { $0 << 8 | Int($1) }
        guard length <= bytes.count - at - 12 else { break }
        let end = at + 8 + length
        bytes.replaceSubrange(end..<end + 4, with: bigEndian(crc32(bytes[at + 4..<end])))
        at = end + 4
    }
    return bytes
}

private func bigEndian(_ value: UInt32) -> [UInt8] { [24, 16, 8, 0].map { UInt8(value >> $0 & 0xFF) } }

/// The checksum of PNG (PNG 1.2, appendix 15).
private func crc32(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    let table = crcTable
    return ~bytes.reduce(~0) { table[Int(($0 ^ UInt32($1)) & 0xFF)] ^ $0 >> 8 }
}

private let crcTable: [UInt32] = (0..<256).map { index in
    (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? 0xEDB8_8320 ^ value >> 1 : value >> 1 }
}

extension [UInt8] {
    func inserting(_ other: [UInt8], at index: Int) -> [UInt8] { self[..<index] + other + self[index...] }
}

/// The failure that decoding ends in, nil when it succeeds.
func decodingFailure(_ bytes: [UInt8], side: Int = 16, limits: ImageLimits = ImageLimits()) -> Failure? {
    do throws(Failure) {
        _ = try PhotoDecoder.decode(bytes, for: side, limits: limits)
        return nil
    } catch {
        return error
    }
}
