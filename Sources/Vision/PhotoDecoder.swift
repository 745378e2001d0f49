// From a file's bytes to upright pixels: limits, kind, header, reduced decoding, orientation.
//
// Invariant: a photo that is returned was decoded whole, to its end marker. Failure modes: `empty_file`,
// `unsupported_type`, `corrupt_image`, `image_too_large`; broken metadata is a warning. An error's object is empty, so
// that the caller, who knows the file's name, adds it with `Failure.about(_:)`.

public import Diagnostics

/// A photo, decoded and turned upright.
public struct DecodedPhoto: Sendable {
    /// The pixels, upright; smaller than the photo by 2, 4 or 8 where it is much larger than what was asked for.
    public let image: RGBImage
    /// Columns of the full-size photo, upright.
    public let width: Int
    /// Rows of the full-size photo, upright.
    public let height: Int
    /// The orientation that was undone.
    public let orientation: Orientation
    /// What was odd about the file.
    public let warnings: [ImageWarning]
}

/// Decodes photos.
public enum PhotoDecoder {
    /// Decodes a photo that will be resized to a square of `side` pixels.
    ///
    /// The file may be JPEG or PNG. A large JPEG is decoded at 1/2, 1/4 or 1/8 of its size (libjpeg's reduced inverse
    /// DCT), but only while both sides stay at least twice `side`, so that the resize still averages over real pixels.
    ///
    /// - Throws: `empty_file`, `unsupported_type`, `corrupt_image`, `image_too_large`, with an empty object.
    public static func decode(
        _ bytes: [UInt8], for side: Int, limits: ImageLimits = ImageLimits()
    ) throws(Failure) -> DecodedPhoto {
        try limits.check(bytes: bytes.count)
        let coded: Coded
        switch try kind(of: bytes) {
        case .jpeg: coded = try decodeJPEG(bytes, side: side, limits: limits)
        case .png: coded = try decodePNG(bytes, limits: limits)
        }
        let (orientation, warning) = orientation(coded.exif)
        let (width, height) =
            orientation.swapsSides ? (coded.height, coded.width) : (coded.width, coded.height)
        return DecodedPhoto(
            image: orientation.upright(coded.image), width: width, height: height, orientation: orientation,
            warnings: coded.warnings + (warning.map { [$0] } ?? []))
    }

    /// A picture as it lies in its file, before it is turned upright.
    private struct Coded {
        var image: RGBImage
        /// The sides at full size.
        var width: Int
        var height: Int
        var exif: [UInt8]
        var warnings: [ImageWarning]
    }

    private static func decodeJPEG(
        _ bytes: [UInt8], side: Int, limits: ImageLimits
    ) throws(Failure) -> Coded {
        let header = try JPEGBridge.readHeader(bytes, limits: limits)
        try limits.check(width: header.width, height: header.height)
        let denominator = denominator(width: header.width, height: header.height, side: side)
        let (image, warnings) = try JPEGBridge.decode(
            bytes, header: header, denominator: denominator, limits: limits)
        return Coded(
            image: image, width: header.width, height: header.height, exif: header.exif, warnings: warnings)
    }

    private static func decodePNG(_ bytes: [UInt8], limits: ImageLimits) throws(Failure) -> Coded {
        let header = try PNGBridge.readHeader(bytes)
        try limits.check(width: header.width, height: header.height)
        let (image, exif) = try PNGBridge.decode(bytes, header: header)
        return Coded(image: image, width: header.width, height: header.height, exif: exif, warnings: [])
    }

    /// The largest reduction that leaves both sides at least twice `side`.
    static func denominator(width: Int, height: Int, side: Int) -> Int {
        let shorter = min(width, height)
        return [8, 4, 2].first { (shorter + $0 - 1) / $0 / 2 >= side } ?? 1
    }

    private static func orientation(_ exif: [UInt8]) -> (Orientation, ImageWarning?) {
        guard !exif.isEmpty else { return (.topLeft, nil) }
        switch EXIFOrientation(reading: exif) {
        case .absent: return (.topLeft, nil)
        case .found(let orientation): return (orientation, nil)
        case .broken(let reason): return (.topLeft, .orientationIgnored(reason))
        }
    }

    /// The kinds that are decoded.
    private enum Kind {
        case jpeg
        case png
    }

    private static func kind(of bytes: [UInt8]) throws(Failure) -> Kind {
        let kind = ImageKind(sniffing: bytes)
        switch kind {
        case .jpeg: return .jpeg
        case .png: return .png
        case .text:
            throw Failure(
                .unsupportedType, "", "the file holds text, not an image", hint: "Drop a JPEG or PNG image.")
        case .unknown:
            throw Failure(
                .unsupportedType, "",
                "the file's first bytes (\(hexadecimal(bytes.prefix(4)))) are those of no known image",
                hint: "Drop a JPEG or PNG image.")
        case .gif, .webp, .heic, .avif, .tiff, .bmp:
            throw Failure(
                .unsupportedType, "", "\(kind.rawValue) is not supported",
                hint: "Convert the image to JPEG or PNG and drop that.")
        }
    }

    private static func hexadecimal(_ bytes: ArraySlice<UInt8>) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16, uppercase: true) }.joined(
            separator: " ")
    }
}
