// Continuous batching over one model: tasks join and leave between forward passes, prefill and decode share a pass.
//
// Invariants: used by one thread; a task's result depends on its own tokens and memory alone, never on its neighbours
// (integer sums are exact and float reductions have a fixed order), so batching changes speed and nothing else. Between
// passes there are at most `limits.streams` caches and one prefix, whatever was submitted: tasks beyond that wait in their
// order, and choices of a task take turns. The one prefix is that of the job whose tasks wait; another job's prefix stands
// in the place of its tasks' own caches.

public import Language
public import Tensor

/// Sizes that bound an engine's memory.
public struct EngineLimits: Sendable, Equatable {
    /// Sequences in flight, each with a cache: tasks, and choices of a task that are scored beside each other.
    public var streams: Int
    /// Tokens in one forward pass.
    public var rows: Int
    /// Tokens of prompt and answer together, image tokens among them.
    public var positions: Int
    /// Memory rows of an image.
    public var slots: Int

    /// Sizes; the defaults suit two cores.
    public init(streams: Int = 16, rows: Int = 512, positions: Int = 2_048, slots: Int = 1_024) {
        self.streams = streams
        self.rows = rows
        self.positions = positions
        self.slots = slots
    }
}

/// Runs tasks on a language model, many at a time.
public final class Engine {
    /// A task that has ended.
    public typealias Finished = (id: Int, result: TokenResult)

    /// The language model.
    public let model: LlamaModel
    /// The engine's sizes.
    public let limits: EngineLimits
    /// Forward passes run so far.
    public private(set) var passes = 0

    private let compute: Compute
    private let state: LlamaState
    private let rows: TokenRows
    private var streams: [Stream] = []
    /// Tasks without a place among the streams yet, the next one first.
    private var waiting: [Stream] = []
    /// Those from which streams, or tasks that wait behind them, have yet to go on.
    private var prefixes: [SharedPrefix] = []
    private var nextID = 0
    private var wants: [Want] = []
    private var wantedRows: [Int] = []
    private let candidates = SamplingCandidates()

    /// Who waits for a row's logits.
    private enum Want {
        case next(Stream)
        case score(Branch, of: Stream, target: Int32)

        /// Whose task it is.
        var stream: Stream {
            switch self {
            case .next(let stream), .score(_, of: let stream, target: _): stream
            }
        }
    }

    /// An engine with buffers for its limits.
    public init(model: LlamaModel, compute: Compute, limits: EngineLimits) {
        self.model = model
        self.compute = compute
        self.limits = limits
        rows = TokenRows(capacity: limits.rows)
        state = LlamaState(
            model.configuration, compute: compute, rows: limits.rows, logitRows: max(1, min(limits.streams, 32)),
            positions: min(limits.positions, model.positions), slots: limits.slots)
        streams.reserveCapacity(limits.streams)
        wants.reserveCapacity(limits.rows)
        wantedRows.reserveCapacity(limits.rows)
    }

    /// Tasks that can join without waiting.
    public var freeStreams: Int { max(0, limits.streams - streams.count - waiting.count) }
    /// Whether nothing is in flight and nothing waits.
    public var isIdle: Bool { streams.isEmpty && waiting.isEmpty }

    /// The caches that there are, for tests that hold them against the limits.
    var caches: [KeyValueCache] {
        var caches = prefixes.compactMap { $0.cache }
        for stream in streams {
            if let cache = stream.cache { caches.append(cache) }
            caches += stream.copies
        }
        return caches
    }

    /// Whether a task fits the engine at all; one that does not is refused before it is submitted.
    public func fits(_ task: TokenTask) -> Bool {
        guard !task.prompt.isEmpty, task.cacheCapacity <= min(limits.positions, model.positions) else { return false }
        guard case .choose(let choices, _) = task.goal else { return true }
        return choices.allSatisfy { !$0.isEmpty && $0.count <= limits.rows }
    }

    /// Adds the tasks of one job; those on one image share the work of their common prefix, image tokens included.
    /// Tasks for which there is no room start as others end, in the order in which they came.
    ///
    /// - Parameter tasks: each of which `fits`.
    /// - Returns: an id for each task.
    public func submit(_ tasks: [TokenTask]) -> [Int] {
        let prefix = sharedPrefix(of: tasks)
        return tasks.map { task in
            nextID += 1
            waiting.append(Stream(id: nextID, task: task, prefix: prefix))
            return nextID
        }
    }

    /// Whether a task's prompt is behind it.
    func hasStarted(_ id: Int) -> Bool {
        streams.contains { $0.id == id && (!$0.result.tokens.isEmpty || !$0.branches.isEmpty) }
    }

    /// Drops tasks that nobody waits for any more.
    public func cancel(_ ids: Set<Int>) {
        waiting.removeAll { ids.contains($0.id) }
        streams.removeAll { ids.contains($0.id) }
        dropPrefixes()
    }

    /// Runs one forward pass; returns the tasks that it ended.
    public func step() -> [Finished] {
        gatherRows()
        guard rows.count > 0 else { return [] }
        passes += 1
        model.forward(rows, wanted: wantedRows, state: state, compute: compute)
        // What was asked for has moved up.
        for index in wantedRows.indices { wantedRows[index] = index }
        var ended: [Finished] = []
        var start = 0
        while start < wants.count {
            let end = min(start + state.logitCapacity, wants.count)
            let logits = model.logits(of: wantedRows[start..<end], state: state, compute: compute)
            for index in start..<end {
                if !state.isFinite(wantedRows[index]) { wants[index].stream.result.isFinite = false }
                if let stream = deliver(wants[index], logits: logits, row: index - start) {
                    ended.append((stream.id, stream.result))
                }
            }
            start = end
        }
        if !ended.isEmpty { streams.removeAll { stream in ended.contains { $0.id == stream.id } } }
        forgetPass()
        return ended
    }

    /// Lets go of what a pass that is over refers to: the next may be hours away, and caches of ended tasks would stay.
    private func forgetPass() {
        rows.removeAll()
        wants.removeAll(keepingCapacity: true)
        wantedRows.removeAll(keepingCapacity: true)
    }

    // MARK: Sharing the room

    /// Gives free places to the tasks that have waited longest.
    private func admit() {
        let count = min(max(1, limits.streams) - streams.count, waiting.count)
        guard count > 0 else { return }
        for stream in waiting.prefix(count) {
            streams.append(stream)
            guard let prefix = stream.prefix, !prefixes.contains(where: { $0 === prefix }) else { continue }
            prefixes.append(prefix)
        }
        waiting.removeFirst(count)
    }

    /// Says in how many copies of its cache each task may score choices beside its own: in as many as no task needs a place
    /// for, the oldest task first. Copies that are too many go before the pass makes any cache.
    private func allotCopies() {
        var free = max(1, limits.streams) - streams.count
        for stream in streams where stream.scoresLeft > 0 {
            stream.copiesAllowed = max(0, min(free, stream.branches.count - stream.placedBranches - 1))
            free -= stream.copiesAllowed
            stream.copies.removeLast(max(0, stream.copies.count - stream.copiesAllowed))
        }
    }

    /// Lets go of prefixes from which no task has yet to go on.
    private func dropPrefixes() {
        prefixes.removeAll { prefix in
            !streams.contains { $0.prefix === prefix } && !waiting.contains { $0.prefix === prefix }
        }
    }

    // MARK: Gathering a pass

    private func sharedPrefix(of tasks: [TokenTask]) -> SharedPrefix? {
        guard let first = tasks.first, tasks.count > 1,
            tasks.allSatisfy({ VisualPrompt.areOne($0.image, first.image) })
        else { return nil }
        // The last token of a prompt is never shared: its row yields the task's own first logits.
        var length = first.prompt.count - 1
        for task in tasks.dropFirst() {
            length = min(length, task.prompt.count - 1)
            if let difference = (0..<max(0, length)).first(where: { task.prompt[$0] != first.prompt[$0] }) {
                length = difference
            }
        }
        let inputs = first.inputs.dropLast(first.prompt.count - length)
        guard !inputs.isEmpty else { return nil }
        return SharedPrefix(inputs: inputs, memory: first.image?.memory)
    }

    private func gatherRows() {
        admit()
        allotCopies()
        // A pass that is full makes no more caches: they are for rows that are placed.
        for prefix in prefixes where !prefix.pending.isEmpty && rows.count < rows.capacity {
            let cache = prefix.cache ?? model.makeCache(capacity: prefix.length)
            prefix.cache = cache
            _ = appendPart(of: &prefix.pending, cache: cache, memory: prefix.memory)
        }
        for stream in streams {
            guard rows.count < rows.capacity else { return }
            if stream.scoresLeft > 0 { gatherBranches(of: stream) }
            guard !stream.pending.isEmpty, let cache = readyCache(of: stream) else { continue }
            guard let placed = appendPart(of: &stream.pending, cache: cache, memory: stream.task.image?.memory) else {
                return
            }
            guard stream.pending.isEmpty else { return }
            wants.append(.next(stream))
            wantedRows.append(placed.upperBound - 1)
        }
    }

    /// Places as many pending tokens as the pass has room for; nil when there was none.
    private func appendPart(
        of pending: inout PendingInputs, cache: KeyValueCache, memory: FeedForwardMemory?
    ) -> Range<Int>? {
        let part = pending.next(rows.capacity - rows.count)
        guard !part.isEmpty, let placed = rows.append(part, cache: cache, memory: memory) else { return nil }
        pending.drop(placed.count)
        return placed
    }

    private func readyCache(of stream: Stream) -> KeyValueCache? {
        if let cache = stream.cache { return cache }
        let cache: KeyValueCache
        if let prefix = stream.prefix {
            // A prefix whose last rows were only just placed in this pass is not there to be copied yet.
            guard let shared = prefix.cache, shared.length == prefix.length, !rows.contains(shared) else { return nil }
            cache = shared.copy(first: prefix.length, capacity: stream.task.cacheCapacity)
            stream.prefix = nil
            dropPrefixes()
        } else {
            cache = model.makeCache(capacity: stream.task.cacheCapacity)
        }
        stream.cache = cache
        return cache
    }

    /// Places the next choices of a task, each in a cache of its own: the task's, and the copies that it may have.
    private func gatherBranches(of stream: Stream) {
        guard case .choose(_, let end) = stream.task.goal else { return }
        for lane in 0...stream.copiesAllowed where stream.placedBranches < stream.branches.count {
            let branch = stream.branches[stream.placedBranches]
            // Room in the pass comes first: a copy is not made for nothing.
            guard branch.tokens.count <= rows.capacity - rows.count, let cache = stream.promptCache(lane),
                let placed = rows.append(branch.tokens[...], cache: cache, memory: stream.task.image?.memory)
            else { return }
            stream.placedBranches += 1
            for (offset, row) in placed.enumerated() {
                let target = offset + 1 < branch.tokens.count ? branch.tokens[offset + 1] : end
                wants.append(.score(branch, of: stream, target: target))
                wantedRows.append(row)
            }
        }
    }

    // MARK: Delivering logits

    /// Gives a row's logits to who waits for them; returns the stream when that ended it.
    private func deliver(_ want: Want, logits: FloatRows, row: Int) -> Stream? {
        switch want {
        case .next(let stream):
            switch stream.task.goal {
            case .generate(let maximumTokens, let end, _):
                let choice = stream.sampler.choose(logits, row: row, among: candidates, compute: compute)
                return stream.accept(choice, maximumTokens: maximumTokens, end: end) ? stream : nil
            case .choose(let choices, _):
                branch(stream, into: choices, logits: logits, row: row)
                return nil
            }
        case .score(let branch, let stream, let target):
            branch.score += Double(logits.row(row)[Int(target)]) - logSumExp(logits, row: row)
            stream.scoresLeft -= 1
            guard stream.scoresLeft == 0 else { return nil }
            settle(stream)
            return stream
        }
    }

    private func logSumExp(_ logits: FloatRows, row: Int) -> Double {
        Double(compute.greedy(logits, row: row).logSumExp)
    }

    private func branch(_ stream: Stream, into choices: [[Int32]], logits: FloatRows, row: Int) {
        let total = logSumExp(logits, row: row)
        stream.branches = choices.map { tokens in
            Branch(tokens: tokens, firstScore: Double(logits.row(row)[Int(tokens[0])]) - total)
        }
        stream.scoresLeft = choices.reduce(0) { $0 + $1.count }
    }

    private func settle(_ stream: Stream) {
        stream.result.choiceScores = stream.branches.map(\.score)
        stream.result.finish = .choice
        if !stream.branches.allSatisfy(\.score.isFinite) { stream.result.isFinite = false }
        var best = 0
        for index in stream.branches.indices where stream.branches[index].score > stream.branches[best].score {
            best = index
        }
        stream.result.tokens = stream.branches[best].tokens
    }
}
