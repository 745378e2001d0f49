// What a converter will write, in order: each tensor's name and shape first, its values only when its turn comes, so a
// conversion holds one tensor at a time.

internal import Diagnostics
internal import ModelFile
internal import Tensor

/// One tensor of a bundle file, to be packed for the kernels.
struct TensorPlan {
    /// How it is stored.
    enum Kind {
        /// `NAME.weight` in panels and, for int8, `NAME.scale`. [rows, columns]
        case matrix(rows: Int, columns: Int)
        /// `NAME.weight` [kernel², channels] and, for int8, `NAME.scale` [channels].
        case depthwise(kernel: Int, channels: Int)
        /// float32 under the name itself. [count]
        case vector(count: Int)
    }

    let name: String
    let kind: Kind
    /// Stays float32 in an int8 bundle.
    let isExact: Bool
    /// The row-major values.
    let values: () throws(Failure) -> [Float]

    init(_ name: String, _ kind: Kind, exact: Bool = false, values: @escaping () throws(Failure) -> [Float]) {
        self.name = name
        self.kind = kind
        isExact = exact
        self.values = values
    }

    /// The tensors in the file.
    func declarations(_ bundle: Precision) -> [TensorDeclaration] {
        let precision = isExact ? .float32 : bundle
        let type: ElementType = precision == .int8 ? .int8 : .float32
        switch kind {
        case .matrix(let rows, let columns):
            let panels = (rows + 15) / 16
            guard precision == .int8 else {
                return [TensorDeclaration(name: "\(name).weight", type: type, shape: [panels, columns, 16])]
            }
            return [
                TensorDeclaration(name: "\(name).weight", type: type, shape: [panels, (columns + 3) / 4, 16, 4]),
                TensorDeclaration(name: "\(name).scale", type: .float32, shape: [panels * 16]),
            ]
        case .depthwise(let kernel, let channels):
            let weight = TensorDeclaration(name: "\(name).weight", type: type, shape: [kernel * kernel, channels])
            guard precision == .int8 else { return [weight] }
            return [weight, TensorDeclaration(name: "\(name).scale", type: .float32, shape: [channels])]
        case .vector(let count): return [TensorDeclaration(name: name, type: .float32, shape: [count])]
        }
    }

    /// Writes the tensors that `declarations` announced.
    func write(to writer: GGUFWriter, precision bundle: Precision) throws(Failure) {
        let precision = isExact ? .float32 : bundle
        let values = try values()
        switch kind {
        case .matrix(let rows, let columns):
            guard values.count == rows * columns else { throw wrongCount(values.count, rows * columns) }
            let packed = PackedWeights(precision: precision, rows: rows, columns: columns, values: values.span)
            if precision == .int8 {
                try writer.write(packed.int8.span)
                try writer.write(packed.scales.span)
            } else {
                try writer.write(packed.float32.span)
            }
        case .depthwise(let kernel, let channels):
            guard values.count == kernel * kernel * channels else {
                throw wrongCount(values.count, kernel * kernel * channels)
            }
            guard precision == .int8 else { return try writer.write(values.span) }
            let (quantised, scales) = Self.quantiseChannels(values, taps: kernel * kernel, channels: channels)
            try writer.write(quantised.span)
            try writer.write(scales.span)
        case .vector(let count):
            guard values.count == count else { throw wrongCount(values.count, count) }
            try writer.write(values.span)
        }
    }

    private func wrongCount(_ found: Int, _ needed: Int) -> Failure {
        Failure(.modelInvalid, "tensor \(name)", "has \(found) values where \(needed) are needed")
    }

    /// Symmetric int8 for each channel of a depthwise kernel, as `mk_quantize_weight_row` does for rows.
    /// values: [taps, channels]
    private static func quantiseChannels(_ values: [Float], taps: Int, channels: Int) -> ([Int8], [Float]) {
        var quantised = [Int8](repeating: 0, count: values.count)
        var scales = [Float](repeating: 1, count: channels)
        for channel in 0..<channels {
            var largest: Float = 0
            for tap in 0..<taps { largest = max(largest, abs(values[tap * channels + channel])) }
            guard largest > 0 else { continue }
            scales[channel] = largest / 127
            for tap in 0..<taps {
                let scaled = (values[tap * channels + channel] * (127 / largest)).rounded(.toNearestOrEven)
                quantised[tap * channels + channel] = Int8(max(-127, min(127, scaled)))
            }
        }
        return (quantised, scales)
    }
}
