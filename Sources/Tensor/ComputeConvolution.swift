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

/// Weights of a depthwise convolution, float32: a channel has few taps and a range of its own (ARCHITECTURE.md).
@safe public final class DepthwiseWeights: @unchecked Sendable {
    // @unchecked: the mapping is read-only and lives as long as this object.

    /// Channels; a multiple of 16.
    public let channels: Int
    /// Side of the kernel.
    public let kernel: Int

    let values: UnsafePointer<Float>  // [kernel · kernel, channels]
    private let mapping: MappedFile

    /// Weights [kernel · kernel, channels] that stand in a mapped file, `values` bytes from its start.
    ///
    /// - Throws: `model_invalid` when they lie outside the file, are misaligned or the shape is out of range.
    public init(mapping: MappedFile, name: String, channels: Int, kernel: Int, values: Int) throws(Failure) {
        guard channels > 0, channels <= 1 << 16, channels % 16 == 0, kernel >= 1, kernel <= 15 else {
            throw Failure(
                .modelInvalid, "\(mapping.path): tensor \(name)", "has the shape [\(kernel), \(kernel), \(channels)]")
        }
        let bytes = kernel * kernel * channels * MemoryLayout<Float>.size
        guard values >= 0, values % 64 == 0, values <= mapping.count, bytes <= mapping.count - values else {
            throw Failure(.modelInvalid, "\(mapping.path): tensor \(name)", "lies outside the file or is misaligned")
        }
        self.channels = channels
        self.kernel = kernel
        unsafe self.values = (mapping.base + values).assumingMemoryBound(to: Float.self)
        self.mapping = mapping
    }
}

extension Compute {
    /// y = clamp(depthwise(x) + bias). input: [side², channels], rows without padding; output: [outputSide², channels]
    public func depthwise(
        _ input: FloatRows, _ weights: DepthwiseWeights, shape: DepthwiseShape, bias: AlignedStorage<Float>,
        clamp: ClosedRange<Float>, into output: FloatRows
    ) {
        precondition(input.columns == shape.channels && weights.channels == shape.channels)
        precondition(weights.kernel == shape.kernel && input.stride == shape.channels)
        precondition(input.capacity >= shape.side * shape.side && output.columns == shape.channels)
        precondition(output.capacity >= shape.outputSide * shape.outputSide && bias.count >= shape.channels)
        var geometry = mk_depthwise(
            height: Int32(shape.side), width: Int32(shape.side), channels: Int32(shape.channels),
            out_height: Int32(shape.outputSide), out_width: Int32(shape.outputSide), kernel: Int32(shape.kernel),
            stride: Int32(shape.stride), pad_top: Int32(shape.padding), pad_left: Int32(shape.padding),
            low: clamp.lowerBound, high: clamp.upperBound)
        unsafe mk_run_depthwise(
            pool, table, &geometry, input.pointer, weights.values, bias.base, output.pointer)
    }
}
