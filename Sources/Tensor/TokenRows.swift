// The rows of one forward pass through a decoder: what stands there, for which sequence and position, and whose memory it sees.
//
// Rows of several sequences stand end to end (a ragged batch): prefill and decode are the same call. Invariant: the rows
// of one sequence are neighbours and their positions ascend from the length of its cache.

internal import CKernels

/// Extra rows of every feed-forward layer: y += SiLU(x keysᵀ) values (MemVP, arXiv 2405.05615, equation in DESIGN 1).
public final class FeedForwardMemory: Sendable {
    /// V + E₁. [slots, width]
    public let keys: WeightMatrix
    /// (s · (V + E₂))ᵀ. [width, slots]
    public let values: WeightMatrix

    /// Key rows and value columns of one image (or of none).
    public init(keys: WeightMatrix, values: WeightMatrix) {
        precondition(keys.rows == values.columns && keys.columns == values.rows && keys.precision == values.precision)
        self.keys = keys
        self.values = values
    }

    /// Memory rows.
    public var slots: Int { keys.rows }
}

/// What stands at one position of a sequence: where its row of x₀ comes from.
public enum InputRow {
    /// A token, by its embedding.
    case token(Int32)
    /// A row as it is: an image token. [width]
    case embedding(FloatRows, row: Int)
}

/// The rows of one forward pass.
@safe public final class TokenRows {
    /// Rows there is room for.
    public let capacity: Int
    /// What stands in each row added since `removeAll`.
    public private(set) var inputs: [InputRow] = []
    /// Rows added since `removeAll`.
    public var count: Int { inputs.count }
    /// Neighbouring rows that see the same memory.
    private(set) var groups: [(memory: FeedForwardMemory, rows: Range<Int>)] = []

    private var caches: [KeyValueCache] = []
    let places: AlignedStorage<mk_token_row>
    let attentionRows: AlignedStorage<mk_attention_row>
    let memoryGroups: AlignedStorage<mk_memory_group>
    /// The longest context among the rows.
    private(set) var longest = 0

    /// Room for `capacity` rows.
    public init(capacity: Int) {
        self.capacity = max(1, capacity)
        inputs.reserveCapacity(self.capacity)
        unsafe places = AlignedStorage(count: self.capacity)
        unsafe attentionRows = AlignedStorage(count: self.capacity)
        unsafe memoryGroups = AlignedStorage(count: self.capacity)
        groups.reserveCapacity(self.capacity)
        caches.reserveCapacity(self.capacity)
    }

    /// Whether this pass computes tokens of `cache`.
    public func contains(_ cache: KeyValueCache) -> Bool { caches.contains { $0 === cache } }

    /// Starts a new pass.
    public func removeAll() {
        inputs.removeAll(keepingCapacity: true)
        longest = 0
        groups.removeAll(keepingCapacity: true)
        caches.removeAll(keepingCapacity: true)
    }

    /// Adds the next tokens of one sequence; its cache grows by as many.
    ///
    /// - Returns: the rows they take, or nil when the pass or the cache has no room for them.
    public func append(_ tokens: ArraySlice<Int32>, cache: KeyValueCache, memory: FeedForwardMemory?) -> Range<Int>? {
        append(tokens.map { InputRow.token($0) }[...], cache: cache, memory: memory)
    }

    /// The same for tokens with image tokens among them.
    public func append(_ added: ArraySlice<InputRow>, cache: KeyValueCache, memory: FeedForwardMemory?) -> Range<Int>? {
        guard added.count <= capacity - count, added.count <= cache.capacity - cache.length else { return nil }
        let rows = count..<count + added.count
        inputs += added
        for (offset, row) in rows.enumerated() {
            unsafe places.base[row] = mk_token_row(
                cache: cache.storage.base, capacity: Int32(cache.capacity), position: Int32(cache.length + offset))
        }
        cache.advance(rows.count)
        longest = max(longest, cache.length)
        caches.append(cache)
        guard let memory else { return rows }
        if let last = groups.last, last.memory === memory, last.rows.upperBound == rows.lowerBound {
            groups[groups.count - 1].rows = last.rows.lowerBound..<rows.upperBound
        } else {
            groups.append((memory, rows))
        }
        describe(group: groups.count - 1)
        return rows
    }

    /// Leaves the rows `kept`, in ascending order, and moves them up: row i is what row kept[i] was. For what comes after a
    /// pass's last attention, where caches and positions matter no more.
    public func narrow(to kept: [Int]) {
        guard kept.count < inputs.count else { return }
        for (place, row) in kept.enumerated() { inputs[place] = inputs[row] }
        inputs.removeLast(inputs.count - kept.count)
        var next = 0
        var left = 0
        for index in groups.indices {
            let group = groups[index]
            while next < kept.count, kept[next] < group.rows.lowerBound { next += 1 }
            let first = next
            while next < kept.count, kept[next] < group.rows.upperBound { next += 1 }
            guard next > first else { continue }
            groups[left] = (group.memory, first..<next)
            describe(group: left)
            left += 1
        }
        groups.removeLast(groups.count - left)
    }

    /// Tells the kernels of a group.
    private func describe(group index: Int) {
        let (memory, rows) = groups[index]
        unsafe memoryGroups.base[index] = mk_memory_group(
            keys_i8: memory.keys.int8, values_i8: memory.values.int8, keys_f32: memory.keys.float32,
            values_f32: memory.values.float32, begin: Int32(rows.lowerBound), end: Int32(rows.upperBound))
    }
}
