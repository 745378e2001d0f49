// Questions derived from captions: is there a …, what colour is …, how many …, and others that are asked for (docs/DATA.md).
//
// Invariants: every row is marked as derived; for each thing as many questions are answered with yes as with no, so that
// neither a thing nor its frequency gives the answer away; the same captions and seed give the same rows.

/// Makes questions from the captions of photos.
public enum DerivedQuestions {
    /// How questions are drawn.
    public struct Options: Sendable, Equatable {
        /// Decides which questions are kept where there are too many.
        public var seed: UInt64
        /// The most questions of one photo that are answered with yes; and as many, about, with no.
        public var things: Int
        /// The most questions about colours of one photo.
        public var colours: Int
        /// What is asked.
        public var kinds: Set<Kind>
        /// Captions that must give a colour, or a number above one; all that give one must agree in any case.
        public var agreeing: Int

        /// Options; `things` and `colours` are the most for one photo.
        public init(
            seed: UInt64 = 1, things: Int = 3, colours: Int = 2, agreeing: Int = 2, kinds: Set<Kind> = Kind.usual
        ) {
            self.kinds = kinds
            self.seed = seed
            self.things = things
            self.colours = colours
            self.agreeing = agreeing
        }
    }

    /// The kinds of question, as rows name them.
    public enum Kind: String, Sendable, CaseIterable {
        /// Is there a dog? yes, no
        case isThere = "derived:is-there"
        /// What colour is the shirt? red, blue, …
        case colour = "derived:colour"
        /// How many dogs are there? 1, 2, …
        case howMany = "derived:how-many"
        /// Is this a kitchen? Are there any boats? yes, no
        case isThis = "derived:is-this"
        /// Is this man riding a horse? yes, no
        case doing = "derived:doing"

        /// The kinds that are made unless others are asked for.
        public static let usual: Set<Kind> = [.isThere, .colour, .howMany]

        /// The name without what all have in common: is-there.
        public var name: String { String(rawValue.dropFirst("derived:".count)) }
    }

    /// A photo whose captions were read.
    struct Photo {
        let row: ExampleRow
        let reading: CaptionReading
    }

    /// A question that may be asked, with its place in the order of drawing.
    struct Candidate {
        let photo: Int
        let question: String
        let answer: String
        let order: UInt64
    }

    /// Questions from the captions among `rows`, each split by itself, photos in the order of the rows.
    public static func derive(from rows: [ExampleRow], options: Options = Options()) -> [ExampleRow] {
        var bySplit: [String: [ExampleRow]] = [:]
        var splits: [String] = []
        for row in rows {
            guard row.isCaption, row.view ?? 0 == 0 else { continue }
            if bySplit[row.split] == nil { splits.append(row.split) }
            bySplit[row.split, default: []].append(row)
        }
        return splits.flatMap { derive(fromSplit: bySplit[$0] ?? [], options: options) }
    }

    private static func derive(fromSplit rows: [ExampleRow], options: Options) -> [ExampleRow] {
        let photos = rows.grouped { $0.image }.map { group in
            var row = group[0]
            // What one caption says of the whole alone may be cut off in another view.
            row.view = group.contains { $0.view != nil } ? 0 : nil
            return Photo(row: row, reading: CaptionReading(group.compactMap(\.task.caption)))
        }
        let isWithNouns = !options.kinds.isDisjoint(with: [.isThis, .doing])
        let nouns = isWithNouns ? CaptionNouns(photos.map(\.reading.captions)).all() : []
        let kinds = Kind.allCases.filter(options.kinds.contains).map { kind in
            switch kind {
            case .isThere: (kind, presence(photos, options))
            case .colour: (kind, colours(photos, options))
            case .howMany: (kind, counts(photos, options))
            case .isThis: (kind, self.nouns(photos, nouns, options))
            case .doing: (kind, actions(photos, nouns, options))
            }
        }
        var ofPhoto: [[ExampleRow]] = Array(repeating: [], count: photos.count)
        for (kind, candidates) in kinds {
            for candidate in candidates.sorted(by: { ($0.order, $0.question) < ($1.order, $1.question) }) {
                let row = photos[candidate.photo].row
                ofPhoto[candidate.photo].append(
                    ExampleRow(
                        image: row.image, imageName: row.imageName,
                        task: .question(candidate.question, answer: candidate.answer), split: row.split, line: row.line,
                        kind: kind.rawValue, isDerived: true, view: row.view))
            }
        }
        return ofPhoto.flatMap { $0 }
    }

    // MARK: Is there a …

    private static func presence(_ photos: [Photo], _ options: Options) -> [Candidate] {
        let things = Lexicon.things
        return BalancedClaims(
            names: things.map(\.name),
            shown: things.indices.map { thing in photos.indices.filter { photos[$0].reading.shows(thing) } },
            photoCount: photos.count
        ).candidates(
            most: options.things, order: order(photos, options),
            isFalse: { photos[$1].reading.lacks($0) }, question: { thing, _ in things[thing].question })
    }

    /// Where a photo stands in the order of drawing for what is asked of it.
    static func order(_ photos: [Photo], _ options: Options) -> (Int, String) -> UInt64 {
        { StableHash.of(photos[$0].row.imageName, $1, seed: options.seed) }
    }

    // MARK: What colour is …, how many …

    private static func colours(_ photos: [Photo], _ options: Options) -> [Candidate] {
        var byThing: [[Candidate]] = []
        for thing in Lexicon.coloured {
            let question = "What colour \(thing.isPlural ? "are" : "is") the \(thing.name)?"
            byThing.append(
                photos.indices.compactMap { photo in
                    photos[photo].reading.colour(of: thing, agreeing: options.agreeing).map {
                        drawn(photos, photo, question, $0, options.seed)
                    }
                })
        }
        return limited(byThing.flatMap { balanced($0) }, perPhoto: options.colours)
    }

    private static func counts(_ photos: [Photo], _ options: Options) -> [Candidate] {
        var byThing: [[Candidate]] = []
        for thing in Lexicon.things {
            guard let plural = thing.counted?.plural else { continue }
            byThing.append(
                photos.indices.compactMap { photo in
                    photos[photo].reading.number(of: thing, agreeing: options.agreeing).map {
                        drawn(photos, photo, "How many \(plural) are there?", "\($0)", options.seed)
                    }
                })
        }
        return limited(byThing.flatMap { balanced($0) }, perPhoto: 2)
    }

    private static func drawn(
        _ photos: [Photo], _ photo: Int, _ question: String, _ answer: String, _ seed: UInt64
    ) -> Candidate {
        Candidate(
            photo: photo, question: question, answer: answer,
            order: StableHash.of(photos[photo].row.imageName, question, seed: seed))
    }

    /// The questions of one wording, no answer more often than the second commonest, so that the commonest is right half
    /// the time at most; none where there is but one answer.
    static func balanced(_ candidates: [Candidate]) -> [Candidate] {
        let byAnswer = Dictionary(grouping: candidates, by: \.answer)
        let sizes = byAnswer.values.map(\.count).sorted(by: >)
        guard sizes.count >= 2 else { return [] }
        return byAnswer.sorted { $0.key < $1.key }
            .flatMap { $0.value.sorted { $0.order < $1.order }.prefix(sizes[1]) }
    }

    private static func limited(_ candidates: [Candidate], perPhoto limit: Int) -> [Candidate] {
        var count: [Int: Int] = [:]
        return candidates.sorted { ($0.order, $0.question) < ($1.order, $1.question) }.filter { candidate in
            count[candidate.photo, default: 0] += 1
            return count[candidate.photo, default: 0] <= limit
        }
    }
}

extension Thing {
    /// Whether there is one.
    var question: String {
        if isMass { return "Is there \(name)?" }
        return "Is there \(Lexicon.article(before: name)) \(name)?"
    }
}
