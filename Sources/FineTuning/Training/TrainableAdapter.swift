// The trained part of MemVP as parameters: float32 masters with their gradients and moments.

internal import Diagnostics
internal import MemVP
internal import Tensor
internal import Vision

/// One trained tensor.
final class Parameter {
    /// Its name in adapter files and checkpoints.
    let name: String
    /// Its shape; one dimension for biases, which do not decay.
    let shape: [Int]
    /// The values, row-major.
    private(set) var values: [Float]
    /// The moments of AdamW.
    private(set) var moments: AdamWMoments
    /// The running mean of the values; empty where there is none.
    private(set) var average: [Float] = []
    /// The values where kernels read them. [rows, columns]
    let rows: FloatRows
    /// ∂L/∂values. [rows, columns]
    let gradient: FloatRows

    private var height: Int { shape.count == 1 ? 1 : shape[0] }
    private var width: Int { shape[shape.count - 1] }

    init(name: String, shape: [Int], values: [Float]) {
        precondition(values.count == shape.reduce(1, *) && (1...2).contains(shape.count))
        self.name = name
        self.shape = shape
        self.values = values
        moments = AdamWMoments(count: values.count)
        rows = FloatRows(capacity: shape.count == 1 ? 1 : shape[0], columns: shape[shape.count - 1])
        gradient = FloatRows(capacity: shape.count == 1 ? 1 : shape[0], columns: shape[shape.count - 1])
        publish()
    }

    /// ∂L/∂values, row-major.
    func gradientValues() -> [Float] { (0..<height).flatMap { gradient.array(row: $0) } }

    /// Restores values, moments and mean from a checkpoint; the counts were checked.
    func restore(values: [Float], moments: AdamWMoments, average: [Float] = []) {
        self.values = values
        self.moments = moments
        self.average = average
        publish()
    }

    /// One step of AdamW on `gradient`, which is clipped already.
    func step(_ adamW: AdamWConfiguration, gradient: [Float], step: Int, learningRate: Float) {
        adamW.update(
            &values, gradient: gradient, moments: &moments, step: step, learningRate: learningRate,
            decays: shape.count > 1)
        publish()
    }

    /// mean ← d · mean + (1 − d) · values; the first time, the mean is the values.
    func average(decay: Float) {
        guard !average.isEmpty else {
            average = values
            return
        }
        for index in values.indices { average[index] += (1 - decay) * (values[index] - average[index]) }
    }

    /// Puts the mean, if there is one, in the values' place, and the values in the mean's.
    func exchangeAverage() {
        guard !average.isEmpty else { return }
        swap(&values, &average)
        publish()
    }

    private func publish() {
        let (width, stride) = (width, rows.stride)
        rows.storage.withMutableSpan { span in
            for index in values.indices { span[index / width * stride + index % width] = values[index] }
        }
    }
}

/// All parameters of an adapter in training.
final class TrainableAdapter {
    let configuration: Adapter.Configuration
    let fc1Weight: Parameter  // [hidden, features]
    let fc1Bias: Parameter  // [hidden]
    let fc2Weight: Parameter  // [width, hidden]
    let fc2Bias: Parameter  // [width]
    let e1: Parameter  // [slots, width]
    let e2: Parameter?  // [slots, width], with prompting by memory

    /// What stands beside the vision encoder's MLPs, if anything.
    let vision: VisionParameters?
    /// Whether `vision` stays as it is.
    let freezesVision: Bool

    /// What is trained, in the order of adapter files.
    var parameters: [Parameter] {
        [fc1Weight, fc1Bias, fc2Weight, fc2Bias] + embeddings.map(\.parameter)
            + (freezesVision ? [] : vision?.parameters ?? [])
    }

    /// Whether `parameter` is one of the projector's, which may have a learning rate of its own.
    func isOfProjector(_ parameter: Parameter) -> Bool {
        [fc1Weight, fc1Bias, fc2Weight, fc2Bias].contains { $0 === parameter }
    }

    /// What the parameters are nothing without, as text: shapes, λ, s, what is read of the encoder, and what stands beside it frozen.
    var constants: String {
        let c = configuration
        let numbers = [c.features, c.hidden, c.width, c.slots].map { "\($0)" } + ["\(c.lambda)", "\(c.scale)"]
        let blocks = c.layers.blocks.map { "\($0.index) \($0.factor)" }
        let beside = vision.map { freezesVision ? Self.hash($0) : "\($0.rank) \($0.scale)" } ?? ""
        return (numbers + [c.prompting.rawValue] + blocks + [beside]).joined(separator: ";")
    }

    private static func hash(_ vision: VisionParameters) -> String {
        var bytes: [UInt8] = []
        for value in [vision.scale] + vision.parameters.flatMap(\.values) {
            bytes += (0..<4).map { UInt8(truncatingIfNeeded: value.bitPattern >> (8 * $0)) }
        }
        return "\(vision.rank) frozen \(ModelBundle.sha256(of: bytes))"
    }

    /// What V is joined with, and the factor of the sum: keys V + E₁ and values s · (V + E₂), or image tokens V + E₁.
    var embeddings: [(parameter: Parameter, factor: Float)] {
        [(e1, 1)] + (e2.map { [($0, configuration.scale)] } ?? [])
    }

    /// Parameters with given values.
    init(_ configuration: Adapter.Configuration, tensors: Adapter.Tensors, freezesVision: Bool) {
        let c = configuration
        self.configuration = c
        fc1Weight = Parameter(name: "fc1.weight", shape: [c.hidden, c.features], values: tensors.fc1Weight)
        fc1Bias = Parameter(name: "fc1.bias", shape: [c.hidden], values: tensors.fc1Bias)
        fc2Weight = Parameter(name: "fc2.weight", shape: [c.width, c.hidden], values: tensors.fc2Weight)
        fc2Bias = Parameter(name: "fc2.bias", shape: [c.width], values: tensors.fc2Bias)
        e1 = Parameter(name: "e1", shape: [c.slots, c.width], values: tensors.e1)
        e2 = tensors.e2.map { Parameter(name: "e2", shape: [c.slots, c.width], values: $0) }
        vision = tensors.vision.map {
            VisionParameters(rank: $0.rank, width: c.features, scale: $0.scale, fc1: $0.fc1, fc2: $0.fc2)
        }
        self.freezesVision = freezesVision
    }

    /// Fresh parameters: Xavier-uniform projections (Glorot and Bengio, 2010), zero biases, E₁ normal with deviation 0.02, E₂
    /// zero; beside `visionBlocks` blocks of an encoder, fc1 Xavier-uniform and fc2 zero, so that the encoder begins as it is.
    convenience init(
        _ configuration: Adapter.Configuration, seed: UInt64, visionBlocks: Int = 0, visionRank: Int = 0
    ) {
        let c = configuration
        var random = TrainingRandom(seed: seed, stream: 0xADA97E2)
        func xavier(_ rows: Int, _ columns: Int) -> [Float] {
            let bound = (6 / Double(rows + columns)).squareRoot()
            return (0..<rows * columns).map { _ in Float(bound * (2 * random.uniform() - 1)) }
        }
        let fc1 = xavier(c.hidden, c.features)
        let fc2 = xavier(c.width, c.hidden)
        let e1 = (0..<c.slots * c.width).map { _ in Float(0.02 * random.normal()) }
        var vision: Adapter.VisionTensors?
        if visionBlocks > 0, visionRank > 0 {
            vision = Adapter.VisionTensors(
                rank: visionRank, scale: 0.1, fc1: (0..<visionBlocks).map { _ in xavier(visionRank, c.features) },
                fc2: [[Float]](repeating: [Float](repeating: 0, count: c.features * visionRank), count: visionBlocks))
        }
        self.init(
            c,
            tensors: Adapter.Tensors(
                fc1Weight: fc1, fc1Bias: [Float](repeating: 0, count: c.hidden), fc2Weight: fc2,
                fc2Bias: [Float](repeating: 0, count: c.width), e1: e1,
                e2: c.prompting == .memory ? [Float](repeating: 0, count: c.slots * c.width) : nil, vision: vision),
            freezesVision: false)
    }

    /// An adapter with rows added up to `slots`: E₁ normal with deviation 0.05 and E₂ zero, so that a memory answers as it did.
    ///
    /// The rows stand behind the patches' own, where V is zero: they are memory of the task alone. Fewer slots change nothing.
    static func widened(
        _ shape: Adapter.Configuration, _ tensors: Adapter.Tensors, slots: Int, seed: UInt64
    ) -> (Adapter.Configuration, Adapter.Tensors) {
        guard slots > shape.slots else { return (shape, tensors) }
        var (shape, tensors) = (shape, tensors)
        let added = (slots - shape.slots) * shape.width
        var random = TrainingRandom(seed: seed, stream: 0x51075)
        tensors.e1 += (0..<added).map { _ in Float(0.05 * random.normal()) }
        tensors.e2? += [Float](repeating: 0, count: added)
        shape.slots = slots
        return (shape, tensors)
    }

    /// Takes the present values into their running mean (Polyak and Juditsky, 1992) after step `step`, counted from 1.
    ///
    /// The decay grows with the steps up to `decay`: the first values would otherwise weigh for long.
    func average(decay: Float, step: Int) {
        guard decay > 0 else { return }
        let grown = min(decay, Float(1 + step) / Float(10 + step))
        for parameter in parameters { parameter.average(decay: grown) }
    }

    /// Does `body` with the mean, if there is one, in the place of the values.
    func withAverage<Result>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
        for parameter in parameters { parameter.exchangeAverage() }
        defer { for parameter in parameters { parameter.exchangeAverage() } }
        return try body()
    }

    /// Whether all parameters, and their means, are numbers.
    var isFinite: Bool {
        parameters.allSatisfy { $0.values.allSatisfy(\.isFinite) && $0.average.allSatisfy(\.isFinite) }
    }

    /// The present values.
    var tensors: Adapter.Tensors {
        Adapter.Tensors(
            fc1Weight: fc1Weight.values, fc1Bias: fc1Bias.values, fc2Weight: fc2Weight.values, fc2Bias: fc2Bias.values,
            e1: e1.values, e2: e2?.values,
            vision: vision.map {
                Adapter.VisionTensors(
                    rank: $0.rank, scale: $0.scale, fc1: $0.fc1.map(\.values), fc2: $0.fc2.map(\.values))
            })
    }
}
