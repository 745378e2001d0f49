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
    /// A large JPEG is decoded at 1/2, 1/4 or 1/8 of its size (libjpeg's reduced inverse DCT), but only while both sides
    /// stay at least twice `side`, so that the resize still averages over real pixels.
    ///
    /// - Throws: `empty_file`, `unsupported_type`, `corrupt_image`, `image_too_large`, with an empty object.
    public static func decode(
        _ bytes: [UInt8], for side: Int, limits: ImageLimits = ImageLimits()
    ) throws(Failure) -> DecodedPhoto {
        try limits.check(bytes: bytes.count)
        try requireJPEG(bytes)
        let header = try JPEGBridge.readHeader(bytes, limits: limits)
        try limits.check(width: header.width, height: header.height)
        let denominator = denominator(width: header.width, height: header.height, side: side)
        let (coded, decoderWarnings) = try JPEGBridge.decode(
            bytes, header: header, denominator: denominator, limits: limits)
        let (orientation, warning) = orientation(of: header)
        let (width, height) =
            orientation.swapsSides ? (header.height, header.width) : (header.width, header.height)
        return DecodedPhoto(
            image: orientation.upright(coded), width: width, height: height, orientation: orientation,
            warnings: decoderWarnings + (warning.map { [$0] } ?? []))
    }

    /// The largest reduction that leaves both sides at least twice `side`.
    static func denominator(width: Int, height: Int, side: Int) -> Int {
        let shorter = min(width, height)
        return [8, 4, 2].first { (shorter + $0 - 1) / $0 / 2 >= side } ?? 1
    }

    private static func orientation(of header: JPEGHeader) -> (Orientation, ImageWarning?) {
        guard !header.exif.isEmpty else { return (.topLeft, nil) }
        switch EXIFOrientation(reading: header.exif) {
        case .absent: return (.topLeft, nil)
        case .found(let orientation): return (orientation, nil)
        case .broken(let reason): return (.topLeft, .orientationIgnored(reason))
        }
    }

    private static func requireJPEG(_ bytes: [UInt8]) throws(Failure) {
        let kind = ImageKind(sniffing: bytes)
        switch kind {
        case .jpeg: return
        case .text:
            throw Failure(
                .unsupportedType, "", "the file holds text, not an image", hint: "Drop a JPEG photo.")
        case .unknown:
            throw Failure(
                .unsupportedType, "",
                "the file's first bytes (\(hexadecimal(bytes.prefix(4)))) are those of no known image",
                hint: "Drop a JPEG photo.")
        case .png, .gif, .webp, .heic, .avif, .tiff, .bmp:
            throw Failure(
                .unsupportedType, "", "\(kind.rawValue) is not supported yet",
                hint: "Convert the image to JPEG and drop that.")
        }
    }

    private static func hexadecimal(_ bytes: ArraySlice<UInt8>) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16, uppercase: true) }.joined(
            separator: " ")
    }
}
