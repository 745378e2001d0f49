// What is asked of a model about one image, and what comes back.

public import Diagnostics
public import Specification

/// A photo as the encoder wants it: decoded, squashed to a square, normalised.
public struct PreparedImage: Sendable {
    /// [side, side, 3], row-major.
    public let pixels: [Float]
    /// Columns of the full-size photo, upright.
    public let width: Int
    /// Rows of the full-size photo, upright.
    public let height: Int
    /// What was odd about the file, in words.
    public let warnings: [String]
}

/// One answer.
public struct Answer: Sendable, Equatable {
    /// The task's id.
    public var id: String
    /// The kind of task.
    public var task: TaskKind
    /// The prompt as text.
    public var prompt: String
    /// The answer; for choices the choice as the spec has it.
    public var text: String
    /// The letter of the choice, where choices have letters.
    public var letter: String?
    /// For choices the probability of the answer; elsewhere the geometric mean of the chosen tokens' probabilities.
    public var confidence: Double
    /// The probability of each choice, in the order of the spec; nil for free text.
    public var probabilities: [ChoiceProbability]?
    /// Why the text ends: `stop`, `length` or `choice`.
    public var finish: String
    /// The adapter that was used.
    public var adapter: String
    /// The answer's token ids, without the end token.
    public var tokens: [Int32]
}

/// A choice and its probability among the choices.
public struct ChoiceProbability: Sendable, Equatable {
    /// The choice as the spec has it.
    public let choice: String
    /// Its probability; those of one task sum to 1.
    public let probability: Double

    /// A choice with its probability.
    public init(choice: String, probability: Double) {
        self.choice = choice
        self.probability = probability
    }
}

/// What came of one image's tasks.
public struct AnswerSet: Sendable {
    /// An answer for each task, in the order of the spec; none where there is a failure.
    public var answers: [Answer]
    /// How long each stage took.
    public var times: StageTimes
    /// Tokens of prompts that were run.
    public var promptTokens: Int
    /// Tokens that were generated.
    public var generatedTokens: Int
    /// Why there are no answers: `model_invalid` where model and adapter compute no number.
    public var failure: Failure?
}

/// Durations of the stages on the model's side.
public struct StageTimes: Sendable, Equatable {
    /// Encoding the image and building its memories.
    public var vision = Duration.zero
    /// From the first prompt token to the first answer token, other jobs' share of the passes included.
    public var prefill = Duration.zero
    /// From there to the last token.
    public var generate = Duration.zero
}
