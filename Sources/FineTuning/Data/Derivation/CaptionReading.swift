// What the captions of one photo say, deny and leave open, as far as the lexicon goes.

/// The captions of a photo, read.
struct CaptionReading {
    /// Captions that name each thing, by its place in the lexicon.
    private(set) var mentions: [Int]
    /// Whether some caption leaves a thing open.
    private(set) var isOpen: [Bool]
    /// Captions.
    let count: Int
    /// The words of each, phrases that mean something else put together.
    let captions: [[String]]

    init(_ texts: [String]) {
        captions = texts.map { Self.joined(CaptionTokens.words($0)) }
        count = texts.count
        mentions = Array(repeating: 0, count: Lexicon.things.count)
        isOpen = Array(repeating: false, count: Lexicon.things.count)
        for words in captions {
            let real = Set(words.indices.filter { Self.isReal(words, $0) }.map { words[$0] })
            let all = Set(words)
            for (index, thing) in Lexicon.things.enumerated() {
                if !real.isDisjoint(with: thing.forms) {
                    mentions[index] += 1
                } else if !all.isDisjoint(with: thing.forms) || !all.isDisjoint(with: thing.open) {
                    isOpen[index] = true
                }
            }
        }
    }

    /// Whether captions agree that the thing is there: two of them, where there are three or more.
    func shows(_ thing: Int) -> Bool { mentions[thing] >= (count >= 3 ? 2 : 1) }

    /// Whether the thing is absent from all captions; one or two captions are too few to say so.
    func lacks(_ thing: Int) -> Bool { count >= 3 && mentions[thing] == 0 && !isOpen[thing] }

    /// The words with those phrases that mean something else put together.
    private static func joined(_ words: [String]) -> [String] {
        var joined: [String] = []
        var index = 0
        while index < words.count {
            if index + 1 < words.count, let phrase = Lexicon.phrases["\(words[index]) \(words[index + 1])"] {
                joined.append(phrase)
                index += 2
            } else {
                joined.append(words[index])
                index += 1
            }
        }
        return joined
    }

    /// Whether a noun stands for the thing itself: not for a toy, a statue, or the lack of it.
    private static func isReal(_ words: [String], _ index: Int) -> Bool {
        let before = words[max(0, index - 2)..<index]
        if before.contains(where: Lexicon.deniers.contains) { return false }
        let images: Set<String> = ["statue", "statues", "sculpture", "painting", "drawing", "shaped", "mural"]
        return !words[max(0, index - 4)..<index].contains(where: images.contains)
    }

    // MARK: Colours

    /// The colour that captions agree on: so many give it, none gives another, and nothing is said of several colours.
    func colour(
        of thing: (name: String, singular: String, plural: String, isPlural: Bool), agreeing: Int
    ) -> String? {
        var found: [String] = []
        for words in captions {
            var ofCaption: Set<String> = []
            for index in words.indices where words[index] == thing.singular || words[index] == thing.plural {
                // A noun before a noun says what kind the second is of: "bike helmet" has no bike's colour.
                if index + 1 < words.count, Self.colouredNouns.contains(words[index + 1]) { continue }
                let colours = Self.colours(before: index, in: words)
                guard colours.count <= 1 else { return nil }
                guard let colour = colours.first else { continue }
                guard Self.isReal(words, index), let name = Lexicon.colours[colour] ?? nil else { return nil }
                guard words[index] == thing.singular else { return nil }
                ofCaption.insert(name)
            }
            guard ofCaption.count <= 1 else { return nil }
            found += ofCaption
        }
        guard found.count >= agreeing, Set(found).count == 1 else { return nil }
        return found[0]
    }

    private static let colouredNouns = Set(Lexicon.coloured.flatMap { [$0.singular, $0.plural] })

    /// The colours of the noun at `index`: in the words of its group, "and" between colours included.
    private static func colours(before index: Int, in words: [String]) -> [String] {
        var colours: [String] = []
        var place = index - 1
        while place >= max(0, index - 5) {
            let word = words[place]
            if Lexicon.colours[word] != nil {
                colours.append(word)
            } else if word == "and", place > 0, !colours.isEmpty, Lexicon.colours[words[place - 1]] != nil {
                // "black and white": go on with the colour before.
            } else if Lexicon.stops.contains(word) {
                break
            }
            place -= 1
        }
        return colours
    }

    // MARK: Counts

    /// How many of a thing captions agree on: so many say so for two and more, three for one, and none says otherwise.
    func number(of thing: Thing, agreeing: Int) -> Int? {
        guard let (singular, plural) = thing.counted else { return nil }
        var stated: [Int] = []
        var hasPlural = false
        for words in captions {
            if words.contains(plural) { hasPlural = true }
            guard let number = Self.number(singular, plural, in: words) else { continue }
            guard number > 0 else { return nil }
            stated.append(number)
        }
        guard let number = stated.first, stated.allSatisfy({ $0 == number }) else { return nil }
        if number > 1 { return stated.count >= agreeing ? number : nil }
        let isCrowded = captions.contains { words in words.contains(where: Self.many.contains) }
        return stated.count >= 3 && !hasPlural && !isCrowded ? 1 : nil
    }

    /// What one caption says; 0: more than one thing at once; nil: nothing.
    private static func number(_ singular: String, _ plural: String, in words: [String]) -> Int? {
        var numbers: [Int] = []
        for index in words.indices where words[index] == singular || words[index] == plural {
            guard isReal(words, index) else { return 0 }
            var place = index - 1
            while place >= max(0, index - 4) {
                let word = words[place]
                if word == "another" || word == "other" { return 0 }
                if words[index] == plural, let number = Lexicon.numbers[word] {
                    numbers.append(number)
                    break
                }
                if words[index] == singular, ["a", "an", "one", "the"].contains(word) {
                    numbers.append(1)
                    break
                }
                if Lexicon.stops.contains(word) { break }
                place -= 1
            }
        }
        if numbers.count > 1 { return 0 }
        return numbers.first
    }

    /// Words after which "a man" does not mean that there is one man.
    private static let many: Set<String> = [
        "two", "three", "four", "five", "six", "several", "group", "crowd", "people", "couple", "many", "pair",
        "others",
        "friends", "team", "players", "herd", "family", "both", "together", "another", "spectators", "audience",
    ]
}
