// The merge loop of byte-pair encoding, shared by both families: the adjacent pair of the best rank, of equal ones the
// leftmost, becomes one symbol, until no pair has a rank.
//
// A linked list of symbols with a priority queue of pairs keeps it at n log n: a word of 65,536 letters is no worse a
// letter than a short one. Source: Sennrich et al. 2016 (arXiv 1508.07909); the order is that of SentencePiece.

import HeapModule

/// A stretch of the text on its way to become a token.
struct Symbol: Sendable {
    /// Where it starts, in bytes.
    let start: Int
    /// How many bytes it has; 0 once it was merged into its left neighbour.
    var length: Int
    /// The token it is, -1 if it is none (yet).
    var token: Int32
    /// Whether it must stay as it is.
    var isFrozen = false
    fileprivate(set) var previous = -1
    fileprivate(set) var next = -1

    init(start: Int, length: Int, token: Int32, isFrozen: Bool = false) {
        self.start = start
        self.length = length
        self.token = token
        self.isFrozen = isFrozen
    }

    /// Its place in the text.
    var range: Range<Int> { start..<(start + length) }
}

/// Merges symbols; keeps its buffers from word to word.
struct PairMerger {
    /// What two neighbours would become: lower ranks come first.
    struct Merge {
        let rank: UInt32
        let token: Int32
    }

    private struct Candidate: Comparable {
        let rank: UInt32
        let left: Int
        let right: Int
        let length: Int
        let token: Int32

        static func < (a: Candidate, b: Candidate) -> Bool { (a.rank, a.left) < (b.rank, b.left) }
    }

    /// The symbols of the word at hand.
    private var symbols: [Symbol] = []
    private var queue = Heap<Candidate>()

    /// Starts a new word.
    mutating func removeAll() { symbols.removeAll(keepingCapacity: true) }

    /// Adds a symbol at the word's end.
    mutating func append(_ symbol: Symbol) {
        var symbol = symbol
        symbol.previous = symbols.count - 1
        symbol.next = -1
        if !symbols.isEmpty { symbols[symbols.count - 1].next = symbols.count }
        symbols.append(symbol)
    }

    /// Merges until `merge` knows no pair of neighbours any more, then hands out what is left, from left to right.
    mutating func run(merge: (Symbol, Symbol) -> Merge?, each: (Symbol) -> Void) {
        for right in symbols.indices.dropFirst() { offer(right - 1, right, merge) }
        while let best = queue.popMin() {
            let (left, right) = (symbols[best.left], symbols[best.right])
            // A neighbour merged in the meantime is gone or has grown, and the sum with it.
            guard left.length > 0, right.length > 0, left.length + right.length == best.length else { continue }
            symbols[best.left].length = best.length
            symbols[best.left].token = best.token
            symbols[best.left].next = right.next
            symbols[best.right].length = 0
            if right.next >= 0 { symbols[right.next].previous = best.left }
            offer(left.previous, best.left, merge)
            offer(best.left, right.next, merge)
        }
        var index = symbols.isEmpty ? -1 : 0
        while index >= 0 {
            each(symbols[index])
            index = symbols[index].next
        }
    }

    private mutating func offer(_ left: Int, _ right: Int, _ merge: (Symbol, Symbol) -> Merge?) {
        guard left >= 0, right >= 0, !symbols[left].isFrozen, !symbols[right].isFrozen,
            let found = merge(symbols[left], symbols[right])
        else { return }
        queue.insert(
            Candidate(
                rank: found.rank, left: left, right: right, length: symbols[left].length + symbols[right].length,
                token: found.token))
    }
}
