// Lines of standard input, for `memvp caption -` and `memvp ask -`.
//
// Invariants: every line gives one request, a blank one too, so that lines of output stand where those of the input
// stood; a key that is not known or there twice is refused, since one that is passed over is a silent wrong answer.
// Failure mode: `spec_invalid` naming the line.

internal import Diagnostics
internal import FineTuning
internal import FoundationEssentials
internal import Specification

/// What a caller calls a record by, a text or a whole number; it comes back with the answer as it was given.
enum ToolboxRecordName: Equatable, Encodable {
    case text(String)
    case number(Int64)

    func encode(to encoder: any Encoder) throws {
        var value = encoder.singleValueContainer()
        switch self {
        case .text(let text): try value.encode(text)
        case .number(let number): try value.encode(number)
        }
    }
}

/// What a line says of a photo: `image`, and for questions what differs from the options.
struct ToolboxInputRecord: Equatable {
    var image: String
    var question: String?
    var choices: [String]?
    var context: String?
    var lecture: String?
    var solution: String?
    var format: String?
}

/// A line: the record that it is, or why it is none.
struct ToolboxInputLine {
    /// The photo that it names; empty where it names none.
    let image: String
    /// Its `id`, if it has one.
    let id: ToolboxRecordName?
    let record: Result<ToolboxInputRecord, Failure>

    /// The keys of records, by the kind of task that they are for.
    static func keys(_ kind: TaskKind) -> [String] {
        switch kind {
        case .caption: ["id", "image"]
        case .ask: ["id", "image", "question", "choices", "context", "lecture", "solution", "format"]
        }
    }

    /// A line of standard input.
    ///
    /// - Parameter number: the line's number, from 1.
    static func read(_ line: InputLines.Line, _ number: Int, for kind: TaskKind) -> ToolboxInputLine {
        switch line {
        case .success(let text): read(text, number, for: kind)
        case .failure(let failure): ToolboxInputLine(image: "", id: nil, record: .failure(failure))
        }
    }

    /// Reads a line.
    ///
    /// - Parameter number: its number, from 1.
    static func read(_ line: String, _ number: Int, for kind: TaskKind) -> ToolboxInputLine {
        let place = "standard input:\(number)"
        let written = JSONLine(bytes: Array(line.utf8)[...])
        guard written.isJSON,
            let values = try? JSONDecoder().decode([String: ToolboxInputValue].self, from: Data(line.utf8))
        else {
            let cause = line.allSatisfy(\.isWhitespace) ? "is blank" : "is no JSON object"
            let failure = Failure(
                .specInvalid, place, cause, hint: "Write one JSON object a line: {\"image\": \"photo.jpg\"}.")
            return ToolboxInputLine(image: "", id: nil, record: .failure(failure))
        }
        // Whatever else is wrong, whoever reads the answers knows the photo by these.
        let (image, id) = (values["image"]?.text ?? "", values["id"]?.name)
        let record = Result { () throws(Failure) -> ToolboxInputRecord in
            // Which of two values is meant, nobody knows.
            if let fault = written.memberFault { throw Failure(.specInvalid, place, fault) }
            return try parse(values, place, keys(kind))
        }
        return ToolboxInputLine(image: image, id: id, record: record)
    }

    /// What is to be run for the line; one that is no record keeps its place in the order.
    func request(_ task: (ToolboxInputRecord?) -> Result<TaskSpec.Task, Failure>) -> ToolboxRequest {
        switch record {
        case .success(let record): ToolboxRequest(image: image, id: id, task: task(record))
        case .failure(let failure): ToolboxRequest(image: image, id: id, task: .failure(failure))
        }
    }

    private static func parse(
        _ values: [String: ToolboxInputValue], _ place: String, _ keys: [String]
    ) throws(Failure) -> ToolboxInputRecord {
        if let unknown = values.keys.filter({ !keys.contains($0) }).min() {
            throw Failure(
                .specInvalid, place, "has the unknown key \"\(unknown.prefix(60))\"",
                hint: "Known here: \(keys.joined(separator: ", ")).")
        }
        func text(_ key: String) throws(Failure) -> String? {
            guard let value = values[key], value != .null else { return nil }
            guard let text = value.text else { throw Failure(.specInvalid, place, "\(key) is no text") }
            return text
        }
        func texts(_ key: String) throws(Failure) -> [String]? {
            guard let value = values[key], value != .null else { return nil }
            guard case .texts(let texts) = value else {
                throw Failure(
                    .specInvalid, place, "\(key) is no list of texts", hint: "Write \"\(key)\": [\"yes\", \"no\"].")
            }
            return texts
        }
        if let id = values["id"], id != .null, id.name == nil {
            throw Failure(.specInvalid, place, "id is neither a text nor a whole number")
        }
        guard let image = try text("image"), !image.isEmpty else {
            throw Failure(.specInvalid, place, "has no image", hint: "Add \"image\": \"photo.jpg\".")
        }
        return ToolboxInputRecord(
            image: image, question: try text("question"), choices: try texts("choices"), context: try text("context"),
            lecture: try text("lecture"), solution: try text("solution"), format: try text("format"))
    }
}

/// A value of a line, as far as records have such.
private enum ToolboxInputValue: Decodable, Equatable {
    case text(String)
    case number(Int64)
    case texts([String])
    case null
    case other

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if value.decodeNil() {
            self = .null
        } else if let text = try? value.decode(String.self) {
            self = .text(text)
        } else if let number = try? value.decode(Int64.self) {
            self = .number(number)
        } else if let texts = try? value.decode([String].self) {
            self = .texts(texts)
        } else {
            self = .other
        }
    }

    /// The text, if it is one.
    var text: String? { if case .text(let text) = self { text } else { nil } }

    /// What a record can be called by, if it is that.
    var name: ToolboxRecordName? {
        switch self {
        case .text(let text): .text(text)
        case .number(let number): .number(number)
        case .texts, .null, .other: nil
        }
    }
}
