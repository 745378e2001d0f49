// A published LLaMA checkpoint, in whichever of its two layouts, and where its parts lie.

internal import Diagnostics
internal import FoundationEssentials
internal import Language
internal import ModelFile
internal import Tensor

/// A checkpoint that gives its tensors by GGUF's names.
protocol LlamaCheckpoint {
    /// The decoder's shape.
    var configuration: LlamaConfiguration { get }
    /// Whether the output matrix is one of its own.
    var hasOutput: Bool { get }
    /// The files with tensors, in order.
    var paths: [String] { get }
    /// Finds the tensor that GGUF calls `name` and checks that its whole has this shape.
    func part(_ name: String, _ shape: [Int]) throws(Failure) -> LlamaPlan.Values
}

/// A checkpoint's directory.
enum CheckpointFolder {
    /// Opens what is in `directory`: a release (`consolidated.*.pth`, or one folder that holds them) or the layout of
    /// Hugging Face.
    ///
    /// - Returns: the checkpoint, and the tokenizer that lies beside it.
    static func open(_ directory: String, precision: Precision) throws(Failure) -> (
        checkpoint: any LlamaCheckpoint, tokenizer: SentencePieceModel, tokenizerPath: String
    ) {
        var folder = directory
        while folder.count > 1, folder.hasSuffix("/") { folder.removeLast() }
        let found = names(in: folder)
        if found.contains("config.json"),
            found.contains(where: { $0.hasSuffix(".safetensors") || $0.hasSuffix(".bin") })
        {
            let (tokenizer, path) = try tokenizer(in: [folder])
            let checkpoint = try HuggingFaceLlama(
                path: folder, vocabulary: tokenizer.pieces.count, precision: precision)
            return (checkpoint, tokenizer, path)
        }
        let release = found.contains("params.json") ? folder : try onlyRelease(below: folder, found)
        let parent = release.lastIndex(of: "/").map { String(release[..<$0]) } ?? "."
        let (tokenizer, path) = try tokenizer(in: [release, parent])
        let checkpoint = try ReleasedLlama(path: release, vocabulary: tokenizer.pieces.count, precision: precision)
        return (checkpoint, tokenizer, path)
    }

    private static func onlyRelease(below folder: String, _ found: [String]) throws(Failure) -> String {
        let releases = found.filter { names(in: "\(folder)/\($0)").contains("params.json") }
        guard releases.count <= 1 else {
            throw Failure(
                .usage, "--llama \(folder)", "holds several models: \(releases.joined(separator: ", "))",
                hint: "Name the folder of one, such as --llama \(folder)/\(releases[0]).")
        }
        guard let release = releases.first else {
            throw Failure(
                .modelMissing, folder, "holds no LLaMA: neither params.json, nor a folder with it, nor config.json",
                hint: "Name the directory with 7B/consolidated.00.pth and tokenizer.model.")
        }
        return "\(folder)/\(release)"
    }

    private static func tokenizer(in folders: [String]) throws(Failure) -> (SentencePieceModel, String) {
        let paths = folders.map { "\($0)/tokenizer.model" }
        let path = paths.first { FileManager.default.fileExists(atPath: $0) } ?? paths[paths.count - 1]
        return (try SentencePieceModel(path: path), path)
    }

    /// The names in a directory, in order; none where it cannot be read.
    static func names(in path: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted()
    }

    /// A small JSON document.
    static func json<Value: Decodable>(_ type: Value.Type, at path: String) throws(Failure) -> Value {
        let file = try MappedFile(path: path)
        guard file.count <= 1 << 20 else { throw Failure(.modelInvalid, path, "has \(file.count) bytes") }
        do {
            return try JSONDecoder().decode(type, from: Data(file.copy(0..<file.count)))
        } catch let error as DecodingError {
            throw Failure(
                .modelInvalid, path, "is not the JSON it should be: \(Self.explained(error))", hint: "Copy it again.")
        } catch {
            throw Failure(.modelInvalid, path, "is not JSON", hint: "Copy it again.")
        }
    }

    private static func explained(_ error: DecodingError) -> String {
        switch error {
        case .keyNotFound(let key, _): return "it has no \(key.stringValue)"
        case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
            let path = context.codingPath.map(\.stringValue).joined(separator: ".")
            return path.isEmpty ? "it is damaged" : "\(path) is of another type"
        @unknown default: return "it is damaged"
        }
    }

    /// Checks that embedding and tokenizer have as many tokens.
    static func checkVocabulary(
        embedding: TensorEntry, of path: String, vocabulary: Int
    ) throws(Failure) {
        guard embedding.shape.first == vocabulary else {
            throw Failure(
                .modelInvalid, "\(path): tensor \(embedding.name)",
                "has the shape \(embedding.shape), but tokenizer.model has \(vocabulary) pieces",
                hint: "Use the tokenizer.model that belongs to these files.")
        }
    }
}
