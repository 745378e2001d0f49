// The key/value cache of one sequence.
//
// Invariant: positions 0 ..< length of a cache hold the keys (already rotated) and values of the sequence's tokens in
// every layer. A cache belongs to one sequence; a prefix shared by several sequences is copied, so none sees another's.

/// Keys and values of one sequence in all layers. [layers, 2, capacity, kvHeads · headSize]
@safe public final class KeyValueCache {
    /// Tokens there is room for.
    public let capacity: Int
    /// Tokens stored.
    public private(set) var length = 0

    private let layers: Int
    private let width: Int
    let storage: AlignedStorage<Float>

    /// Room for `capacity` tokens. `width` is kvHeads · headSize.
    public init(capacity: Int, layers: Int, width: Int) {
        self.capacity = capacity
        self.layers = layers
        self.width = width
        storage = AlignedStorage(count: layers * 2 * capacity * width)
    }

    /// A cache with the first `count` tokens of this one and room for `capacity`: a sequence that shares a prefix.
    public func copy(first count: Int, capacity: Int) -> KeyValueCache {
        precondition(count <= length && count <= capacity)
        let other = KeyValueCache(capacity: capacity, layers: layers, width: width)
        for half in 0..<layers * 2 {
            unsafe (other.storage.base + half * capacity * width).update(
                from: storage.base + half * self.capacity * width, count: count * width)
        }
        other.length = count
        return other
    }

    /// Forgets the tokens from `count` on.
    public func truncate(to count: Int) { length = min(length, max(0, count)) }

    func advance(_ tokens: Int) { length += tokens }
}
