// Strict YAML: bytes to a small tree of nodes that know where they stand in the text.
//
// A subset of YAML 1.1 (libyaml): one document of mappings with plain keys, lists and text. Refused with line and
// column: anything but UTF-8, control characters, directives, anchors, aliases, tags, merge keys, duplicate keys,
// further documents, nesting beyond `maximumDepth`, more than `maximumNodes` nodes. Size is checked before anything else.
// Scalars stay text whatever they look like (`yes`, `1.0`, `null`); the schema alone decides what a text means.
// Failure modes: the first breach ends the parse as a `Faults`, since what follows it cannot be trusted.

/// A value in the text.
struct Node {
    enum Content {
        /// `plain`: written without quotes and not as a block, so that nothing at all is told from `""`.
        case scalar(String, plain: Bool)
        case sequence([Node])
        case mapping([Field])
    }

    /// One `key: value` of a mapping.
    struct Field {
        let key: String
        let keyPosition: Position
        let value: Node
    }

    let position: Position
    let content: Content

    /// Whether nothing was written here, as after `key:` at the end of a line.
    var isAbsent: Bool {
        if case .scalar("", plain: true) = content { true } else { false }
    }

    /// What stands here, for a sentence that says it is not what was expected.
    var shown: String {
        switch content {
        case .scalar(let text, _): isAbsent ? "nothing" : quoted(text)
        case .sequence: "a list"
        case .mapping: "a mapping"
        }
    }
}

/// The strict reader of one document.
struct YAMLTree {
    /// Mappings and lists within one another, the outermost counted (DESIGN 4).
    static let maximumDepth = 8
    /// Enough for 64 questions of 64 choices; a document of `[,,,` cannot make more.
    static let maximumNodes = 10_000

    /// The tree of the document in `bytes`; nil if it holds nothing but comments and white space.
    static func parse(_ bytes: [UInt8], limit: Int) throws(Faults) -> Node? {
        guard bytes.count <= limit else {
            throw Faults(Fault(at: nil, "is \(bytes.count) bytes long; at most \(limit) are read"))
        }
        let text = try YAMLText.check(bytes)
        var tree = YAMLTree()
        return try tree.build(YAMLEvents(text))
    }

    /// A collection whose end has not come yet.
    private struct Open {
        let position: Position
        let isMapping: Bool
        var items: [Node] = []
        var fields: [Node.Field] = []
        var key: (text: String, position: Position)?
        var firstUse: [String: Position] = [:]
    }

    private var stack: [Open] = []
    private var root: Node?
    private var nodes = 0
    private var documents = 0

    private init() {}

    private mutating func build(_ source: consuming YAMLEvents) throws(Faults) -> Node? {
        var events = source
        while true {
            let event = try events.next()
            if event.kind == .streamEnd { return root }
            try admit(event)
            try take(event)
        }
    }

    /// Refuses what no document of ours may hold, before it is looked at further.
    private mutating func admit(_ event: YAMLEvent) throws(Faults) {
        func refuse(_ cause: String, hint: String = "") -> Faults {
            Faults(Fault(at: event.position, cause, hint: hint))
        }
        if event.kind == .alias { throw refuse("aliases (*name) are not allowed", hint: "Write the value out.") }
        if event.hasAnchor { throw refuse("anchors (&name) are not allowed", hint: "Remove it.") }
        if event.hasTag { throw refuse("tags (!name) are not allowed", hint: "Put text that begins with ! in quotes.") }
        switch event.kind {
        case .documentStart(let directives):
            documents += 1
            if directives { throw refuse("directives (%YAML, %TAG) are not allowed", hint: "Remove the line.") }
            if documents > 1 { throw refuse("a second document begins; only one is allowed") }
        case .scalar, .sequenceStart, .mappingStart:
            nodes += 1
            if nodes > Self.maximumNodes { throw refuse("more than \(Self.maximumNodes) values") }
        default: break
        }
        if event.kind == .sequenceStart || event.kind == .mappingStart {
            if stack.count == Self.maximumDepth { throw refuse("nested deeper than \(Self.maximumDepth) levels") }
            if let open = stack.last, open.isMapping, open.key == nil {
                throw refuse("a key must be text, not a list or a mapping")
            }
        }
    }

    private mutating func take(_ event: YAMLEvent) throws(Faults) {
        switch event.kind {
        case .scalar(let text, let plain):
            if let open = stack.last, open.isMapping, open.key == nil {
                try takeKey(text, plain: plain, at: event.position)
            } else {
                place(Node(position: event.position, content: .scalar(text, plain: plain)))
            }
        case .sequenceStart: stack.append(Open(position: event.position, isMapping: false))
        case .mappingStart: stack.append(Open(position: event.position, isMapping: true))
        case .sequenceEnd, .mappingEnd:
            guard let closed = stack.popLast() else { return }
            place(
                Node(
                    position: closed.position,
                    content: closed.isMapping ? .mapping(closed.fields) : .sequence(closed.items)))
        default: break
        }
    }

    private mutating func takeKey(_ text: String, plain: Bool, at position: Position) throws(Faults) {
        if text == "<<", plain {
            throw Faults(Fault(at: position, "merge keys (<<) are not allowed", hint: "Write the keys out."))
        }
        let top = stack.count - 1
        if let first = stack[top].firstUse.updateValue(position, forKey: text) {
            throw Faults(Fault(at: position, "the key \(quoted(text)) stands here again; first in line \(first.line)"))
        }
        stack[top].key = (text, position)
    }

    private mutating func place(_ node: Node) {
        guard let top = stack.indices.last else {
            root = node
            return
        }
        guard stack[top].isMapping else {
            stack[top].items.append(node)
            return
        }
        guard let key = stack[top].key else { return }
        stack[top].fields.append(Node.Field(key: key.text, keyPosition: key.position, value: node))
        stack[top].key = nil
    }

    /// Advice for the mistakes that everybody makes, by libyaml's word for them.
    static func hint(forProblem words: String) -> String {
        switch words {
        case "mapping values are not allowed in this context":
            "Put text that holds a colon and a space in quotes."
        case "found character that cannot start any token":
            "Indent with spaces, not tabs; put text that begins with @, ` or % in quotes."
        case "did not find expected key", "could not find expected ':'", "did not find expected '-' indicator":
            "Check the indentation of this line and the one before it."
        case "did not find expected ',' or ']'", "did not find expected ',' or '}'": "A closing bracket is missing."
        case "found unexpected end of stream": "A closing quotation mark is missing."
        default: ""
        }
    }
}
