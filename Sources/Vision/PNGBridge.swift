// The only file that calls CPNG: arrays in, values and explained errors out.
//
// Invariant: every buffer is allocated here with the size that is passed beside it, and C keeps no pointer after a call.
// Failure modes: the statuses of CPNG.h, each with libpng's own message in the cause.

import CPNG
import Diagnostics

/// What a PNG file says before its pixels.
struct PNGHeader {
    /// Columns as coded.
    let width: Int
    /// Rows as coded.
    let height: Int
}

/// libpng, as two functions.
enum PNGBridge {
    /// Reads the chunks before the pixels; the caller checks the sizes against its limits before decoding.
    ///
    /// - Throws: `corrupt_image`, `unsupported_type`.
    static func readHeader(_ bytes: [UInt8]) throws(Failure) -> PNGHeader {
        var (width, height): (UInt32, UInt32) = (0, 0)
        var message = emptyMessage
        let status = unsafe cpng_read_header(bytes, bytes.count, &width, &height, &message)
        try check(status, message)
        return PNGHeader(width: Int(width), height: Int(height))
    }

    /// Decodes the picture of `header`, and the TIFF structure of its first EXIF chunk, empty without one.
    ///
    /// Alpha is dropped and not blended over a background: what stands under it is what Pillow's `convert("RGB")` gives,
    /// which the published models were trained and measured with.
    ///
    /// - Throws: `corrupt_image`, `unsupported_type`.
    static func decode(_ bytes: [UInt8], header: PNGHeader) throws(Failure) -> (RGBImage, exif: [UInt8]) {
        let count = 3 * header.width * header.height
        var exif = [UInt8](repeating: 0, count: Int(CPNG_EXIF_CAPACITY))
        let capacity = exif.count
        var exifLength = 0
        var message = emptyMessage
        var status = CPNG_MISUSE
        let pixels = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, written in
            status = unsafe cpng_decode(
                bytes, bytes.count, buffer.baseAddress, count, &exif, capacity, &exifLength, &message)
            written = status == CPNG_OK ? count : 0
        }
        try check(status, message)
        let image = RGBImage(uncheckedWidth: header.width, height: header.height, pixels: pixels)
        return (image, Array(exif.prefix(exifLength)))
    }

    private static var emptyMessage: [CChar] {
        [CChar](repeating: 0, count: Int(CPNG_MESSAGE_CAPACITY))
    }

    private static func check(_ status: cpng_status, _ message: [CChar]) throws(Failure) {
        let reason = String(
            decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        switch status {
        case CPNG_OK: return
        case CPNG_TRUNCATED:
            throw Failure(
                .corruptImage, "", "the PNG data ends before the picture does (libpng: \(reason))",
                hint: "The file was cut short: copy it again.")
        case CPNG_CORRUPT:
            throw Failure(
                .corruptImage, "", "the PNG data is damaged (libpng: \(reason))",
                hint: "Copy the file again, or save it anew with an image program.")
        case CPNG_UNSUPPORTED:
            throw Failure(
                .unsupportedType, "", "this variety of PNG is not supported (libpng: \(reason))",
                hint: "Save it anew with an image program, as PNG or JPEG.")
        default:
            throw Failure(.internalError, "", "libpng was called wrongly: \(reason)")
        }
    }
}
