// The sequences in flight: a prefix that several tasks of one job share, a task's own sequence, and a choice's branch.

internal import Language
internal import Tensor

/// What several tasks on one image begin with: run once, then copied.
final class SharedPrefix {
    let memory: FeedForwardMemory?
    let cache: KeyValueCache
    let length: Int
    var pending: ArraySlice<InputRow>

    init(inputs: ArraySlice<InputRow>, memory: FeedForwardMemory?, cache: KeyValueCache) {
        self.memory = memory
        self.cache = cache
        length = inputs.count
        pending = inputs
    }
}

/// One task in flight.
final class Stream {
    let id: Int
    let task: TokenTask
    let prefix: SharedPrefix?
    var cache: KeyValueCache?
    var pending: ArraySlice<InputRow>
    var sampler: Sampler
    var result = TokenResult()
    var branches: [Branch] = []
    var branchesLeft = 0

    init(id: Int, task: TokenTask, prefix: SharedPrefix?) {
        self.id = id
        self.task = task
        self.prefix = prefix
        pending = task.inputs[(prefix?.length ?? 0)...]
        if case .generate(_, _, let sampling) = task.goal {
            sampler = Sampler(sampling)
        } else {
            sampler = Sampler(.greedy)
        }
    }

    /// Takes the model's choice of the next token; true when the sequence has ended.
    func accept(_ choice: TokenChoice, maximumTokens: Int, end: Int32) -> Bool {
        result.logProbabilities.append(choice.logProbability)
        if choice.token == end {
            result.finish = .stop
            return true
        }
        result.tokens.append(choice.token)
        pending = [.token(choice.token)]
        guard result.tokens.count >= maximumTokens else { return false }
        result.finish = .length
        return true
    }
}

/// One choice of a task being scored: its tokens follow the prompt, and the model's probabilities of them add up.
final class Branch {
    let tokens: [Int32]
    let cache: KeyValueCache
    var score: Double
    var isPlaced = false

    init(tokens: [Int32], cache: KeyValueCache, firstScore: Double) {
        self.tokens = tokens
        self.cache = cache
        score = firstScore
    }
}
