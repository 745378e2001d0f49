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
        /// `NAME.weight` [kernel², channels], float32 in every bundle.
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
            return [TensorDeclaration(name: "\(name).weight", type: .float32, shape: [kernel * kernel, channels])]
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
            try writer.write(values.span)
        case .vector(let count):
            guard values.count == count else { throw wrongCount(values.count, count) }
            try writer.write(values.span)
        }
    }

    private func wrongCount(_ found: Int, _ needed: Int) -> Failure {
        Failure(.modelInvalid, "tensor \(name)", "has \(found) values where \(needed) are needed")
    }
}
