// The sequences in flight: a prefix that several tasks of one job share, a task's own sequence, and a choice's branch.
//
// Invariant: what waits holds no cache. A prefix gets one when its first rows are placed, a task when its own are, and
// choices follow the prompt in the task's cache and in the copies that the engine has room for, one group after another.

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
    let length: Int
    var cache: KeyValueCache?
    var pending: PendingInputs

    init(inputs: ArraySlice<InputRow>, memory: FeedForwardMemory?) {
        self.memory = memory
        length = inputs.count
        pending = PendingInputs(inputs)
    }
}

/// One task, waiting or in flight.
final class Stream {
    let id: Int
    let task: TokenTask
    /// Positions of the prompt, image tokens among them.
    let length: Int
    /// What the task has yet to go on from; nil once its own cache has it.
    var prefix: SharedPrefix?
    var cache: KeyValueCache?
    var pending: PendingInputs
    var sampler: Sampler
    var result = TokenResult()
    /// The choices, once the prompt has run.
    var branches: [Branch] = []
    /// How many of them have been in a pass, the first ones.
    var placedBranches = 0
    /// Probabilities that are still to come, of all tokens of all choices and of what ends them.
    var scoresLeft = 0
    /// Further caches with the prompt, for choices beside the one in `cache`; they serve one choice after another.
    var copies: [KeyValueCache] = []
    /// How many copies there may be in this pass.
    var copiesAllowed = 0

    init(id: Int, task: TokenTask, prefix: SharedPrefix?) {
        self.id = id
        self.task = task
        self.prefix = prefix
        let inputs = task.inputs
        length = inputs.count
        pending = PendingInputs(inputs[(prefix?.length ?? 0)...])
        if case .generate(let maximumTokens, _, let sampling) = task.goal {
            sampler = Sampler(sampling)
            // The cache holds as many positions: that many tokens may come.
            result.tokens.reserveCapacity(maximumTokens)
            result.logProbabilities.reserveCapacity(maximumTokens)
        } else {
            sampler = Sampler(.greedy)
        }
    }

    /// A cache with the prompt and nothing after it: the task's own, or copy number `lane`, made if it is not there.
    func promptCache(_ lane: Int) -> KeyValueCache? {
        guard let cache else { return nil }
        while copies.count < lane { copies.append(cache.copy(first: length, capacity: cache.capacity)) }
        let chosen = lane == 0 ? cache : copies[lane - 1]
        chosen.truncate(to: length)
        return chosen
    }

    /// Takes the model's choice of the next token; true when the sequence has ended, as it does at once where there is no number to
    /// choose by.
    func accept(_ choice: TokenChoice, maximumTokens: Int, end: Int32) -> Bool {
        guard result.isFinite, choice.logProbability.isFinite else {
            result.isFinite = false
            return true
        }
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
    var score: Double

    init(tokens: [Int32], firstScore: Double) {
        self.tokens = tokens
        score = firstScore
    }
}
