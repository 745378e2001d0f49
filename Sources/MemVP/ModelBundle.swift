// A model bundle: a directory with model.yaml, language.gguf, vision.gguf and adapters/*.gguf (DESIGN 4, docs/FORMAT.md).
//
// Invariant: what a loaded bundle holds is immutable and shared by all workers; every file's SHA-256 was compared with
// model.yaml, so the hashes in answers are true. Failure modes: `model_missing`, `model_invalid`, `adapter_mismatch`.

internal import Crypto
public import Diagnostics
internal import Files
internal import FoundationEssentials
public import Language
internal import ModelFile
public import Specification
public import Tensor
public import Text
public import Vision

/// A model with its adapters, ready for workers.
public final class ModelBundle: Sendable {
    /// The bundle's directory.
    public let path: String
    /// What model.yaml says.
    public let description: ModelDescription
    /// The language model.
    public let language: LlamaModel
    /// The vision encoder.
    public let vision: VisionEncoder
    /// Text to tokens and back.
    public let tokenizer: any Tokenizer
    /// The adapters, by name.
    public let adapters: [String: Adapter]
    /// How photos are normalised.
    public let normalisation: Normalisation
    /// The arithmetic of all parts.
    public let precision: Precision
    /// Which base adapters must have been trained for.
    public let base: BaseIdentity

    /// Opens the bundle in the directory `path`.
    ///
    /// - Parameters:
    ///   - positions: the longest text, prompt and answer together, that will be asked for.
    ///   - verify: whether files are hashed and compared with model.yaml.
    /// - Throws: `model_missing` when there is no bundle, `model_invalid` when a file is damaged or is not the one that
    ///   model.yaml names, `adapter_mismatch` for an adapter of another base.
    public convenience init(path: String, positions: Int = 2_048, verify: Bool = true) throws(Failure) {
        try self.init(path: path, positions: positions, verify: verify) {}
    }

    /// The same; `described` is called when model.yaml has been read, for tests that change the bundle there.
    convenience init(
        path: String, positions: Int = 2_048, verify: Bool = true, described: () -> Void
    ) throws(Failure) {
        let yaml = try ModelBundle.description(in: path)
        described()
        do throws(Failure) {
            try self.init(yaml, in: path, positions: positions, verify: verify)
        } catch {
            // Another program may have put an adapter in the place of one meanwhile: what model.yaml says now is whole again.
            guard let now = try? ModelBundle.description(in: path), now != yaml else { throw error }
            try self.init(now, in: path, positions: positions, verify: verify)
        }
    }

    private init(_ yaml: ModelDescription, in path: String, positions: Int, verify: Bool) throws(Failure) {
        // What is opened by its name and not listed would be compared with nothing.
        for file in ["language.gguf", "vision.gguf"] where yaml.files[file] == nil {
            throw Failure(
                .modelInvalid, "\(path)/model.yaml", "names no SHA-256 of \(file)",
                hint: "Copy or convert the model again.")
        }
        try ModelBundle.check(yaml, in: path)
        let languageFile = try GGUFFile(path: "\(path)/language.gguf")
        let visionFile = try GGUFFile(path: "\(path)/vision.gguf")
        if verify { try ModelBundle.verify(yaml, in: path) }
        let base = try BaseIdentity(language: languageFile, vision: visionFile)
        let adapters = try ModelBundle.adapters(yaml, in: path, precision: languageFile.precision(), base: base)
        let imageTokens = adapters.values.map(\.configuration.imageTokens).max() ?? 0
        let language = try LlamaModel(file: languageFile, positions: positions + imageTokens)
        let vision = try VisionEncoder(file: visionFile)
        guard vision.precision == language.configuration.precision, vision.side == yaml.image.side
        else {
            throw Failure(
                .modelInvalid, path, "language.gguf, vision.gguf and model.yaml do not belong together",
                hint: "Convert the model again.")
        }
        precision = language.configuration.precision
        let tokenizer: any Tokenizer
        do { tokenizer = try languageFile.metadata.tokenizer() } catch { throw error.about(languageFile.path) }
        try ModelBundle.checkVocabulary(
            tokenizer.vocabularySize, rows: language.configuration.vocabulary, of: languageFile.path)
        self.tokenizer = tokenizer
        for file in yaml.files.keys.sorted() {
            guard let adapter = ModelBundle.adapterName(ofFile: file).flatMap({ adapters[$0] }) else { continue }
            try ModelBundle.check(
                adapter, named: "\(path)/\(file)", width: language.configuration.width, vision)
        }
        do {
            normalisation = try Normalisation(
                divisor: Float(yaml.image.divisor), means: yaml.image.mean.map { Float($0) },
                deviations: yaml.image.deviation.map { Float($0) })
        } catch { throw error.about("\(path)/model.yaml") }
        self.path = path
        description = yaml
        self.language = language
        self.vision = vision
        self.adapters = adapters
        self.base = base
        _ = try taskTemplates()
    }

    /// Checks what model.yaml says beyond its grammar: that its name is harmless wherever it is shown, and that the adapter of each
    /// kind of task is among the files. A bundle that names another would open and answer nothing.
    ///
    /// - Throws: `model_invalid` naming the key.
    static func check(_ yaml: ModelDescription, in path: String) throws(Failure) {
        guard yaml.name.harmless == yaml.name else {
            throw Failure(
                .modelInvalid, "\(path)/model.yaml: name", "holds a control character",
                hint: "Give the model a name of printable characters.")
        }
        let names = Set(yaml.files.keys.compactMap(adapterName(ofFile:)))
        for kind in TaskKind.allCases {
            guard let name = yaml.adapters[kind], !names.contains(name) else { continue }
            throw Failure(
                .modelInvalid, "\(path)/model.yaml: adapters.\(kind.rawValue)",
                "names the adapter \(name), for which there is no file",
                hint: names.isEmpty
                    ? "Add one with `memvp convert adapter`." : "There are \(names.sorted().joined(separator: ", ")).")
        }
    }

    /// The adapters that model.yaml names, by name.
    private static func adapters(
        _ yaml: ModelDescription, in path: String, precision: Precision, base: BaseIdentity
    ) throws(Failure) -> [String: Adapter] {
        var adapters: [String: Adapter] = [:]
        for file in yaml.files.keys.sorted() {
            guard let name = adapterName(ofFile: file) else { continue }
            guard adapters[name] == nil else {
                throw Failure(
                    .modelInvalid, "\(path)/model.yaml", "names two files for the adapter \(name)",
                    hint: "Add the adapter again to a bundle that has it once.")
            }
            adapters[name] = try AdapterFile.read(path: "\(path)/\(file)", precision: precision, base: base)
        }
        return adapters
    }

    /// Opens an adapter that is not in the bundle, as if it were.
    ///
    /// - Throws: `adapter_mismatch` when it was trained for another base or does not fit; `model_invalid`,
    ///   `model_unsupported`.
    public func openAdapter(path: String) throws(Failure) -> Adapter {
        let adapter = try AdapterFile.read(path: path, precision: precision, base: base)
        try check(adapter, named: path)
        return adapter
    }

    /// Whether an adapter of this base can be served: one may name the base and still not fit it.
    ///
    /// - Throws: `adapter_mismatch` naming `path`.
    public func check(_ adapter: Adapter, named path: String) throws(Failure) {
        try ModelBundle.check(adapter, named: path, width: language.configuration.width, vision)
    }

    /// The same for a bundle that is not open.
    ///
    /// - Parameter width: of the decoder.
    static func check(
        _ adapter: Adapter, named path: String, width: Int, _ vision: VisionEncoder
    ) throws(Failure) {
        let c = adapter.configuration
        guard c.width == width, c.features == vision.width(of: c.layers), c.slots >= vision.patches,
            adapter.vision.map({ vision.fits($0) }) ?? true
        else {
            let features = vision.width(of: c.layers) ?? vision.features
            let beside = adapter.vision == nil ? "" : ", and what stands beside its blocks must be of its shapes"
            throw Failure(
                .adapterMismatch, path, "does not fit the widths of this model",
                hint: "This base has \(vision.patches) patches of \(features) features, and tokens of width "
                    + "\(width)\(beside). Use an adapter that was trained for it.")
        }
    }

    /// Checks that every token has its row in the embedding, which is read by token without another look. Rows without a
    /// token are the padding of many models.
    ///
    /// - Throws: `model_invalid` naming `path`.
    static func checkVocabulary(_ tokens: Int, rows: Int, of path: String) throws(Failure) {
        guard tokens <= rows else {
            throw Failure(
                .modelInvalid, "\(path): tokenizer.ggml.tokens",
                "has \(tokens) tokens, but the embedding has \(rows) rows",
                hint: "Copy the model again, or get it from where it was made: its parts do not belong together.")
        }
    }

    /// Memory rows of the widest adapter.
    public var slots: Int { adapters.values.map(\.configuration.memorySlots).max() ?? 1 }

    /// The adapter that a file of a bundle holds: NAME of adapters/NAME.gguf and of adapters/NAME~2.gguf, which stands
    /// where an adapter replaced another; nil for other files.
    static func adapterName(ofFile file: String) -> String? {
        guard file.hasPrefix("adapters/"), file.hasSuffix(".gguf") else { return nil }
        let stem = file.dropFirst("adapters/".count).dropLast(".gguf".count)
        guard let mark = stem.lastIndex(of: "~"), Int(stem[stem.index(after: mark)...]) != nil else {
            return String(stem)
        }
        return String(stem[..<mark])
    }

    /// Reads model.yaml alone.
    ///
    /// - Throws: `model_missing` when there is none or it may not be read, `model_invalid` when it is wrong, `input_output` when reading
    ///   it fails.
    public static func description(in path: String) throws(Failure) -> ModelDescription {
        try ModelDescription(yaml: descriptionBytes(in: path), named: "\(path)/model.yaml")
    }

    static func descriptionBytes(in path: String) throws(Failure) -> [UInt8] {
        do throws(Failure) {
            return try InputFile.read("\(path)/model.yaml", limit: largestDescription, tooLarge: .modelInvalid)
        } catch {
            switch error.code {
            case .notFound:
                throw Failure(
                    .modelMissing, error.object, error.cause,
                    hint: "Install a model with `memvp models install FILE.tar`, "
                        + "or make the default one with `make models`.")
            case .unreadable: throw Failure(.modelMissing, error.object, error.cause, hint: error.hint)
            case .notRegularFile, .modelInvalid:
                throw Failure(
                    .modelInvalid, error.object, error.cause, hint: "Copy or convert the model again.")
            // A disk that fails, or descriptors that have run out: the model may be as good as ever.
            default: throw error
            }
        }
    }

    /// Bytes of model.yaml at most: as many as are decoded.
    private static let largestDescription = 65_536

    private static func verify(_ description: ModelDescription, in path: String) throws(Failure) {
        for (file, expected) in description.files.sorted(by: { $0.key < $1.key }) {
            let found = try sha256(ofFile: "\(path)/\(file)")
            guard found == expected else {
                throw Failure(
                    .modelInvalid, "\(path)/\(file)", "is not the file that model.yaml names (SHA-256 \(found))",
                    hint: "Copy or convert the model again.")
            }
        }
    }

    /// The SHA-256 of a file in lower-case hexadecimal.
    ///
    /// - Throws: `model_missing` when it cannot be read.
    public static func sha256(ofFile path: String) throws(Failure) -> String {
        let file = try MappedFile(path: path)
        var hash = SHA256()
        let piece = 1 << 20
        for start in stride(from: 0, to: file.count, by: piece) {
            hash.update(data: file.copy(start..<min(start + piece, file.count)))
            // A file may be larger than memory: hashing it keeps none of it resident.
            if start % (piece << 6) == 0 { file.release() }
        }
        return hexadecimal(hash.finalize())
    }

    /// The SHA-256 of bytes in lower-case hexadecimal.
    public static func sha256(of bytes: [UInt8]) -> String { hexadecimal(SHA256.hash(data: bytes)) }

    static func hexadecimal(_ digest: SHA256.Digest) -> String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for byte in digest { text += [digits[Int(byte >> 4)], digits[Int(byte & 15)]] }
        return String(decoding: text, as: UTF8.self)
    }
}
