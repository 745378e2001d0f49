// The only file that calls CJPEG: arrays in, values and explained errors out.
//
// Invariant: every buffer is allocated here with the size that is passed beside it, and C keeps no pointer after a call.
// Failure modes: the statuses of CJPEG.h, each with libjpeg's own message in the cause.

import CJPEG
import Diagnostics

/// What a JPEG file says before its first scan.
struct JPEGHeader {
    /// Columns as coded.
    let width: Int
    /// Rows as coded.
    let height: Int
    /// The TIFF structure of the first EXIF segment, empty without one.
    let exif: [UInt8]
}

/// libjpeg, as three functions.
enum JPEGBridge {
    /// Reads the markers before the first scan; the caller checks the sizes against its limits before decoding.
    ///
    /// - Throws: `corrupt_image`, `unsupported_type`, `image_too_large`.
    static func readHeader(_ bytes: [UInt8], limits: ImageLimits) throws(Failure) -> JPEGHeader {
        var header = cjpeg_header()
        var exif = [UInt8](repeating: 0, count: Int(CJPEG_EXIF_CAPACITY))
        var message = emptyMessage
        let capacity = exif.count
        let status = unsafe cjpeg_read_header(bytes, bytes.count, &header, &exif, capacity, &message)
        if status == CJPEG_TOO_LARGE {
            // libjpeg's own limit (65,500 a side) struck first: say so in the words of ours where ours is lower.
            try limits.check(width: Int(header.width), height: Int(header.height))
        }
        try check(status, message)
        return JPEGHeader(
            width: Int(header.width), height: Int(header.height), exif: Array(exif.prefix(header.exif_length)))
    }

    /// Decodes the picture of `header`, reduced by `denominator` (1, 2, 4 or 8), to ceil(side / denominator) a side; with it come
    /// those warnings of libjpeg that change no pixel.
    ///
    /// - Throws: `corrupt_image`, `unsupported_type`, `image_too_large` (the decoder's memory).
    static func decode(
        _ bytes: [UInt8], header: JPEGHeader, denominator: Int, limits: ImageLimits
    ) throws(Failure) -> (RGBImage, [ImageWarning]) {
        let width = (header.width + denominator - 1) / denominator
        let height = (header.height + denominator - 1) / denominator
        let count = 3 * width * height
        // libjpeg takes a memory limit of zero for none.
        let scans = Int32(clamping: limits.scans(width: header.width, height: header.height))
        var work = cjpeg_limits(memory: max(limits.maxDecoderBytes, 1), scans: scans)
        var remarks: UInt32 = 0
        var message = emptyMessage
        var status = CJPEG_MISUSE
        let pixels = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, written in
            status = unsafe cjpeg_decode(
                bytes, bytes.count, Int32(denominator), &work, buffer.baseAddress, count, &remarks, &message)
            written = status == CJPEG_OK ? count : 0
        }
        try check(status, message)
        return (RGBImage(uncheckedWidth: width, height: height, pixels: pixels), warnings(remarks))
    }

    /// Encodes an image as a baseline JPEG.
    ///
    /// - Parameter quality: 1 to 100, as libjpeg counts.
    /// - Throws: `image_too_large` for sides that no JPEG has.
    static func encode(_ image: RGBImage, quality: Int) throws(Failure) -> [UInt8] {
        guard image.width <= 65_500, image.height <= 65_500 else {
            throw Failure(.imageTooLarge, "", "\(image.width) × \(image.height) pixels are more than a JPEG can have")
        }
        // Noise at the best quality takes less than its pixels; small pictures have their tables besides.
        let capacity = image.pixels.count + (64 << 10)
        var length = 0
        var message = emptyMessage
        var status = CJPEG_MISUSE
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: capacity) { buffer, written in
            status = unsafe cjpeg_encode(
                image.pixels, UInt32(image.width), UInt32(image.height), Int32(quality), buffer.baseAddress, capacity,
                &length, &message)
            written = status == CJPEG_OK ? length : 0
        }
        guard status != CJPEG_TOO_LARGE else {
            throw Failure(.imageTooLarge, "", "the copy needs more than there is room for")
        }
        try check(status, message)
        return bytes
    }

    private static var emptyMessage: [CChar] {
        [CChar](repeating: 0, count: Int(CJPEG_MESSAGE_CAPACITY))
    }

    private static func warnings(_ remarks: UInt32) -> [ImageWarning] {
        let table: [(cjpeg_remark, ImageWarning)] = [
            (CJPEG_REMARK_JFIF_VERSION, .unknownJFIFVersion),
            (CJPEG_REMARK_ADOBE_TRANSFORM, .unknownColourTransform),
            (CJPEG_REMARK_SCAN_PARAMETERS, .unusedScanParameters),
        ]
        return table.filter { remarks & $0.0.rawValue != 0 }.map(\.1)
    }

    private static func check(_ status: cjpeg_status, _ message: [CChar]) throws(Failure) {
        let reason = String(
            decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        switch status {
        case CJPEG_OK: return
        case CJPEG_TRUNCATED:
            throw Failure(
                .corruptImage, "", "the JPEG data ends before the picture does (libjpeg: \(reason))",
                hint: "The file was cut short: copy it again.")
        case CJPEG_CORRUPT:
            throw Failure(
                .corruptImage, "", "the JPEG data is damaged (libjpeg: \(reason))",
                hint: "Copy the file again, or save it anew with an image program.")
        case CJPEG_UNSUPPORTED:
            throw Failure(
                .unsupportedType, "", "this variety of JPEG is not supported (libjpeg: \(reason))",
                hint: "Save it as a baseline or progressive JPEG of 8 bits a channel.")
        case CJPEG_TOO_LARGE:
            throw Failure(
                .imageTooLarge, "", "decoding needs more than is allowed (libjpeg: \(reason))",
                hint: "Save it anew as a baseline JPEG, which needs the least, or smaller.")
        default:
            throw Failure(.internalError, "", "libjpeg was called wrongly: \(reason)")
        }
    }
}
