// Questions of the kinds is-this and doing, derived from made-up captions.

import Testing

@testable import FineTuning

@Suite("Derived claims")
struct DataClaimTests {
    private func nouns(_ captions: [[String]]) -> [CaptionNoun] {
        CaptionNouns(captions.map { $0.map(CaptionTokens.words) }).all()
    }

    /// Fourteen photos of kitchens, as many of boats, roads and men who ride.
    private var captions: [[String]] {
        (0..<14).flatMap { photo in
            [
                ["A kitchen with a sink .", "There is a clean sink in the kitchen .", "A white kitchen ."],
                ["A boat on a lake .", "Two boats .", "A red boat drifts on the blue lake ."],
                ["A tennis court , a court .", "There is a man on a tennis court .", "A man is playing tennis ."],
                [
                    "A man riding a horse .", "A man is riding his horse in a field .",
                    photo % 2 == 0 ? "The man rides ." : "A guy laughing .",
                ],
                ["A boy sitting on a bench .", "A boy sits .", "A boy in a city , a bench ."],
            ]
        }
    }

    private var rows: [ExampleRow] {
        captions.enumerated().flatMap { photo, captions in
            captions.map {
                ExampleRow(
                    image: "/data/\(photo).jpg", imageName: "\(photo).jpg", task: .caption($0), split: "train",
                    line: photo)
            }
        }
    }

    private func asked(_ kinds: Set<DerivedQuestions.Kind>, seed: UInt64 = 1) -> [(
        photo: Int, question: String, answer: String
    )] {
        DerivedQuestions.derive(from: rows, options: .init(seed: seed, kinds: kinds)).compactMap { row in
            guard case .question(let question, let answer) = row.task, let photo = Int(row.imageName.dropLast(4)) else {
                return nil
            }
            return (photo, question, answer)
        }
    }

    @Test("a noun ends a group after an article and follows one directly; verbs, colours and slips do not")
    func found() {
        let names = nouns(captions).map(\.name)
        #expect(names.contains("kitchen"))
        #expect(names.contains("tennis court"))
        for other in ["clean", "red", "white", "drifts", "is", "tennis", "boats", "field kitchen"] {
            #expect(!names.contains(other))
        }
        let verbs = (0..<14).map { _ in ["A dog jumps .", "A man runs ."] }
        #expect(Set(nouns(verbs).map(\.name)).isDisjoint(with: ["jumps", "runs"]))
        let counted = (0..<14).map { _ in
            ["A herd of cows .", "A herd of sheep .", "A tracks .", "A track .", "A women ."]
        }
        #expect(nouns(counted).map(\.name) == ["track"])
        let few = nouns(Array(captions.prefix(5 * CaptionNouns.support - 5))).map(\.name)
        #expect(few.allSatisfy { $0 == "man" }, "of all others there are too few photos")
    }

    @Test("plurals")
    func plurals() {
        let words = ["boat", "beach", "city", "toy", "man", "box", "bus", "sheep", "knife"]
        #expect(
            words.flatMap(CaptionNouns.plurals) == [
                "boats", "beaches", "cities", "toys", "men", "boxes", "buses", "sheep", "knives",
            ])
        #expect(["umbrella", "unicycle", "dog", "one way street"].map(Lexicon.article) == ["an", "a", "a", "a"])
    }

    @Test("a noun is named by its plural, absent only where no word leaves it open")
    func named() throws {
        let all = nouns(captions)
        let boat = try #require(all.first { $0.name == "boat" })
        #expect(boat.isNamed(in: ["two", "boats"]) && boat.isNamed(in: ["a", "canoe"]))
        #expect(boat.plural == "boats")
        #expect(!boat.isAbsent(from: ["lake"]), "beside boats lakes are named often")
        #expect(!boat.isAbsent(from: ["harbor"]), "the lexicon leaves it open")
        #expect(boat.isAbsent(from: ["kitchen", "sink"]))
        let court = try #require(all.first { $0.name == "tennis court" })
        #expect(court.isNamed(in: ["a", "tennis", "court"]))
        #expect(!court.isNamed(in: ["a", "court", "tennis"]))
        #expect(!court.isAbsent(from: ["courts"]), "some other court is left open")
    }

    @Test("what photos without a noun have in common with those that name it makes them near")
    func nearness() throws {
        let extra = (0..<14).map { _ in ["A bathroom with a mirror , clean .", "A bathroom , clean .", "A mirror ."] }
        let kitchen = try #require(nouns(captions + extra).first { $0.name == "kitchen" })
        let bathroom = kitchen.nearness(to: ["bathroom", "clean", "mirror"])
        #expect(bathroom > kitchen.nearness(to: ["boat", "lake", "red"]))
        #expect(kitchen.nearness(to: []) == 0)
    }

    @Test("what a person does is read with its object; groups that name no noun leave the verb alone")
    func actions() {
        func read(_ text: String) -> [String] {
            PersonActions.read(CaptionTokens.words(text)) { ["horse", "bench", "umbrella"].contains($0) }
                .map { "\($0.subject) \($0.action.text)" }
        }
        #expect(read("A man riding his brown horse .") == ["man riding a horse"])
        #expect(read("The lady is sitting on the bench .") == ["woman sitting on the bench"])
        #expect(read("A kid holding an umbrella and a boy running .") == ["child holding an umbrella", "boy running"])
        #expect(read("A skier jumping down a hill .") == ["person jumping"])
        #expect(read("A man with a dog running .").isEmpty, "the dog runs")
        #expect(read("A man during the day . Two men riding a horse .").isEmpty)
        #expect(["sitting", "riding", "running", "playing"].map(PersonActions.stem) == ["sit", "rid", "run", "play"])
    }

    @Test("each noun is affirmed as often as denied, in the wordings that people use, and never falsely")
    func balance() {
        var balance: [String: Int] = [:]
        let questions = asked([.isThis])
        #expect(questions.count > 100)
        for (photo, question, answer) in questions {
            let things = [
                ["kitchen", "sink"], ["boat", "lake"], ["court", "man"], ["horse", "field", "man"],
                ["boy", "bench", "city"],
            ]
            let noun = [
                "kitchen", "sink", "boat", "lake", "court", "horse", "field", "boy", "bench", "city", "man", "men",
                "cities",
            ]
            .first { question.contains($0) }
            guard var noun else {
                Issue.record("an unknown noun: \(question)")
                continue
            }
            if noun == "men" { noun = "man" }
            if noun == "cities" { noun = "city" }
            #expect(things[photo % 5].contains(noun) == (answer == "yes"), "\(question) \(answer) \(photo % 5)")
            balance[noun + (question.contains("tennis") ? " tennis" : ""), default: 0] += answer == "yes" ? 1 : -1
        }
        #expect(balance.values.allSatisfy { $0 == 0 }, "\(balance)")
        for wording in ["Is this a kitchen?", "Could this be a ", "Are there any ", "Is this a photo of a "] {
            #expect(questions.contains { $0.question.hasPrefix(wording) }, "\(wording)")
        }
    }

    @Test("denials go to near photos and far ones in turn")
    func near() {
        let claims = BalancedClaims(names: ["x"], shown: [[0, 1, 2, 3]], photoCount: 40)
        let drawn = claims.candidates(
            most: 3, order: { photo, _ in UInt64(photo) }, isFalse: { _, photo in photo >= 4 },
            nearness: { _, photo in Double(photo) }, question: { _, _ in "?" })
        #expect(drawn.filter { $0.answer == "yes" }.map(\.photo) == [0, 1, 2, 3])
        #expect(drawn.filter { $0.answer == "no" }.map(\.photo) == [31, 4, 32, 5])
        #expect(BalancedClaims.inTurn([1], [2, 3, 4]) == [1, 2, 3, 4])
    }

    @Test("a person is said not to do only what no caption of the photo says, and somebody is there")
    func persons() {
        let questions = asked([.doing])
        for (photo, question, answer) in questions {
            let isLaughing = photo % 5 == 3 && photo / 5 % 2 == 1
            let truth = [
                "riding a horse": photo % 5 == 3, "sitting on a bench": photo % 5 == 4, "playing": photo % 5 == 2,
                "laughing": isLaughing,
            ].first { question.hasSuffix(" \($0.key)?") }?.value
            #expect(truth == (answer == "yes"), "\(question) \(photo % 5)")
            #expect([2, 3, 4].contains(photo % 5), "nobody is there: \(question) \(photo)")
            #expect(question.contains(photo % 5 == 4 ? " boy " : " man "), "\(question) \(photo)")
        }
        #expect(questions.contains { $0.question == "Is this man riding a horse?" && $0.answer == "yes" })
        #expect(questions.contains { $0.question == "Is the boy riding a horse?" && $0.answer == "no" })
        #expect(questions.count { $0.answer == "yes" } == questions.count { $0.answer == "no" })
    }

    @Test("the same captions and seed give the same questions, another seed others, and by default none of these")
    func determinism() {
        let first = asked([.isThis, .doing]).map { "\($0)" }
        #expect(first == asked([.isThis, .doing]).map { "\($0)" })
        #expect(first != asked([.isThis, .doing], seed: 2).map { "\($0)" })
        let usual = DerivedQuestions.derive(from: rows)
        #expect(!usual.isEmpty)
        #expect(usual.allSatisfy { $0.kind != "derived:is-this" && $0.kind != "derived:doing" })
        #expect(DerivedQuestions.Kind.allCases.map(\.name) == ["is-there", "colour", "how-many", "is-this", "doing"])
    }
}
