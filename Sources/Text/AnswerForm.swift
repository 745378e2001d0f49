// The answer's side of a template: what stands between prompt and answer, how answers are written and how they end.
// Training, the scoring of choices and the reading of generated text must agree on it to the byte, so all ask here.

public import Diagnostics

/// How answers are written after a prompt.
public struct AnswerForm: Sendable, Equatable {
    /// How an answer's letters and end are written.
    public enum Style: String, Sendable, CaseIterable {
        /// As given.
        case asWritten = "as_written"
        /// In lower case.
        case lowercase
        /// In lower case, with exactly one full stop at the end: "a man in a hat."
        case caption
    }

    /// What stands between prompt and answer; a space as a rule.
    public let separator: String
    /// The token after the answer.
    public let endToken: Int32
    /// How the answer is written.
    public let style: Style

    /// A form whose end token is the control token written `end`.
    ///
    /// - Throws: `model_invalid` when the vocabulary has no such control token.
    public init(
        separator: String = " ", end: String, style: Style = .asWritten, _ tokenizer: any Tokenizer
    ) throws(Failure) {
        guard let token = tokenizer.controlToken(end) else {
            throw Failure(
                .modelInvalid, "answer end '\(end)'", "the vocabulary has no such control token",
                hint: "name one of the model's own, such as <|endoftext|> or </s>")
        }
        self.init(separator: separator, endToken: token, style: style)
    }

    /// A form with a known end token.
    public init(separator: String = " ", endToken: Int32, style: Style = .asWritten) {
        self.separator = separator
        self.endToken = endToken
        self.style = style
    }

    /// An answer as training writes it, without separator and end.
    public func written(_ answer: String) -> String {
        switch style {
        case .asWritten: return answer
        case .lowercase: return answer.lowercased()
        case .caption:
            var scalars = answer.lowercased().unicodeScalars[...]
            while let first = scalars.first, first.properties.isWhitespace { scalars.removeFirst() }
            while let last = scalars.last, last == "." || last.properties.isWhitespace { scalars.removeLast() }
            return String(scalars) + "."
        }
    }

    /// The ids of separator and answer after a prompt, without the end token: what a choice is scored by and training
    /// predicts. The answer is untrusted text.
    public func tokens(_ answer: String, after prompt: [TextPart], _ tokenizer: any Tokenizer) -> [Int32] {
        tokenizer.encode([.template(separator), .value(written(answer))], after: prompt)
    }

    /// A prompt with its answer and end token, as training sees them.
    public func example(_ answer: String, after prompt: [TextPart], _ tokenizer: any Tokenizer) -> TrainingExample {
        let before = tokenizer.prompt(prompt)
        return TrainingExample(
            tokens: before + tokens(answer, after: prompt, tokenizer) + [endToken], promptCount: before.count)
    }

    /// Generated text without the separator it begins with.
    public func answer(in generated: String) -> String {
        let (text, mark) = (generated.utf8, separator.utf8)
        guard text.starts(with: mark) else { return generated }
        return String(generated[text.index(text.startIndex, offsetBy: mark.count)...])
    }
}

/// One sequence to learn from: the loss counts the tokens from `promptCount` on.
public struct TrainingExample: Sendable, Equatable {
    /// Prompt, separator, answer and end token.
    public let tokens: [Int32]
    /// How many of `tokens` are the prompt.
    public let promptCount: Int
}
