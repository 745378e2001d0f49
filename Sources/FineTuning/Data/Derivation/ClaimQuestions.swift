// Questions in the forms that people ask: is this a …, are there any …, is this man …ing. What can be claimed is found in the
// captions themselves, not in the lexicon.

extension DerivedQuestions {
    /// Nouns of the captions: is this a kitchen, are there any boats. Affirmed where captions agree on the noun (one is enough for
    /// two words, "tennis court"), denied where no caption has it or a word that leaves it open.
    static func nouns(_ photos: [Photo], _ nouns: [CaptionNoun], _ options: Options) -> [Candidate] {
        let order = order(photos, options)
        let words = photos.map { Set($0.reading.captions.joined()) }
        let inOrder = words.map { $0.sorted() }
        let shown = nouns.map { noun in
            photos.indices.filter { photo in
                let reading = photos[photo].reading
                guard !words[photo].isDisjoint(with: noun.forms) else { return false }
                let named = reading.captions.count { noun.isNamed(in: $0) }
                return named >= (reading.count >= 3 && noun.modifier == nil ? 2 : 1)
            }
        }
        return BalancedClaims(names: nouns.map(\.name), shown: shown, photoCount: photos.count).candidates(
            most: options.things, order: order,
            isFalse: { photos[$1].reading.count >= 3 && nouns[$0].isAbsent(from: words[$1]) },
            nearness: { nouns[$0].nearness(to: inOrder[$1]) },
            question: { wording(of: nouns[$0], drawn: order($1, "wording of \(nouns[$0].name)")) })
    }

    /// A noun's question, in one of four wordings, whatever the answer is.
    static func wording(of noun: CaptionNoun, drawn: UInt64) -> String {
        let named = "\(Lexicon.article(before: noun.name)) \(noun.name)"
        switch (drawn % 8, noun.plural) {
        case (4, _): return "Could this be \(named)?"
        case (5, let plural?), (6, let plural?): return "Are there any \(plural)?"
        case (7, _): return "Is this a photo of \(named)?"
        default: return "Is this \(named)?"
        }
    }

    /// What persons do: is this man riding a horse. Affirmed where a caption says it of someone; denied where someone is there and no
    /// caption names the object or, without one, uses the verb.
    static func actions(_ photos: [Photo], _ nouns: [CaptionNoun], _ options: Options) -> [Candidate] {
        let single = Dictionary(
            nouns.filter { $0.modifier == nil }.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        let persons = photos.map { PersonsOfPhoto($0.reading.captions) { single[$0] != nil } }
        var shownBy: [PersonAction: [Int]] = [:]
        for (photo, person) in persons.enumerated() {
            for action in person.actions { shownBy[action, default: []].append(photo) }
        }
        let claims = shownBy.filter { action, photos in
            photos.count >= 5 && (action.object != nil || !Lexicon.vagueVerbs.contains(action.verb))
        }.sorted { $0.key.text < $1.key.text }
        let order = order(photos, options)
        return BalancedClaims(
            names: claims.map(\.key.text), shown: claims.map(\.value), photoCount: photos.count
        ).candidates(
            most: options.things, order: order,
            isFalse: { claim, photo in
                guard photos[photo].reading.count >= 3, persons[photo].subject != nil else { return false }
                let action = claims[claim].key
                if let noun = action.object.flatMap({ single[$0] }) { return noun.isAbsent(from: persons[photo].words) }
                let stem = PersonActions.stem(of: action.verb)
                return !persons[photo].words.contains { $0.hasPrefix(stem) }
            },
            question: { claim, photo in
                let action = claims[claim].key
                let subject = persons[photo].subjectOf[action] ?? persons[photo].subject ?? "person"
                let isThis = order(photo, "wording of \(action.text)") % 2 == 0
                return "Is \(isThis ? "this" : "the") \(subject) \(action.text)?"
            })
    }
}

/// What the captions of one photo say of persons.
private struct PersonsOfPhoto {
    /// Whom they speak of, as most captions name one.
    let subject: String?
    let actions: [PersonAction]
    let subjectOf: [PersonAction: String]
    let words: Set<String>

    init(_ captions: [[String]], noun: (String) -> Bool) {
        let subjects = captions.compactMap(PersonActions.subject)
        let counts = Dictionary(subjects.map { ($0, 1) }, uniquingKeysWith: +)
        subject = counts.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key
        var subjectOf: [PersonAction: String] = [:]
        var actions: [PersonAction] = []
        for (subject, action) in captions.flatMap({ PersonActions.read($0, noun: noun) }) where subjectOf[action] == nil
        {
            subjectOf[action] = subject
            actions.append(action)
        }
        self.subjectOf = subjectOf
        self.actions = actions
        words = Set(captions.joined())
    }
}
