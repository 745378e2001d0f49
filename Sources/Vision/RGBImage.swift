// Pixels as the rest of the pipeline takes them: 8 bits, interleaved RGB, rows from top to bottom, no padding.

public import Diagnostics

/// An image of 8-bit RGB pixels.
///
/// Invariant: `pixels.count == 3 * width * height`, and no side is zero.
public struct RGBImage: Sendable, Equatable {
    /// Columns.
    public let width: Int
    /// Rows.
    public let height: Int
    /// Red, green and blue of each pixel: [height, width, 3], row-major.
    public let pixels: [UInt8]

    /// Makes an image from pixels [height, width, 3].
    ///
    /// - Throws: `corrupt_image` when the count of bytes is not that of the size.
    public init(width: Int, height: Int, pixels: [UInt8]) throws(Failure) {
        let (area, overflow) = width.multipliedReportingOverflow(by: height)
        guard width > 0, height > 0, !overflow, area == pixels.count / 3, pixels.count % 3 == 0 else {
            throw Failure(
                .corruptImage, "",
                "\(pixels.count) bytes are not \(width) × \(height) pixels of three channels")
        }
        self.init(uncheckedWidth: width, height: height, pixels: pixels)
    }

    /// For callers in this module that have just made `pixels` to fit.
    init(uncheckedWidth width: Int, height: Int, pixels: [UInt8]) {
        self.width = width
        self.height = height
        self.pixels = pixels
    }
}
