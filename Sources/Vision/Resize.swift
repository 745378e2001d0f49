// Antialiased bicubic resize, byte for byte that of Pillow 13's Image.resize(size, BICUBIC): one pass along the rows and
// one along the columns, with 8-bit pixels between the two.
//
// Wrapping arithmetic (&+, &*) keeps the inner loops free of traps so that the compiler can vectorise them; ResampleTable
// says why nothing wraps. Spans are cut to the window before the loops, where one check serves the whole window.

public import Diagnostics

/// Antialiased bicubic resizing.
public enum Resize {
    /// Squashes an image to a square of `side` pixels; the aspect ratio is not kept, as the encoders expect.
    ///
    /// - Throws: as `bicubic(_:width:height:)`.
    public static func square(_ image: RGBImage, side: Int) throws(Failure) -> RGBImage {
        try bicubic(image, width: side, height: side)
    }

    /// Resizes an image to `width` × `height` pixels.
    ///
    /// - Throws: `internal_error` when a side is not in 1...65,535.
    public static func bicubic(_ image: RGBImage, width: Int, height: Int) throws(Failure) -> RGBImage {
        guard (1...0xFFFF).contains(width), (1...0xFFFF).contains(height) else {
            throw Failure(.internalError, "", "an image cannot be resized to \(width) × \(height) pixels")
        }
        if startsWithColumns(image, width: width, height: height) {
            return resizeRows(resizeColumns(image, to: height), to: width)
        }
        return resizeColumns(resizeRows(image, to: width), to: height)
    }

    /// Whether the height shrinks by more than twice what the width shrinks by. Pillow resizes columns first then, from
    /// version 13.0 on; up to 12 it always began with the rows, which gives pixels up to about 4 levels apart.
    private static func startsWithColumns(_ image: RGBImage, width: Int, height: Int) -> Bool {
        image.height - height > 2 * max(image.width - width, 0)
    }

    private static func resizeRows(_ image: RGBImage, to width: Int) -> RGBImage {
        guard width != image.width else { return image }
        let table = ResampleTable(from: image.width, to: width)
        let weights = table.weights.span
        let source = image.pixels.span  // [height, image.width, 3]
        var pixels = [UInt8](repeating: 0, count: 3 * width * image.height)
        var target = pixels.mutableSpan  // [height, width, 3]
        for y in 0..<image.height {
            let row = source.extracting(y * image.width * 3..<(y + 1) * image.width * 3)
            var next = y * width * 3
            for x in 0..<width {
                let weights = weights.extracting(table.ranges[x])
                let window = row.extracting(3 * table.starts[x]..<3 * (table.starts[x] + weights.count))
                var (red, green, blue) = (ResampleTable.half, ResampleTable.half, ResampleTable.half)
                var at = 0
                for index in weights.indices {
                    let weight = weights[index]
                    red &+= Int32(window[at]) &* weight
                    green &+= Int32(window[at &+ 1]) &* weight
                    blue &+= Int32(window[at &+ 2]) &* weight
                    at &+= 3
                }
                target[next] = ResampleTable.byte(red)
                target[next + 1] = ResampleTable.byte(green)
                target[next + 2] = ResampleTable.byte(blue)
                next += 3
            }
        }
        return RGBImage(uncheckedWidth: width, height: image.height, pixels: pixels)
    }

    private static func resizeColumns(_ image: RGBImage, to height: Int) -> RGBImage {
        guard height != image.height else { return image }
        let table = ResampleTable(from: image.height, to: height)
        let length = 3 * image.width  // bytes of one row
        let source = image.pixels.span  // [image.height, width, 3]
        var pixels = [UInt8](repeating: 0, count: length * height)
        var target = pixels.mutableSpan  // [height, width, 3]
        var accumulator = [Int32](repeating: 0, count: length)
        var sums = accumulator.mutableSpan
        for y in 0..<height {
            sums.update(repeating: ResampleTable.half)
            for (offset, index) in table.ranges[y].enumerated() {
                let weight = table.weights[index]
                let first = (table.starts[y] + offset) * length
                let row = source.extracting(first..<first + length)
                for at in row.indices { sums[at] &+= Int32(row[at]) &* weight }
            }
            for at in sums.indices { target[y * length + at] = ResampleTable.byte(sums[at]) }
        }
        return RGBImage(uncheckedWidth: image.width, height: height, pixels: pixels)
    }
}
