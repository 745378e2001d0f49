// A task spec's tree to its value; DESIGN 4 "Task spec".
//
// Decisions that the design leaves open: `version` may be left out and then is 1; in the short form the keys of one
// task stand at the top level, and `task: caption` is `caption:`; a task without an id is called by its kind, `caption`
// or `ask`, from the second of its kind on `ask-2`, `ask-3`, passing over ids that are taken; white space around a
// question or a choice is dropped. An option that could have no effect is a fault and never ignored.

/// Decodes one document.
struct TaskSpecDecoder {
    private static let problemKeys = ["context", "lecture", "solution", "format"]
    private static let taskKeys = ["caption", "ask"] + problemKeys + ["answer", "adapter"]
    private static let optionKeys = ["max_tokens", "temperature", "top_p", "seed"]
    private static let choiceCount = 2...64
    private static let letterCount = 26

    private var reader = FieldReader()
    private let limits: TaskSpec.Limits

    private init(limits: TaskSpec.Limits) {
        self.limits = limits
    }

    static func decode(_ bytes: [UInt8], limits: TaskSpec.Limits) throws(Faults) -> TaskSpec {
        guard let root = try YAMLTree.parse(bytes, limit: limits.bytes) else {
            throw Faults(Fault(at: nil, "holds nothing but comments", hint: "Write at least `task: caption`."))
        }
        var decoder = TaskSpecDecoder(limits: limits)
        let spec = decoder.spec(root)
        try decoder.reader.throwFaults()
        guard let spec else { throw Faults(Fault(at: root.position, "is not a task spec")) }
        return spec
    }

    // MARK: The document

    private mutating func spec(_ root: Node) -> TaskSpec? {
        let keys = ["version", "image", "priority", "tasks", "task"] + Self.taskKeys
        let expected = "a task spec such as `task: caption`"
        guard let fields = reader.mapping(root, "the document", keys: keys, expected: expected) else { return nil }
        _ = fields["version"].flatMap {
            reader.value($0.value, "version", .version, hint: "Write `version: 1`, or leave the key out.")
        }
        let image = fields["image"].flatMap { reader.value($0.value, "image", .fileName) }
        let priority = fields["priority"].flatMap {
            reader.value(
                $0.value, "priority", .wholeNumber(-10...10), hint: "Higher goes first; leave the key out for 0.")
        }
        guard let form = onlyForm(of: ["tasks", "task", "caption", "ask"], in: fields, at: root.position) else {
            return nil
        }
        let drafts = form.key == "tasks" ? taskList(form, beside: fields) : draft(form, fields).map { [$0] }
        return drafts.map { TaskSpec(image: image, priority: priority ?? 0, tasks: named($0)) }
    }

    /// The one field that says what to do; none and several are faults.
    private mutating func onlyForm(
        of forms: [String], in fields: [String: Node.Field], at position: Position
    ) -> Node.Field? {
        let found = forms.compactMap { fields[$0] }.sorted { $0.keyPosition < $1.keyPosition }
        guard let first = found.first else {
            reader.report(position, "no task is named", hint: "Add `caption: {}` or `ask: \"…\"`.")
            return nil
        }
        for other in found.dropFirst() {
            reader.report(
                other.keyPosition, "\(other.key) cannot stand beside \(first.key) of line \(first.keyPosition.line)",
                hint: "Make each a task of its own in the list `tasks`.")
        }
        return found.count == 1 ? first : nil
    }

    private mutating func taskList(_ form: Node.Field, beside fields: [String: Node.Field]) -> [Draft]? {
        for stray in (Self.problemKeys + ["answer", "adapter"]).compactMap({ fields[$0] }) {
            reader.report(stray.keyPosition, "\(stray.key) belongs to a task", hint: "Move it into the list `tasks`.")
        }
        let items = reader.list(
            form.value, "tasks", of: "tasks", count: 1...limits.tasks, note: " (limits.tasks)")
        guard let items else { return nil }
        return items.compactMap { listedTask($0) }
    }

    // MARK: One task

    /// A task before the tasks without an id are given theirs.
    private struct Draft {
        var id: (text: String, position: Position)?
        let adapter: String?
        let work: TaskSpec.Work
    }

    private mutating func listedTask(_ node: Node) -> Draft? {
        let expected = "a task such as `caption: {}` or `ask: \"…\"`"
        guard let fields = reader.mapping(node, "tasks", keys: ["id"] + Self.taskKeys, expected: expected) else {
            return nil
        }
        let id = fields["id"].flatMap { field in
            reader.value(field.value, "id", .identifier("an id")).map { ($0, field.value.position) }
        }
        guard let form = onlyForm(of: ["caption", "ask"], in: fields, at: node.position) else { return nil }
        guard var task = draft(form, fields) else { return nil }
        task.id = id
        return task
    }

    private mutating func draft(_ form: Node.Field, _ fields: [String: Node.Field]) -> Draft? {
        let adapter = fields["adapter"].flatMap { reader.value($0.value, "adapter", .adapterName) }
        if form.key != "ask" {
            for stray in (Self.problemKeys + ["answer"]).compactMap({ fields[$0] }) {
                reader.report(stray.keyPosition, "\(stray.key) belongs to ask, not to \(form.key)")
            }
        }
        let work: TaskSpec.Work? =
            switch form.key {
            case "task": reader.value(form.value, "task", .word).map { .standard($0, limits) }
            case "caption":
                options(form.value, "caption", keys: Self.optionKeys).map { .caption(generation($0, .caption)) }
            default: question(form.value, fields)
            }
        return work.map { Draft(adapter: adapter, work: $0) }
    }

    private mutating func question(_ node: Node, _ fields: [String: Node.Field]) -> TaskSpec.Work? {
        let question = reader.value(
            node, "ask", .text("a question", maximum: 4_096, lines: true),
            hint: Self.isBlank(node) ? "Write the question in quotes: `ask: \"…\"`." : "")
        let answer = fields["answer"].map { self.answer($0.value) } ?? .free(generation([:], .answer))
        let format = fields["format"].flatMap {
            reader.value($0.value, "format", .format, hint: Self.formatHint($0.value))
        }
        var texts: [String: String] = [:]
        for key in ["context", "lecture", "solution"] {
            guard let field = fields[key] else { continue }
            texts[key] = reader.value(field.value, key, .text("a text", maximum: 16_384, lines: true))
        }
        guard let question, let answer else { return nil }
        guard let first = Self.problemKeys.compactMap({ fields[$0] }).min(by: { $0.keyPosition < $1.keyPosition })
        else { return .ask(question: question, answer: answer) }
        guard case .choice(let options) = answer, options.count <= Self.letterCount else {
            reader.report(
                first.keyPosition, "\(first.key) needs choices, 2 to \(Self.letterCount), each with a letter",
                hint: "Add `answer: { choices: [first, second] }`.")
            return nil
        }
        if let format { checkTexts(fields, of: format) }
        return .problem(
            TaskSpec.Problem(
                question: question, context: texts["context"] ?? "", lecture: texts["lecture"] ?? "",
                solution: texts["solution"] ?? "", options: options, format: format))
    }

    /// Whether nothing was written, or blanks alone.
    private static func isBlank(_ node: Node) -> Bool {
        guard case .scalar(let text, _) = node.content else { return false }
        return trimmed(text).isEmpty
    }

    /// Which format was likely meant.
    private static func formatHint(_ node: Node) -> String {
        guard case .scalar(let name, _) = node.content,
            let nearest = FieldReader.nearest(name, among: QuestionFormat.all.map(\.name))
        else { return "Write QCM-A, or leave the key out for the model's own." }
        return "Did you mean \(quoted(nearest))?"
    }

    /// A text that the format has no place for would be dropped in silence, one that it needs would be missing.
    private mutating func checkTexts(_ fields: [String: Node.Field], of format: QuestionFormat) {
        for part in QuestionFormat.Field.allCases {
            let key = part.rawValue
            if let stray = fields[key], !format.has(part) {
                reader.report(stray.keyPosition, "\(key) has no place in the format \(format.name)", hint: "Remove it.")
            }
            if [.lecture, .solution].contains(part), format.has(part), fields[key] == nil, let named = fields["format"]
            {
                reader.report(named.value.position, "the format \(format.name) needs a \(key)")
            }
        }
    }

    private mutating func answer(_ node: Node) -> TaskSpec.Answer? {
        guard let fields = options(node, "answer", keys: ["choices"] + Self.optionKeys) else { return nil }
        guard let choices = fields["choices"] else { return .free(generation(fields, .answer)) }
        for stray in Self.optionKeys.compactMap({ fields[$0] }) {
            reader.report(stray.keyPosition, "\(stray.key) has no effect beside choices", hint: "Remove it.")
        }
        return self.choices(choices.value).map { .choice($0) }
    }

    private mutating func choices(_ node: Node) -> [String]? {
        let items = reader.list(
            node, "choices", of: "choices", count: Self.choiceCount,
            tooFew: "Add a choice, or leave `answer` out for a free answer.")
        guard let items else { return nil }
        var lines: [String: Int] = [:]
        var texts: [String] = []
        for item in items {
            guard let text = reader.value(item, "choices", .text("a choice", maximum: 256, lines: false)) else {
                continue
            }
            if let line = lines.updateValue(item.position.line, forKey: text) {
                reader.report(item.position, "the choice \(quoted(text)) stands here again; first in line \(line)")
            }
            texts.append(text)
        }
        return texts
    }

    // MARK: Options

    /// The fields of a mapping of options; nothing at all is a mapping of none.
    private mutating func options(_ node: Node, _ name: String, keys: [String]) -> [String: Node.Field]? {
        if node.isAbsent { return [:] }
        return reader.mapping(node, name, keys: keys, expected: "a mapping of options such as { max_tokens: 20 }")
    }

    private mutating func generation(
        _ fields: [String: Node.Field], _ standard: TaskSpec.Generation
    ) -> TaskSpec.Generation {
        let most = limits.answerTokens
        let tokens = fields["max_tokens"].flatMap {
            reader.value($0.value, "max_tokens", .wholeNumber(1...most, note: " (limits.answer_tokens)"))
        }
        let temperature = fields["temperature"].flatMap {
            reader.value($0.value, "temperature", .decimal(0...2, expected: "a number from 0 to 2"))
        }
        let topP = fields["top_p"].flatMap {
            reader.value(
                $0.value, "top_p", .decimal(.leastNonzeroMagnitude...1, expected: "a number above 0 and at most 1"))
        }
        // Up to 2⁵³ − 1, so that every JSON reader gets the seed of an answer back as it was.
        let seed = fields["seed"].flatMap { reader.value($0.value, "seed", .wholeNumber(0...9_007_199_254_740_991)) }
        var generation = TaskSpec.Generation(maximumTokens: tokens ?? min(standard.maximumTokens, most))
        if let temperature, temperature > 0 {
            generation.sampling = .random(
                temperature: temperature, topP: topP ?? 1, seed: seed.map { UInt64($0) })
        } else {
            for stray in ["top_p", "seed"].compactMap({ fields[$0] }) {
                reader.report(
                    stray.keyPosition, "\(stray.key) has no effect without a temperature above 0",
                    hint: "Set temperature, or remove \(stray.key).")
            }
        }
        return generation
    }

    // MARK: Names

    /// The tasks with ids for those that have none.
    private mutating func named(_ drafts: [Draft]) -> [TaskSpec.Task] {
        var taken: [String: Int] = [:]
        for id in drafts.compactMap(\.id) {
            if let line = taken.updateValue(id.position.line, forKey: id.text) {
                reader.report(
                    id.position, "the id \(quoted(id.text)) stands here again; first in line \(line)",
                    hint: "Give each task an id of its own, or none.")
            }
        }
        return drafts.map { draft in
            let id = draft.id?.text ?? Self.freeName(draft.work.kind.rawValue, taken)
            taken[id] = taken[id] ?? 0
            return TaskSpec.Task(id: id, adapter: draft.adapter, work: draft.work)
        }
    }

    private static func freeName(_ kind: String, _ taken: [String: Int]) -> String {
        guard taken[kind] != nil else { return kind }
        var number = 2
        while taken["\(kind)-\(number)"] != nil { number += 1 }
        return "\(kind)-\(number)"
    }
}

// MARK: Texts of task specs

extension Syntax where Value == String {
    /// The name of a file in the inbox; the spool never takes hidden files, so none can be meant.
    fileprivate static var fileName: Syntax<String> {
        Syntax<String>(
            expected: "the plain name of a file: 1 to 255 bytes, no `/`, no leading dot",
            read: { text in
                let bytes = text.utf8
                guard (1...255).contains(bytes.count), bytes.first != UInt8(ascii: ".") else { return nil }
                return bytes.contains(0) || bytes.contains(UInt8(ascii: "/")) ? nil : text
            },
            write: { $0 })
    }

    fileprivate static var adapterName: Syntax<String> {
        let name = Syntax<String>.identifier("the name of an adapter")
        // `default` means the bundle's choice in the configuration, so no adapter is called that.
        return Syntax<String>(
            expected: name.expected, read: { $0 == "default" ? nil : name.read($0) }, write: { $0 })
    }

    /// Text for the model; white space around it is dropped.
    fileprivate static func text(_ what: String, maximum: Int, lines: Bool) -> Syntax<String> {
        Syntax<String>(
            expected: "\(what): 1 to \(maximum) bytes of text without control characters",
            read: { text in
                let trimmed = trimmed(text)
                guard (1...maximum).contains(trimmed.utf8.count) else { return nil }
                let isRefused = { (scalar: Unicode.Scalar) in
                    scalar.properties.generalCategory == .control && !(lines && (scalar == "\n" || scalar == "\t"))
                }
                return trimmed.unicodeScalars.contains(where: isRefused) ? nil : trimmed
            },
            write: { $0 })
    }
}

extension Syntax where Value == QuestionFormat {
    /// The name of one of ScienceQA's formats.
    static var format: Syntax<QuestionFormat> {
        Syntax<QuestionFormat>(
            expected: "a format such as QCM-A; memvpd(8) lists them", read: { QuestionFormat(named: $0) },
            write: { $0.name })
    }
}

private func trimmed(_ text: String) -> String {
    let start = text.unicodeScalars.drop { $0.properties.isWhitespace }
    guard let last = start.lastIndex(where: { !$0.properties.isWhitespace }) else { return "" }
    return String(start[...last])
}
