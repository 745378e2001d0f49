// Prompt templates: text with places for a task's values, such as `Question: {question} Answer:`.
//
// Syntax: `{name}` is the place of a value; `{{` and `}}` are braces. Invariants: control tokens are parsed in the
// template's own text only; where none lies between, template and value are tokenized as one text, since "Question: Is"
// is what training saw and not "Question: " and "Is". Failure modes: `model_invalid` for a template (templates are part
// of the model bundle), `spec_invalid` for values that do not fit it.

public import Diagnostics

/// A prompt template, checked when it was made.
public struct PromptTemplate: Sendable, Equatable {
    private enum Piece: Equatable {
        case literal(String)
        case placeholder(String)
    }

    /// The template's text, as written.
    public let source: String
    private let pieces: [Piece]

    /// Reads a template that may use the placeholders `declared`.
    ///
    /// - Throws: `model_invalid`, naming the unknown placeholder or the place of a stray brace.
    public init(_ source: String, placeholders declared: [String]) throws(Failure) {
        self.source = source
        var pieces: [Piece] = []
        var literal = ""
        var rest = source.unicodeScalars[...]
        while let scalar = rest.popFirst() {
            let column = source.unicodeScalars.distance(from: source.startIndex, to: rest.startIndex)
            switch scalar {
            case "{" where rest.first == "{", "}" where rest.first == "}":
                literal.unicodeScalars.append(scalar)
                rest.removeFirst()
            case "{":
                guard let end = rest.firstIndex(of: "}") else {
                    throw Self.invalid(source, "the brace at character \(column) is never closed", Self.escapeHint)
                }
                let name = String(rest[..<end])
                guard declared.contains(name) else {
                    let known = declared.isEmpty ? "no placeholder" : declared.map { "{\($0)}" }.joined(separator: ", ")
                    throw Self.invalid(source, "there is no placeholder {\(name)}", "this template may use \(known)")
                }
                if !literal.isEmpty { pieces.append(.literal(literal)) }
                literal = ""
                pieces.append(.placeholder(name))
                rest = rest[rest.index(after: end)...]
            case "}":
                throw Self.invalid(source, "the brace at character \(column) closes nothing", Self.escapeHint)
            default:
                literal.unicodeScalars.append(scalar)
            }
        }
        if !literal.isEmpty { pieces.append(.literal(literal)) }
        guard !pieces.isEmpty else { throw Self.invalid(source, "it is empty", "") }
        self.pieces = pieces
    }

    /// The placeholders that the template has, in order, each as often as it stands there.
    public var placeholders: [String] {
        pieces.compactMap { if case .placeholder(let name) = $0 { name } else { nil } }
    }

    /// The prompt's parts: the template's text trusted, the values not.
    ///
    /// Every placeholder must have a value and every value a placeholder: a context that the template has no place for
    /// would otherwise be dropped in silence.
    ///
    /// - Throws: `spec_invalid`, naming the value that is missing or has no place.
    public func parts(_ values: [String: String] = [:]) throws(Failure) -> [TextPart] {
        if let stray = values.keys.sorted().first(where: { !placeholders.contains($0) }) {
            throw Failure(.specInvalid, stray, "the prompt template '\(source)' has no place for it")
        }
        return try pieces.map { (piece) throws(Failure) in
            switch piece {
            case .literal(let text): return .template(text)
            case .placeholder(let name):
                guard let value = values[name] else {
                    throw Failure(.specInvalid, name, "the prompt template '\(source)' needs it")
                }
                return .value(value)
            }
        }
    }

    /// The prompt's token ids, with a beginning token where the model was trained with one.
    ///
    /// - Throws: `spec_invalid` as `parts(_:)`, and for a prompt without any token.
    public func tokens(_ values: [String: String] = [:], _ tokenizer: any Tokenizer) throws(Failure) -> [Int32] {
        let tokens = tokenizer.prompt(try parts(values))
        guard !tokens.isEmpty else { throw Failure(.specInvalid, "prompt", "it is empty") }
        return tokens
    }

    private static let escapeHint = "write {{ and }} for braces"

    private static func invalid(_ source: String, _ cause: String, _ hint: String) -> Failure {
        Failure(.modelInvalid, "prompt template '\(source)'", cause, hint: hint)
    }
}

extension Tokenizer {
    /// The ids that a prompt's parts are fed to the model as: the beginning token, if the model has one, and the text.
    public func prompt(_ parts: [TextPart]) -> [Int32] {
        let tokens = encode(parts, continuing: false)
        guard specialTokens.addsBeginning, let beginning = specialTokens.beginning else { return tokens }
        return [beginning] + tokens
    }
}
