// How questions with lettered options are put: the prompt formats of ScienceQA, by their names in its code (`QCM-A`).
//
// A name says what stands before the answer and what the answer has: Question, Context, options (M, for multiple choice),
// Lecture, Explanation, and the Answer. Invariant: a value is one of `all`.

/// One of ScienceQA's prompt formats (Lu et al. 2022, "Learn to Explain", arXiv 2209.09513, 4.1; the formats are those that
/// MemVP's and LaVIN's published code accept).
public struct QuestionFormat: Sendable, Hashable {
    /// What a problem may consist of.
    public enum Field: String, Sendable, CaseIterable {
        /// What is asked.
        case question
        /// What is to be known for it.
        case context
        /// What may be answered, each option with its letter.
        case options
        /// What the subject teaches about it in general.
        case lecture
        /// Why the answer is right.
        case solution
    }

    /// Its name, such as `QCM-A`.
    public let name: String
    /// The lines of the prompt, each with its fields; lecture and solution are one line.
    public let lines: [[Field]]
    /// Whether the answer comes before its explanation, so that letters can be scored.
    public let answersFirst: Bool
    /// Whether an explanation belongs to the answer.
    public let explains: Bool

    /// The format of that name; nil where there is none.
    public init?(named name: String) {
        guard let known = Self.all.first(where: { $0.name == name }) else { return nil }
        self = known
    }

    /// Whether the prompt has a place for the field.
    public func has(_ field: Field) -> Bool { lines.contains { $0.contains(field) } }

    /// Question, context and options before the answer: what the published models were trained and measured with.
    public static let standard = QuestionFormat(
        name: "QCM-A", lines: [[.question], [.context], [.options]], answersFirst: true, explains: false)

    /// Every format.
    public static let all: [QuestionFormat] = inputs.flatMap { input in
        outputs.map { output in
            QuestionFormat(
                name: "\(input.name)-\(output)", lines: input.lines, answersFirst: output.hasPrefix("A"),
                explains: output.count > 1)
        }
    }

    private static let inputs: [(name: String, lines: [[Field]])] = [
        ("CQM", [[.context], [.question], [.options]]),
        ("QM", [[.question], [.options]]),
        ("QCM", [[.question], [.context], [.options]]),
        ("QCML", [[.question], [.context], [.options], [.lecture]]),
        ("QCME", [[.question], [.context], [.options], [.solution]]),
        ("QCMLE", [[.question], [.context], [.options], [.lecture, .solution]]),
        ("QCLM", [[.question], [.context], [.lecture], [.options]]),
        ("QCEM", [[.question], [.context], [.solution], [.options]]),
        ("QCLEM", [[.question], [.context], [.lecture, .solution], [.options]]),
    ]

    private static let outputs = ["A", "AL", "AE", "ALE", "AEL", "LA", "EA", "LEA", "ELA"]

    private init(name: String, lines: [[Field]], answersFirst: Bool, explains: Bool) {
        self.name = name
        self.lines = lines
        self.answersFirst = answersFirst
        self.explains = explains
    }
}
