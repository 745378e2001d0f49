// From patch features to what the language model sees of an image: built once an image and adapter, then used by every task
// on that image.

public import Diagnostics
public import Tensor

/// Projects features into visual prompts; one a worker, its buffers reused.
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
                .adapterMismatch, "adapter", "has \(c.slots) slots for \(patches) patches",
                hint: "Use an adapter that was trained for this vision encoder.")
        }
        self.adapter = adapter
        self.patches = patches
        input = ProductInput(precision: adapter.precision, capacity: patches, columns: c.features)
        hidden = FloatRows(capacity: patches, columns: c.hidden)
        hiddenInput = ProductInput(precision: adapter.precision, capacity: patches, columns: c.hidden)
        projected = FloatRows(capacity: patches, columns: c.width)
    }

    /// An image as the adapter shows it: V = λ · fc2(SiLU(fc1(features))), zero rows beyond the patches, joined with E₁ and E₂.
    ///
    /// - Parameter features: [patches, features]; nil for no image, which leaves E₁ and E₂ alone.
    /// - Throws: `model_invalid` never in practice: shapes were checked when the adapter was made.
    public func visualPrompt(of features: FloatRows?, compute: Compute) throws(Failure) -> VisualPrompt {
        let visual = visual(features, compute: compute)
        guard let e2 = adapter.e2 else { return .tokens(tokens(visual)) }
        return .memory(try memory(visual, e2))
    }

    /// V. [slots, width]
    private func visual(_ features: FloatRows?, compute: Compute) -> [Float] {
        let c = adapter.configuration
        var visual = [Float](repeating: 0, count: c.slots * c.width)
        guard let features else { return visual }
        project(features, compute: compute)
        let projected = projected
        for patch in 0..<patches {
            let row = projected.row(patch)
            for column in 0..<c.width { visual[patch * c.width + column] = c.lambda * row[column] }
        }
        return visual
    }

    /// V + E₁ as rows of x₀. [slots, width]
    private func tokens(_ visual: [Float]) -> FloatRows {
        let c = adapter.configuration
        let rows = FloatRows(capacity: c.slots, columns: c.width)
        for slot in 0..<c.slots {
            let row = (slot * c.width..<(slot + 1) * c.width).map { visual[$0] + adapter.e1[$0] }
            rows.setRow(slot, row.span)
        }
        return rows
    }

    /// Keys V + E₁ and values s · (V + E₂).
    private func memory(_ visual: [Float], _ e2: [Float]) throws(Failure) -> FeedForwardMemory {
        let c = adapter.configuration
        var keys = adapter.e1  // [slots, width]
        var values = [Float](repeating: 0, count: c.slots * c.width)  // [width, slots]: transposed for the kernels
        for slot in 0..<c.slots {
            for column in 0..<c.width {
                let v = visual[slot * c.width + column]
                keys[slot * c.width + column] += v
                values[column * c.slots + slot] = c.scale * (v + e2[slot * c.width + column])
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
