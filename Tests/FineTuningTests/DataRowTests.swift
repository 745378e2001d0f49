// The reader of data sets: what it takes, what it names and leaves out.

import Diagnostics
import Foundation
import Testing

@testable import FineTuning

/// A folder with two photos, and data files beside them.
struct DataFolder: ~Copyable {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("memvp-data-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: "\(path)/images", withIntermediateDirectories: true)
        for name in ["a.jpg", "b.jpg"] {
            try Data([0xFF, 0xD8]).write(to: URL(fileURLWithPath: "\(path)/images/\(name)"))
        }
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Writes a file of the folder; returns its path.
    func file(_ text: String, _ name: String = "rows.jsonl") throws -> String {
        try Data(text.utf8).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
        return "\(path)/\(name)"
    }
}

@Suite("Rows of a data set")
struct DataRowTests {
    private let good = #"{"image": "images/a.jpg", "caption": "A dog .", "split": "train"}"#

    private func read(
        _ text: String, splits: Set<String>? = nil, badRows: BadRowPolicy = .skip
    ) throws -> (rows: [ExampleRow], bad: [BadRow], folder: String) {
        let folder = try DataFolder()
        var bad: [BadRow] = []
        let path = try folder.file(text)
        let rows = try ExampleRows.read(path: path, splits: splits, badRows: badRows) { bad.append($0) }
        return (rows, bad, folder.path)
    }

    @Test("captions and questions are read in order, with their lines and paths")
    func forms() throws {
        let text = """
            \(good)

            {"image": "images/b.jpg", "question": "Is it raining?", "answer": "no", "split": "dev", "type": "yes/no"}\r
            {"image": "images/b.jpg", "question": "What?", "answers": ["red", "blue", "blue"], "kind": "colour"}
            {"image": "images/a.jpg", "question": "Is there a dog?", "answer": "yes", "derived": true, "n_refs": 5}
            """
        let (rows, bad, folder) = try read("\u{FEFF}" + text)
        #expect(bad.isEmpty)
        #expect(rows.map(\.line) == [1, 3, 4, 5])
        #expect(rows[0].task == .caption("A dog ."))
        #expect(rows[0].image == "\(folder)/images/a.jpg")
        #expect(rows[0].imageName == "images/a.jpg")
        #expect(rows[0].answers.isEmpty)
        #expect(rows[1].task == .question("Is it raining?", answer: "no"))
        #expect(rows[1].kind == "yes/no")
        #expect(rows[1].answers == ["no"])
        #expect(rows[1].split == "dev")
        #expect(rows[2].task == .question("What?", answer: "blue"))
        #expect(rows[2].answers == ["red", "blue", "blue"])
        #expect(rows[2].split == "train")
        #expect(rows.map(\.isDerived) == [false, false, false, true])
    }

    @Test("only the splits that are wanted; a photo of another split may be missing")
    func splits() throws {
        let text = """
            \(good)
            {"image": "gone.jpg", "caption": "Gone .", "split": "dev"}
            {"image": "images/b.jpg", "caption": "Test .", "split": "test"}
            """
        let (rows, bad, _) = try read(text, splits: ["train", "test"])
        #expect(rows.map(\.split) == ["train", "test"])
        #expect(bad.isEmpty)
    }

    @Test(
        "a bad row is named with its reason and costs nothing else",
        arguments: [
            (
                "{\"image\": \"images/a.jpg\", \"cap",
                "is not an object in JSON: it ends within a text: it is cut off, or lacks a quotation mark"
            ),
            (
                "{\"image\": \"images/a.jpg\", \"n\": [1, {}, \"a\\\\\"",
                "is not an object in JSON: it ends before its last bracket: it is cut off, or lacks one"
            ),
            ("{\"image\": \"images/a.jpg\", \"caption\": \"a\u{0}b\"}", "is not an object in JSON: it has a zero byte"),
            (
                "{\"image\": \"images/a.jpg\", \"caption\": \"a\tb\"}",
                "is not an object in JSON: it has a control character within a text, where JSON wants an escape"
            ),
            ("{\"image\": \"images/a.jpg\" \"caption\": \"a \\\" { [\"}", "is not an object in JSON"),
            ("[1, 2]", "is not an object in JSON"),
            (
                "{\"image\": \"images/a.jpg\", \"caption\": \"x\",}",
                "is not an object in JSON: it has a comma too many"
            ),
            ("{\"caption\": \"A dog.\"}", "has no image"),
            ("{\"image\": \"\", \"caption\": \"A dog.\"}", "has no image"),
            ("{\"image\": \"a\\u0000b\", \"caption\": \"A dog.\"}", "has an image path with a zero byte in it"),
            ("{\"image\": \"images/a.jpg\"}", "has neither caption nor question"),
            ("{\"image\": \"images/a.jpg\", \"caption\": null}", "has neither caption nor question"),
            ("{\"image\": \"images/a.jpg\", \"caption\": \" \\t\"}", "has an empty caption"),
            ("{\"image\": \"images/a.jpg\", \"caption\": 7}", "has a caption of the wrong type"),
            ("{\"image\": \"images/a.jpg\", \"question\": \"Why?\"}", "has no answer"),
            ("{\"image\": \"images/a.jpg\", \"question\": \"Why?\", \"answer\": \"\"}", "has an empty answer"),
            ("{\"image\": \"images/a.jpg\", \"question\": \"Why?\", \"answers\": [null]}", "has a null in answers"),
            ("{\"image\": \"images/a.jpg\", \"question\": \" \", \"answer\": \"no\"}", "has an empty question"),
            (
                "{\"image\": \"images/a.jpg\", \"caption\": \"x\", \"question\": \"Why?\", \"answer\": \"y\"}",
                "has both a caption and a question"
            ),
            ("{\"image\": \"images/a.jpg\", \"caption\": \"x\", \"caption\": \"y\"}", "has the key caption twice"),
            ("{\"image\": \"images/a.jpg\", \"caption\": \"x\", \"n\": 1, \"\\u006e\": 1}", "has the key n twice"),
            ("{\"image\": \"images/a.jpg\", \"caption\": \"x\", \"view\": \"1\"}", "has a view of the wrong type"),
            ("{\"image\": \"images/c.jpg\", \"caption\": \"x\"}", "the photo images/c.jpg is missing"),
            ("{\"image\": \"images\", \"caption\": \"x\"}", "the photo images is not a regular file"),
        ])
    func badRows(_ line: String, _ reason: String) throws {
        let (rows, bad, folder) = try read("\(good)\n\(line)\n\(good)\n")
        #expect(rows.map(\.line) == [1, 3])
        #expect(bad == [BadRow(file: "\(folder)/rows.jsonl", line: 2, reason: reason)])
        let failure = #expect(throws: Failure.self) { try read("\(good)\n\(line)\n\(good)\n", badRows: .stop) }
        #expect(failure?.code == .specInvalid)
        #expect(failure?.object.hasSuffix("rows.jsonl:2") == true)
        #expect(failure?.cause == reason)
    }

    @Test("values of keys that nobody asks for are JSON, or the row is a bad one: they are written again as they are")
    func foreignValues() throws {
        let sound = [
            "0", "-0.5e+3", "12345678901234567890", "true", "null", "[ ]", "[1 , {\"b\": []}]", "{ }",
            #""\u00e9\ud83d\ude00\/""#, #""é""#,
        ]
        let none = [
            "01", "1.", ".5", "-", "+1", "1e", "[1,2,]", "[1 2]", "{\"a\":}", "{\"a\" 1}", "{a:1}", "nul", "tru e",
            "NaN",
            "\"\u{0C}\"", #""\ud800""#, #""\udc00""#, #""\ud800\u0041""#, #""\x""#, #""\u12G4""#,
            String(repeating: "[", count: 600) + String(repeating: "]", count: 600),
        ]
        func row(_ value: String) -> String { #"{"image": "images/a.jpg", "caption": "A", "n": \#(value)}"# }
        for value in sound {
            #expect(JSONGrammar.isValue([UInt8](value.utf8)[...]), "\(value)")
            #expect(JSONGrammar.isValue([UInt8](" \(value)\t".utf8)[...]), "\(value)")
        }
        for value in none {
            #expect(!JSONGrammar.isValue([UInt8](value.utf8)[...]), "\(value)")
            let (rows, bad, _) = try read("\(good)\n" + row(value) + "\n")
            #expect(rows.count == 1 && bad.map(\.line) == [2], "\(value)")
        }
        #expect(try read(sound.map(row).joined(separator: "\n")).rows.count == sound.count)
    }

    @Test("a row may be true of one view alone: who shows no other passes it over; written again it still is")
    func view() throws {
        let views = ["-1", "0", "3", "4", "1.5", "1e30"]
        let text = views.map { #"{"caption":"A dog .","image":"images/a.jpg","view":\#($0)}"# }
        let folder = try DataFolder()
        let path = try folder.file(text.joined(separator: "\n"))
        var bad: [BadRow] = []
        let rows = try ExampleRows.read(path: path, views: .shown(4)) { bad.append($0) }
        #expect(rows.map(\.view) == [0, 3])
        let none = "has a view that is no number of one: the whole photo is 0"
        #expect(bad.map(\.line) == [1, 4, 5, 6])
        #expect(bad.map(\.reason) == [none, "is true of view 4 alone, which --views 4 does not show", none, none])
        for (wanted, found) in [(RowViews.whole, [0]), (.any, [0, 3, 4])] {
            bad = []
            #expect(try ExampleRows.read(path: path, views: wanted) { bad.append($0) }.map(\.view) == found)
            #expect(bad.map(\.line) == [1, 5, 6])
        }
        let out = "\(folder.path)/again.jsonl"
        try ExampleRows.write(rows, to: out)
        #expect(try ExampleRows.read(path: out, views: .any).map(\.view) == [0, 3])
        let crops = try folder.file(text[2])
        let failure = #expect(throws: Failure.self) { try ExampleRows.read(path: crops) }
        #expect(failure?.cause == "has no row; 1 are true of one view alone")
    }

    @Test("bytes that are not UTF-8, and a text that is too long, are bad rows")
    func bytes() throws {
        let folder = try DataFolder()
        var text = [UInt8]("\(good)\n{\"image\": \"images/a.jpg\", \"caption\": \"".utf8)
        text += [0xC3, 0x28] + [UInt8]("\"}\n".utf8)
        text += [UInt8]("{\"image\": \"images/a.jpg\", \"caption\": \"\(String(repeating: "a", count: 65_537))\"}".utf8)
        try Data(text).write(to: URL(fileURLWithPath: "\(folder.path)/rows.jsonl"))
        var bad: [BadRow] = []
        let rows = try ExampleRows.read(path: "\(folder.path)/rows.jsonl") { bad.append($0) }
        #expect(rows.count == 1)
        #expect(bad.map(\.line) == [2, 3])
        #expect(bad.first?.reason == "is not an object in JSON: it is not UTF-8")
        #expect(bad.last?.reason == "has a caption of 65537 bytes; at most 65536 are read")
    }

    @Test("one broken line in 30,000 costs one row")
    func many() throws {
        var lines = Array(repeating: good, count: 30_000)
        lines[17_000] = "{\"image\": \"images/a.jpg\", \"caption\": \"A do"
        let (rows, bad, _) = try read(lines.joined(separator: "\n"))
        #expect(rows.count == 29_999)
        #expect(bad.map(\.line) == [17_001])
    }

    @Test("all rows of a photo have one path and one name, however its path is spelled and whatever links lead to it")
    func onePhoto() throws {
        let folder = try DataFolder()
        for link in ["link.jpg", "images/other.jpg"] {
            try FileManager.default.createSymbolicLink(
                atPath: "\(folder.path)/\(link)", withDestinationPath: "\(folder.path)/images/a.jpg")
        }
        let spelled = [
            "./images/a.jpg", "images/a.jpg", "images/../images/a.jpg", "images//a.jpg", "\(folder.path)/images/a.jpg",
            "link.jpg", "images/other.jpg",
        ]
        let lines = (spelled + ["images/b.jpg"]).map { "{\"image\": \"\($0)\", \"caption\": \"A dog .\"}" }
        let rows = try ExampleRows.read(path: folder.file(lines.joined(separator: "\n")))
        #expect(rows.count == 8)
        #expect(Set(rows.prefix(7).map(\.image)) == ["\(folder.path)/./images/a.jpg"])
        #expect(Set(rows.prefix(7).map(\.imageName)) == ["images/a.jpg"])
        #expect(rows.last?.imageName == "images/b.jpg")
        #expect(ExampleRows.captions(in: rows, photos: 1).count == 7)
        #expect(rows.grouped { $0.image }.map(\.count) == [7, 1])
        // A hard link is a file of its own, and so is a copy.
        try FileManager.default.linkItem(
            atPath: "\(folder.path)/images/a.jpg", toPath: "\(folder.path)/images/hard.jpg")
        let hard = try ExampleRows.read(
            path: folder.file(lines[1] + "\n" + lines[1].replacingOccurrences(of: "/a.jpg", with: "/hard.jpg")))
        #expect(Set(hard.map(\.image)).count == 2)
    }

    @Test("a path is tidied by its letters; what is not there has its place by what is there above it")
    func paths() throws {
        let tidied = [
            ("a/b.jpg", "a/b.jpg"), ("./a//b.jpg", "a/b.jpg"), ("a/../b.jpg", "b.jpg"), ("../a/../../b", "../../b"),
            ("/../a/./b/..", "/a"), ("/", "/"), (".", ""),
        ]
        for (path, tidy) in tidied { #expect(RealPath.tidy(path) == tidy) }
        let folder = try DataFolder()
        let root = try #require(RealPath.existing(folder.path))
        try FileManager.default.createSymbolicLink(
            atPath: "\(folder.path)/link", withDestinationPath: "\(folder.path)/images")
        #expect(RealPath.existing("\(folder.path)/link/a.jpg") == "\(root)/images/a.jpg")
        #expect(RealPath.existing("\(folder.path)/link/../images/b.jpg") == "\(root)/images/b.jpg")
        #expect(RealPath.existing("\(folder.path)/link/c.jpg") == nil)
        #expect(DataFile.fault("\(folder.path)/link/../images/b.jpg") == nil)
        #expect(DataFile.fault("\(folder.path)/none/../images/b.jpg") == "is missing")
        #expect(RealPath.identity("\(folder.path)/x/../y//z") == "\(folder.path)/y/z")
        #expect(RealPath.place("\(folder.path)/link/new/./c.jpg") == "\(root)/images/new/c.jpg")
        #expect(RealPath.place("\(folder.path)/link/../c.jpg") == "\(root)/c.jpg")
        let here = try #require(RealPath.existing("."))
        #expect(RealPath.place("no-such-file") == "\(here)/no-such-file")
    }

    @Test("captions and questions of a mixed file are told apart before they are counted")
    func kinds() {
        func row(_ photo: String, _ question: String?) -> ExampleRow {
            ExampleRow(image: photo, task: question.map { .question($0, answer: "yes") } ?? .caption("A cat ."))
        }
        let rows = [
            row("a", nil), row("b", "1"), row("a", "2"), row("b", "3"), row("c", nil), row("a", nil), row("d", nil),
        ]
        #expect(ExampleRows.captions(in: rows, photos: 2).map(\.image) == ["a", "c", "a"])
        #expect(ExampleRows.captions(in: rows).count == 4)
        #expect(ExampleRows.questions(in: rows, first: 2).map(\.task) == [rows[1].task, rows[2].task])
        #expect(ExampleRows.questions(in: rows).count == 3)
    }

    @Test("a file without a row that can be used is refused with the reason")
    func nothing() throws {
        let empty = #expect(throws: Failure.self) { try read("") }
        #expect(empty?.cause == "has no row")
        let other = #expect(throws: Failure.self) { try read(good, splits: ["test", "dev"]) }
        #expect(other?.cause == "has no row of the split dev, test")
        #expect(other?.hint == "It has train (1 rows): name one of them as the split, or all.")
        #expect(ExampleRows.splits("all") == nil && ExampleRows.splits(nil) == nil && ExampleRows.splits("x") == ["x"])
        let broken = #expect(throws: Failure.self) { try read("{") }
        #expect(broken?.cause == "has no row; 1 bad rows were left out")
        let missing = #expect(throws: Failure.self) { try ExampleRows.read(path: "/nowhere/rows.jsonl") }
        #expect(missing?.code == .notFound)
        let directory = #expect(throws: Failure.self) { try ExampleRows.read(path: "/tmp") }
        #expect(directory?.code == .notRegularFile)
    }
}
