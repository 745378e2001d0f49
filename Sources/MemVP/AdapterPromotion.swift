// Promoting an adapter: a new one takes another's place in a bundle, and the old one stays beside it for the way back.
//
// Invariant: as in BundleBuilder.swift, model.yaml names whole files at every moment and changes hands in one rename; what
// it keeps under `previous` is never opened with the bundle. A failure leaves the bundle as it was.
// Failure modes: `model_invalid` and `adapter_mismatch` for an adapter that is no good, `temporary` when the bundle or the
// file changed under the promotion, `model_missing` when there is nothing to roll back to; the writer's failures.

public import Diagnostics
internal import Files
internal import FoundationEssentials
internal import ModelFile
public import Specification
internal import Tensor

extension BundleBuilder {
    /// Whether an adapter could be put into a bundle, before the evaluation that says whether it shall.
    ///
    /// - Throws: `permission_denied`, `cannot_create`, `no_space` where no file can be made in the bundle; `temporary` while
    ///   another program changes it; the reader's failures.
    public static func checkPromotion(of name: String, to bundle: String) throws(Failure) {
        let lock = try DirectoryBridge.lock(bundle)
        defer { DirectoryBridge.unlock(lock) }
        let description = try ModelBundle.description(in: bundle)
        let file = unnamedFile(for: name, in: description)
        try OutputFile.check("\(bundle)/model.yaml")
        // Where there is no folder for adapters yet, the promotion makes it.
        if DirectoryBridge.exists("\(bundle)/adapters") { try OutputFile.check("\(bundle)/\(file)") }
    }

    /// Puts an adapter file into a bundle under `name`, byte for byte, and keeps what stood there.
    ///
    /// - Parameters:
    ///   - hash: the file's SHA-256 when it was judged.
    ///   - kinds: the kinds of task that use it from now on; others stay as they are.
    ///   - bundle: as it was opened when the adapter was judged.
    /// - Returns: false when all of that is so already, and nothing was done.
    /// - Throws: `adapter_mismatch`, `model_invalid`, `temporary` when the file or the bundle is no longer what was judged;
    ///   the writer's failures.
    public static func promote(
        _ source: String, hash: String, name: String, kinds: [TaskKind], to bundle: ModelBundle
    ) throws(Failure) -> Bool {
        try promote(source, hash: hash, name: name, kinds: kinds, to: bundle) { _ in }
    }

    /// The same; `after` is called between the steps, for tests that fail there.
    static func promote(
        _ source: String, hash: String, name: String, kinds: [TaskKind], to bundle: ModelBundle,
        after: (AddingStep) throws(Failure) -> Void
    ) throws(Failure) -> Bool {
        let lock = try DirectoryBridge.lock(bundle.path)
        defer { DirectoryBridge.unlock(lock) }
        var description = try ModelBundle.description(in: bundle.path)
        guard description == bundle.description else {
            throw Failure(
                .temporary, bundle.path, "has changed since the adapters were compared", hint: "Promote again.")
        }
        let present = file(of: name, in: description)
        let superseded = description.previous[name]
        guard present?.sha256 != hash else {
            guard kinds.contains(where: { description.adapters[$0] != name }) else { return false }
            // The file stands there already, and only tasks change hands: what it replaced stays the way back. One that was rolled back
            // itself is no way back.
            let former = superseded.flatMap { $0.isRolledBack ? nil : $0 }
            description.give(kinds, to: name, over: former ?? FormerAdapter(file: present))
            try write(description, in: bundle.path)
            try after(.described)
            if former == nil { remove(superseded, of: name, from: bundle.path, but: present) }
            return true
        }
        try makeAdapters(in: bundle.path)
        let target = unnamedFile(for: name, in: description)
        let path = "\(bundle.path)/\(target)"
        try copy(source, to: path)
        FileAccess(of: "\(bundle.path)/model.yaml")?.apply(to: path)
        do throws(Failure) {
            guard try ModelBundle.sha256(ofFile: path) == hash else {
                throw Failure(.temporary, source, "has changed since it was evaluated", hint: "Promote again.")
            }
            _ = try bundle.openAdapter(path: path)
        } catch {
            try? FileManager.default.removeItem(atPath: path)
            throw error.code == .temporary ? error : error.about(source)
        }
        try after(.written)
        if let present { description.files[present.path] = nil }
        description.files[target] = hash
        description.give(kinds, to: name, over: FormerAdapter(file: present))
        try write(description, in: bundle.path)
        try after(.described)
        remove(superseded, of: name, from: bundle.path, but: present)
        return true
    }

    /// Removes the file that was kept before. One that stays is no harm: model.yaml does not name it, and the next adapter of the name
    /// may take its place.
    private static func remove(
        _ former: FormerAdapter?, of name: String, from bundle: String, but present: FormerAdapter.File?
    ) {
        guard let kept = former?.file, kept.path != present?.path, ModelBundle.adapterName(ofFile: kept.path) == name
        else { return }
        try? FileManager.default.removeItem(atPath: "\(bundle)/\(kept.path)")
    }

    /// Puts back what stood in the place of the adapter `name` before it was promoted. What stands there now is kept in turn,
    /// so rolling back twice leads to where it began.
    ///
    /// - Returns: the bundle's description from now on.
    /// - Throws: `model_missing` when nothing is kept or a task would be left with an adapter that is not there;
    ///   `model_invalid` and `adapter_mismatch` when the kept file is damaged or of another base; the writer's failures.
    public static func rollBack(_ name: String, in bundle: String) throws(Failure) -> ModelDescription {
        let lock = try DirectoryBridge.lock(bundle)
        defer { DirectoryBridge.unlock(lock) }
        var description = try ModelBundle.description(in: bundle)
        guard let former = description.previous[name] else {
            throw Failure(
                .modelMissing, bundle, "keeps nothing that stood in the place of the adapter \(name)",
                hint: "Only what memvp promote replaced can be rolled back.")
        }
        if let kept = former.file { try check(kept, of: name, in: bundle) }
        let present = file(of: name, in: description)
        var turned = FormerAdapter(file: present, isRolledBack: !former.isRolledBack)
        for (kind, adapter) in former.adapters {
            // A kind that another adapter has taken since then stays with that one.
            guard description.adapters[kind] == name || adapter == name else { continue }
            turned.adapters[kind] = description.adapters[kind] ?? ""
            description.adapters[kind] = adapter.isEmpty ? nil : adapter
        }
        if let present { description.files[present.path] = nil }
        if let kept = former.file { description.files[kept.path] = kept.sha256 }
        description.previous[name] = turned
        for kind in TaskKind.allCases where former.adapters[kind] != nil || description.adapters[kind] == name {
            guard let adapter = description.adapters[kind], file(of: adapter, in: description) == nil else { continue }
            throw Failure(
                .modelMissing, bundle,
                "would name the adapter \(adapter) for \(kind.rawValue), which would not be there",
                hint: "Promote another adapter for \(kind.rawValue) first.")
        }
        try write(description, in: bundle)
        return description
    }

    /// The file that holds the adapter `name`; nil where there is none.
    public static func file(of name: String, in description: ModelDescription) -> FormerAdapter.File? {
        description.files.first { ModelBundle.adapterName(ofFile: $0.key) == name }
            .map { FormerAdapter.File(path: $0.key, sha256: $0.value) }
    }

    static func copy(_ source: String, to target: String) throws(Failure) {
        let file = try MappedFile(path: source)
        let output = try OutputFile(path: target)
        try output.write(file.bytes)
        try output.commit()
    }

    /// The kept file is still the adapter that it was, and the base is still its base.
    private static func check(_ kept: FormerAdapter.File, of name: String, in bundle: String) throws(Failure) {
        let path = "\(bundle)/\(kept.path)"
        let hash: String
        do throws(Failure) {
            hash = try ModelBundle.sha256(ofFile: path)
        } catch {
            // Models can be made again, which is what the reader of files advises; what was kept cannot.
            guard error.code == .modelMissing else { throw error }
            throw error.advising("Promote a good one instead.")
        }
        guard ModelBundle.adapterName(ofFile: kept.path) == name, hash == kept.sha256 else {
            throw Failure(
                .modelInvalid, path, "is not the adapter that was kept", hint: "Promote a good one instead.")
        }
        let base = try BaseIdentity(
            language: GGUFFile(path: "\(bundle)/language.gguf"), vision: GGUFFile(path: "\(bundle)/vision.gguf"))
        _ = try AdapterFile.tensors(path: path, base: base)
    }
}

extension ModelDescription {
    /// Gives tasks to the adapter `name`; `former` is what the way back puts in its place, and hears whom each task is taken from.
    fileprivate mutating func give(_ kinds: [TaskKind], to name: String, over former: FormerAdapter) {
        var former = former
        for kind in kinds where adapters[kind] != name {
            former.adapters[kind] = adapters[kind] ?? ""
            adapters[kind] = name
            settle(kind, on: name)
        }
        previous[name] = former
    }

    /// The task has been given to `name` anew: no other adapter that was rolled back takes it with it when it comes back.
    mutating func settle(_ kind: TaskKind, on name: String) {
        for (other, former) in previous where other != name && former.adapters[kind] == other {
            previous[other]?.adapters[kind] = nil
        }
    }
}
