// From patch features to what the decoder sees of an image and back, in float32:
//
//     V = λ · fc2( SiLU( fc1( features ) ) )        keys = V + E₁        values = s · (V + E₂)        image tokens = V + E₁
//
// Serving rounds finished memory rows to int8; the bank does the same, and gradients pass straight through.

internal import MemVP
internal import Tensor

/// Builds the images of a batch and takes their gradients back to the adapter's parameters.
final class ProjectorGradient {
    private let adapter: TrainableAdapter
    private let compute: Compute
    private let patches: Int
    /// Features of the batch's images. [capacity · patches, features]
    let features: FloatRows

    private let fc1Transposed: FloatRows  // [features, hidden]
    private let fc2Transposed: FloatRows  // [hidden, width]
    private let z: FloatRows  // fc1(features) [capacity · patches, hidden]
    private let g: FloatRows  // SiLU(z) [capacity · patches, hidden]
    private let projected: FloatRows  // fc2(g), then its gradient [capacity · patches, width]
    private let dz: FloatRows  // [capacity · patches, hidden]
    /// ∂L/∂features of the last batch, where they are not frozen. [capacity · patches, features]
    let featureGradients: FloatRows?
    private let one = ProductList(capacity: 4)
    /// Which entries of the last batch have an image.
    private var shown: [Bool] = []

    /// Room for `capacity` images of `patches` features.
    ///
    /// - Parameter gradientOfFeatures: whether the features' gradient is wanted too.
    init(adapter: TrainableAdapter, compute: Compute, capacity: Int, patches: Int, gradientOfFeatures: Bool) {
        let c = adapter.configuration
        self.adapter = adapter
        self.compute = compute
        self.patches = patches
        features = FloatRows(capacity: capacity * patches, columns: c.features)
        fc1Transposed = FloatRows(capacity: c.features, columns: c.hidden)
        fc2Transposed = FloatRows(capacity: c.hidden, columns: c.width)
        z = FloatRows(capacity: capacity * patches, columns: c.hidden)
        g = FloatRows(capacity: capacity * patches, columns: c.hidden)
        projected = FloatRows(capacity: capacity * patches, columns: c.width)
        dz = FloatRows(capacity: capacity * patches, columns: c.hidden)
        featureGradients =
            gradientOfFeatures ? FloatRows(capacity: capacity * patches, columns: c.features) : nil
    }

    /// Fills the first `shown.count` entries of `images` from `features`; where `shown` is false V = 0 and E₁, E₂ stay.
    func forward(shown: [Bool], images: VisualBank, rounded: Bool) {
        let c = adapter.configuration
        let rows = shown.count * patches
        self.shown = shown
        compute.transpose(adapter.fc1Weight.rows, rows: c.hidden, into: fc1Transposed)
        compute.transpose(adapter.fc2Weight.rows, rows: c.width, into: fc2Transposed)
        compute.clear(z, rows: rows)
        compute.addRow(adapter.fc1Bias.rows, to: z, rows: rows)
        run { $0.append(z, a: features, b: fc1Transposed, m: rows, k: c.features, accumulate: true) }
        compute.silu(z, rows: rows, into: g)
        compute.clear(projected, rows: rows)
        compute.addRow(adapter.fc2Bias.rows, to: projected, rows: rows)
        run { $0.append(projected, a: g, b: fc2Transposed, m: rows, k: c.hidden, accumulate: true) }
        for (embedding, projection) in zip(adapter.embeddings, images.projections) {
            join(embedding, into: projection.rows)
        }
        images.finish(shown.count, rounded: rounded, compute: compute)
    }

    /// rows = f · (V + E) for every entry
    private func join(_ embedding: (parameter: Parameter, factor: Float), into rows: FloatRows) {
        let c = adapter.configuration
        compute.clear(rows, rows: shown.count * c.slots)
        for (entry, isShown) in shown.enumerated() {
            let first = entry * c.slots
            compute.add(embedding.parameter.rows, row: 0, rows: c.slots, times: embedding.factor, to: rows, at: first)
            guard isShown else { continue }
            compute.add(
                projected, row: entry * patches, rows: patches, times: c.lambda * embedding.factor, to: rows, at: first)
        }
    }

    /// Adds the gradients of the last batch's images to those of the parameters.
    func backward(_ images: VisualBank) {
        let c = adapter.configuration
        let rows = shown.count * patches
        compute.clear(projected, rows: rows)
        for (embedding, projection) in zip(adapter.embeddings, images.projections) {
            part(projection.gradients, into: embedding)
        }
        compute.addSum(of: projected, row: 0, rows: rows, times: 1, to: adapter.fc2Bias.gradient)
        run {
            $0.append(
                adapter.fc2Weight.gradient, a: projected, transposed: true, b: g, m: c.width, k: rows, accumulate: true)
            $0.append(dz, a: projected, b: adapter.fc2Weight.rows, m: rows, k: c.width)
        }
        compute.siluGradient(z, rows: rows, gradient: dz)
        compute.addSum(of: dz, row: 0, rows: rows, times: 1, to: adapter.fc1Bias.gradient)
        run {
            $0.append(
                adapter.fc1Weight.gradient, a: dz, transposed: true, b: features, m: c.hidden, k: rows, accumulate: true
            )
            if let featureGradients {
                $0.append(featureGradients, a: dz, b: adapter.fc1Weight.rows, m: rows, k: c.hidden)
            }
        }
    }

    /// From rows = f · (V + E), V = λ · projected: dE += f · d, d projected += λ f · d
    private func part(_ gradients: FloatRows, into embedding: (parameter: Parameter, factor: Float)) {
        let c = adapter.configuration
        for (entry, isShown) in shown.enumerated() {
            let first = entry * c.slots
            compute.add(
                gradients, row: first, rows: c.slots, times: embedding.factor, to: embedding.parameter.gradient, at: 0)
            guard isShown else { continue }
            compute.add(
                gradients, row: first, rows: patches, times: c.lambda * embedding.factor, to: projected,
                at: entry * patches)
        }
    }

    private func run(_ build: (ProductList) -> Void) {
        one.removeAll()
        build(one)
        compute.run(one)
    }
}
