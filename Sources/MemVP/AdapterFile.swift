// Adapters as GGUF files: float32 tensors, the constants, and the identity of the base they were trained for.

public import Diagnostics
public import ModelFile
internal import Tensor
internal import Vision

/// Which base model an adapter belongs to: the hashes of the files that the base was converted from, so that the int8
/// bundle and its float32 twin are the same base.
public struct BaseIdentity: Sendable, Equatable {
    /// SHA-256 of the language model's source file.
    public let language: String
    /// SHA-256 of the vision encoder's source file.
    public let vision: String

    /// Reads the identities from a bundle's two files.
    ///
    /// - Throws: `model_invalid` when a file does not say what it was made from.
    public init(language: GGUFFile, vision: GGUFFile) throws(Failure) {
        self.language = try language.string("memvpd.source.sha256")
        self.vision = try vision.string("memvpd.source.sha256")
    }

    init(language: String, vision: String) {
        self.language = language
        self.vision = vision
    }
}

/// Reading and writing of adapter files.
public enum AdapterFile {
    static let architecture = "memvpd-adapter"

    /// Names and shapes of what stands beside the vision encoder's blocks, in the order of the file.
    private static func visionShapes(blocks: Int, rank: Int, _ c: Adapter.Configuration) -> [(
        name: String, shape: [Int]
    )] {
        (0..<blocks).flatMap { block in
            [
                ("vision.blk.\(block).fc1.weight", [rank, c.features]),
                ("vision.blk.\(block).fc2.weight", [c.features, rank]),
            ]
        }
    }

    /// Reads an adapter for a base.
    ///
    /// - Throws: `adapter_mismatch` when it was trained for another base; `model_invalid`, `model_unsupported`.
    static func read(path: String, precision: Precision, base: BaseIdentity) throws(Failure) -> Adapter {
        let (configuration, tensors) = try tensors(path: path, base: base)
        do {
            return try Adapter(configuration, tensors: tensors, precision: precision)
        } catch { throw error.about(path) }
    }

    /// Reads an adapter's constants and row-major tensors, to go on training.
    ///
    /// - Throws: as `read`.
    public static func tensors(
        path: String, base: BaseIdentity
    ) throws(Failure) -> (Adapter.Configuration, Adapter.Tensors) {
        let file = try GGUFFile(path: path)
        let found = try file.string("general.architecture")
        guard found == architecture else {
            throw Failure(
                .modelUnsupported, path, "has the architecture \(found)",
                hint: "Adapters are made by `memvp convert adapter`.")
        }
        let trainedFor = BaseIdentity(
            language: try file.string("memvp.base.language.sha256"), vision: try file.string("memvp.base.vision.sha256")
        )
        guard trainedFor == base else {
            let part = trainedFor.language == base.language ? "vision encoder" : "language model"
            let hash = trainedFor.language == base.language ? trainedFor.vision : trainedFor.language
            throw Failure(
                .adapterMismatch, path, "was trained for another base model: another \(part)",
                hint: "Use an adapter of this base, or the base it was trained for (\(part) of SHA-256 \(hash)).")
        }
        let configuration = Adapter.Configuration(
            features: try file.integer("memvp.features"), hidden: try file.integer("memvp.hidden"),
            width: try file.integer("memvp.width"), slots: try file.integer("memvp.slots"),
            lambda: try file.float("memvp.lambda"), scale: try file.float("memvp.scale"),
            prompting: try prompting(of: file), layers: try layers(of: file)
        )
        guard
            [configuration.features, configuration.hidden, configuration.width, configuration.slots].allSatisfy({
                (1...65_536).contains($0)
            })
        else { throw Failure(.modelInvalid, "\(path): memvp.*", "has a shape out of range") }
        var values: [[Float]] = []
        for (name, shape) in configuration.shapes {
            values.append(try file.floats(of: file.required(name, .float32, shape)))
        }
        let tensors = Adapter.Tensors(
            fc1Weight: values[0], fc1Bias: values[1], fc2Weight: values[2], fc2Bias: values[3], e1: values[4],
            e2: values.dropFirst(5).first, vision: try vision(of: file, configuration))
        return (configuration, tensors)
    }

    /// Where the image goes; a file that does not say is of prompting by memory.
    private static func prompting(of file: GGUFFile) throws(Failure) -> Adapter.Prompting {
        guard let name = try file.optionalString("memvp.prompting") else { return .memory }
        guard let prompting = Adapter.Prompting(rawValue: name) else {
            let known = Adapter.Prompting.allCases.map(\.rawValue).joined(separator: " and ")
            throw Failure(
                .modelUnsupported, "\(file.path): memvp.prompting", "is \(name)", hint: "Known are \(known).")
        }
        return prompting
    }

    /// What of the encoder the features are; a file that does not say reads its result.
    private static func layers(of file: GGUFFile) throws(Failure) -> FeatureLayers {
        let found = try file.value { m throws(Failure) in try m.optionalIntegers("memvp.feature.blocks") }
        guard let indices = found else { return .result }
        let factors = try file.value { m throws(Failure) in try m.floats("memvp.feature.factors") }
        guard !indices.isEmpty, indices.count <= 256, indices.allSatisfy({ (0...255).contains($0) }),
            factors.count == indices.count, factors.allSatisfy(\.isFinite)
        else {
            throw Failure(
                .modelInvalid, "\(file.path): memvp.feature.*", "are not some blocks and as many finite factors")
        }
        return FeatureLayers(blocks: zip(indices, factors).map { FeatureLayers.Block(index: $0, factor: $1) })
    }

    /// What stands beside the vision encoder; nil when the file has no such keys.
    private static func vision(of file: GGUFFile, _ c: Adapter.Configuration) throws(Failure) -> Adapter.VisionTensors?
    {
        guard let rank = try file.optionalInteger("memvp.vision.rank") else { return nil }
        let blocks = try file.integer("memvp.vision.block_count")
        guard (1...4_096).contains(rank), (0...256).contains(blocks) else {
            throw Failure(.modelInvalid, "\(file.path): memvp.vision.*", "has a shape out of range")
        }
        var fc1: [[Float]] = []
        var fc2: [[Float]] = []
        for (index, (name, shape)) in visionShapes(blocks: blocks, rank: rank, c).enumerated() {
            let values = try file.floats(of: file.required(name, .float32, shape))
            if index % 2 == 0 { fc1.append(values) } else { fc2.append(values) }
        }
        return Adapter.VisionTensors(rank: rank, scale: try file.float("memvp.vision.scale"), fc1: fc1, fc2: fc2)
    }

    /// Writes an adapter; `tensors` fit `configuration`.
    ///
    /// - Throws: the writer's failures.
    public static func write(
        _ configuration: Adapter.Configuration, tensors: Adapter.Tensors, base: BaseIdentity, name: String,
        to path: String
    ) throws(Failure) {
        let c = configuration
        var metadata: [(String, GGUFValue)] = [
            ("general.architecture", .string(architecture)),
            ("general.name", .string(name)),
            ("memvp.base.language.sha256", .string(base.language)),
            ("memvp.base.vision.sha256", .string(base.vision)),
            ("memvp.features", .uint32(UInt32(c.features))),
            ("memvp.hidden", .uint32(UInt32(c.hidden))),
            ("memvp.width", .uint32(UInt32(c.width))),
            ("memvp.slots", .uint32(UInt32(c.slots))),
            ("memvp.lambda", .float32(c.lambda)),
            ("memvp.scale", .float32(c.scale)),
        ]
        // Absent for memory, so that such files are to the byte what they always were.
        if c.prompting != .memory { metadata.append(("memvp.prompting", .string(c.prompting.rawValue))) }
        if !c.layers.blocks.isEmpty {
            metadata += [
                ("memvp.feature.blocks", .int32s(c.layers.blocks.map { Int32($0.index) })),
                ("memvp.feature.factors", .float32s(c.layers.blocks.map(\.factor))),
            ]
        }
        var shapes = c.shapes
        var values = tensors.named.map(\.values)
        if let vision = tensors.vision {
            metadata += [
                ("memvp.vision.rank", .uint32(UInt32(vision.rank))),
                ("memvp.vision.block_count", .uint32(UInt32(vision.fc1.count))),
                ("memvp.vision.scale", .float32(vision.scale)),
            ]
            shapes += visionShapes(blocks: vision.fc1.count, rank: vision.rank, c)
            values += zip(vision.fc1, vision.fc2).flatMap { [$0, $1] }
        }
        let declarations = shapes.map { TensorDeclaration(name: $0.name, type: .float32, shape: $0.shape) }
        let writer = try GGUFWriter(path: path, metadata: metadata, tensors: declarations, alignment: 64)
        for tensor in values { try writer.write(tensor.span) }
        try writer.finish()
    }
}
