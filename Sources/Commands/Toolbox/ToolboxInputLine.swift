// Lines of standard input, for `memvp caption -` and `memvp ask -`.
//
// Invariants: every line gives one request, a blank one too, so that lines of output stand where those of the input
// stood; a key that is not known is refused, since a misspelt one that is passed over is a silent wrong answer.
// Failure mode: `spec_invalid` naming the line.

internal import Diagnostics
internal import FoundationEssentials
internal import Specification

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
    let record: Result<ToolboxInputRecord, Failure>

    /// The keys of records, by the kind of task that they are for.
    static func keys(_ kind: TaskKind) -> [String] {
        switch kind {
        case .caption: ["image"]
        case .ask: ["image", "question", "choices", "context", "lecture", "solution", "format"]
        }
    }

    /// The next line of standard input; nil at the end.
    ///
    /// - Parameters:
    ///   - number: the line's number, from 1.
    ///   - line: takes the line; tests give others.
    static func next(
        _ number: Int, for kind: TaskKind, line: () -> String? = { readLine() }
    ) -> ToolboxInputLine? {
        line().map { read($0, number, for: kind) }
    }

    /// Reads a line.
    ///
    /// - Parameter number: its number, from 1.
    static func read(_ line: String, _ number: Int, for kind: TaskKind) -> ToolboxInputLine {
        let place = "standard input:\(number)"
        guard let values = try? JSONDecoder().decode([String: ToolboxInputValue].self, from: Data(line.utf8)) else {
            let cause = line.allSatisfy(\.isWhitespace) ? "is blank" : "is no JSON object"
            let failure = Failure(
                .specInvalid, place, cause, hint: "Write one JSON object a line: {\"image\": \"photo.jpg\"}.")
            return ToolboxInputLine(image: "", record: .failure(failure))
        }
        // Whatever else is wrong, whoever reads the answers knows the photo by this.
        let image = values["image"]?.text ?? ""
        do throws(Failure) {
            return ToolboxInputLine(image: image, record: .success(try parse(values, place, keys(kind))))
        } catch { return ToolboxInputLine(image: image, record: .failure(error)) }
    }

    /// What is to be run for the line; one that is no record keeps its place in the order.
    func request(_ task: (ToolboxInputRecord?) -> Result<TaskSpec.Task, Failure>) -> ToolboxRequest {
        switch record {
        case .success(let record): ToolboxRequest(image: image, task: task(record))
        case .failure(let failure): ToolboxRequest(image: image, task: .failure(failure))
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
    case texts([String])
    case null
    case other

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if value.decodeNil() {
            self = .null
        } else if let text = try? value.decode(String.self) {
            self = .text(text)
        } else if let texts = try? value.decode([String].self) {
            self = .texts(texts)
        } else {
            self = .other
        }
    }

    /// The text, if it is one.
    var text: String? { if case .text(let text) = self { text } else { nil } }
}
