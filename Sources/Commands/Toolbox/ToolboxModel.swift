// Choices about a bundle that several commands make alike.

internal import Diagnostics
internal import MemVP
internal import Specification

/// A bundle's parts by name or by task.
enum ToolboxModel {
    /// What `--adapter` says.
    static let adapterHelp = "The adapter: a name in the bundle, or a .gguf file; by default the bundle's for the task."

    /// The adapter in the file that `name` is, under that name: what an answerer needs beside the bundle's own.
    ///
    /// - Throws: the file's failures; `adapter_mismatch` for another base.
    static func additional(_ name: String?, in bundle: ModelBundle) throws(Failure) -> [String: Adapter] {
        guard let path = file(of: name) else { return [:] }
        return [path: try bundle.openAdapter(path: path)]
    }

    /// The file that `name` is; nil for an adapter of the bundle.
    static func file(of name: String?) -> String? { name.flatMap { $0.hasSuffix(".gguf") ? $0 : nil } }

    /// The adapter called `name` or in the file `name`, or the one that the bundle names for `kind`.
    ///
    /// - Throws: `model_missing` when there is none; the file's failures.
    static func adapter(_ name: String?, for kind: TaskKind, in bundle: ModelBundle) throws(Failure) -> Adapter {
        guard let name = name ?? bundle.description.adapters[kind] else {
            throw Failure(
                .modelMissing, bundle.path, "names no adapter for \(kind.rawValue)",
                hint: "Add one with `memvp convert adapter`.")
        }
        if let adapter = try additional(name, in: bundle)[name] { return adapter }
        guard let adapter = bundle.adapters[name] else {
            let names = bundle.adapters.keys.sorted().joined(separator: ", ")
            throw Failure(
                .modelMissing, "adapter \(name)", "is not in the bundle \(bundle.path)",
                hint: names.isEmpty ? "Add one with `memvp convert adapter`." : "It has \(names).")
        }
        return adapter
    }
}
