// Stored elements to float32, exactly as ggml's and PyTorch's own readers give them.
//
// Invariant: every product and sum is rounded on its own (no fused multiply-add), so the bits agree with the reference
// decoders on every machine. Callers have checked that input and output lengths match; the spans check again and trap.

/// Decoding of stored elements into float32 values.
enum ElementDecoding {
    /// Decodes `output.count` elements from `input`, which holds exactly as many of a floating-point `type`.
    static func decode(_ type: ElementType, _ input: RawSpan, into output: inout MutableSpan<Float>) {
        switch type {
        case .float32: decodeEach(input, &output) { (bits: UInt32) in Float(bitPattern: bits) }
        case .float16: decodeEach(input, &output) { (bits: UInt16) in float(half: bits) }
        case .bfloat16: decodeEach(input, &output) { (bits: UInt16) in Float(bitPattern: UInt32(bits) << 16) }
        case .float64: decodeEach(input, &output) { (bits: UInt64) in Float(Double(bitPattern: bits)) }
        case .q8_0: decodeQ8(input, &output)
        case .q4_0: decodeQ4(input, &output, hasMinimum: false)
        case .q4_1: decodeQ4(input, &output, hasMinimum: true)
        case .int64, .int32, .int16, .int8, .uint8, .bool: break  // `TensorContainer` refuses these by name
        }
    }

    /// Decodes the integers of `type` in `input`.
    static func integers(_ type: ElementType, _ input: RawSpan) -> [Int] {
        switch type {
        case .int64: return integers(input) { (value: Int64) in Int(value) }
        case .int32: return integers(input) { (value: Int32) in Int(value) }
        case .int16: return integers(input) { (value: Int16) in Int(value) }
        case .int8: return integers(input) { (value: Int8) in Int(value) }
        case .uint8, .bool: return integers(input) { (value: UInt8) in Int(value) }
        case .float32, .float16, .bfloat16, .float64, .q8_0, .q4_0, .q4_1: return []  // refused likewise
        }
    }

    /// IEEE 754 binary16 to binary32, exact for every value; written with integer operations so that loops vectorise
    /// without a half-precision instruction set.
    @inline(__always)
    static func float(half: UInt16) -> Float {
        let sign = UInt32(half & 0x8000) << 16
        let magnitude = UInt32(half & 0x7fff) << 13
        // Normal numbers: move the exponent's bias from 15 to 127; infinities and NaNs move to the top exponent.
        let bias: UInt32 = magnitude >= 0x0f80_0000 ? 224 << 23 : 112 << 23
        let normal = Float(bitPattern: magnitude &+ bias)
        // Subnormal numbers: as the fraction of 2^-14, whose leading one is then taken away.
        let subnormal = Float(bitPattern: magnitude &+ (113 << 23)) - 0x1p-14
        let value = magnitude < 0x0080_0000 ? subnormal : normal
        return Float(bitPattern: value.bitPattern | sign)
    }

    @inline(__always)
    private static func decodeEach<Bits: FixedWidthInteger & BitwiseCopyable>(
        _ input: RawSpan, _ output: inout MutableSpan<Float>, _ convert: (Bits) -> Float
    ) {
        let size = MemoryLayout<Bits>.size
        for index in output.indices { output[index] = convert(input.load(index * size, as: Bits.self)) }
    }

    @inline(__always)
    private static func integers<Bits: FixedWidthInteger & BitwiseCopyable>(
        _ input: RawSpan, _ convert: (Bits) -> Int
    ) -> [Int] {
        let size = MemoryLayout<Bits>.size
        return (0..<input.byteCount / size).map { convert(input.load($0 * size, as: Bits.self)) }
    }

    private static func decodeQ8(_ input: RawSpan, _ output: inout MutableSpan<Float>) {
        for block in 0..<output.count / 32 {
            let start = block * 34
            let scale = float(half: input.load(start, as: UInt16.self))
            for index in 0..<32 {
                output[block * 32 + index] = Float(input.load(start + 2 + index, as: Int8.self)) * scale
            }
        }
    }

    /// Q4_0 and Q4_1: the low nibbles are the block's first 16 elements, the high nibbles its last 16.
    private static func decodeQ4(_ input: RawSpan, _ output: inout MutableSpan<Float>, hasMinimum: Bool) {
        let header = hasMinimum ? 4 : 2
        let offset: Int32 = hasMinimum ? 0 : 8
        for block in 0..<output.count / 32 {
            let start = block * (header + 16)
            let scale = float(half: input.load(start, as: UInt16.self))
            let minimum = hasMinimum ? float(half: input.load(start + 2, as: UInt16.self)) : 0
            for index in 0..<16 {
                let pair = Int32(input.load(start + header + index, as: UInt8.self))
                let low = Float((pair & 15) - offset) * scale
                let high = Float((pair >> 4) - offset) * scale
                output[block * 32 + index] = hasMinimum ? low + minimum : low
                output[block * 32 + 16 + index] = hasMinimum ? high + minimum : high
            }
        }
    }
}
