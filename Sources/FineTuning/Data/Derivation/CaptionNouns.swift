// The nouns of a set of captions, found by how they are used: what the lexicon has no place for can be asked for as well.
//
// A noun is a word that ends the group after "a" or "an" and also follows the article directly: "a red ball … a ball". Verbs do
// the first ("a dog jumps") but not the second. What two nouns make together ("tennis court", "living room") counts as one more.

internal import Glibc

/// A noun, or a noun with the word before it, that captions name.
struct CaptionNoun: Sendable, Equatable {
    /// In the singular: "ball", "tennis court".
    let name: String
    /// In the plural, where captions have one.
    let plural: String?
    /// The words that say it is there; of two words the second.
    let forms: Set<String>
    /// The word before, where there is one.
    let modifier: String?
    /// Words that leave it open: the lexicon's, and words beside which captions name it often.
    let open: Set<String>
    /// How many times as often as elsewhere it is named beside a word, as a logarithm; of words with more than average.
    let nearness: [String: Double]

    /// Whether the words name it.
    func isNamed(in words: [String]) -> Bool {
        guard let modifier else { return words.contains(where: forms.contains) }
        return words.indices.dropFirst().contains { forms.contains(words[$0]) && words[$0 - 1] == modifier }
    }

    /// How near the words are to what it is named beside: those of a bathroom to a kitchen rather than those of a dog. The order
    /// of the words decides rounding.
    func nearness(to words: [String]) -> Double {
        words.reduce(0) { $0 + (nearness[$1] ?? 0) } / Double(max(1, words.count))
    }

    /// Whether the words have nothing that speaks for it: neither the noun with any word before it nor what leaves it open.
    func isAbsent(from words: Set<String>) -> Bool {
        words.isDisjoint(with: forms) && words.isDisjoint(with: open)
    }
}

/// Finds the nouns.
struct CaptionNouns {
    /// Photos that must name a noun for it to be one that is asked for.
    static let support = 12
    /// A noun is left open by a word on so large a part of whose photos it is named,
    static let openShare = 0.1
    /// if that is so many times its part of all photos.
    static let openLift = 3.0

    /// Captions in words, by photo.
    private let photos: [[[String]]]
    /// Photos that have each word.
    private let frequency: [String: Int]
    private var following: [String: Int] = [:]
    private var ending: [String: Int] = [:]
    private var pairs: [String: Int] = [:]

    /// Counts the words of captions, by photo.
    init(_ photos: [[[String]]]) {
        self.photos = photos
        var frequency: [String: Int] = [:]
        for captions in photos {
            for word in Set(captions.joined()) { frequency[word, default: 0] += 1 }
        }
        self.frequency = frequency
        for captions in photos {
            var endings: Set<String> = []
            var paired: Set<String> = []
            for words in captions {
                for index in words.indices.dropFirst() where words[index - 1] == "a" || words[index - 1] == "an" {
                    let end = Self.groupEnd(words, from: index)
                    guard end > index, end - index <= 3, end == words.count || words[end] != "of" else { continue }
                    if end == index + 1 { following[words[index], default: 0] += 1 }
                    endings.insert(words[end - 1])
                    if end - index >= 2 { paired.insert("\(words[end - 2]) \(words[end - 1])") }
                }
            }
            for word in endings { ending[word, default: 0] += 1 }
            for pair in paired { pairs[pair, default: 0] += 1 }
        }
    }

    /// Where the group of words that begins at `start` ends.
    static func groupEnd(_ words: [String], from start: Int) -> Int {
        var end = start
        while end < words.count, !Lexicon.stops.contains(words[end]), !Lexicon.closers.contains(words[end]),
            !words[end].hasSuffix("ing") || words[end].count < 6
        {
            end += 1
        }
        return end
    }

    /// Whether captions use a word as a noun.
    func isNoun(_ word: String) -> Bool {
        let ends = ending[word] ?? 0
        guard ends >= Self.support, !Lexicon.vague.contains(word), Lexicon.colours[word] == nil else { return false }
        guard !Lexicon.plurals.values.contains(word), !Lexicon.things.contains(where: { $0.isMass && $0.name == word })
        else { return false }
        // "a tracks" is a slip: the plural of another noun is none itself.
        if word.hasSuffix("s"), !word.hasSuffix("ss"), ending[String(word.dropLast())] != nil { return false }
        return Double(following[word] ?? 0) >= 0.15 * Double(ends)
    }

    /// The nouns, in the order of the alphabet.
    func all() -> [CaptionNoun] {
        let single = ending.keys.filter(isNoun).sorted()
        let compound = pairs.keys.sorted().compactMap { pair -> (modifier: String, noun: String)? in
            let words = pair.split(separator: " ").map(String.init)
            guard words.count == 2, pairs[pair, default: 0] >= Self.support, isNoun(words[1]) else { return nil }
            guard Lexicon.colours[words[0]] == nil, !Lexicon.vague.contains(words[0]), !words[0].hasSuffix("ed") else {
                return nil
            }
            return (words[0], words[1])
        }
        return single.map { noun(modifier: nil, $0) } + compound.map { noun(modifier: $0.modifier, $0.noun) }
    }

    private func noun(modifier: String?, _ word: String) -> CaptionNoun {
        let plural = Self.plural(of: word)
        var forms: Set = [word, plural]
        var open: Set<String> = []
        if let thing = Lexicon.things.first(where: { $0.forms.contains(word) }) {
            // What is named by its kind ("puppy") is not denied by another kind's name.
            open = thing.open.union(thing.forms).subtracting(forms)
            if thing.name == word, modifier == nil {
                forms.formUnion(thing.forms)
                open.subtract(forms)
            }
        }
        let beside = lifts(beside: forms)
        open.formUnion(beside.open)
        let before = modifier.map { "\($0) " } ?? ""
        return CaptionNoun(
            name: before + word, plural: frequency[plural] == nil ? nil : before + plural,
            forms: forms, modifier: modifier, open: open, nearness: beside.nearness)
    }

    /// Words beside which captions name one of `forms` more often than elsewhere, and those that leave them open.
    private func lifts(beside forms: Set<String>) -> (open: Set<String>, nearness: [String: Double]) {
        var together: [String: Int] = [:]
        var count = 0
        for captions in photos {
            let words = Set(captions.joined())
            guard !words.isDisjoint(with: forms) else { continue }
            count += 1
            for word in words { together[word, default: 0] += 1 }
        }
        let share = Double(count) / Double(max(1, photos.count))
        var open: Set<String> = []
        var nearness: [String: Double] = [:]
        for (word, both) in together where both >= 3 && !forms.contains(word) && !Lexicon.stops.contains(word) {
            let shareBeside = Double(both) / Double(max(1, frequency[word] ?? 0))
            if shareBeside > share { nearness[word] = log(shareBeside / share) }
            if shareBeside >= Self.openShare && shareBeside >= Self.openLift * share { open.insert(word) }
        }
        return (open, nearness)
    }

    /// The plural of a word.
    static func plural(of word: String) -> String {
        if let irregular = Lexicon.plurals[word] { return irregular }
        if word.hasSuffix("y"), let before = word.dropLast().last, !"aeiou".contains(before) {
            return word.dropLast() + "ies"
        }
        return word + (["s", "x", "ch", "sh"].contains(where: word.hasSuffix) ? "es" : "s")
    }
}
