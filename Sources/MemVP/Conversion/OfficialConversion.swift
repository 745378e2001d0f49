// The published MemVP models become bundles: LLaMA, CLIP and the official checkpoint, with nothing of Python.

public import Diagnostics
internal import FoundationEssentials
internal import Language
internal import ModelFile
internal import Specification
public import Tensor
internal import Text
internal import Vision

/// Where the parts of a published model lie, and the constants that no file of theirs holds.
public struct OfficialSource: Sendable {
    /// LLaMA's directory: `7B/consolidated.*.pth` and `tokenizer.model`, or the layout of Hugging Face.
    public var llama: String
    /// CLIP's file.
    public var clip: String
    /// MemVP's checkpoint.
    public var adapter: String
    /// λ.
    public var lambda: Float
    /// s.
    public var scale: Float
    /// What the vision adapters' contribution is multiplied by.
    public var visionScale: Float

    /// Paths, with the constants of the paper's runs by default.
    public init(
        llama: String, clip: String, adapter: String, lambda: Float = 0.01, scale: Float = 0.1,
        visionScale: Float = 0.1
    ) {
        self.llama = llama
        self.clip = clip
        self.adapter = adapter
        self.lambda = lambda
        self.scale = scale
        self.visionScale = visionScale
    }
}

extension BundleBuilder {
    /// The adapter's name in the bundle.
    private static let officialName = "official"

    /// Converts a published model into a bundle with its adapter; one tensor is in memory at a time.
    ///
    /// - Parameter progress: called with a stage's name and the part done, 0 ... 1.
    /// - Throws: `model_invalid` naming file and tensor, `model_unsupported`, `model_missing`; the writer's failures.
    public static func convertOfficial(
        _ source: OfficialSource, to bundle: String, precision: Precision,
        progress: (_ stage: String, _ part: Double) -> Void
    ) throws(Failure) {
        // All shapes are checked before the first byte is written.
        let (llama, tokenizer, tokenizerPath) = try CheckpointFolder.open(source.llama, precision: precision)
        let clip = try CLIPConversion(PyTorchFile(path: source.clip), precision: precision)
        let checkpoint = try MemVPCheckpoint(
            path: source.adapter, layers: clip.configuration.layers, lambda: source.lambda, scale: source.scale,
            visionScale: source.visionScale)
        try check(checkpoint, source.adapter, llama.configuration, clip.configuration)
        let vocabulary: [(String, GGUFValue)]
        do {
            vocabulary = try tokenizer.ggufMetadata()
        } catch { throw error.about(tokenizerPath) }
        let plan = try LlamaPlan.tensors(
            llama.configuration, hasOutput: llama.hasOutput,
            part: { name, shape throws(Failure) in
                try llama.part(name, shape)
            })
        try makeDirectory(bundle)
        let languageHash = try jointHash(llama.paths) { progress("hashing LLaMA", $0) }
        try write(plan, llama.configuration, vocabulary, sourceHash: languageHash, to: "\(bundle)/language.gguf") {
            progress("language model", $0)
        }
        let visionHash = try ModelBundle.sha256(ofFile: source.clip)
        try clip.write(to: "\(bundle)/vision.gguf", sourceHash: visionHash) { progress("vision encoder", $0) }
        try makeDirectory("\(bundle)/adapters")
        try AdapterFile.write(
            checkpoint.configuration, tensors: checkpoint.tensors,
            base: BaseIdentity(language: languageHash, vision: visionHash), name: officialName,
            to: "\(bundle)/adapters/\(officialName).gguf")
        progress("hashing the bundle", 0)
        try seal(
            description(side: clip.configuration.side),
            files: ["language.gguf", "vision.gguf", "adapters/\(officialName).gguf"], in: bundle)
        progress("hashing the bundle", 1)
    }

    /// Checks that the three parts belong together.
    private static func check(
        _ checkpoint: MemVPCheckpoint, _ path: String, _ language: LlamaConfiguration, _ vision: CLIPConfiguration
    ) throws(Failure) {
        let c = checkpoint.configuration
        guard c.width == language.width else {
            throw Failure(
                .modelInvalid, "\(path): tensor adapter_emb1",
                "is \(c.width) wide, but the language model is \(language.width) wide",
                hint: "Use the LLaMA that this checkpoint was trained for.")
        }
        guard c.features == vision.width else {
            throw Failure(
                .modelInvalid, "\(path): tensor adapter_proj.fc1.weight",
                "takes features of \(c.features), but CLIP gives \(vision.width)",
                hint: "Use the CLIP that this checkpoint was trained for.")
        }
        guard c.slots >= vision.patches else {
            throw Failure(
                .modelInvalid, "\(path): tensor adapter_emb1",
                "has \(c.slots) rows, but CLIP gives \(vision.patches) patches",
                hint: "Use the CLIP that this checkpoint was trained for.")
        }
        do {
            _ = try Adapter(c, tensors: checkpoint.tensors, precision: .float32)
        } catch { throw error.about(path) }
    }

    private static func write(
        _ plan: [TensorPlan], _ c: LlamaConfiguration, _ vocabulary: [(String, GGUFValue)], sourceHash: String,
        to target: String, progress: (Double) -> Void
    ) throws(Failure) {
        let metadata: [(String, GGUFValue)] =
            [
                ("general.architecture", .string(LlamaConfiguration.architecture)),
                ("general.name", .string("LLaMA")),
                ("memvpd.precision", .string(c.precision.rawValue)),
                ("memvpd.source.sha256", .string(sourceHash)),
                ("llama.embedding_length", .uint32(UInt32(c.width))),
                ("llama.feed_forward_length", .uint32(UInt32(c.hidden))),
                ("llama.block_count", .uint32(UInt32(c.layers))),
                ("llama.attention.head_count", .uint32(UInt32(c.attention.heads))),
                ("llama.attention.head_count_kv", .uint32(UInt32(c.attention.keyValueHeads))),
                ("llama.attention.key_length", .uint32(UInt32(c.attention.headSize))),
                ("llama.attention.layer_norm_rms_epsilon", .float32(c.normEpsilon)),
                ("llama.rope.freq_base", .float32(Float(c.ropeTheta))),
                ("llama.context_length", .uint32(UInt32(c.contextLength))),
                ("llama.vocab_size", .uint32(UInt32(c.vocabulary))),
            ] + vocabulary
        let writer = try GGUFWriter(
            path: target, metadata: metadata, tensors: plan.flatMap { $0.declarations(c.precision) }, alignment: 64)
        for (index, tensor) in plan.enumerated() {
            try tensor.write(to: writer, precision: c.precision)
            progress(Double(index + 1) / Double(plan.count))
        }
        try writer.finish()
    }

    /// One file's own hash; of several, the hash of their hashes in order.
    private static func jointHash(_ paths: [String], progress: (Double) -> Void) throws(Failure) -> String {
        var hashes: [String] = []
        for (index, path) in paths.enumerated() {
            hashes.append(try ModelBundle.sha256(ofFile: path))
            progress(Double(index + 1) / Double(paths.count))
        }
        return hashes.count == 1 ? hashes[0] : ModelBundle.sha256(of: Array(hashes.joined(separator: "\n").utf8))
    }

    private static func description(side: Int) -> ModelDescription {
        ModelDescription(
            name: "MemVP (LLaMA + CLIP)",
            licence: "LLaMA, CLIP and MemVP each under the licence it came with",
            // ImageNet's, not CLIP's own: that is what the official code uses.
            image: ModelDescription.Image(
                side: side, divisor: 255, mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225]),
            templates: [
                .caption: ModelDescription.Template(
                    prompt: "Describe the photo.\nResponse:", separator: "", end: "</s>", style: "as_written"),
                .ask: ModelDescription.Template(
                    prompt: "Question: {question}\nResponse:", separator: "", end: "</s>", style: "as_written",
                    format: .standard),
            ],
            adapters: [.caption: officialName, .ask: officialName], files: [:])
    }
}
