// Kernel calls of convolutional encoders: depthwise convolutions; all others are matrix products over pixels.

internal import CKernels
public import Diagnostics

/// The geometry of a depthwise convolution on a square map, channels last, TensorFlow SAME padding.
public struct DepthwiseShape: Sendable, Equatable {
    /// Side of the input map.
    public let side: Int
    /// Channels; a multiple of 16.
    public let channels: Int
    /// Side of the kernel.
    public let kernel: Int
    /// Step between outputs.
    public let stride: Int

    /// A shape; the caller has bounded its numbers.
    public init(side: Int, channels: Int, kernel: Int, stride: Int) {
        self.side = side
        self.channels = channels
        self.kernel = kernel
        self.stride = stride
    }

    /// Side of the output map: ⌈side / stride⌉.
    public var outputSide: Int { (side + stride - 1) / stride }

    /// Padding before the first row and column; TensorFlow puts the odd one behind.
    public var padding: Int { max((outputSide - 1) * stride + kernel - side, 0) / 2 }
}

/// Weights of a depthwise convolution: int8 with one scale a channel, or float32.
@safe public final class DepthwiseWeights: @unchecked Sendable {
    /// The arithmetic that the weights are stored for.
    public let precision: Precision
    /// Channels; a multiple of 16.
    public let channels: Int
    /// Side of the kernel.
    public let kernel: Int

    let int8: UnsafePointer<Int8>?  // [kernel · kernel, channels]
    let float32: UnsafePointer<Float>?  // [kernel · kernel, channels]
    let scales: UnsafePointer<Float>?  // [channels]
    private let mapping: MappedFile

    /// Weights that stand in a mapped file: values [kernel · kernel, channels] and, for int8, scales [channels].
    ///
    /// - Throws: `model_invalid` when they lie outside the file, are misaligned or the shape is out of range.
    public init(
        mapping: MappedFile, name: String, precision: Precision, channels: Int, kernel: Int, values: Int, scales: Int
    ) throws(Failure) {
        guard channels > 0, channels <= 1 << 16, channels % 16 == 0, kernel >= 1, kernel <= 15 else {
            throw Failure(
                .modelInvalid, "\(mapping.path): tensor \(name)", "has the shape [\(kernel), \(kernel), \(channels)]")
        }
        let bytes = kernel * kernel * channels * (precision == .int8 ? 1 : 4)
        let scaleBytes = precision == .int8 ? channels * 4 : 0
        guard values >= 0, values % 64 == 0, values <= mapping.count, bytes <= mapping.count - values, scales >= 0,
            scales % 4 == 0, scales <= mapping.count, scaleBytes <= mapping.count - scales
        else {
            throw Failure(.modelInvalid, "\(mapping.path): tensor \(name)", "lies outside the file or is misaligned")
        }
        self.precision = precision
        self.channels = channels
        self.kernel = kernel
        let base = unsafe mapping.base
        unsafe int8 = precision == .int8 ? (base + values).assumingMemoryBound(to: Int8.self) : nil
        unsafe float32 = precision == .float32 ? (base + values).assumingMemoryBound(to: Float.self) : nil
        unsafe self.scales = precision == .int8 ? (base + scales).assumingMemoryBound(to: Float.self) : nil
        self.mapping = mapping
    }
}

extension Compute {
    /// y = clamp(depthwise(x) + bias). input: [side², channels] loaded with one scale (`loadTensor`, dense),
    /// output: [outputSide², channels]
    public func depthwise(
        _ input: ProductInput, _ weights: DepthwiseWeights, shape: DepthwiseShape, bias: AlignedStorage<Float>,
        clamp: ClosedRange<Float>, into output: FloatRows
    ) {
        precondition(input.columns == shape.channels && weights.channels == shape.channels)
        precondition(weights.kernel == shape.kernel && weights.precision == input.precision)
        precondition(input.rows == shape.side * shape.side && output.columns == shape.channels)
        precondition(output.capacity >= shape.outputSide * shape.outputSide && bias.count >= shape.channels)
        var geometry = mk_depthwise(
            height: Int32(shape.side), width: Int32(shape.side), channels: Int32(shape.channels),
            out_height: Int32(shape.outputSide), out_width: Int32(shape.outputSide), kernel: Int32(shape.kernel),
            stride: Int32(shape.stride), pad_top: Int32(shape.padding), pad_left: Int32(shape.padding),
            low: clamp.lowerBound, high: clamp.upperBound)
        if let values = unsafe weights.int8, let scales = unsafe weights.scales {
            precondition(input.quantisedStride == shape.channels)
            unsafe mk_run_depthwise_i8(
                pool, table, &geometry, input.quantisedValues, input.tensorScale, values, scales, bias.base,
                output.pointer)
        } else if let values = unsafe weights.float32, let source = input.source {
            unsafe mk_run_depthwise_f32(pool, table, &geometry, source.pointer, values, bias.base, output.pointer)
        }
    }
}
