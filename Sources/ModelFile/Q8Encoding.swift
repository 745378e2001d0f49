// ggml's Q8_0: blocks of 32 values, a binary16 scale d and 32 signed bytes q, x = d q.
//
// Invariants: q is in -127 ... 127; encoding what was decoded from such blocks gives the same bytes again.
// Failure modes: `model_unsupported` for values whose scale binary16 cannot hold.

public import Diagnostics

/// Encoding of rows into Q8_0 blocks.
public enum Q8Encoding {
    /// Values in a block: what the length of a row must be a multiple of.
    public static let blockElements = ElementType.q8_0.blockElements

    /// Appends a row of int8 values with one scale: the integers stay, the scale is rounded to binary16.
    ///
    /// - Parameters:
    ///   - values: a multiple of 32, each -127 ... 127.
    ///   - name: the tensor, for the message.
    /// - Throws: `model_unsupported` when the scale overflows binary16.
    public static func append(
        _ values: ArraySlice<Int8>, scale: Float, to bytes: inout [UInt8], name: String
    ) throws(Failure) {
        let half = try half(scale, name)
        for start in stride(from: values.startIndex, to: values.endIndex, by: blockElements) {
            append(half, to: &bytes)
            for value in values[start..<start + blockElements] { bytes.append(UInt8(bitPattern: value)) }
        }
    }

    /// Appends a row of floats, each block by its own largest magnitude.
    ///
    /// - Parameter values: a multiple of 32, all finite.
    /// - Throws: as above.
    public static func append(_ values: ArraySlice<Float>, to bytes: inout [UInt8], name: String) throws(Failure) {
        for start in stride(from: values.startIndex, to: values.endIndex, by: blockElements) {
            let block = values[start..<start + blockElements]
            let half = try half(block.reduce(0) { max($0, abs($1)) } / 127, name)
            append(half, to: &bytes)
            // Quantised by the scale that a reader will see, not by the one before rounding.
            let inverse = half == 0 ? 0 : 1 / Float(half)
            for value in block {
                let rounded = (value * inverse).rounded(.toNearestOrEven)
                bytes.append(UInt8(bitPattern: Int8(max(-127, min(127, rounded)))))
            }
        }
    }

    private static func half(_ scale: Float, _ name: String) throws(Failure) -> Float16 {
        let half = Float16(scale)
        guard half.isFinite else {
            throw Failure(
                .modelUnsupported, "tensor \(name)", "has values too large for Q8_0, whose scales are 16-bit floats")
        }
        return half
    }

    private static func append(_ half: Float16, to bytes: inout [UInt8]) {
        bytes.append(UInt8(truncatingIfNeeded: half.bitPattern))
        bytes.append(UInt8(truncatingIfNeeded: half.bitPattern >> 8))
    }
}
