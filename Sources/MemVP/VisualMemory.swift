// From patch features to memory rows: built once an image and adapter, then used by every task on that image and by
// every layer of the language model.

public import Diagnostics
public import Tensor

/// Projects features into memories; one a worker, its buffers reused.
public final class VisualProjector {
    private let adapter: Adapter
    private let input: ProductInput  // [patches, features]
    private let hidden: FloatRows  // [patches, hidden]
    private let hiddenInput: ProductInput  // [patches, hidden]
    /// The projected features before λ. [patches, width]
    public let projected: FloatRows
    private let patches: Int

    /// Buffers for images of `patches` features.
    ///
    /// - Throws: `adapter_mismatch` when the adapter has fewer slots than the image has patches.
    public init(adapter: Adapter, patches: Int) throws(Failure) {
        let c = adapter.configuration
        guard patches >= 1, patches <= c.slots else {
            throw Failure(
                .adapterMismatch, "adapter", "has \(c.slots) memory rows for \(patches) patches",
                hint: "Use an adapter that was trained for this vision encoder.")
        }
        self.adapter = adapter
        self.patches = patches
        input = ProductInput(precision: adapter.precision, capacity: patches, columns: c.features)
        hidden = FloatRows(capacity: patches, columns: c.hidden)
        hiddenInput = ProductInput(precision: adapter.precision, capacity: patches, columns: c.hidden)
        projected = FloatRows(capacity: patches, columns: c.width)
    }

    /// The memory of an image: keys V + E₁ and values s · (V + E₂), V = λ · fc2(SiLU(fc1(features))), zero rows beyond
    /// the patches.
    ///
    /// - Parameter features: [patches, features]; nil for no image, which leaves E₁ and E₂ alone.
    /// - Throws: `internal_error` never in practice: shapes were checked when the adapter was made.
    public func memory(of features: FloatRows?, compute: Compute) throws(Failure) -> FeedForwardMemory {
        let c = adapter.configuration
        var keys = adapter.e1  // [slots, width]
        var values = [Float](repeating: 0, count: c.slots * c.width)  // [width, slots]: transposed for the kernels
        var visual = [Float](repeating: 0, count: c.slots * c.width)  // V [slots, width]
        if let features {
            project(features, compute: compute)
            let projected = projected
            for patch in 0..<patches {
                let row = projected.row(patch)
                for column in 0..<c.width { visual[patch * c.width + column] = c.lambda * row[column] }
            }
        }
        for slot in 0..<c.slots {
            for column in 0..<c.width {
                let v = visual[slot * c.width + column]
                keys[slot * c.width + column] += v
                values[column * c.slots + slot] = c.scale * (v + adapter.e2[slot * c.width + column])
            }
        }
        return FeedForwardMemory(
            keys: try WeightMatrix(
                name: "memory keys", precision: adapter.precision, rows: c.slots, columns: c.width, values: keys.span),
            values: try WeightMatrix(
                name: "memory values", precision: adapter.precision, rows: c.width, columns: c.slots,
                values: values.span))
    }

    /// projected = fc2(SiLU(fc1(features)))
    private func project(_ features: FloatRows, compute: Compute) {
        compute.load(input, from: features, rows: patches)
        compute.multiply(input, adapter.fc1, into: hidden, epilogue: Compute.Epilogue(bias: adapter.fc1Bias))
        compute.silu(hidden, rows: patches)
        compute.load(hiddenInput, from: hidden, rows: patches)
        compute.multiply(hiddenInput, adapter.fc2, into: projected, epilogue: Compute.Epilogue(bias: adapter.fc2Bias))
    }
}
