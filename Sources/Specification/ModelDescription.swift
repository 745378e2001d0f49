// model.yaml: what a model bundle says of itself (DESIGN 4 "Model bundle"), read with the same strictness as a task spec.
//
// Invariant: `ModelDescription(yaml: description.yaml)` gives the description back. Failure modes: `model_invalid`.

public import Diagnostics

/// The description of a model bundle.
public struct ModelDescription: Sendable, Equatable {
    /// What answers call the model.
    public var name: String
    /// The licences of its parts, in words.
    public var licence: String
    /// How photos become the encoder's input.
    public var image: Image
    /// The prompt of each kind of task.
    public var templates: [TaskKind: Template]
    /// The adapter of each kind of task, by its name in `adapters/`.
    public var adapters: [TaskKind: String]
    /// The SHA-256 of each file of the bundle, by its path in the bundle.
    public var files: [String: String]
    /// What stood in the place of an adapter before, by the adapter's name; kept for rolling back, not part of the model.
    public var previous: [String: FormerAdapter]

    /// The geometry and the normalisation of an image.
    public struct Image: Sendable, Equatable {
        /// The side of the square that photos are squashed to, in pixels.
        public var side: Int
        /// pixel = (byte / divisor − mean) / deviation, for red, green and blue.
        public var divisor: Double
        /// Means of red, green and blue.
        public var mean: [Double]
        /// Deviations of red, green and blue.
        public var deviation: [Double]

        /// Geometry and normalisation.
        public init(side: Int, divisor: Double, mean: [Double], deviation: [Double]) {
            self.side = side
            self.divisor = divisor
            self.mean = mean
            self.deviation = deviation
        }
    }

    /// How a task is put to the model.
    public struct Template: Sendable, Equatable {
        /// The prompt, with placeholders such as `{question}`.
        public var prompt: String
        /// What stands between prompt and answer.
        public var separator: String
        /// The control token that ends an answer.
        public var end: String
        /// How answers were written in training: `as_written`, `lowercase` or `caption`.
        public var style: String
        /// How questions with choices are put and answered by letter, instead of by prompt, separator and style; nil where
        /// choices are scored as they are.
        public var format: QuestionFormat?

        /// A template's texts.
        public init(prompt: String, separator: String, end: String, style: String, format: QuestionFormat? = nil) {
            self.prompt = prompt
            self.separator = separator
            self.end = end
            self.style = style
            self.format = format
        }
    }

    /// A description made by a converter.
    public init(
        name: String, licence: String, image: Image, templates: [TaskKind: Template], adapters: [TaskKind: String],
        files: [String: String], previous: [String: FormerAdapter] = [:]
    ) {
        self.name = name
        self.licence = licence
        self.image = image
        self.templates = templates
        self.adapters = adapters
        self.files = files
        self.previous = previous
    }

    /// Reads a model.yaml.
    ///
    /// - Throws: `model_invalid` with every fault and its line and column.
    public init(yaml bytes: [UInt8], named name: String) throws(Failure) {
        do {
            self = try ModelDescriptionDecoder.decode(bytes)
        } catch {
            throw error.failure(.modelInvalid, in: name)
        }
    }

    /// The document that reads as this description.
    public var yaml: String {
        func numbers(_ values: [Double]) -> String { "[\(values.map { "\($0)" }.joined(separator: ", "))]" }
        var lines = [
            "version: 1", "name: \(doubleQuoted(name))", "licence: \(doubleQuoted(licence))", "image:",
            "  side: \(image.side)", "  divisor: \(image.divisor)", "  mean: \(numbers(image.mean))",
            "  deviation: \(numbers(image.deviation))", "templates:",
        ]
        for kind in TaskKind.allCases {
            guard let template = templates[kind] else { continue }
            lines += [
                "  \(kind.rawValue):", "    prompt: \(doubleQuoted(template.prompt))",
                "    separator: \(doubleQuoted(template.separator))", "    end: \(doubleQuoted(template.end))",
                "    style: \(template.style)",
            ]
            if let format = template.format { lines.append("    format: \(format.name)") }
        }
        lines.append(adapters.isEmpty ? "adapters: {}" : "adapters:")
        for kind in TaskKind.allCases {
            if let adapter = adapters[kind] { lines.append("  \(kind.rawValue): \(doubleQuoted(adapter))") }
        }
        lines.append("files:")
        for (file, hash) in files.sorted(by: { $0.key < $1.key }) {
            lines += ["  - file: \(doubleQuoted(file))", "    sha256: \(hash)"]
        }
        if !previous.isEmpty { lines.append("previous:") }
        for (name, former) in previous.sorted(by: { $0.key < $1.key }) {
            lines += former.yaml(of: name, quoted: doubleQuoted)
        }
        return lines.joined(separator: "\n") + "\n"
    }
}

/// A YAML double-quoted scalar.
private func doubleQuoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"": result += "\\\""
        case "\\": result += "\\\\"
        case "\n": result += "\\n"
        case "\t": result += "\\t"
        case _ where isControl(scalar):
            let digits = String(scalar.value, radix: 16, uppercase: true)
            result += "\\U" + String(repeating: "0", count: 8 - digits.count) + digits
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result + "\""
}

/// Decodes one model.yaml.
private struct ModelDescriptionDecoder {
    private var reader = FieldReader()

    static func decode(_ bytes: [UInt8]) throws(Faults) -> ModelDescription {
        guard let root = try YAMLTree.parse(bytes, limit: 65_536) else {
            throw Faults(Fault(at: nil, "holds nothing", hint: "Convert or install the model again."))
        }
        var decoder = ModelDescriptionDecoder()
        let description = decoder.description(root)
        try decoder.reader.throwFaults()
        guard let description else { throw Faults(Fault(at: root.position, "does not describe a model")) }
        return description
    }

    private mutating func description(_ root: Node) -> ModelDescription? {
        let keys = ["version", "name", "licence", "image", "templates", "adapters", "files"]
        guard let fields = required(root, "the document", keys, optional: ["previous"]) else { return nil }
        _ = fields["version"].flatMap { reader.value($0.value, "version", .version) }
        let name = text(fields["name"], "name", maximum: 128)
        let licence = text(fields["licence"], "licence", maximum: 1_024)
        let image = fields["image"].flatMap { self.image($0.value) }
        let templates = fields["templates"].map { self.templates($0.value) }
        let adapters = fields["adapters"].map { self.adapters($0.value) }
        let files = fields["files"].map { self.files($0.value) }
        let previous = fields["previous"].map { self.previous($0.value) } ?? [:]
        guard let name, let licence, let image, let templates, let adapters, let files else { return nil }
        return ModelDescription(
            name: name, licence: licence, image: image, templates: templates, adapters: adapters, files: files,
            previous: previous)
    }

    private mutating func required(
        _ node: Node, _ name: String, _ keys: [String], optional: [String] = []
    ) -> [String: Node.Field]? {
        guard let fields = reader.mapping(node, name, keys: keys + optional, expected: "a mapping") else { return nil }
        for key in keys where fields[key] == nil { reader.report(node.position, "\(name) has no key \(key)") }
        return fields
    }

    private mutating func text(_ field: Node.Field?, _ name: String, maximum: Int) -> String? {
        field.flatMap { reader.value($0.value, name, Syntax<String>.raw(maximum: maximum)) }
    }

    private mutating func image(_ node: Node) -> ModelDescription.Image? {
        guard let fields = required(node, "image", ["side", "divisor", "mean", "deviation"]) else { return nil }
        let side = fields["side"].flatMap { reader.value($0.value, "image.side", .wholeNumber(32...1_024)) }
        let divisor = fields["divisor"].flatMap { reader.value($0.value, "image.divisor", .positiveNumber) }
        let mean = fields["mean"].flatMap {
            numbers($0.value, "image.mean", .decimal(0...255, expected: "a number from 0 to 255"))
        }
        let deviation = fields["deviation"].flatMap { numbers($0.value, "image.deviation", .positiveNumber) }
        guard let side, let divisor, let mean, let deviation else { return nil }
        return ModelDescription.Image(side: side, divisor: divisor, mean: mean, deviation: deviation)
    }

    private mutating func numbers(_ node: Node, _ name: String, _ syntax: Syntax<Double>) -> [Double]? {
        guard let items = reader.list(node, name, of: "numbers", count: 3...3) else { return nil }
        let values = items.compactMap { reader.value($0, name, syntax) }
        return values.count == 3 ? values : nil
    }

    private mutating func templates(_ node: Node) -> [TaskKind: ModelDescription.Template] {
        var result: [TaskKind: ModelDescription.Template] = [:]
        let kinds = TaskKind.allCases.map(\.rawValue)
        for (key, field) in reader.mapping(node, "templates", keys: kinds, expected: "a mapping") ?? [:] {
            guard let kind = TaskKind(rawValue: key),
                let fields = required(
                    field.value, "templates.\(key)", ["prompt", "separator", "end", "style"],
                    optional: kind == .ask ? ["format"] : []),
                let prompt = text(fields["prompt"], "prompt", maximum: 8_192),
                let separator = text(fields["separator"], "separator", maximum: 64),
                let end = text(fields["end"], "end", maximum: 64),
                let style = fields["style"].flatMap({ reader.value($0.value, "style", .identifier("a style")) })
            else { continue }
            result[kind] = ModelDescription.Template(
                prompt: prompt, separator: separator, end: end, style: style,
                format: fields["format"].flatMap { reader.value($0.value, "format", .format) })
        }
        return result
    }

    private mutating func adapters(_ node: Node) -> [TaskKind: String] {
        var result: [TaskKind: String] = [:]
        let kinds = TaskKind.allCases.map(\.rawValue)
        for (key, field) in reader.mapping(node, "adapters", keys: kinds, expected: "a mapping") ?? [:] {
            guard let kind = TaskKind(rawValue: key) else { continue }
            result[kind] = reader.value(field.value, "adapters.\(key)", .identifier("the name of an adapter"))
        }
        return result
    }

    private mutating func files(_ node: Node) -> [String: String] {
        var result: [String: String] = [:]
        for item in reader.list(node, "files", of: "files", count: 1...256) ?? [] {
            guard let fields = required(item, "files", ["file", "sha256"]),
                let file = fields["file"].flatMap({ reader.value($0.value, "file", .bundlePath) }),
                let hash = fields["sha256"].flatMap({ reader.value($0.value, "sha256", .sha256) })
            else { continue }
            guard result[file] == nil else {
                reader.report(item.position, "files has two entries for \(quoted(file))")
                continue
            }
            result[file] = hash
        }
        return result
    }

    private mutating func previous(_ node: Node) -> [String: FormerAdapter] {
        var result: [String: FormerAdapter] = [:]
        for item in reader.list(node, "previous", of: "adapters", count: 1...256) ?? [] {
            guard
                let fields = required(
                    item, "previous", ["adapter", "tasks"], optional: ["file", "sha256", "rolled_back"]),
                let name = fields["adapter"].flatMap({
                    reader.value($0.value, "adapter", .identifier("the name of an adapter"))
                })
            else { continue }
            guard result[name] == nil else {
                reader.report(item.position, "previous has two entries for the adapter \(name)")
                continue
            }
            var former = FormerAdapter(file: nil, adapters: [:])
            let kinds = TaskKind.allCases.map(\.rawValue)
            let tasks = fields["tasks"].flatMap {
                reader.mapping($0.value, "tasks", keys: kinds, expected: "a mapping")
            }
            for (key, field) in tasks ?? [:] {
                guard let kind = TaskKind(rawValue: key) else { continue }
                former.adapters[kind] = reader.value(field.value, "tasks.\(key)", .identifierOrNothing)
            }
            let path = fields["file"].flatMap { reader.value($0.value, "file", .bundlePath) }
            let hash = fields["sha256"].flatMap { reader.value($0.value, "sha256", .sha256) }
            if (fields["file"] == nil) != (fields["sha256"] == nil) {
                reader.report(item.position, "previous has one of file and sha256 without the other")
            }
            former.isRolledBack =
                fields["rolled_back"].flatMap { reader.value($0.value, "rolled_back", .flag) } ?? false
            if let path, let hash { former.file = FormerAdapter.File(path: path, sha256: hash) }
            result[name] = former
        }
        return result
    }
}

extension Syntax where Value == Bool {
    fileprivate static var flag: Syntax<Bool> {
        Syntax<Bool>(
            expected: "true or false", read: { $0 == "true" ? true : $0 == "false" ? false : nil }, write: { "\($0)" })
    }
}

extension Syntax where Value == String {
    /// Any text of at most `maximum` bytes, white space kept.
    fileprivate static func raw(maximum: Int) -> Syntax<String> {
        Syntax<String>(
            expected: "a text of at most \(maximum) bytes", read: { $0.utf8.count <= maximum ? $0 : nil }, write: { $0 }
        )
    }

    /// A path inside the bundle: names joined by slashes, none of them hidden or a step upwards.
    fileprivate static var bundlePath: Syntax<String> {
        Syntax<String>(
            expected: "a path inside the bundle",
            read: { text in
                let parts = text.split(separator: "/", omittingEmptySubsequences: false)
                return !parts.isEmpty && parts.count <= 4 && parts.allSatisfy { !$0.isEmpty && !$0.hasPrefix(".") }
                    ? text : nil
            }, write: { $0 })
    }

    /// The name of an adapter, or an empty text for none.
    fileprivate static var identifierOrNothing: Syntax<String> {
        let name = identifier("the name of an adapter, or an empty text")
        return Syntax<String>(
            expected: name.expected, read: { $0.isEmpty ? $0 : name.read($0) }, write: { $0 })
    }

    /// 64 lower-case hexadecimal digits.
    fileprivate static var sha256: Syntax<String> {
        Syntax<String>(
            expected: "a SHA-256 in 64 hexadecimal digits",
            read: { $0.utf8.count == 64 && $0.allSatisfy { "0123456789abcdef".contains($0) } ? $0 : nil }, write: { $0 }
        )
    }
}

extension Syntax where Value == Double {
    /// A decimal number above 0.
    fileprivate static var positiveNumber: Syntax<Double> {
        decimal(.leastNonzeroMagnitude...1_000, expected: "a number above 0 and at most 1000")
    }
}
