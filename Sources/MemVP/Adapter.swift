// A MemVP adapter (arXiv 2405.05615): the projector that turns patch features into memory rows, and the learned E₁ and E₂.
//
//     V = λ · fc2( SiLU( fc1( features ) ) )        keys = V + E₁        values = s · (V + E₂)
//
// For comparison V + E₁ may also stand in the input sequence (`Prompting`).
// Adapters are stored in float32 and quantised here, so one file serves int8 and float32 bundles alike.

public import Diagnostics
public import Tensor
public import Vision

/// The trainable part of MemVP, for one base model.
public struct Adapter: @unchecked Sendable {
    // @unchecked: biases and embeddings are `AlignedStorage`, written before the value is shared and never after.

    /// Shapes and constants of an adapter.
    public struct Configuration: Sendable, Equatable {
        /// Width of an image feature.
        public var features: Int
        /// Hidden width of the projector.
        public var hidden: Int
        /// Width of the language model.
        public var width: Int
        /// Rows of V: memory rows, or image tokens.
        public var slots: Int
        /// λ: scales the projected features.
        public var lambda: Float
        /// s: scales the memory's contribution; without meaning for image tokens.
        public var scale: Float
        /// Where the image goes.
        public var prompting: Prompting
        /// What of the encoder the features are.
        public var layers: FeatureLayers

        /// Shapes and constants; `Adapter.init` checks them.
        public init(
            features: Int, hidden: Int, width: Int, slots: Int, lambda: Float, scale: Float,
            prompting: Prompting = .memory, layers: FeatureLayers = .result
        ) {
            self.features = features
            self.hidden = hidden
            self.width = width
            self.slots = slots
            self.lambda = lambda
            self.scale = scale
            self.prompting = prompting
            self.layers = layers
        }

        /// Names and shapes of the trained tensors, in the order of adapter files.
        var shapes: [(name: String, shape: [Int])] {
            [
                ("fc1.weight", [hidden, features]), ("fc1.bias", [hidden]), ("fc2.weight", [width, hidden]),
                ("fc2.bias", [width]), ("e1", [slots, width]),
            ] + (prompting == .memory ? [("e2", [slots, width])] : [])
        }
    }

    /// Row-major float32 tensors as trained.
    public struct Tensors: Sendable {
        /// [hidden, features]
        public var fc1Weight: [Float]
        /// [hidden]
        public var fc1Bias: [Float]
        /// [width, hidden]
        public var fc2Weight: [Float]
        /// [width]
        public var fc2Bias: [Float]
        /// [slots, width]
        public var e1: [Float]
        /// [slots, width]; nil for image tokens.
        public var e2: [Float]?

        /// What stands beside the vision encoder's MLPs, if anything.
        public var vision: VisionTensors?

        /// The tensors of an adapter, and those beside the vision encoder.
        public init(
            fc1Weight: [Float], fc1Bias: [Float], fc2Weight: [Float], fc2Bias: [Float], e1: [Float], e2: [Float]?,
            vision: VisionTensors? = nil
        ) {
            self.fc1Weight = fc1Weight
            self.fc1Bias = fc1Bias
            self.fc2Weight = fc2Weight
            self.fc2Bias = fc2Bias
            self.e1 = e1
            self.e2 = e2
            self.vision = vision
        }

        /// The tensors that are there, in the order of adapter files.
        var named: [(name: String, values: [Float])] {
            [
                ("fc1.weight", fc1Weight), ("fc1.bias", fc1Bias), ("fc2.weight", fc2Weight), ("fc2.bias", fc2Bias),
                ("e1", e1),
            ] + (e2.map { [("e2", $0)] } ?? [])
        }
    }

    /// Adapters beside the MLPs of a vision transformer: + scale · fc2(GELU(fc1(n))).
    public struct VisionTensors: Sendable {
        /// Inner width.
        public var rank: Int
        /// What the contribution is multiplied by.
        public var scale: Float
        /// For each block, [rank, features].
        public var fc1: [[Float]]
        /// For each block, [features, rank].
        public var fc2: [[Float]]

        /// The matrices of all blocks.
        public init(rank: Int, scale: Float, fc1: [[Float]], fc2: [[Float]]) {
            self.rank = rank
            self.scale = scale
            self.fc1 = fc1
            self.fc2 = fc2
        }

        /// Packs them for an encoder of `width` features.
        ///
        /// - Throws: `model_invalid` when sizes do not fit or a value is not finite.
        public func packed(width: Int, precision: Precision) throws(Failure) -> CLIPAdapters {
            guard abs(scale) <= Adapter.largestConstant, (fc1 + fc2).allSatisfy({ $0.allSatisfy(\.isFinite) }) else {
                throw Failure(.modelInvalid, "vision adapter", "holds a value that is not finite or too large")
            }
            return try CLIPAdapters(rank: rank, width: width, fc1: fc1, fc2: fc2, scale: scale, precision: precision)
        }
    }

    /// λ and s at most, far beyond what anybody trains: greater ones make infinities of features.
    public static let largestConstant: Float = 1e6

    /// The adapter's shapes and constants.
    public let configuration: Configuration
    /// The arithmetic of its products.
    public let precision: Precision

    let fc1: WeightMatrix  // [hidden, features]
    let fc1Bias: AlignedStorage<Float>  // [hidden]
    let fc2: WeightMatrix  // [width, hidden]
    let fc2Bias: AlignedStorage<Float>  // [width]
    let e1: [Float]  // [slots, width]
    let e2: [Float]?  // [slots, width], with prompting by memory
    /// What stands beside the vision encoder's MLPs; nil where the adapter takes its features as they are.
    public let vision: CLIPAdapters?

    /// Packs an adapter for the arithmetic of its base.
    ///
    /// - Throws: `model_invalid` when the tensors or their sizes do not fit the configuration or a value is not finite.
    public init(_ configuration: Configuration, tensors: Tensors, precision: Precision) throws(Failure) {
        let c = configuration
        guard (1...65_536).contains(c.features), (1...65_536).contains(c.hidden), (1...65_536).contains(c.width),
            (1...4_096).contains(c.slots), c.layers.blocks.allSatisfy(\.factor.isFinite)
        else { throw Failure(.modelInvalid, "adapter", "has a shape or a constant out of range") }
        for (name, value) in [("λ", c.lambda), ("s", c.scale)] where !(abs(value) <= Adapter.largestConstant) {
            throw Failure(
                .modelInvalid, "adapter", "has \(value) for \(name)",
                hint: "Numbers up to \(Int(Adapter.largestConstant)) are supported; 0.01 and 0.1 are usual.")
        }
        guard (tensors.e2 != nil) == (c.prompting == .memory) else {
            throw Failure(.modelInvalid, "tensor e2", "belongs to prompting by memory, and to that alone")
        }
        for ((name, values), (_, shape)) in zip(tensors.named, c.shapes) {
            let count = shape.reduce(1, *)
            guard values.count == count else {
                throw Failure(.modelInvalid, "tensor \(name)", "has \(values.count) values where \(count) are needed")
            }
            guard values.allSatisfy(\.isFinite) else {
                throw Failure(.modelInvalid, "tensor \(name)", "holds a value that is not finite")
            }
        }
        self.configuration = c
        self.precision = precision
        fc1 = try WeightMatrix(
            name: "fc1.weight", precision: precision, rows: c.hidden, columns: c.features,
            values: tensors.fc1Weight.span)
        fc2 = try WeightMatrix(
            name: "fc2.weight", precision: precision, rows: c.width, columns: c.hidden, values: tensors.fc2Weight.span)
        fc1Bias = AlignedStorage(tensors.fc1Bias)
        fc2Bias = AlignedStorage(tensors.fc2Bias)
        e1 = tensors.e1
        e2 = tensors.e2
        vision = try tensors.vision.map { v throws(Failure) in try v.packed(width: c.features, precision: precision) }
    }
}
