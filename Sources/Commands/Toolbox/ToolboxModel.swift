// Choices about a bundle that several commands make alike.

internal import Diagnostics
internal import MemVP
internal import Specification

/// A bundle's parts by name or by task.
enum ToolboxModel {
    /// The adapter called `name`, or the one that the bundle names for `kind`.
    ///
    /// - Throws: `model_missing` when there is none.
    static func adapter(_ name: String?, for kind: TaskKind, in bundle: ModelBundle) throws(Failure) -> Adapter {
        guard let name = name ?? bundle.description.adapters[kind] else {
            throw Failure(
                .modelMissing, bundle.path, "names no adapter for \(kind.rawValue)",
                hint: "Add one with `memvp convert adapter`.")
        }
        guard let adapter = bundle.adapters[name] else {
            let names = bundle.adapters.keys.sorted().joined(separator: ", ")
            throw Failure(
                .modelMissing, "adapter \(name)", "is not in the bundle \(bundle.path)",
                hint: names.isEmpty ? "Add one with `memvp convert adapter`." : "It has \(names).")
        }
        return adapter
    }
}
