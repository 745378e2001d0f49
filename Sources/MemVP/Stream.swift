// The sequences in flight: a prefix that several tasks of one job share, a task's own sequence, and a choice's branch.

internal import Language
internal import Tensor

/// What of a sequence has not run yet, in its order. Keeps its memory as it empties: a token that follows costs none.
struct PendingInputs {
    private var inputs: [InputRow]
    private var start = 0

    init(_ inputs: some Collection<InputRow>) { self.inputs = Array(inputs) }

    var isEmpty: Bool { start == inputs.count }

    /// The next of them, at most `count`.
    func next(_ count: Int) -> ArraySlice<InputRow> { inputs[start..<min(start + count, inputs.count)] }

    /// `count` of them have run.
    mutating func drop(_ count: Int) { start = min(start + count, inputs.count) }

    /// The sequence goes on with this token, all before it having run.
    mutating func follow(with token: Int32) {
        inputs.removeAll(keepingCapacity: true)
        inputs.append(.token(token))
        start = 0
    }
}

/// What several tasks on one image begin with: run once, then copied.
final class SharedPrefix {
    let memory: FeedForwardMemory?
    let cache: KeyValueCache
    let length: Int
    var pending: PendingInputs

    init(inputs: ArraySlice<InputRow>, memory: FeedForwardMemory?, cache: KeyValueCache) {
        self.memory = memory
        self.cache = cache
        length = inputs.count
        pending = PendingInputs(inputs)
    }
}

/// One task in flight.
final class Stream {
    let id: Int
    let task: TokenTask
    let prefix: SharedPrefix?
    var cache: KeyValueCache?
    var pending: PendingInputs
    var sampler: Sampler
    var result = TokenResult()
    var branches: [Branch] = []
    var branchesLeft = 0

    init(id: Int, task: TokenTask, prefix: SharedPrefix?) {
        self.id = id
        self.task = task
        self.prefix = prefix
        pending = PendingInputs(task.inputs[(prefix?.length ?? 0)...])
        if case .generate(let maximumTokens, _, let sampling) = task.goal {
            sampler = Sampler(sampling)
            // The cache holds as many positions: that many tokens may come.
            result.tokens.reserveCapacity(maximumTokens)
            result.logProbabilities.reserveCapacity(maximumTokens)
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
        pending.follow(with: choice.token)
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
