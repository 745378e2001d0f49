// The projector's backward pass against finite differences of its forward pass, and its forward pass against serving's.

import MemVP
import Tensor
import Testing

@testable import FineTuning

@Suite("Gradients through the projector")
struct ProjectorGradientTests {
    private static let patches = 3
    private static let shape = Adapter.Configuration(
        features: 20, hidden: 24, width: 40, slots: 5, lambda: 0.3, scale: 0.7)
    /// The second image is not seen.
    private static let shown = [true, false, true]

    private let compute: Compute
    private let bank = MemoryBank(capacity: 3, slots: shape.slots, width: shape.width)
    private let features: [[Float]]
    private let tensors: Adapter.Tensors

    init() throws {
        compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 2)
        var random = TrainingRandom(seed: 5)
        func values(_ count: Int, _ deviation: Double = 0.3) -> [Float] {
            (0..<count).map { _ in Float(deviation * random.normal()) }
        }
        let c = Self.shape
        features = (0..<3 * Self.patches).map { _ in values(c.features, 1) }
        tensors = Adapter.Tensors(
            fc1Weight: values(c.hidden * c.features), fc1Bias: values(c.hidden), fc2Weight: values(c.width * c.hidden),
            fc2Bias: values(c.width), e1: values(c.slots * c.width), e2: values(c.slots * c.width))
    }

    private func projector(_ adapter: TrainableAdapter) -> ProjectorGradient {
        let projector = ProjectorGradient(
            adapter: adapter, compute: compute, capacity: 3, patches: Self.patches, gradientOfFeatures: false)
        for (row, values) in features.enumerated() { projector.features.setRow(row, values.span) }
        return projector
    }

    private func rows(_ rows: FloatRows) -> [Float] { TinyDecoder.array(rows, 3 * Self.shape.slots) }

    @Test("every parameter's gradient equals finite differences, over seen and unseen images")
    func finiteDifferences() throws {
        let adapter = TrainableAdapter(Self.shape, tensors: tensors, freezesVision: true)
        let projector = projector(adapter)
        projector.forward(shown: Self.shown, bank: bank, rounded: false)
        // The loss is a fixed mixture of all memory rows.
        var random = TrainingRandom(seed: 6)
        for gradients in [bank.keyGradients, bank.valueGradients] {
            for row in 0..<3 * Self.shape.slots {
                let values = (0..<Self.shape.width).map { _ in Float(random.normal()) }
                gradients.setRow(row, values.span)
            }
        }
        let mixture = rows(bank.keyGradients) + rows(bank.valueGradients)
        projector.backward(bank)
        for parameter in adapter.parameters {
            let direction = parameter.values.map { _ in Float(random.normal()) }
            let analytic = zip(parameter.gradientValues(), direction).reduce(0.0) {
                $0 + Double($1.0) * Double($1.1)
            }
            let old = parameter.values
            func loss(_ step: Float) -> Double {
                parameter.restore(
                    values: zip(old, direction).map { $0 + step * $1 }, moments: AdamWMoments(count: old.count))
                projector.forward(shown: Self.shown, bank: bank, rounded: false)
                return zip(rows(bank.keys) + rows(bank.values), mixture).reduce(0.0) {
                    $0 + Double($1.0) * Double($1.1)
                }
            }
            let step: Float = 1e-2
            let numeric = (loss(step) - loss(-step)) / Double(2 * step)
            parameter.restore(values: old, moments: AdamWMoments(count: old.count))
            #expect(abs(numeric - analytic) <= 5e-3 * max(1, abs(analytic)), "\(parameter.name)")
        }
    }

    @Test("memories are those that serving makes, rounded as it packs them; unseen, E₁ and E₂ alone")
    func serving() throws {
        let c = Self.shape
        let projector = projector(TrainableAdapter(c, tensors: tensors, freezesVision: true))
        let serving = try VisualProjector(
            adapter: Adapter(c, tensors: tensors, precision: .float32), patches: Self.patches)
        for rounded in [false, true] {
            projector.forward(shown: Self.shown, bank: bank, rounded: rounded)
            for (entry, isShown) in Self.shown.enumerated() {
                let photo = FloatRows(capacity: Self.patches, columns: c.features)
                for patch in 0..<Self.patches {
                    let values = features[entry * Self.patches + patch]
                    photo.setRow(patch, values.span)
                }
                let memory = try serving.memory(of: isShown ? photo : nil, compute: compute)
                let keys = try served(memory.keys, rounded: rounded)
                let values = try served(memory.values, rounded: rounded)
                for slot in 0..<c.slots {
                    let row = entry * c.slots + slot
                    #expect(TinyDecoder.distance(bank.keys.array(row: row), keys[slot]) < 1e-5)
                    #expect(TinyDecoder.distance(bank.values.array(row: row), values.map { $0[slot] }) < 1e-5)
                }
            }
        }
    }

    /// The rows of a memory's matrix, through int8 where `rounded`.
    private func served(_ matrix: WeightMatrix, rounded: Bool) throws -> [[Float]] {
        func rows(_ matrix: WeightMatrix) -> [[Float]] {
            let row = FloatRows(capacity: 1, columns: matrix.columns)
            return (0..<matrix.rows).map {
                compute.row($0, of: matrix, into: row, outputRow: 0)
                return row.array(row: 0)
            }
        }
        guard rounded else { return rows(matrix) }
        let values = rows(matrix).flatMap { $0 }
        return rows(
            try WeightMatrix(
                name: "rounded", precision: .int8, rows: matrix.rows, columns: matrix.columns, values: values.span))
    }
}
