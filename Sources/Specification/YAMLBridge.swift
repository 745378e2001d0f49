// libyaml's event parser behind a safe face: bytes go in, events made of Swift values come out.
//
// The one file of this module with unsafe code. Invariants: the parser and its input live at fixed addresses for the
// life of the value (libyaml keeps pointers into both); every event is deleted before the next is asked for; no
// pointer leaves this file. The input is hostile: sizes and characters are checked before it comes here.
// Failure modes: input that is not YAML, or no memory, is a `Faults` with libyaml's words and position.
internal import CYAML

/// One step of a YAML stream.
struct YAMLEvent {
    /// What libyaml's events come down to for a reader that refuses everything it does not need.
    enum Kind: Equatable {
        case streamStart, streamEnd, documentStart(directives: Bool), documentEnd
        case alias
        case scalar(String, plain: Bool)
        case sequenceStart, sequenceEnd, mappingStart, mappingEnd
    }

    let kind: Kind
    /// Where the event begins, its anchor and tag included.
    let position: Position
    let hasAnchor: Bool
    let hasTag: Bool
}

/// The events of one stream of UTF-8 bytes, in order; libyaml 0.2.5, yaml.h "Parser Definitions".
@safe struct YAMLEvents: ~Copyable {
    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private let input: UnsafeMutableBufferPointer<UInt8>

    init(_ bytes: ArraySlice<UInt8>) throws(Faults) {
        unsafe input = .allocate(capacity: bytes.count)
        _ = unsafe input.initialize(from: bytes)
        unsafe parser = .allocate(capacity: 1)
        guard unsafe yaml_parser_initialize(parser) == 1 else {
            unsafe parser.deallocate()
            unsafe input.deallocate()
            throw Faults(Fault(at: nil, "no memory is left to parse it"))
        }
        unsafe yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
        unsafe yaml_parser_set_input_string(parser, UnsafePointer(input.baseAddress), input.count)
    }

    deinit {
        unsafe yaml_parser_delete(parser)
        unsafe parser.deallocate()
        unsafe input.deallocate()
    }

    /// The next event; asking again after `.streamEnd` is a mistake of ours that libyaml answers with an empty event.
    mutating func next() throws(Faults) -> YAMLEvent {
        var event = unsafe yaml_event_t()
        guard unsafe yaml_parser_parse(parser, &event) == 1 else { throw unsafe Faults(Self.fault(of: parser)) }
        defer { unsafe yaml_event_delete(&event) }
        return unsafe Self.translate(event)
    }

    private static func translate(_ event: yaml_event_t) -> YAMLEvent {
        let data = unsafe event.data
        func made(_ kind: YAMLEvent.Kind, anchor: Bool = false, tag: Bool = false) -> YAMLEvent {
            unsafe YAMLEvent(kind: kind, position: Position(event.start_mark), hasAnchor: anchor, hasTag: tag)
        }
        switch unsafe event.type {
        case YAML_STREAM_START_EVENT: return made(.streamStart)
        case YAML_DOCUMENT_START_EVENT:
            let document = unsafe data.document_start
            let tags = unsafe document.tag_directives.start != document.tag_directives.end
            return made(.documentStart(directives: unsafe document.version_directive != nil || tags))
        case YAML_DOCUMENT_END_EVENT: return made(.documentEnd)
        case YAML_ALIAS_EVENT: return made(.alias)
        case YAML_SCALAR_EVENT:
            let scalar = unsafe data.scalar
            // Counted, not NUL-terminated: "\0" is a character that a double-quoted scalar may hold.
            let text = unsafe String(
                decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self)
            return unsafe made(
                .scalar(text, plain: scalar.style == YAML_PLAIN_SCALAR_STYLE),
                anchor: scalar.anchor != nil, tag: scalar.tag != nil)
        case YAML_SEQUENCE_START_EVENT:
            let start = unsafe data.sequence_start
            return unsafe made(.sequenceStart, anchor: start.anchor != nil, tag: start.tag != nil)
        case YAML_SEQUENCE_END_EVENT: return made(.sequenceEnd)
        case YAML_MAPPING_START_EVENT:
            let start = unsafe data.mapping_start
            return unsafe made(.mappingStart, anchor: start.anchor != nil, tag: start.tag != nil)
        case YAML_MAPPING_END_EVENT: return made(.mappingEnd)
        default: return made(.streamEnd)
        }
    }

    private static func fault(of parser: UnsafeMutablePointer<yaml_parser_t>) -> Fault {
        let state = unsafe parser.pointee
        guard unsafe state.error != YAML_MEMORY_ERROR, let problem = unsafe state.problem else {
            return Fault(at: nil, "no memory is left to parse it")
        }
        let words = unsafe String(cString: problem)
        return unsafe Fault(
            at: Position(state.problem_mark), "is not valid YAML: \(words)", hint: YAMLTree.hint(forProblem: words))
    }
}

extension Position {
    /// libyaml counts lines and columns from 0; people and editors from 1.
    fileprivate init(_ mark: yaml_mark_t) {
        self.init(line: Int(clamping: mark.line) + 1, column: Int(clamping: mark.column) + 1)
    }
}
