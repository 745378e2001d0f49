// Makes bundles: converts a base model, adds adapters, writes model.yaml last, so that a directory with a model.yaml is
// a whole bundle.

public import Diagnostics
internal import FoundationEssentials
internal import ModelFile
public import Specification
public import Tensor
internal import Vision

/// Conversions into bundles.
public enum BundleBuilder {
    /// Converts SmolLM2-135M-Instruct (GGUF) and EfficientNet-Lite2 (PyTorch) into the default bundle.
    ///
    /// - Parameters:
    ///   - progress: called with a stage's name and the part done, 0 ... 1.
    /// - Throws: the readers' failures; `cannot_create` when the directory exists with a bundle in it.
    public static func convertDefault(
        language: String, vision: String, to bundle: String, precision: Precision,
        progress: (_ stage: String, _ part: Double) -> Void
    ) throws(Failure) {
        try makeDirectory(bundle)
        let languageSource = try GGUFFile(path: language)
        try LlamaConversion.convert(
            languageSource, sourceHash: try ModelBundle.sha256(ofFile: language), to: "\(bundle)/language.gguf",
            precision: precision, progress: { progress("language model", $0) })
        let visionSource = try PyTorchFile(path: vision)
        progress("vision encoder", 0)
        try EfficientNetConversion(visionSource, side: 260, precision: precision).write(
            to: "\(bundle)/vision.gguf", sourceHash: ModelBundle.sha256(ofFile: vision))
        progress("vision encoder", 1)
        let description = ModelDescription(
            name: "SmolLM2-135M-Instruct + EfficientNet-Lite2",
            licence: "SmolLM2-135M-Instruct: Apache-2.0; EfficientNet-Lite2: Apache-2.0",
            image: ModelDescription.Image(side: 260, divisor: 1, mean: [127, 127, 127], deviation: [128, 128, 128]),
            templates: [
                .caption: ModelDescription.Template(
                    prompt: "Caption:", separator: " ", end: "<|endoftext|>", style: "caption"),
                .ask: ModelDescription.Template(
                    prompt: "Question: {question} Answer:", separator: " ", end: "<|endoftext|>", style: "lowercase"),
            ],
            adapters: [:], files: [:])
        try seal(description, in: bundle)
    }

    /// Converts a MemVP adapter (safetensors: fc1, fc2, e1, e2) and adds it to a bundle.
    ///
    /// - Parameters:
    ///   - name: the adapter's name in the bundle.
    ///   - kinds: the kinds of task that use it from now on.
    /// - Throws: `model_invalid` when a tensor is missing or misshapen, `adapter_mismatch` when it does not fit the base.
    public static func addAdapter(
        _ source: String, name: String, kinds: [TaskKind], lambda: Float = 0.01, scale: Float = 0.1, to bundle: String
    ) throws(Failure) {
        var description = try ModelBundle.description(in: bundle)
        let base = try BaseIdentity(
            language: GGUFFile(path: "\(bundle)/language.gguf"), vision: GGUFFile(path: "\(bundle)/vision.gguf"))
        let file = try SafetensorsFile(path: source)
        let fc1 = try file.tensor(named: "fc1.weight").shape
        let fc2 = try file.tensor(named: "fc2.weight").shape
        let e1 = try file.tensor(named: "e1").shape
        guard fc1.count == 2, fc2.count == 2, e1.count == 2, fc1[0] == fc2[1], fc2[0] == e1[1] else {
            throw Failure(.modelInvalid, source, "has fc1 \(fc1), fc2 \(fc2) and e1 \(e1), which do not fit together")
        }
        let configuration = Adapter.Configuration(
            features: fc1[1], hidden: fc1[0], width: fc2[0], slots: e1[0], lambda: lambda, scale: scale)
        let tensors = Adapter.Tensors(
            fc1Weight: try file.floats(named: "fc1.weight"), fc1Bias: try file.floats(named: "fc1.bias"),
            fc2Weight: try file.floats(named: "fc2.weight"), fc2Bias: try file.floats(named: "fc2.bias"),
            e1: try file.floats(named: "e1"), e2: try file.floats(named: "e2"))
        do {
            _ = try Adapter(configuration, tensors: tensors, precision: .float32)
        } catch { throw error.about(source) }
        try makeDirectory("\(bundle)/adapters")
        try AdapterFile.write(
            configuration, tensors: tensors, base: base, name: name, to: "\(bundle)/adapters/\(name).gguf")
        for kind in kinds { description.adapters[kind] = name }
        try seal(description, in: bundle)
    }

    /// Hashes every file of the bundle and writes model.yaml.
    static func seal(_ description: ModelDescription, in bundle: String) throws(Failure) {
        var description = description
        description.files = [:]
        var names = ["language.gguf", "vision.gguf"]
        let adapters = (try? FileManager.default.contentsOfDirectory(atPath: "\(bundle)/adapters")) ?? []
        names += adapters.filter { $0.hasSuffix(".gguf") && !$0.hasPrefix(".") }.map { "adapters/\($0)" }
        for name in names { description.files[name] = try ModelBundle.sha256(ofFile: "\(bundle)/\(name)") }
        let path = "\(bundle)/model.yaml"
        do {
            try Data(description.yaml.utf8).write(to: URL(filePath: path), options: .atomic)
        } catch {
            throw Failure(
                .cannotCreate, path, "cannot be written", hint: "Check the directory's permissions and free space.")
        }
    }

    static func makeDirectory(_ path: String) throws(Failure) {
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        } catch {
            throw Failure(.cannotCreate, path, "cannot be made", hint: "Check the parent's permissions and free space.")
        }
    }
}
