// Makes bundles: converts a base model, adds adapters, writes model.yaml last, so that a directory with a model.yaml is
// a whole bundle.
//
// Invariant: model.yaml names whole files at every moment. An adapter that replaces another gets a file name that
// model.yaml does not name yet, then model.yaml changes hands in one rename, then the old file goes.

public import Diagnostics
internal import Files
internal import FoundationEssentials
internal import ModelFile
public import Specification
public import Tensor
internal import Text
internal import Vision

/// Conversions into bundles.
public enum BundleBuilder {
    /// What a bundle says of a base model.
    private struct Labels {
        var name: String
        var licence: String
        /// The control token that ends answers.
        var end: String
        /// The side of the encoder's images, in pixels.
        var side: Int
    }

    /// Converts SmolLM2-135M-Instruct (GGUF) and EfficientNet-Lite2 (PyTorch) into the default bundle.
    ///
    /// - Parameters:
    ///   - progress: called with a stage's name and the part done, 0 ... 1.
    /// - Throws: the readers' failures; `cannot_create` when the directory cannot be made.
    public static func convertDefault(
        language: String, vision: String, to bundle: String, precision: Precision,
        progress: (_ stage: String, _ part: Double) -> Void
    ) throws(Failure) {
        let labels = Labels(
            name: "SmolLM2-135M-Instruct + EfficientNet-Lite2",
            licence: "SmolLM2-135M-Instruct: Apache-2.0; EfficientNet-Lite2: Apache-2.0", end: "<|endoftext|>",
            side: 260)
        try convert(GGUFFile(path: language), vision, labels, to: bundle, precision, progress)
    }

    /// Converts a `llama` GGUF from elsewhere, with an EfficientNet-Lite for its eyes, into a bundle without adapters.
    ///
    /// - Parameters:
    ///   - vision: a PyTorch checkpoint of EfficientNet-Lite, or another bundle's vision.gguf of the same precision.
    ///   - name: what answers call the model; by default the GGUF's own name.
    ///   - licence: the licences, in words; by default what the GGUF says.
    ///   - end: the control token that ends answers; by default the GGUF's end of text.
    ///   - side: the side of the images the checkpoint was trained for; a vision.gguf knows its own.
    ///   - progress: called with a stage's name and the part done, 0 ... 1.
    /// - Throws: the readers' failures; `model_unsupported` for another architecture or precision; `model_invalid` when
    ///   there is no such end token; `cannot_create`.
    public static func importLanguage(
        _ language: String, vision: String, name: String?, licence: String?, end: String?, side: Int,
        to bundle: String, precision: Precision, progress: (_ stage: String, _ part: Double) -> Void
    ) throws(Failure) {
        let source = try GGUFFile(path: language)
        let tokenizer: any Tokenizer
        do { tokenizer = try source.metadata.tokenizer() } catch { throw error.about(language) }
        let declared = tokenizer.specialTokens.end.map {
            String(decoding: tokenizer.surface(of: $0).bytes, as: UTF8.self)
        }
        guard let end = end ?? declared, tokenizer.controlToken(end) != nil else {
            throw Failure(
                .modelInvalid, language, "has no control token \(end ?? declared ?? "that ends a text")",
                hint: "Name one of its control tokens with --end.")
        }
        let ownName = try source.optionalString("general.name")
        let ownLicence = try source.optionalString("general.license")
        let labels = Labels(
            name: name ?? ownName?.harmless ?? "language model",
            licence: licence ?? ownLicence ?? "not stated by the source", end: end, side: side)
        try convert(source, vision, labels, to: bundle, precision, progress)
    }

    /// Writes a bundle's language model as a Q8_0 `llama` GGUF, which llama.cpp runs; adapters and encoder stay behind.
    ///
    /// - Throws: the bundle's and the writer's failures.
    public static func exportLanguage(
        _ bundle: String, to target: String, progress: (_ stage: String, _ part: Double) -> Void
    ) throws(Failure) {
        _ = try ModelBundle.description(in: bundle)
        try LlamaExport(GGUFFile(path: "\(bundle)/language.gguf")).write(to: target) { progress("language model", $0) }
    }

    private static func convert(
        _ language: GGUFFile, _ vision: String, _ labels: Labels, to bundle: String, _ precision: Precision,
        _ progress: (_ stage: String, _ part: Double) -> Void
    ) throws(Failure) {
        try makeDirectory(bundle)
        try LlamaConversion.convert(
            language, sourceHash: try ModelBundle.sha256(ofFile: language.path), to: "\(bundle)/language.gguf",
            precision: precision, progress: { progress("language model", $0) })
        progress("vision encoder", 0)
        var side = labels.side
        if try GGUFFile.begins(vision) {
            side = try copyEncoder(vision, to: "\(bundle)/vision.gguf", precision)
        } else {
            try EfficientNetConversion(PyTorchFile(path: vision), side: side, precision: precision).write(
                to: "\(bundle)/vision.gguf", sourceHash: ModelBundle.sha256(ofFile: vision))
        }
        progress("vision encoder", 1)
        let description = ModelDescription(
            name: labels.name, licence: labels.licence,
            image: ModelDescription.Image(side: side, divisor: 1, mean: [127, 127, 127], deviation: [128, 128, 128]),
            templates: [
                .caption: ModelDescription.Template(
                    prompt: "Caption:", separator: " ", end: labels.end, style: "caption"),
                .ask: ModelDescription.Template(
                    prompt: "Question: {question} Answer:", separator: " ", end: labels.end, style: "lowercase"),
            ],
            adapters: [:], files: [:])
        try seal(description, files: ["language.gguf", "vision.gguf"], in: bundle)
    }

    /// Takes over another bundle's encoder; returns the side of its images.
    private static func copyEncoder(
        _ source: String, to target: String, _ precision: Precision
    ) throws(Failure) -> Int {
        let file = try GGUFFile(path: source)
        let configuration = try EfficientNetLite(file: file).configuration
        guard configuration.precision == precision else {
            throw Failure(
                .modelUnsupported, source, "is \(configuration.precision.rawValue)",
                hint: "Give the encoder of a bundle of the precision \(precision.rawValue), or the PyTorch file.")
        }
        let output = try OutputFile(path: target)
        let mapping = file.mapping
        try output.write(mapping.bytes)
        try output.commit()
        return configuration.side
    }

    /// An adapter as MemVP's Python code saves it.
    private static func safetensors(
        _ source: String, lambda: Float, scale: Float
    ) throws(Failure) -> (Adapter.Configuration, Adapter.Tensors) {
        let file = try SafetensorsFile(path: source)
        let fc1 = try file.tensor(named: "fc1.weight").shape
        let fc2 = try file.tensor(named: "fc2.weight").shape
        let e1 = try file.tensor(named: "e1").shape
        guard fc1.count == 2, fc2.count == 2, e1.count == 2, fc1[0] == fc2[1], fc2[0] == e1[1] else {
            throw Failure(.modelInvalid, source, "has fc1 \(fc1), fc2 \(fc2) and e1 \(e1), which do not fit together")
        }
        return (
            Adapter.Configuration(
                features: fc1[1], hidden: fc1[0], width: fc2[0], slots: e1[0], lambda: lambda, scale: scale),
            Adapter.Tensors(
                fc1Weight: try file.floats(named: "fc1.weight"), fc1Bias: try file.floats(named: "fc1.bias"),
                fc2Weight: try file.floats(named: "fc2.weight"), fc2Bias: try file.floats(named: "fc2.bias"),
                e1: try file.floats(named: "e1"), e2: try file.floats(named: "e2"))
        )
    }

    /// How far the adding of an adapter has come.
    enum AddingStep { case written, described }

    /// Adds a MemVP adapter to a bundle, in place of one of that name: a .gguf of `memvp train`, or safetensors (fc1, fc2, e1, e2)
    /// to convert, which says nothing of λ and s (0.01 and 0.1 by default).
    ///
    /// - Parameters:
    ///   - name: the adapter's name in the bundle.
    ///   - kinds: the kinds of task that use it from now on.
    /// - Throws: `model_invalid` when a tensor is missing or misshapen, `adapter_mismatch` when it does not fit the base; `temporary`
    ///   while another program changes the bundle.
    public static func addAdapter(
        _ source: String, name: String, kinds: [TaskKind], lambda: Float? = nil, scale: Float? = nil, to bundle: String
    ) throws(Failure) {
        try addAdapter(source, name: name, kinds: kinds, lambda: lambda, scale: scale, to: bundle) { _ in }
    }

    /// The same; `after` is called between the steps, for tests that fail there.
    static func addAdapter(
        _ source: String, name: String, kinds: [TaskKind], lambda: Float? = nil, scale: Float? = nil, to bundle: String,
        after: (AddingStep) throws(Failure) -> Void
    ) throws(Failure) {
        let lock = try DirectoryBridge.lock(bundle)
        defer { DirectoryBridge.unlock(lock) }
        var description = try ModelBundle.description(in: bundle)
        let language = try GGUFFile(path: "\(bundle)/language.gguf")
        let vision = try GGUFFile(path: "\(bundle)/vision.gguf")
        let base = try BaseIdentity(language: language, vision: vision)
        let (configuration, tensors) =
            source.hasSuffix(".gguf")
            ? try AdapterFile.tensors(path: source, base: base)
            : try safetensors(source, lambda: lambda ?? 0.01, scale: scale ?? 0.1)
        let adapter: Adapter
        do {
            adapter = try Adapter(configuration, tensors: tensors, precision: .float32)
        } catch { throw error.about(source) }
        // What the bundle would not open with must not come into it.
        try ModelBundle.check(
            adapter, named: source, width: language.integer("llama.embedding_length"), VisionEncoder(file: vision))
        try makeAdapters(in: bundle)
        let replaced = description.files.keys.filter { ModelBundle.adapterName(ofFile: $0) == name }
        let target = unnamedFile(for: name, in: description)
        if source.hasSuffix(".gguf") {
            try copy(source, to: "\(bundle)/\(target)")
        } else {
            try AdapterFile.write(
                configuration, tensors: tensors, base: base, name: name, to: "\(bundle)/\(target)")
        }
        FileAccess(of: "\(bundle)/model.yaml")?.apply(to: "\(bundle)/\(target)")
        try after(.written)
        for file in replaced { description.files[file] = nil }
        description.files[target] = try ModelBundle.sha256(ofFile: "\(bundle)/\(target)")
        for kind in kinds {
            description.adapters[kind] = name
            description.settle(kind, on: name)
        }
        try write(description, in: bundle)
        try after(.described)
        // One that stays is no harm: model.yaml does not name it, and the next adapter of the name may take its place.
        let kept = Set(description.previous.values.compactMap { $0.file?.path })
        for file in replaced where !kept.contains(file) {
            try? FileManager.default.removeItem(atPath: "\(bundle)/\(file)")
        }
    }

    /// Hashes the bundle's files and writes model.yaml.
    static func seal(_ description: ModelDescription, files: [String], in bundle: String) throws(Failure) {
        var description = description
        for file in files { description.files[file] = try ModelBundle.sha256(ofFile: "\(bundle)/\(file)") }
        try write(description, in: bundle)
    }

    /// The first of adapters/NAME.gguf, adapters/NAME~2.gguf, … that model.yaml does not name, not even as kept.
    static func unnamedFile(for name: String, in description: ModelDescription) -> String {
        var file = "adapters/\(name).gguf"
        var number = 2
        let kept = Set(description.previous.values.compactMap { $0.file?.path })
        while description.files[file] != nil || kept.contains(file) {
            file = "adapters/\(name)~\(number).gguf"
            number += 1
        }
        return file
    }

    /// Writes model.yaml, durable and in one step: from then on the bundle is what it says, for those who could read the one before.
    static func write(_ description: ModelDescription, in bundle: String) throws(Failure) {
        let path = "\(bundle)/model.yaml"
        let bytes = Array(description.yaml.utf8)
        // What cannot be read back must not be written.
        try ModelBundle.check(ModelDescription(yaml: bytes, named: path), in: bundle)
        let output = try OutputFile(path: path)
        if let access = FileAccess(of: path) { output.grant(access) }
        try output.write(bytes)
        try output.commit()
    }

    /// Makes a bundle's folder for adapters, for those who may enter the bundle; one that stands there is kept.
    static func makeAdapters(in bundle: String) throws(Failure) {
        let path = "\(bundle)/adapters"
        guard !FileManager.default.fileExists(atPath: path) else { return }
        try makeDirectory(path)
        FileAccess(of: bundle)?.apply(to: path)
    }

    static func makeDirectory(_ path: String) throws(Failure) {
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        } catch {
            throw Failure(.cannotCreate, path, "cannot be made", hint: "Check the parent's permissions and free space.")
        }
    }
}
