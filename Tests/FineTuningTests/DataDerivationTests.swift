// Questions derived from made-up captions.

import Diagnostics
import Foundation
import Testing

@testable import FineTuning

@Suite("Derived questions")
struct DataDerivationTests {
    private func reading(_ captions: String...) -> CaptionReading { CaptionReading(captions) }

    private func thing(_ name: String) throws -> Int {
        try #require(Lexicon.things.firstIndex { $0.name == name })
    }

    private func colour(_ name: String, _ captions: String..., agreeing: Int = 2) throws -> String? {
        let thing = try #require(Lexicon.coloured.first { $0.name == name })
        return CaptionReading(captions).colour(of: thing, agreeing: agreeing)
    }

    private func number(_ name: String, _ captions: String..., agreeing: Int = 2) throws -> Int? {
        CaptionReading(captions).number(of: Lexicon.things[try thing(name)], agreeing: agreeing)
    }

    @Test("a thing is there when captions agree, by plural and synonym too; one caption of three is not enough")
    func presence() throws {
        let dog = try thing("dog")
        #expect(reading("A dog runs .", "Two puppies play .", "Grass .").shows(dog))
        #expect(!reading("A dog runs .", "It plays .", "Grass .").shows(dog))
        #expect(reading("A dog runs .").shows(dog))
        let person = try thing("person")
        #expect(reading("A surfer .", "A boy .", "Waves .").shows(person))
    }

    @Test("a thing is absent only where no caption has a word for it, and three captions were written")
    func absence() throws {
        let dog = try thing("dog")
        #expect(reading("A man .", "A man sits .", "A bench .").lacks(dog))
        #expect(!reading("A man .", "A man sits .").lacks(dog))
        #expect(!reading("A man .", "A man with puppies .", "A bench .").lacks(dog))
        #expect(!reading("A man .", "A man with an animal .", "A bench .").lacks(dog))
        #expect(!reading("A toy dog .", "A toy .", "A shelf .").lacks(dog))
        #expect(!reading("A toy dog .", "A toy dog .", "A shelf .").shows(dog))
        #expect(!reading("A hot dog .", "A hot dog .", "Hot dogs .").shows(dog))
        #expect(reading("A hot dog .", "A hot dog .", "Hot dogs .").lacks(dog))
        let man = try thing("man")
        #expect(!reading("Two people .", "A couple .", "They walk .").lacks(man))
        #expect(!reading("A statue of a man .", "A statue .", "A park .").shows(man))
        let motorcycle = try thing("motorcycle")
        #expect(!reading("A bike .", "A rider .", "A race .").lacks(motorcycle))
        #expect(reading("A dirt bike .", "A dirt bike jumps .", "A race .").shows(motorcycle))
    }

    @Test("a colour is asked for when captions agree on one")
    func colours() throws {
        #expect(try colour("shirt", "A man in a red shirt .", "Boy with red knit shirt .", "A man .") == "red")
        #expect(try colour("shirt", "A man in a red shirt .", "A man in a shirt .") == nil)
        #expect(try colour("shirt", "A man in a red shirt .", "A man .", agreeing: 1) == "red")
        #expect(try colour("shirt", "A red shirt .", "A red shirt .", "A blue shirt .") == nil)
        #expect(try colour("shirt", "A red shirt and a blue shirt .", "A red shirt .") == nil)
        #expect(try colour("shirt", "Red shirts .", "A red shirt .", "A red shirt .") == nil)
        #expect(try colour("dog", "A black and white dog .", "A black dog .", "A black dog .") == nil)
        #expect(try colour("dog", "A tan dog .", "A brown dog .", "A brown dog .") == nil)
        #expect(try colour("dog", "A dog in a red vest .", "A dog in red .", "Red , a dog .") == nil)
        #expect(try colour("cat", "A grey cat .", "The gray cat .") == "gray")
        #expect(try colour("bike", "A red bike helmet .", "A red bike helmet .") == nil)
        #expect(try colour("helmet", "A red bike helmet .", "A red helmet .") == "red")
        #expect(try colour("shorts", "A boy in blue shorts .", "Boy , blue shorts .") == "blue")
    }

    @Test("a number is asked for when captions agree on one")
    func numbers() throws {
        #expect(try number("dog", "Two dogs run .", "Two brown dogs .", "Dogs .") == 2)
        #expect(try number("dog", "Two dogs run .", "Dogs .", "A park .") == nil)
        #expect(try number("dog", "Two dogs run .", "Dogs .", agreeing: 1) == 2)
        #expect(try number("dog", "Two dogs run .", "Three dogs .", "Two dogs .") == nil)
        #expect(try number("dog", "Two dogs .", "Two dogs .", "A dog with another dog .") == nil)
        #expect(try number("dog", "A dog .", "The brown dog .", "One dog .") == 1)
        #expect(try number("dog", "A dog .", "The brown dog .") == nil)
        #expect(try number("dog", "A dog .", "A dog .", "A dog .", "Dogs .") == nil)
        #expect(try number("man", "A man .", "A man .", "A man .", "Two people .") == nil)
        #expect(try number("dog", "A dog and a dog .", "A dog .", "A dog .", "A dog .") == nil)
        let other = "A dog and the other dog ."
        #expect(try number("dog", other, other, other) == nil)
        #expect(try number("child", "Three small children .", "3 children .") == 3)
    }

    /// Photos of dogs, cats and cars, five captions each.
    private var rows: [ExampleRow] {
        (0..<90).flatMap { photo in
            let animal = ["dog", "cat", "car"][photo % 3]
            let colour = ["red", "blue", "black", "black"][photo % 4]
            let number = photo % 5 == 0 ? "two \(animal)s" : "a \(colour) \(animal)"
            return (0..<5).map { line in
                ExampleRow(
                    image: "/data/images/\(photo).jpg", imageName: "images/\(photo).jpg",
                    task: .caption("There is \(number) and a bench ."), split: photo < 70 ? "train" : "dev",
                    line: photo * 5 + line)
            }
        }
    }

    @Test("each thing is affirmed as often as it is denied, in each split, and every row says that it is derived")
    func balance() throws {
        let derived = DerivedQuestions.derive(from: rows)
        #expect(derived.allSatisfy { $0.isDerived && $0.kind?.hasPrefix("derived:") == true })
        #expect(Set(derived.map(\.split)) == ["train", "dev"])
        var balance: [String: Int] = [:]
        var counts: [String: Int] = [:]
        for row in derived where row.kind == "derived:is-there" {
            guard case .question(let question, let answer) = row.task else { continue }
            #expect(["yes", "no"].contains(answer))
            balance["\(row.split) \(question)", default: 0] += answer == "yes" ? 1 : -1
            counts["\(row.split) \(question)", default: 0] += 1
        }
        #expect(balance.values.allSatisfy { $0 == 0 })
        #expect(counts["train Is there a dog?"].map { $0 > 20 } == true)
        // A bench is on every photo, so it cannot be denied, and is not asked for.
        #expect(counts["train Is there a bench?"] == nil)
        #expect(Set(derived.compactMap(\.kind)).count == 3)
    }

    @Test("what is denied is on no caption of the photo, what is affirmed is")
    func truth() throws {
        for row in DerivedQuestions.derive(from: rows) {
            guard case .question(let question, let answer) = row.task else { continue }
            let photo = try #require(Int(row.imageName.dropFirst("images/".count).dropLast(".jpg".count)))
            let animal = ["dog", "cat", "car"][photo % 3]
            if let asked = ["dog", "cat", "car"].first(where: { question == "Is there a \($0)?" }) {
                #expect(answer == (asked == animal ? "yes" : "no"))
            }
            if question == "How many \(animal)s are there?" { #expect(answer == (photo % 5 == 0 ? "2" : "1")) }
            if question == "What colour is the \(animal)?" {
                #expect(answer == ["red", "blue", "black", "black"][photo % 4])
            }
        }
    }

    @Test("what a caption of the whole photo alone says is asked of no other view, and those of crops say nothing")
    func views() {
        let of = Set(rows.map(\.image).filter { $0.hasSuffix("5.jpg") })
        var marked = rows
        for index in marked.indices where of.contains(marked[index].image) && index % 5 == 4 { marked[index].view = 0 }
        let crops = rows.map { row in
            var crop = row
            crop.task = .caption("There is a zebra .")
            crop.view = 2
            return crop
        }
        let derived = DerivedQuestions.derive(from: marked + crops)
        #expect(derived.contains { $0.view == 0 })
        for row in derived { #expect(row.view == (of.contains(row.image) ? 0 : nil)) }
        let plain = DerivedQuestions.derive(from: rows)
        #expect(derived.map(\.task) == plain.map(\.task))
    }

    @Test("no answer to one wording is commoner than the second commonest; one answer alone is no question")
    func capped() {
        func candidates(_ answers: String...) -> [DerivedQuestions.Candidate] {
            answers.enumerated().map {
                DerivedQuestions.Candidate(
                    photo: $0.offset, question: "?", answer: $0.element, order: UInt64($0.offset))
            }
        }
        let kept = DerivedQuestions.balanced(candidates("a", "a", "a", "b", "b", "c")).map(\.answer)
        #expect(kept == ["a", "a", "b", "b", "c"])
        #expect(DerivedQuestions.balanced(candidates("a", "a")).isEmpty)
    }

    @Test("the same captions and seed give the same rows; another seed others; captions of one split know no other")
    func determinism() {
        let first = DerivedQuestions.derive(from: rows)
        #expect(first == DerivedQuestions.derive(from: rows))
        let other = DerivedQuestions.derive(from: rows, options: .init(seed: 2))
        #expect(first != other)
        let train = DerivedQuestions.derive(from: rows.filter { $0.split == "train" })
        #expect(first.filter { $0.split == "train" } == train)
    }

    @Test("the lexicon is sound: no thing asks for itself twice, nothing speaks for a thing and leaves it open")
    func lexicon() {
        #expect(Lexicon.things.count > 60)
        #expect(Set(Lexicon.things.map(\.name)).count == Lexicon.things.count)
        #expect(
            Lexicon.things.allSatisfy { !$0.forms.isEmpty && !$0.name.isEmpty && $0.forms.isDisjoint(with: $0.open) })
        #expect(Lexicon.things.first { $0.name == "umbrella" }?.question == "Is there an umbrella?")
        #expect(Lexicon.things.first { $0.name == "snow" }?.question == "Is there snow?")
        #expect(Lexicon.things.first { $0.name == "person" }?.forms.contains("surfer") == true)
    }

    @Test("the hash is the same on every machine")
    func hash() {
        #expect(StableHash.of("a", "b", seed: 1) == 5494163424849143043)
        #expect(StableHash.of("ab", "", seed: 1) != StableHash.of("a", "b", seed: 1))
        let parts = (0..<1_000).count { StableHash.fraction(of: "image\($0).jpg") < 0.1 }
        #expect((70...130).contains(parts))
    }
}

@Suite("Rows written and moved")
struct DataWritingTests {
    @Test("rows come back as they were written, paths relative to the new file")
    func roundTrip() throws {
        let folder = try DataFolder()
        let path = try folder.file(
            """
            {"image": "images/a.jpg", "caption": "A \\"dog\\" / cat .", "split": "dev"}
            {"image": "images/b.jpg", "question": "What?", "answers": ["x", "y", "y"], "kind": "k", "derived": true}
            """)
        let rows = try ExampleRows.read(path: path)
        try FileManager.default.createDirectory(atPath: "\(folder.path)/sub/deep", withIntermediateDirectories: true)
        try ExampleRows.write(rows, to: "\(folder.path)/sub/deep/out.jsonl")
        let again = try ExampleRows.read(path: "\(folder.path)/sub/deep/out.jsonl")
        #expect(again.map(\.imageName) == ["../../images/a.jpg", "../../images/b.jpg"])
        #expect(again.map(\.task) == rows.map(\.task))
        #expect(again.map(\.answers) == rows.map(\.answers))
        #expect(again.map(\.split) == ["dev", "train"])
        #expect(again.map(\.kind) == [nil, "k"])
        #expect(again.map(\.isDerived) == [false, true])
        let failure = #expect(throws: Failure.self) {
            try ExampleRows.write(rows, to: "\(folder.path)/missing/out.jsonl")
        }
        #expect(failure?.code == .cannotCreate && failure?.cause.contains("Error Domain") == false)
    }

    @Test("a file that is replaced leaves its mode to the new one, and nothing else is left beside it")
    func whole() throws {
        let folder = try DataFolder()
        let rows = [ExampleRow(image: "\(folder.path)/images/a.jpg", task: .caption("A dog ."))]
        let path = try folder.file("old", "out.jsonl")
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
        try ExampleRows.write(rows, to: path)
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? NSNumber
        #expect(mode?.intValue == 0o600)
        #expect(try ExampleRows.read(path: path).map(\.task) == [.caption("A dog .")])
        let beside = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        #expect(beside == ["images", "out.jsonl"])
    }

    @Test("a row that is moved keeps all that its line has, to the letter, but for image and split; keys are sorted")
    func wholeLines() throws {
        let folder = try DataFolder()
        let path = try folder.file(
            """
            {"type": "x", "image": "images/a.jpg", "caption": "A \\u00e9 \\/ \\"dog\\" .", "id": 12345678901234567890, "z": [1.0, {"b": 2}]}
            {"image" : "./images/b.jpg" , "spl\\u0069t":"test", "question":"What?","answers":["x","y"],"source":null }
            \u{FEFF}{"image": "images/a.jpg", "caption": "Twice ."}
            """)
        try FileManager.default.createDirectory(atPath: "\(folder.path)/sub", withIntermediateDirectories: true)
        let lines = try ExampleRows.lines(path: path)
        let moved = lines.rows.map { row in
            var row = row
            if row.split == "train" { row.split = "dev \"1\"" }
            return row
        }
        try ExampleRows.write(moved, in: lines, to: "\(folder.path)/sub/out.jsonl")
        let text = try String(contentsOfFile: "\(folder.path)/sub/out.jsonl", encoding: .utf8)
        #expect(
            text == """
                {"caption":"A \\u00e9 \\/ \\"dog\\" .","id":12345678901234567890,"image":"../images/a.jpg","split":"dev \\"1\\"","type":"x","z":[1.0, {"b": 2}]}
                {"answers":["x","y"],"image":"../images/b.jpg","question":"What?","source":null,"split":"test"}
                {"caption":"Twice .","image":"../images/a.jpg","split":"dev \\"1\\""}

                """)
        let again = try ExampleRows.read(path: "\(folder.path)/sub/out.jsonl")
        #expect(again.map(\.task) == lines.rows.map(\.task) && again.map(\.kind) == ["x", nil, nil])
    }

    @Test("through a link to the new file's folder, written paths still lead to the photos")
    func linkedFolder() throws {
        let folder = try DataFolder()
        try FileManager.default.createDirectory(atPath: "\(folder.path)/deep/er", withIntermediateDirectories: true)
        try FileManager.default.createSymbolicLink(
            atPath: "\(folder.path)/link", withDestinationPath: "\(folder.path)/deep/er")
        let rows = [ExampleRow(image: "\(folder.path)/images/a.jpg", task: .caption("A dog ."))]
        try ExampleRows.write(rows, to: "\(folder.path)/link/out.jsonl")
        let again = try ExampleRows.read(path: "\(folder.path)/link/out.jsonl")
        #expect(again.map(\.imageName) == ["../../images/a.jpg"])
    }

    @Test("paths are seen from the folder of the new file")
    func relativePaths() {
        #expect(ExampleRows.relative("/a/b/c.jpg", to: "/a/b") == "c.jpg")
        #expect(ExampleRows.relative("/a/b/c.jpg", to: "/a/x/y") == "../../b/c.jpg")
        #expect(ExampleRows.relative("./i/../c.jpg", to: ".") == "c.jpg")
    }

    @Test("all rows of a photo are held out together, by its name alone")
    func heldOut() throws {
        let rows = (0..<400).map { index in
            ExampleRow(
                image: "/x/\(index / 2).jpg", imageName: "\(index / 2).jpg", task: .caption("c"),
                split: index < 300 ? "train" : "test")
        }
        let moved = try ExampleRows.holdOut(0.2, of: rows, in: "f")
        let dev = moved.filter { $0.split == "dev" }
        #expect((30...90).contains(dev.count))
        #expect(moved.count { $0.split == "test" } == 100)
        for (first, second) in stride(from: 0, to: 400, by: 2).map({ (moved[$0], moved[$0 + 1]) }) {
            #expect(first.split == second.split)
        }
        let elsewhere = rows.map { row in
            var row = row
            row.image = "/elsewhere" + row.image
            return row
        }
        #expect(try ExampleRows.holdOut(0.2, of: elsewhere, in: "f").map(\.split) == moved.map(\.split))
        let all = try ExampleRows.holdOut(0.2, of: rows, in: "f", from: "all")
        #expect(all.count { $0.split == "test" } < 100)
        #expect(zip(all, moved).allSatisfy { $0.split == $1.split || $1.split == "test" })
    }

    @Test("no photo is on both sides, however its rows spell it, and though some of them were there before")
    func neverOnBothSides() throws {
        let folder = try DataFolder()
        var lines: [String] = []
        for index in 0..<60 {
            try Data().write(to: URL(fileURLWithPath: "\(folder.path)/images/\(index).jpg"))
            for name in ["images/\(index).jpg", "./images/\(index).jpg", "images/../images//\(index).jpg"] {
                lines.append("{\"image\": \"\(name)\", \"caption\": \"A dog .\"}")
            }
            if index % 10 == 0 {
                lines.append("{\"image\": \"images/\(index).jpg\", \"caption\": \"A cat .\", \"split\": \"dev\"}")
            }
        }
        let rows = try ExampleRows.read(path: folder.file(lines.joined(separator: "\n")))
        let moved = try ExampleRows.holdOut(0.3, of: rows, in: "f")
        let sides = Dictionary(grouping: moved, by: \.image).values.map { Set($0.map(\.split)) }
        #expect(sides.count == 60 && sides.allSatisfy { $0.count == 1 })
        #expect((12...40).contains(sides.count { $0 == ["dev"] }))
    }

    @Test("where no photo would be held out, that is said")
    func nothingHeldOut() throws {
        let rows = [ExampleRow(image: "a.jpg", task: .caption("c"), split: "val")]
        for (part, from, to) in [(0.99, "train", "dev"), (1e-9, "val", "dev"), (0.99, "all", "val")] {
            let failure = #expect(throws: Failure.self) {
                try ExampleRows.holdOut(part, of: rows, in: "rows.jsonl", from: from, to: to)
            }
            #expect(failure?.code == .specInvalid && failure?.object == "rows.jsonl")
            #expect(failure?.hint.contains("val") ?? false)
        }
    }

    @Test("easy-vqa becomes rows with splits and kinds")
    func easyVQA() throws {
        let folder = try DataFolder()
        for split in ["train", "test"] {
            try FileManager.default.createDirectory(
                atPath: "\(folder.path)/\(split)", withIntermediateDirectories: true)
            _ = try folder.file(
                #"[["is there a circle?", "no", 3], ["what shape?", "circle", 3], ["what color?", "teal", 4]]"#,
                "\(split)/questions.json")
        }
        let rows = try EasyVQA.rows(folder: folder.path)
        #expect(rows.map(\.split) == ["train", "train", "train", "test", "test", "test"])
        #expect(rows.prefix(3).map(\.kind) == ["yes/no", "shape", "colour"])
        #expect(rows[2].image == "\(folder.path)/train/images/4.png")
        #expect(rows[2].task == .question("what color?", answer: "teal"))
        _ = try folder.file(#"[["only two", "fields"]]"#, "test/questions.json")
        #expect(throws: (any Error).self) { try EasyVQA.rows(folder: folder.path) }
    }
}
