// Oddities of a photo that change no pixel: they go into the answer's `warnings`, never into an error.

/// Something unusual in an image file that was read all the same.
public enum ImageWarning: Sendable, Equatable {
    /// The EXIF orientation could not be read, so the pixels stay as they are coded.
    case orientationIgnored(String)
    /// The file says JFIF version 2 or later, which nobody has published.
    case unknownJFIFVersion
    /// The Adobe marker names an unknown colour transform; the usual one was taken.
    case unknownColourTransform
    /// A sequential scan has parameters that only progressive scans use.
    case unusedScanParameters
}

extension ImageWarning: CustomStringConvertible {
    /// One sentence for the answer's `warnings`.
    public var description: String {
        switch self {
        case .orientationIgnored(let reason): "EXIF orientation ignored: \(reason)"
        case .unknownJFIFVersion: "unknown JFIF version, read as version 1"
        case .unknownColourTransform: "unknown Adobe colour transform, read as YCbCr or YCCK"
        case .unusedScanParameters: "unused parameters in a sequential JPEG scan ignored"
        }
    }
}
