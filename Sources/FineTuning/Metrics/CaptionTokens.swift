// Words and runs of words as the caption metrics count them.
//
// Invariant: an n-gram is a key of numbers, given out in the order of appearance, and sums over n-grams are taken in that
// order: equal captions have equal scores to the last bit, whatever the seed of Swift's hashing.

/// Text as the metrics see it.
public enum CaptionTokens {
    /// The runs of `[a-z0-9']` in the text after lower-casing.
    public static func words(_ text: String) -> [String] {
        var words: [String] = []
        var word: [UInt8] = []
        for byte in text.lowercased().utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "'"):
                word.append(byte)
            default:
                if !word.isEmpty { words.append(String(decoding: word, as: UTF8.self)) }
                word.removeAll(keepingCapacity: true)
            }
        }
        if !word.isEmpty { words.append(String(decoding: word, as: UTF8.self)) }
        return words
    }
}

/// One to four words in a row; `order` is how many.
struct NGram: Hashable {
    private let words: SIMD4<Int32>

    /// The n-gram of at most four words.
    init(_ words: ArraySlice<Int32>) {
        var key = SIMD4<Int32>(repeating: -1)
        for (index, word) in words.prefix(4).enumerated() { key[index] = word }
        self.words = key
    }

    /// How many words it has.
    var order: Int { (0..<4).count { words[$0] >= 0 } }
}

/// How often each n-gram stands in a sentence, in the order of appearance.
struct NGramCounts {
    private(set) var grams: [NGram] = []
    private(set) var counts: [Int] = []
    /// Words of the sentence.
    let length: Int
    private var places: [NGram: Int] = [:]

    /// Counts the n-grams of one to four words.
    init(_ sentence: [Int32]) {
        length = sentence.count
        for order in 1...4 where sentence.count >= order {
            for start in 0...(sentence.count - order) { add(NGram(sentence[start..<start + order])) }
        }
    }

    private mutating func add(_ gram: NGram) {
        if let place = places[gram] {
            counts[place] += 1
        } else {
            places[gram] = grams.count
            grams.append(gram)
            counts.append(1)
        }
    }

    /// How often the n-gram stands in the sentence.
    func count(of gram: NGram) -> Int { places[gram].map { counts[$0] } ?? 0 }

    /// Words said again: of each word what it is said more often than once, and more often than in any of `references`.
    func repeats(beyond references: [NGramCounts]) -> Int {
        var sum = 0
        for (gram, count) in zip(grams, counts) where gram.order == 1 && count > 1 {
            sum += max(0, count - (references.map { $0.count(of: gram) }.max().map { max(1, $0) } ?? 1))
        }
        return sum
    }

    /// The place of the n-gram in `grams`.
    func place(of gram: NGram) -> Int? { places[gram] }
}

/// A caption with the references that it is compared with, words as numbers.
struct NumberedSample {
    let hypothesis: [Int32]
    let references: [[Int32]]
}

/// Gives each word a number, in the order of appearance.
struct WordNumbers {
    private var numbers: [String: Int32] = [:]

    /// The sentence's words as numbers.
    mutating func number(_ words: [String]) -> [Int32] {
        words.map { word in
            if let known = numbers[word] { return known }
            let next = Int32(clamping: numbers.count)
            numbers[word] = next
            return next
        }
    }
}
