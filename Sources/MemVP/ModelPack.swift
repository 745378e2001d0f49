// A bundle as one file: packed for the way to a box without a network, and installed there.
//
// Invariants: the same bundle gives the same archive; what is installed was compared, file by file, with the hashes of its
// model.yaml and opened once before it stands under its name; it gets there in one rename, and what stood there before
// is kept. Failure modes: `model_invalid`, `model_unsupported`, `cannot_create`, those of the file system; a failure leaves
// nothing behind, a kill only a dot directory beside the target, which nothing reads.

internal import Crypto
public import Diagnostics
internal import Files
internal import FoundationEssentials
internal import ModelFile
internal import Specification
internal import Tensor

/// Packing and installing of bundles.
public enum ModelPack {
    /// The folder that our own archives hold their files in.
    static let folder = "memvpd-model"
    private static let descriptionName = "model.yaml"
    private static let largestDescription = 65_536

    /// What was installed.
    public struct Installed: Sendable, Equatable {
        /// The model's name.
        public let name: String
        /// Where it stands.
        public let path: String
        /// Where the model stands that it replaced.
        public let backup: String?
    }

    /// Writes a bundle's files, sorted by name, into a tar archive; what is kept for rolling back stays behind.
    ///
    /// - Parameter progress: called with the part done, 0 ... 1.
    /// - Throws: `model_missing`, `model_invalid` when a file is not the one that model.yaml names; the writer's failures.
    public static func pack(_ bundle: String, to archive: String, progress: (Double) -> Void) throws(Failure) {
        // Read once: a bundle that another program changes meanwhile must not be packed half as it was, half as it is.
        let yaml = try ModelBundle.descriptionBytes(in: bundle)
        var description = try ModelDescription(yaml: yaml, named: "\(bundle)/\(descriptionName)")
        try ModelBundle.check(description, in: bundle)
        let isAlone = description.previous.isEmpty
        description.previous = [:]
        let names = (description.files.keys + [descriptionName]).sorted {
            Array($0.utf8).lexicographicallyPrecedes($1.utf8)
        }
        let writer = try TarWriter(path: archive)
        for (index, name) in names.enumerated() {
            progress(Double(index) / Double(names.count))
            guard name != descriptionName else {
                let bytes = isAlone ? yaml : Array(description.yaml.utf8)
                try writer.add("\(folder)/\(name)", RawSpan(_elements: bytes.span))
                continue
            }
            let file = try MappedFile(path: "\(bundle)/\(name)")
            if let expected = description.files[name] {
                try compare(hash(file.bytes), with: expected, of: "\(bundle)/\(name)")
            }
            try writer.add("\(folder)/\(name)", file.bytes)
        }
        try writer.finish()
        progress(1)
    }

    /// Puts the bundle of a tar archive at `target`.
    ///
    /// - Parameters:
    ///   - archive: of `pack`, or of tar(1): a bundle's files, all in one folder or in none.
    ///   - replace: whether a bundle that stands there makes way; it is kept beside the new one.
    ///   - progress: called with the part done, 0 ... 1.
    /// - Throws: `cannot_create` when something stands at `target`; `model_invalid`, `model_unsupported` when the archive
    ///   or the bundle in it is no good; `no_space`, `permission_denied`, `input_output`.
    public static func install(
        _ archive: String, to target: String, replace: Bool, progress: (Double) -> Void
    ) throws(Failure) -> Installed {
        let tar = try TarArchive(path: archive)
        let files = try bundleFiles(tar)
        let description = try description(files, in: tar)
        try compareNames(files, with: description, archive)
        let place = try InstallPlace(target, replace: replace)
        do throws(Failure) {
            try extract(files, description, from: tar, to: place.partial, progress: progress)
            // Opening finds what hashes cannot: an adapter of another base, parts that do not belong together.
            _ = try ModelBundle(path: place.partial, verify: false)
        } catch {
            place.clear()
            throw fault(error, of: archive, in: place)
        }
        return Installed(name: description.name, path: place.target, backup: try place.settle())
    }

    /// A failure that names what stood in the partial directory, which is gone again: a bad file is the archive's, and what could not
    /// be written was to stand at the target.
    private static func fault(_ failure: Failure, of archive: String, in place: InstallPlace) -> Failure {
        guard failure.object.hasPrefix(place.partial) else { return failure }
        let part = String(failure.object.dropFirst(place.partial.count).drop { $0 == "/" })
        let object: String
        switch failure.code {
        case .modelInvalid, .modelUnsupported, .modelMissing, .adapterMismatch:
            object = part.isEmpty ? archive : "\(archive): \(part)"
        default: object = part.isEmpty ? place.target : "\(place.target)/\(part)"
        }
        return Failure(failure.code, object, failure.cause, hint: failure.hint)
    }

    // MARK: Reading the archive

    /// The bundle's files by their names inside it: the folder that model.yaml stands in is taken off.
    private static func bundleFiles(_ tar: TarArchive) throws(Failure) -> [String: TarArchive.Entry] {
        let descriptions = tar.entries.filter { $0.name == descriptionName || $0.name.hasSuffix("/\(descriptionName)") }
        guard descriptions.count == 1, let found = descriptions.first else {
            throw Failure(
                .modelInvalid, tar.mapping.path,
                descriptions.isEmpty ? "has no model.yaml in it" : "has more than one model.yaml in it",
                hint: "Make it with `memvp models pack`.")
        }
        let prefix = String(found.name.dropLast(descriptionName.count))
        var files: [String: TarArchive.Entry] = [:]
        for entry in tar.entries {
            guard entry.name.hasPrefix(prefix) else {
                throw Failure(
                    .modelInvalid, "\(tar.mapping.path): entry \(entry.name)", "is not beside model.yaml",
                    hint: "Pack one bundle and nothing else.")
            }
            files[String(entry.name.dropFirst(prefix.count))] = entry
        }
        return files
    }

    private static func description(
        _ files: [String: TarArchive.Entry], in tar: TarArchive
    ) throws(Failure) -> ModelDescription {
        guard let entry = files[descriptionName], entry.range.count <= largestDescription else {
            throw Failure(
                .modelInvalid, "\(tar.mapping.path): model.yaml", "is larger than \(largestDescription) bytes")
        }
        return try ModelDescription(yaml: tar.copy(entry), named: "\(tar.mapping.path): model.yaml")
    }

    /// The archive holds what model.yaml names, no more and no less.
    private static func compareNames(
        _ files: [String: TarArchive.Entry], with description: ModelDescription, _ archive: String
    ) throws(Failure) {
        let wanted = Set(everyFile(of: description).keys).union([descriptionName])
        if let missing = wanted.subtracting(files.keys).min() {
            throw Failure(.modelInvalid, "\(archive): \(missing)", "is named by model.yaml and not in the archive")
        }
        if let stray = Set(files.keys).subtracting(wanted).min() {
            throw Failure(
                .modelInvalid, "\(archive): \(stray)", "is in the archive and not named by model.yaml",
                hint: "Pack with `memvp models pack`, which leaves out what is not part of the model.")
        }
    }

    /// The files of the model and those that are kept for rolling back, with their hashes.
    private static func everyFile(of description: ModelDescription) -> [String: String] {
        let kept = description.previous.values.compactMap(\.file).map { ($0.path, $0.sha256) }
        return description.files.merging(kept) { file, _ in file }
    }

    // MARK: Writing the bundle

    private static func extract(
        _ files: [String: TarArchive.Entry], _ description: ModelDescription, from tar: TarArchive, to partial: String,
        progress: (Double) -> Void
    ) throws(Failure) {
        var done = 0
        // model.yaml last: a directory with one is a whole bundle.
        for (name, expected) in everyFile(of: description).sorted(by: { $0.key < $1.key }) {
            guard let entry = files[name] else { continue }
            let mapping = tar.mapping
            let bytes = mapping.bytes.extracting(entry.range)
            try compare(hash(bytes), with: expected, of: "\(mapping.path): \(name)")
            try write(bytes, to: name, in: partial)
            done += 1
            progress(Double(done) / Double(files.count))
        }
        if let entry = files[descriptionName] {
            let mapping = tar.mapping
            try write(mapping.bytes.extracting(entry.range), to: descriptionName, in: partial)
        }
        progress(1)
    }

    private static func write(_ bytes: RawSpan, to name: String, in bundle: String) throws(Failure) {
        var folder = bundle
        for part in name.split(separator: "/").dropLast() {
            folder += "/\(part)"
            try DirectoryBridge.make(folder)
        }
        let output = try OutputFile(path: "\(bundle)/\(name)")
        try output.write(bytes)
        try output.commit()
        // The service's user reads it, whatever the mask of whoever installs it.
        DirectoryBridge.allow(0o644, "\(bundle)/\(name)")
    }

    private static func hash(_ bytes: RawSpan) -> String {
        var digest = SHA256()
        // Pieces, so that the hasher's copy stays small.
        for start in stride(from: 0, to: bytes.byteCount, by: 1 << 20) {
            let piece = bytes.extracting(start..<min(start + (1 << 20), bytes.byteCount))
            digest.update(data: DirectoryBridge.array(piece))
        }
        return ModelBundle.hexadecimal(digest.finalize())
    }

    private static func compare(_ found: String, with expected: String, of file: String) throws(Failure) {
        guard found == expected else {
            throw Failure(
                .modelInvalid, file, "is not the file that model.yaml names (SHA-256 \(found))",
                hint: "Copy the archive or the model again.")
        }
    }
}
