// Generates answers for many images at once, in lock-step: for samples and metrics while training, and for the captions that
// training on a reward draws. Serving's engine (Sources/MemVP/Engine.swift) does continuous batching; here all start together.

internal import Diagnostics
internal import Glibc
internal import Language
internal import Tensor

/// Greedy or sampled continuations of prompts.
final class BatchDecoder {
    private let model: LlamaModel
    private let compute: Compute
    private let state: LlamaState
    private let rows: TokenRows
    /// Sequences that may run together.
    let capacity: Int

    /// Room for `capacity` sequences whose prompts have up to `promptTokens` tokens.
    init(model: LlamaModel, compute: Compute, capacity: Int, promptTokens: Int, slots: Int) {
        self.model = model
        self.compute = compute
        self.capacity = capacity
        rows = TokenRows(capacity: capacity * promptTokens)
        state = LlamaState(
            model.configuration, compute: compute, rows: capacity * promptTokens, logitRows: capacity,
            positions: model.positions, slots: slots)
    }

    /// Continues each prompt until `end` or `limit` tokens; `random` draws from softmax(logits), else the choice is greedy.
    ///
    /// - Returns: the new tokens of each sequence, without the end token.
    func generate(
        _ prompts: [[Int32]], memories: [FeedForwardMemory], end: Int32, limit: Int, random: TrainingRandom? = nil
    ) -> [[Int32]] {
        precondition(prompts.count <= capacity && memories.count == prompts.count)
        var random = random
        let caches = prompts.map { model.makeCache(capacity: $0.count + limit) }
        var answers = [[Int32]](repeating: [], count: prompts.count)
        var next = prompts
        var live = Array(prompts.indices)
        for _ in 0..<limit {
            rows.removeAll()
            var last: [Int] = []
            for index in live {
                guard let placed = rows.append(next[index][...], cache: caches[index], memory: memories[index]) else {
                    return answers
                }
                last.append(placed.upperBound - 1)
            }
            model.forward(rows, state: state, compute: compute)
            let logits = model.logits(of: last[...], state: state, compute: compute)
            var still: [Int] = []
            for (row, index) in live.enumerated() {
                let (best, _, logSumExp) = compute.greedy(logits, row: row)
                let token = random == nil ? Int32(best) : Self.draw(logits, row, logSumExp, &random)
                guard token != end else { continue }
                answers[index].append(token)
                next[index] = [token]
                still.append(index)
            }
            live = still
            if live.isEmpty { break }
        }
        return answers
    }

    private static func draw(
        _ logits: FloatRows, _ row: Int, _ logSumExp: Float, _ random: inout TrainingRandom?
    ) -> Int32 {
        var rest = random?.uniform() ?? 0
        let values = logits.row(row)
        for token in values.indices {
            let p = exp(Double(values[token] - logSumExp))
            rest -= p
            if rest < 0 { return Int32(token) }
        }
        return Int32(values.count - 1)
    }
}
