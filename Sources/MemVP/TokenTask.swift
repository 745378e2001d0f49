// A task in tokens: what the engine runs. Text, templates and adapters' names are settled before (`Answerer`).

public import Language
internal import Tensor

/// One task of a job, ready for the engine.
public struct TokenTask {
    /// What is wanted after the prompt.
    public enum Goal: Sendable, Equatable {
        /// Tokens until `end` or `maximumTokens`.
        case generate(maximumTokens: Int, end: Int32, sampling: Sampling)
        /// A probability for each choice: its tokens, then `end`.
        case choose([[Int32]], end: Int32)
    }

    /// The whole prompt. Never empty.
    public var prompt: [Int32]
    /// What is wanted after it.
    public var goal: Goal
    /// The image under the task's adapter; nil runs the bare language model.
    public var image: VisualPrompt?

    /// A task over a prompt of at least one token.
    public init(prompt: [Int32], goal: Goal, image: VisualPrompt?) {
        self.prompt = prompt
        self.goal = goal
        self.image = image
    }

    /// What stands before the answer: image tokens, then the prompt.
    var inputs: [InputRow] { VisualPrompt.inputs(image, before: prompt) }

    /// Positions that the task's cache must hold.
    var cacheCapacity: Int {
        let before = (image?.inputTokens ?? 0) + prompt.count
        switch goal {
        case .generate(let maximumTokens, _, _): return before + maximumTokens
        case .choose(let choices, _): return before + (choices.map(\.count).max() ?? 0)
        }
    }
}

/// What came of a task.
public struct TokenResult: Sendable, Equatable {
    /// Why generation ended.
    public enum Finish: String, Sendable {
        /// The model ended its text.
        case stop
        /// The limit on tokens was reached.
        case length
        /// One of the given choices was picked.
        case choice
    }

    /// Tokens generated, without the end token; for choices those of the likeliest.
    public var tokens: [Int32] = []
    /// Natural logarithm of each chosen token's probability, the end token's included.
    public var logProbabilities: [Float] = []
    /// log Σ over the tokens of each choice and the end token. [choices]; empty for generation.
    public var choiceScores: [Double] = []
    /// Why it ended.
    public var finish = Finish.stop
    /// Whether all of it was computed with numbers: weights or adapters may be so large that infinities come of them. If not, there is
    /// nothing in the rest.
    public var isFinite = true
}
