// A small copy of a photo for people to look at, where the photo itself would be too much.
//
// Failure modes: those of PhotoDecoder.

public import Diagnostics

/// Copies of photos.
public enum PhotoCopy {
    /// Of copies that are looked at, not measured.
    static let quality = 85

    /// The photo as a JPEG whose longer side has at most `side` pixels, upright, without metadata.
    ///
    /// - Throws: `empty_file`, `unsupported_type`, `corrupt_image`, `image_too_large`, with an empty object.
    public static func jpeg(
        of bytes: [UInt8], side: Int, limits: ImageLimits = ImageLimits()
    ) throws(Failure) -> [UInt8] {
        let image = try PhotoDecoder.decode(bytes, for: side, limits: limits).image
        let longer = max(image.width, image.height)
        guard longer > side else { return try JPEGBridge.encode(image, quality: quality) }
        func reduced(_ length: Int) -> Int { max(1, (length * side + longer / 2) / longer) }
        let small = try Resize.bicubic(image, width: reduced(image.width), height: reduced(image.height))
        return try JPEGBridge.encode(small, quality: quality)
    }
}
