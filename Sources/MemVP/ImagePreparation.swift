// From a photo's bytes to the encoder's input, as the bundle describes it.

public import Diagnostics
internal import Specification
public import Vision

extension ModelBundle {
    /// Decodes a photo, squashes it to the encoder's square and normalises it.
    ///
    /// - Parameter view: the part that is seen; training shows others than the whole.
    /// - Throws: the photo decoder's failures, with an empty object for the caller to name.
    public func prepare(photo bytes: [UInt8], view: PhotoView = .whole, limits: ImageLimits = ImageLimits())
        throws(Failure) -> PreparedImage
    {
        let side = description.image.side
        let photo = try PhotoDecoder.decode(
            bytes, for: vision.decodesInFull ? .max : side, limits: limits)
        let square = try Resize.square(view.applied(to: photo.image), side: side)
        return PreparedImage(
            pixels: normalisation.apply(to: square), width: photo.width, height: photo.height,
            warnings: photo.warnings.map { "\($0)" })
    }
}
