// What a photo may cost before it is refused: every bound is checked on the header, before pixels are allocated.

public import Diagnostics

/// Bounds on a photo's size and on the work that decoding it may cause.
public struct ImageLimits: Sendable, Equatable {
    /// The file's length in bytes.
    public var maxBytes: Int
    /// Width × height of the full-size image.
    public var maxPixels: Int
    /// Pixels along the longer side of the full-size image.
    public var maxSide: Int
    /// Bytes of coefficients that the decoder may hold: a progressive JPEG needs 2 bytes a sample, so 600 MB for 100
    /// megapixels without chroma subsampling, half of that with.
    public var maxDecoderBytes: Int
    /// Scans in one JPEG; cameras and optimisers write up to about 20, a bomb as many as fit.
    public var maxScans: Int
    /// Width × height × scans of one JPEG: an empty scan is a hundred bytes, yet costs a pass over every coefficient,
    /// about 2 seconds for 10⁹ pixels.
    public var maxScannedPixels: Int
    /// What helps whose photo has too many pixels, as a sentence: where limits can be raised, it says how.
    public var advice: String

    /// Makes limits; what is left out has its default.
    public init(
        maxBytes: Int = 64 << 20, maxPixels: Int = 100_000_000, maxSide: Int = 30_000,
        maxDecoderBytes: Int = 512 << 20, maxScans: Int = 500,
        maxScannedPixels: Int = 4_000_000_000, advice: String = "Make the image smaller."
    ) {
        self.maxBytes = maxBytes
        self.maxPixels = maxPixels
        self.maxSide = maxSide
        self.maxDecoderBytes = maxDecoderBytes
        self.maxScans = maxScans
        self.maxScannedPixels = maxScannedPixels
        self.advice = advice
    }

    /// Checks the length of a file.
    ///
    /// - Throws: `empty_file`, `image_too_large`.
    public func check(bytes count: Int) throws(Failure) {
        guard count > 0 else {
            throw Failure(.emptyFile, "", "the file has no bytes", hint: "Copy the photo again.")
        }
        guard count <= maxBytes else {
            throw Failure(
                .imageTooLarge, "", "the file has \(count) bytes, over the limit of \(maxBytes)",
                hint: "Make the file smaller.")
        }
    }

    /// Checks the size in pixels that an image's header states.
    ///
    /// - Throws: `image_too_large`.
    public func check(width: Int, height: Int) throws(Failure) {
        let (pixels, overflow) = width.multipliedReportingOverflow(by: height)
        guard width <= maxSide, height <= maxSide, !overflow, pixels <= maxPixels else {
            throw Failure(
                .imageTooLarge, "",
                "the image has \(width) × \(height) pixels, over the limit of \(maxSide) a side or \(maxPixels) in all",
                hint: advice)
        }
    }

    /// How many scans a picture of this size may have.
    func scans(width: Int, height: Int) -> Int { min(maxScans, maxScannedPixels / max(width * height, 1)) }
}
