// What captions say that a person does or wears: "a man riding a horse", "a girl in a hat sits on a bench" (not read), "a boy
// is swimming".

/// Something a person does, as a question asks for it.
struct PersonAction: Sendable, Hashable {
    /// "riding"
    let verb: String
    /// "on" of "sitting on a bench"
    let preposition: String?
    /// "horse", in the singular
    let object: String?
    /// The words as asked: "riding a horse"
    let text: String
}

/// Reads what persons do.
enum PersonActions {
    /// Whom a question may ask about, by the word of a caption; in the singular only, or "this man" would be nobody's.
    static let subjects: [String: String] = [
        "man": "man", "guy": "man", "gentleman": "man", "woman": "woman", "lady": "woman", "boy": "boy",
        "girl": "girl", "child": "child", "kid": "child", "toddler": "child", "person": "person", "player": "person",
        "skier": "person", "surfer": "person", "snowboarder": "person", "skateboarder": "person", "climber": "person",
        "cyclist": "person", "hiker": "person", "biker": "person", "rider": "person", "runner": "person",
        "swimmer": "person", "someone": "person",
    ]

    private static let prepositions: Set<String> = [
        "on", "in", "at", "over", "through", "up", "down", "into", "near", "with", "under", "along", "across", "to",
        "off", "behind", "around", "against", "by", "next",
    ]

    /// What one caption's words say of one person each: whom, and what is done. `noun` says whether a word is a noun.
    static func read(_ words: [String], noun: (String) -> Bool) -> [(subject: String, action: PersonAction)] {
        var found: [(String, PersonAction)] = []
        for index in words.indices {
            guard let subject = subjects[words[index]] else { continue }
            var verb = index + 1
            if verb < words.count, words[verb] == "is" { verb += 1 }
            guard verb < words.count, isVerb(words[verb]) else { continue }
            found.append((subject, action(words, verb: verb, noun: noun)))
        }
        return found
    }

    /// Whom the words speak of, the first of them.
    static func subject(_ words: [String]) -> String? { words.lazy.compactMap { subjects[$0] }.first }

    private static func isVerb(_ word: String) -> Bool {
        word.hasSuffix("ing") && word.count >= 6 && !["string", "during", "something", "clothing"].contains(word)
    }

    private static func action(_ words: [String], verb: Int, noun: (String) -> Bool) -> PersonAction {
        let bare = PersonAction(verb: words[verb], preposition: nil, object: nil, text: words[verb])
        var place = verb + 1
        var preposition: String?
        if place < words.count, prepositions.contains(words[place]) {
            preposition = words[place]
            place += 1
        }
        guard place < words.count, ["a", "an", "the", "his", "her"].contains(words[place]) else { return bare }
        let end = CaptionNouns.groupEnd(words, from: place + 1)
        guard end > place + 1, end - place <= 4, end == words.count || words[end] != "of" else { return bare }
        let object = words[end - 1]
        guard noun(object) else { return bare }
        let article = words[place] == "the" ? "the" : Lexicon.article(before: object)
        let text = ([words[verb]] + (preposition.map { [$0] } ?? []) + [article, object]).joined(separator: " ")
        return PersonAction(verb: words[verb], preposition: preposition, object: object, text: text)
    }

    /// What the forms of a verb begin with: "sitting" and "sits" with "sit", "riding" and "rides" with "rid".
    static func stem(of verb: String) -> String {
        var stem = verb.dropLast(3)
        if let last = stem.last, stem.dropLast().last == last, stem.count > 3 { stem = stem.dropLast() }
        return String(stem)
    }
}
