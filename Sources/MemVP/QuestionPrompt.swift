// A question with lettered options as text, byte for byte as MemVP's published code writes it.
//
// Invariants: the whole prompt is one text of values, tokenized at once and never searched for control tokens, as there;
// pairs of spaces become one, once and from the left, as Python's `replace` does it.

internal import Specification
internal import Text

/// The prompt of one problem and what its answers are scored as.
struct QuestionPrompt: Equatable {
    /// The most options that have letters.
    static let maximumOptions = 26

    /// The prompt; where the answer comes first, it ends in "The answer is" and only the letter is missing.
    let text: String
    /// Whether the model explains before it answers, so that `continued` leads to the letters.
    let explainsFirst: Bool
    /// What follows "The answer is" for each option.
    let answers: [String]
    /// Whether an answer goes on after its letter, so that its own last token ends what is scored, not the end token.
    let goesOn: Bool

    /// Puts `problem` in `format`.
    init(_ problem: TaskSpec.Problem, format: QuestionFormat) {
        let letters = Self.letters(problem.options.count)
        let lines = format.lines.map { fields -> String in
            let values = fields.map { field -> String in
                switch field {
                case .question: problem.question
                case .context: problem.context.isEmpty ? "N/A" : problem.context
                case .options: zip(letters, problem.options).map { "(\($0)) \($1)" }.joined(separator: " ")
                // The authors wrote a line break as two characters, so that a lecture stays one line.
                case .lecture: Self.onOneLine(problem.lecture)
                case .solution: Self.onOneLine(problem.solution)
                }
            }
            return "\(Self.label(fields)): \(values.joined(separator: " "))\n"
        }
        let question = Self.stripped(Self.withoutPairsOfSpaces(lines.joined() + "Response:"))
        explainsFirst = !format.answersFirst
        text = explainsFirst ? question : question + Self.lead
        goesOn = format.answersFirst && format.explains
        let tail = goesOn ? ". BECAUSE:" : "."
        answers = letters.map { " \($0)\(tail)" }
    }

    /// The prompt after the explanation that was generated for it, cut where an answer begins: only the letter is missing.
    func continued(_ generated: String) -> String {
        let explanation = generated.ranges(of: Self.lead).first.map { generated[..<$0.lowerBound] } ?? generated[...]
        return "\(text)\(Self.stripped(String(explanation))) \(Self.lead)"
    }

    /// The letters of so many options, A first.
    static func letters(_ count: Int) -> [String] {
        (0..<min(count, maximumOptions)).map { String(UnicodeScalar(UInt8(ascii: "A") + UInt8($0))) }
    }

    /// The option that a generated answer names; nil where it names none.
    ///
    /// After "The answer is" its first capital counts; a text without these words is taken as what follows them, as the
    /// published code takes it.
    static func option(in generated: String, of count: Int) -> Int? {
        let rest = generated.ranges(of: lead).last.map { generated[$0.upperBound...] } ?? generated[...]
        guard let letter = rest.unicodeScalars.first(where: { ("A"..."Z").contains($0) }) else { return nil }
        let index = Int(letter.value - UnicodeScalar("A").value)
        return index < count ? index : nil
    }

    private static let lead = "The answer is"

    private static func label(_ fields: [QuestionFormat.Field]) -> String {
        switch fields.first {
        case .question: "Question"
        case .context: "Context"
        case .options: "Options"
        default: "BECAUSE"
        }
    }

    private static func onOneLine(_ text: String) -> String {
        text.unicodeScalars.reduce(into: "") { $0 += $1 == "\n" ? "\\n" : String($1) }
    }

    private static func withoutPairsOfSpaces(_ text: String) -> String {
        var result = String.UnicodeScalarView()
        var isPair = false
        for scalar in text.unicodeScalars {
            isPair = scalar == " " && result.last == " " && !isPair
            if !isPair { result.append(scalar) }
        }
        return String(result)
    }

    /// Without white space at either end.
    private static func stripped(_ text: String) -> String {
        let start = text.unicodeScalars.drop { $0.properties.isWhitespace }
        guard let last = start.lastIndex(where: { !$0.properties.isWhitespace }) else { return "" }
        return String(start[...last])
    }
}
