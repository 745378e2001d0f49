// Tensors that PyTorch saved as views (transposed, sliced): their elements brought into row-major order.
//
// Invariant: the reader has checked that no index these shapes and strides can form lies outside the stored bytes.

/// Gathering of strided elements.
enum StridedCopy {
    /// The elements of `rows` in row-major order, still as stored bytes.
    static func gather(_ entry: TensorEntry, _ strides: [Int], _ stored: RawSpan, _ rows: Range<Int>) -> [UInt8] {
        let size = entry.type.blockBytes
        var bytes: [UInt8] = []
        bytes.reserveCapacity(rows.count * entry.columns * size)
        let columnStride = (strides.last ?? 1) * size
        for row in rows {
            // The row number, split into one index for each leading dimension.
            var rest = row
            var start = 0
            for axis in (0..<max(0, entry.shape.count - 1)).reversed() {
                start += rest % entry.shape[axis] * strides[axis] * size
                rest /= entry.shape[axis]
            }
            if columnStride == size {
                stored.append(start..<start + entry.columns * size, to: &bytes)
            } else {
                for column in 0..<entry.columns {
                    let element = start + column * columnStride
                    stored.append(element..<element + size, to: &bytes)
                }
            }
        }
        return bytes
    }
}
