// What a promotion put aside, as model.yaml keeps it under `previous`: all that the way back needs. Nothing of it is opened
// with the bundle.

/// What stood in an adapter's place before its last promotion or rolling back.
public struct FormerAdapter: Sendable, Equatable {
    /// An adapter's file that is kept.
    public struct File: Sendable, Equatable {
        /// Its path in the bundle.
        public var path: String
        /// Its SHA-256.
        public var sha256: String

        /// A file and its hash.
        public init(path: String, sha256: String) {
            self.path = path
            self.sha256 = sha256
        }
    }

    /// The adapter's file; nil where there was none of the name.
    public var file: File?
    /// The kinds of task that changed hands, with the adapter that each had; an empty name is none.
    public var adapters: [TaskKind: String]
    /// Whether it was put aside by rolling back, not by a promotion.
    public var isRolledBack: Bool

    /// A file, and the adapters of some kinds of task.
    public init(file: File?, adapters: [TaskKind: String] = [:], isRolledBack: Bool = false) {
        self.file = file
        self.adapters = adapters
        self.isRolledBack = isRolledBack
    }

    /// Its lines in model.yaml.
    func yaml(of name: String, quoted: (String) -> String) -> [String] {
        var lines = ["  - adapter: \(quoted(name))"]
        if let file { lines += ["    file: \(quoted(file.path))", "    sha256: \(file.sha256)"] }
        if isRolledBack { lines.append("    rolled_back: true") }
        let tasks = TaskKind.allCases.compactMap { kind in adapters[kind].map { "\(kind.rawValue): \(quoted($0))" } }
        return lines + ["    tasks: {\(tasks.joined(separator: ", "))}"]
    }
}
