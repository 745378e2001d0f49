// The scores of answers to questions: exact agreement, agreement with several people (VQA, arXiv 1505.00468), and beside
// them what the commonest answer alone would score.

/// An answer with those that people gave.
public struct AnswerSample: Sendable, Equatable {
    /// What the model said.
    public var given: String
    /// What is right: the answer of the row.
    public var expected: String
    /// What people said, each as often as it was said; one entry where only one answer is known.
    public var answers: [String]
    /// The type that scores are broken down by.
    public var type: String

    /// A sample; the type is that of the expected answer where none is given.
    public init(given: String, expected: String, answers: [String]? = nil, type: String? = nil) {
        self.given = given
        self.expected = expected
        self.answers = answers ?? [expected]
        self.type = type ?? AnswerScores.type(of: expected)
    }
}

/// What the answers to a data set score.
public struct AnswerScores: Sendable, Equatable {
    /// The scores of one type of question, or of all.
    public struct Part: Sendable, Equatable {
        /// VQA-style accuracy: the part of answers that people gave, in full from three people on.
        public var accuracy: Double
        /// The part of answers that are the expected one.
        public var exact: Double
        /// The VQA-style accuracy of always giving `majorityAnswer`.
        public var majority: Double
        /// The commonest answer.
        public var majorityAnswer: String
        /// Questions.
        public var count: Int
    }

    /// All questions together; one majority answer for all.
    public var all: Part
    /// Each type on its own, with its own majority answer.
    public var byType: [String: Part]

    /// Scores answers.
    ///
    /// - Parameter training: type and answer of the rows that the majority answers are taken from; where it has none
    ///   (of a type), those of the samples are.
    public init(_ samples: [AnswerSample], training: [(type: String, answer: String)] = []) {
        all = Self.part(samples, training: training.map(\.answer))
        let answers = Dictionary(grouping: training, by: \.type).mapValues { $0.map(\.answer) }
        byType = Dictionary(grouping: samples, by: \.type)
            .reduce(into: [:]) { $0[$1.key] = Self.part($1.value, training: answers[$1.key] ?? []) }
    }

    private static func part(_ samples: [AnswerSample], training: [String]) -> Part {
        let common = commonest(training.isEmpty ? samples.map(\.expected) : training)
        let count = Double(max(1, samples.count))
        return Part(
            accuracy: samples.reduce(0) { $0 + agreement($1.given, with: $1.answers) } / count,
            exact: Double(samples.count { normalised($0.given) == normalised($0.expected) }) / count,
            majority: samples.reduce(0) { $0 + agreement(common, with: $1.answers) } / count, majorityAnswer: common,
            count: samples.count)
    }

    /// min(n / 3, 1), n people having given the answer; all of them suffice where fewer than three were asked.
    public static func agreement(_ answer: String, with answers: [String]) -> Double {
        let given = normalised(answer)
        let same = answers.count { normalised($0) == given }
        return answers.isEmpty ? 0 : min(Double(same) / Double(min(3, answers.count)), 1)
    }

    /// An answer's words with one space between them; where it has none in `[a-z0-9']`, its text in lower case.
    public static func normalised(_ answer: String) -> String {
        let words = CaptionTokens.words(answer)
        guard words.isEmpty else { return words.joined(separator: " ") }
        return String(answer.lowercased().filter { !$0.isWhitespace })
    }

    /// The type of a question by its answer: `yes/no`, `number` or `other`.
    public static func type(of answer: String) -> String {
        let text = normalised(answer)
        if text == "yes" || text == "no" { return "yes/no" }
        return Int(text) != nil || numberWords.contains(text) ? "number" : "other"
    }

    /// The commonest, of several the first in the alphabet; empty for none.
    static func commonest(_ answers: [String]) -> String {
        var counts: [String: Int] = [:]
        for answer in answers { counts[normalised(answer), default: 0] += 1 }
        return counts.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key ?? ""
    }

    private static let numberWords: Set<String> = [
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    ]
}
