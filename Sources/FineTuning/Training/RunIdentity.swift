// What makes a run that run: options, base, data, and what its parameters are nothing without. It stands in every checkpoint
// and, for people, in the log's `start`, so that a refused --resume says what differs.
//
// Invariant: options, data, base, constants and the adapter that it began with decide; where files lie and what they are called does
// not, and each file's own hash is there to name the one that differs. Checkpoints of earlier revisions have neither files, base nor
// beginning, and are resumed without; those of runs that train an encoder knew photos by their paths, and are not.

internal import Diagnostics
internal import FoundationEssentials
internal import MemVP

/// The rows of one file that a run uses.
public struct RunRows: Codable, Sendable, Equatable {
    /// `training` or `validation`.
    public var role: String
    /// The file, as it was named.
    public var file: String
    /// How many rows.
    public var rows: Int
    /// SHA-256 over their photos and tokens, in their order.
    public var sha256: String
}

/// The base of a run.
public struct RunBase: Codable, Sendable, Equatable {
    /// The model's name, which decides nothing.
    public var name: String
    /// SHA-256 of the language model's source.
    public var language: String
    /// SHA-256 of the vision encoder's source.
    public var vision: String
    /// The arithmetic: int8 or f32.
    public var precision: String
    /// The kernel path, which decides the last bits; nil in checkpoints of before it was kept.
    public var kernels: String?
}

/// Gathers photos and tokens of a run's rows.
struct RunData {
    private var text = ""
    private var role = "training"
    private var parts: [(role: String, file: String, rows: Int, text: String)] = []

    /// What comes is validated on. The same rows on the other side are other data.
    mutating func beginValidation() {
        role = "validation"
        text += "validation\n"
    }

    /// The next example, of this row.
    mutating func add(_ example: PreparedExample, of row: ExampleRow) {
        let alone = row.view == nil ? "" : " alone"
        let line = "\(example.photo) \(example.tokens)\(alone)\n"
        text += line
        if let last = parts.indices.last, parts[last].role == role, parts[last].file == row.file {
            parts[last].rows += 1
            parts[last].text += line
        } else {
            parts.append((role: role, file: row.file, rows: 1, text: line))
        }
    }

    /// SHA-256 of all of it.
    var hash: String { ModelBundle.sha256(of: Array(text.utf8)) }

    /// The same of each file.
    var rows: [RunRows] {
        parts.map { part in
            RunRows(
                role: part.role, file: part.file, rows: part.rows,
                sha256: ModelBundle.sha256(of: Array(part.text.utf8)))
        }
    }
}

/// What a checkpoint must have alike to be gone on from.
struct RunIdentity {
    let configuration: TrainingConfiguration
    let base: RunBase
    let dataHash: String
    let rows: [RunRows]
    /// `TrainableAdapter.constants`.
    let constants: String
    /// SHA-256 of the adapter that it began with; nil for random values.
    let initial: String?

    /// The keys that checkpoints always had.
    enum Key {
        static let configuration = "memvp.configuration"
        static let data = "memvp.data"
        static let constants = "memvp.adapter"
    }

    private static let baseKey = "memvp.base"
    private static let rowsKey = "memvp.rows"
    private static let initialKey = "memvp.initial"
    private static let nothing = "random values"

    /// As a checkpoint has it.
    func metadata() throws(Failure) -> [String: String] {
        let options = try Self.text(configuration)
        let named = try Self.text(base)
        let files = try Self.text(rows)
        return [
            Key.configuration: options, Key.data: dataHash, Key.constants: constants, Self.baseKey: named,
            Self.rowsKey: files, Self.initialKey: initial ?? Self.nothing,
        ]
    }

    /// Refuses the checkpoint of another run at `path`, and says in what it differs.
    ///
    /// - Throws: `configuration_invalid`.
    func check(_ found: [String: String], of path: String) throws(Failure) {
        var kinds: [String] = []
        var details: [String] = []
        let settings = try Self.text(configuration)
        if found[Key.configuration] != settings {
            kinds.append("other settings")
            details += options(since: Self.value(found[Key.configuration], as: TrainingConfiguration.self))
        }
        let bases = parts(since: Self.value(found[Self.baseKey], as: RunBase.self))
        if !bases.isEmpty {
            kinds.append("another base")
            details += bases
        }
        // Earlier revisions did not keep it.
        if let began = found[Self.initialKey], began != initial ?? Self.nothing {
            kinds.append("another beginning")
            details.append(Self.change("--initial", Self.brief(began), Self.brief(initial ?? Self.nothing)))
        }
        if found[Key.data] != dataHash {
            kinds.append("other data")
            details += files(since: Self.value(found[Self.rowsKey], as: [RunRows].self))
        }
        guard kinds.isEmpty else {
            // Without a detail it is not known which of the two it was, as far as people are concerned.
            let what = details.isEmpty ? "other settings or other data" : kinds.joined(separator: " and ")
            let which = details.isEmpty ? "" : ": \(details.joined(separator: "; "))"
            throw Failure(
                .configurationInvalid, path, "belongs to a run with \(what)\(which)",
                hint: "Resume with the same options, --initial and files, or start anew with another --out.")
        }
        guard found[Key.constants] == constants else {
            let which = beginnings(since: found[Key.constants] ?? "").map { ": \($0)" } ?? ""
            throw Failure(
                .configurationInvalid, path,
                "belongs to a run with other shapes, constants or measures of the encoder's blocks\(which)",
                hint:
                    "Resume with the same --initial and --base, on the same kernels, or start anew with another --out.")
        }
    }

    // MARK: What differs

    /// Options that had other values.
    private func options(since before: TrainingConfiguration?) -> [String] {
        guard let before else { return [] }
        var changes: [String] = []
        for (old, new) in zip(before.options, configuration.options) where old.value != new.value {
            changes.append(Self.change("--\(new.name)", old.value ?? "left out", new.value ?? "left out"))
        }
        return changes
    }

    /// Parts of the base that were others.
    private func parts(since before: RunBase?) -> [String] {
        guard let before else { return [] }
        var changes: [String] = []
        for (name, was, now) in [
            ("the base's language model", before.language, base.language),
            ("the base's vision encoder", before.vision, base.vision),
            ("the base's precision", before.precision, base.precision),
            ("the kernel path", before.kernels ?? base.kernels ?? "", base.kernels ?? ""),
        ] where was != now {
            changes.append(Self.change(name, Self.brief(was), Self.brief(now)))
        }
        return changes
    }

    /// Files whose rows were others.
    private func files(since before: [RunRows]?) -> [String] {
        guard let before else { return [] }
        var changes: [String] = []
        for (role, option) in [("training", "--data"), ("validation", "--validation")] {
            let old = before.filter { $0.role == role }
            let new = rows.filter { $0.role == role }
            for place in 0..<max(old.count, new.count) {
                let was: RunRows? = place < old.count ? old[place] : nil
                let now: RunRows? = place < new.count ? new[place] : nil
                if was?.sha256 != now?.sha256 { changes.append(Self.file(option, was, now)) }
            }
        }
        return changes
    }

    private static func file(_ option: String, _ was: RunRows?, _ now: RunRows?) -> String {
        guard let was else { return "\(option) has \(words(now)) too" }
        guard let now else { return "\(option) had \(words(was)) too" }
        guard was.file == now.file, was.rows == now.rows else { return change(option, words(was), words(now)) }
        return "of \(option) \(words(now)) some have other photos, other words or another place"
    }

    private static func words(_ rows: RunRows?) -> String {
        guard let rows else { return "no rows" }
        return rows.file.isEmpty ? "\(rows.rows) rows" : "\(rows.file) (\(rows.rows) rows)"
    }

    /// The first of the constants that was another, by the option that it follows from.
    private func beginnings(since before: String) -> String? {
        let names = [
            "the features' width", "--hidden", "the model's width", "--slots", "--lambda", "--scale", "--prompting",
        ]
        let old = before.split(separator: ";", omittingEmptySubsequences: false).map { String($0) }
        let new = constants.split(separator: ";", omittingEmptySubsequences: false).map { String($0) }
        guard old.count > names.count, new.count > names.count else { return nil }
        for (place, name) in names.enumerated() where old[place] != new[place] {
            return Self.change(name, old[place], new[place])
        }
        guard old.dropLast() == new.dropLast() else {
            return "the blocks of --feature-blocks, or their measures on the photos, are others"
        }
        return "what stands beside the encoder's blocks is another"
    }

    private static func change(_ name: String, _ was: String, _ now: String) -> String {
        "\(name) was \(was) and is \(now)"
    }

    /// As much of a hash as tells it from another.
    private static func brief(_ text: String) -> String { text.count > 16 ? "\(text.prefix(12))…" : text }

    // MARK: JSON

    private static func text(_ value: some Encodable) throws(Failure) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        do {
            return String(decoding: try encoder.encode(value), as: UTF8.self)
        } catch { throw Failure(.internalError, "settings", "cannot be written: \(error)") }
    }

    private static func value<Value: Decodable>(_ text: String?, as type: Value.Type) -> Value? {
        guard let text else { return nil }
        return try? JSONDecoder().decode(type, from: Data(text.utf8))
    }
}
