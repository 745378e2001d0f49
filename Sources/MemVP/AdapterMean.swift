// The mean of several adapters of one base ("model soups", Wortsman et al., arXiv 2203.05482). Adapters of one chain of runs differ
// by noise as much as by what they learned, most of all those of rewarded runs; their mean keeps what they share, and costs
// nothing when it serves.

public import Diagnostics

extension AdapterFile {
    /// The mean of the adapters at `paths`, value by value.
    ///
    /// - Throws: `adapter_mismatch` when one is of another base, or its shapes or constants are not those of the first; the
    ///   reader's failures; `model_invalid` without any.
    public static func mean(
        of paths: [String], base: BaseIdentity
    ) throws(Failure) -> (Adapter.Configuration, Adapter.Tensors) {
        guard let first = paths.first else { throw Failure(.modelInvalid, "a mean", "needs adapters") }
        let (configuration, model) = try finiteTensors(path: first, base: base)
        var sums = matrices(of: model).map { $0.map(Double.init) }
        for path in paths.dropFirst() {
            let (shape, tensors) = try finiteTensors(path: path, base: base)
            let values = matrices(of: tensors)
            guard shape == configuration, tensors.vision?.scale == model.vision?.scale,
                values.map(\.count) == sums.map(\.count)
            else {
                throw Failure(
                    .adapterMismatch, path, "has other shapes or constants than \(first)",
                    hint:
                        "Only adapters with the same slots, hidden width, λ, s, prompting and feature blocks have a mean."
                )
            }
            for (matrix, row) in values.enumerated() {
                for (index, value) in row.enumerated() { sums[matrix][index] += Double(value) }
            }
        }
        let count = Double(paths.count)
        return (configuration, model.replacing(with: sums.map { $0.map { Float($0 / count) } }))
    }

    /// The tensors of an adapter; what is not finite would be in the mean too, which no bundle opens.
    private static func finiteTensors(
        path: String, base: BaseIdentity
    ) throws(Failure) -> (Adapter.Configuration, Adapter.Tensors) {
        let (configuration, tensors) = try tensors(path: path, base: base)
        guard matrices(of: tensors).allSatisfy({ $0.allSatisfy(\.isFinite) }) else {
            throw Failure(
                .modelInvalid, path, "has values that are not finite", hint: "Leave it out: its training diverged.")
        }
        return (configuration, tensors)
    }

    /// All values, matrix by matrix.
    private static func matrices(of tensors: Adapter.Tensors) -> [[Float]] {
        tensors.named.map(\.values) + (tensors.vision.map { $0.fc1 + $0.fc2 } ?? [])
    }
}

extension Adapter.Tensors {
    /// The tensors with other values, in the order of `named`, then those beside the encoder.
    fileprivate func replacing(with values: [[Float]]) -> Self {
        var rest = values[...]
        var tensors = Self(
            fc1Weight: rest.removeFirst(), fc1Bias: rest.removeFirst(), fc2Weight: rest.removeFirst(),
            fc2Bias: rest.removeFirst(), e1: rest.removeFirst(), e2: e2 == nil ? nil : rest.removeFirst())
        if var vision {
            vision.fc1 = Array(rest.prefix(vision.fc1.count))
            vision.fc2 = Array(rest.dropFirst(vision.fc1.count))
            tensors.vision = vision
        }
        return tensors
    }
}
