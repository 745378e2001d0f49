// The eight ways a camera may have been held (EXIF 2.32, 4.6.5.1.6, tag Orientation), and the pixels turned upright.

/// How the coded rows and columns lie in the upright picture: `rightTop` means that row 0 is the right-hand side and
/// column 0 the top.
public enum Orientation: UInt8, Sendable, CaseIterable {
    /// As coded.
    case topLeft = 1
    /// Mirrored left to right.
    case topRight
    /// Turned by 180°.
    case bottomRight
    /// Mirrored top to bottom.
    case bottomLeft
    /// Mirrored along the main diagonal.
    case leftTop
    /// Coded a quarter turn anticlockwise of upright.
    case rightTop
    /// Mirrored along the other diagonal.
    case rightBottom
    /// Coded a quarter turn clockwise of upright.
    case leftBottom

    /// Whether the upright picture's width is the coded height.
    public var swapsSides: Bool { rawValue >= Orientation.leftTop.rawValue }

    /// The image turned upright.
    public func upright(_ image: RGBImage) -> RGBImage {
        guard self != .topLeft else { return image }
        let walk = walk(width: image.width, height: image.height)
        let (width, height) = swapsSides ? (image.height, image.width) : (image.width, image.height)
        let source = image.pixels.span  // [height, width, 3] as coded
        var pixels = [UInt8](repeating: 0, count: source.count)
        var upright = pixels.mutableSpan
        var next = 0
        for y in 0..<height {
            var from = 3 * (walk.start + y * walk.row)
            for _ in 0..<width {
                upright[next] = source[from]
                upright[next + 1] = source[from + 1]
                upright[next + 2] = source[from + 2]
                next += 3
                from += 3 * walk.column
            }
        }
        return RGBImage(uncheckedWidth: width, height: height, pixels: pixels)
    }

    /// Where in the coded pixels the upright picture starts, and how far on its next column and next row are.
    private func walk(width: Int, height: Int) -> (start: Int, column: Int, row: Int) {
        let right = width - 1
        let bottom = (height - 1) * width
        switch self {
        case .topLeft: return (0, 1, width)
        case .topRight: return (right, -1, width)
        case .bottomRight: return (bottom + right, -1, -width)
        case .bottomLeft: return (bottom, 1, -width)
        case .leftTop: return (0, width, 1)
        case .rightTop: return (bottom, -width, 1)
        case .rightBottom: return (bottom + right, -width, -1)
        case .leftBottom: return (right, width, -1)
        }
    }
}
