// The projector's backward pass against finite differences of its forward pass, and its forward pass against serving's.

import MemVP
import Tensor
import Testing

@testable import FineTuning

@Suite("Gradients through the projector")
struct ProjectorGradientTests {
    private static let patches = 3
    private static let slots = 5
    /// The second image is not seen.
    private static let shown = [true, false, true]

    private let compute: Compute
    private let features: [[Float]]
    private let tensors: Adapter.Tensors

    init() throws {
        compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 2)
        var random = TrainingRandom(seed: 5)
        func values(_ count: Int, _ deviation: Double = 0.3) -> [Float] {
            (0..<count).map { _ in Float(deviation * random.normal()) }
        }
        let c = Self.shape(.memory)
        features = (0..<3 * Self.patches).map { _ in values(c.features, 1) }
        tensors = Adapter.Tensors(
            fc1Weight: values(c.hidden * c.features), fc1Bias: values(c.hidden), fc2Weight: values(c.width * c.hidden),
            fc2Bias: values(c.width), e1: values(c.slots * c.width), e2: values(c.slots * c.width))
    }

    private static func shape(_ prompting: Adapter.Prompting) -> Adapter.Configuration {
        Adapter.Configuration(
            features: 20, hidden: 24, width: 40, slots: slots, lambda: 0.3, scale: 0.7, prompting: prompting)
    }

    private func tensors(_ prompting: Adapter.Prompting) -> Adapter.Tensors {
        var tensors = tensors
        if prompting == .input { tensors.e2 = nil }
        return tensors
    }

    private func projector(_ adapter: TrainableAdapter) -> ProjectorGradient {
        let projector = ProjectorGradient(
            adapter: adapter, compute: compute, capacity: 3, patches: Self.patches, gradientOfFeatures: false)
        for (row, values) in features.enumerated() { projector.features.setRow(row, values.span) }
        return projector
    }

    private func rows(_ rows: FloatRows) -> [Float] { TinyDecoder.array(rows, 3 * Self.slots) }

    @Test(
        "every parameter's gradient equals finite differences, over seen and unseen images",
        arguments: zip(Adapter.Prompting.allCases, [6, 5]))
    func finiteDifferences(prompting: Adapter.Prompting, parameters: Int) throws {
        let shape = Self.shape(prompting)
        let adapter = TrainableAdapter(shape, tensors: tensors(prompting), freezesVision: true)
        #expect(adapter.parameters.count == parameters)
        let projector = projector(adapter)
        let images = VisualBank(shape, capacity: 3)
        projector.forward(shown: Self.shown, images: images, rounded: false)
        // The loss is a fixed mixture of all rows.
        var random = TrainingRandom(seed: 6)
        for (_, gradients) in images.projections {
            for row in 0..<3 * Self.slots {
                let values = (0..<shape.width).map { _ in Float(random.normal()) }
                gradients.setRow(row, values.span)
            }
        }
        let mixture = images.projections.flatMap { rows($0.gradients) }
        projector.backward(images)
        for parameter in adapter.parameters {
            let direction = parameter.values.map { _ in Float(random.normal()) }
            let analytic = zip(parameter.gradientValues(), direction).reduce(0.0) {
                $0 + Double($1.0) * Double($1.1)
            }
            let old = parameter.values
            func loss(_ step: Float) -> Double {
                parameter.restore(
                    values: zip(old, direction).map { $0 + step * $1 }, moments: AdamWMoments(count: old.count))
                projector.forward(shown: Self.shown, images: images, rounded: false)
                return zip(images.projections.flatMap { rows($0.rows) }, mixture).reduce(0.0) {
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
        let c = Self.shape(.memory)
        let bank = MemoryBank(capacity: 3, slots: c.slots, width: c.width)
        let projector = projector(TrainableAdapter(c, tensors: tensors, freezesVision: true))
        let serving = try VisualProjector(
            adapter: Adapter(c, tensors: tensors, precision: .float32), patches: Self.patches)
        for rounded in [false, true] {
            projector.forward(shown: Self.shown, images: .memory(bank), rounded: rounded)
            for (entry, isShown) in Self.shown.enumerated() {
                let image = try serving.visualPrompt(of: isShown ? photo(entry) : nil, compute: compute)
                let memory = try #require(image.memory)
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

    @Test("image tokens are those that serving puts before the prompt, never rounded; unseen, E₁ alone")
    func servingTokens() throws {
        let c = Self.shape(.input)
        let bank = ImageTokenBank(capacity: 3, slots: c.slots, width: c.width)
        let projector = projector(TrainableAdapter(c, tensors: tensors(.input), freezesVision: true))
        let serving = try VisualProjector(
            adapter: Adapter(c, tensors: tensors(.input), precision: .float32), patches: Self.patches)
        projector.forward(shown: Self.shown, images: .tokens(bank), rounded: true)
        for (entry, isShown) in Self.shown.enumerated() {
            let image = try serving.visualPrompt(of: isShown ? photo(entry) : nil, compute: compute)
            #expect(image.memory == nil)
            let inputs = VisualPrompt.inputs(image, before: [7])
            #expect(inputs.count == c.slots + 1)
            for (slot, input) in inputs.prefix(c.slots).enumerated() {
                guard case .embedding(let rows, let row) = input else {
                    Issue.record("slot \(slot) is a token")
                    continue
                }
                let found = bank.rows.array(row: entry * c.slots + slot)
                #expect(TinyDecoder.distance(found, rows.array(row: row)) < 1e-5)
                if !isShown { #expect(found == Array(tensors.e1[slot * c.width..<(slot + 1) * c.width])) }
            }
        }
    }

    private func photo(_ entry: Int) -> FloatRows {
        let photo = FloatRows(capacity: Self.patches, columns: 20)
        for patch in 0..<Self.patches {
            let values = features[entry * Self.patches + patch]
            photo.setRow(patch, values.span)
        }
        return photo
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
