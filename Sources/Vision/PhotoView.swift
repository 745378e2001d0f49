// A photo as training may show it: a part of it, mirrored or not. Serving always shows the whole.

/// A rectangle of a photo in fractions of its sides, from the top left.
public struct PhotoView: Sendable, Equatable {
    /// Where it begins from the left, 0 to 1.
    public var left: Double
    /// Where it begins from the top, 0 to 1.
    public var top: Double
    /// Its part of the width, above 0 and at most 1.
    public var width: Double
    /// Its part of the height.
    public var height: Double
    /// Whether left and right are exchanged.
    public var isMirrored: Bool

    /// A rectangle; what reaches beyond the photo is left out.
    public init(left: Double = 0, top: Double = 0, width: Double = 1, height: Double = 1, isMirrored: Bool = false) {
        self.left = left
        self.top = top
        self.width = width
        self.height = height
        self.isMirrored = isMirrored
    }

    /// The photo as it is.
    public static let whole = PhotoView()

    /// The part of `image` that is seen: at least a pixel.
    public func applied(to image: RGBImage) -> RGBImage {
        let columns = Self.pixels(from: left, part: width, of: image.width)
        let rows = Self.pixels(from: top, part: height, of: image.height)
        var part = image
        if columns.count < image.width || rows.count < image.height {
            var pixels: [UInt8] = []
            pixels.reserveCapacity(3 * columns.count * rows.count)
            for row in rows {
                let first = 3 * row * image.width
                pixels += image.pixels[first + 3 * columns.lowerBound..<first + 3 * columns.upperBound]
            }
            part = RGBImage(uncheckedWidth: columns.count, height: rows.count, pixels: pixels)
        }
        return isMirrored ? Orientation.topRight.upright(part) : part
    }

    private static func pixels(from start: Double, part: Double, of count: Int) -> Range<Int> {
        func place(_ fraction: Double) -> Int {
            fraction > 0 ? Int((min(1, fraction) * Double(count)).rounded()) : 0
        }
        let first = min(place(start), count - 1)
        return first..<max(first + 1, place(start + part))
    }
}
