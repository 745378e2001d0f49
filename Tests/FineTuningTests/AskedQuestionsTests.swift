// Questions that stand on a line each with the photos of each answer, made into rows.

import Diagnostics
import Foundation
import Testing

@testable import FineTuning

@Suite("Questions asked of many photos")
struct AskedQuestionsTests {
    /// Puts photos p0 to p9 into a folder.
    private func fill(_ folder: borrowing DataFolder) throws {
        for photo in 0..<10 { _ = try folder.file("x", "images/p\(photo).jpg") }
    }

    private func said(_ rows: [ExampleRow]) -> [String] {
        rows.map { row in
            guard case .question(let question, let answer) = row.task else { return "a caption" }
            let photo = row.image.split(separator: "/").last ?? ""
            return "\(photo) \(question) \(answer)"
        }
    }

    @Test("a line is a row for each photo of each answer, answers by name, with the line's split and kind")
    func rows() throws {
        let folder = try DataFolder()
        try fill(folder)
        let path = try folder.file(
            #"{"question": "Is it on?", "answers": {"yes": ["images/p1.jpg"], "no": ["images/p2.jpg", "images/p0.jpg"]}}"#
                + "\n\n"
                + #"{"question": "Which colour?", "answers": {"red": ["images/p1.jpg"]}, "split": "dev", "kind": "colour"}"#
                + "\n")
        let asked = try AskedQuestions(path: path)
        #expect(
            said(asked.rows) == [
                "p2.jpg Is it on? no", "p0.jpg Is it on? no", "p1.jpg Is it on? yes", "p1.jpg Which colour? red",
            ])
        #expect(asked.rows.map(\.split) == ["train", "train", "train", "dev"])
        #expect(asked.rows.map(\.kind) == [nil, nil, nil, "colour"])
        #expect(asked.rows.map(\.line) == [1, 1, 1, 3])
        #expect(asked.oneSided == 0)
    }

    @Test("{} stands for what the questions call a photo, and the path is no longer relative to them")
    func pattern() throws {
        let folder = try DataFolder()
        try fill(folder)
        try FileManager.default.createDirectory(
            atPath: "\(folder.path)/elsewhere", withIntermediateDirectories: true)
        let path = try folder.file(
            #"{"question": "Is it on?", "answers": {"yes": ["1"], "no": ["2"]}}"#, "elsewhere/q.jsonl")
        let asked = try AskedQuestions(
            path: path, options: .init(images: "\(folder.path)/images/p{}.jpg"))
        #expect(asked.rows.map(\.image) == [2, 1].map { "\(folder.path)/images/p\($0).jpg" })
        // One that is not absolute is relative to the working directory.
        let here = ExampleRows.relative(folder.path, to: FileManager.default.currentDirectoryPath)
        #expect(try AskedQuestions(path: path, options: .init(images: "\(here)/images/p{}.jpg")).rows.count == 2)
        let missing = #expect(throws: Failure.self) { try AskedQuestions(path: path) }
        #expect(missing?.cause == "has no question that can be used; 2 bad rows were left out")
    }

    @Test("what two lines of one wording answer differently counts for neither and is named; said again it counts once")
    func contradictions() throws {
        let folder = try DataFolder()
        try fill(folder)
        let path = try folder.file(
            #"{"question": "Is it on?", "answers": {"yes": ["images/p1.jpg", "images/p2.jpg"], "no": ["images/p3.jpg"]}}"#
                + "\n"
                + #"{"question": "is it  ON?", "answers": {"yes": ["images/p2.jpg"], "no": ["./images/p1.jpg"]}}"#
                + "\n"
                + #"{"question": "Is it on?", "answers": {"no": ["images/p1.jpg"]}, "split": "dev"}"# + "\n")
        var bad: [BadRow] = []
        let asked = try AskedQuestions(path: path) { bad.append($0) }
        #expect(said(asked.rows) == ["p3.jpg Is it on? no", "p2.jpg Is it on? yes", "p1.jpg Is it on? no"])
        #expect(
            bad.map(\.reason) == [
                "answers “is it  ON?” of ./images/p1.jpg with no, line 1 with yes: neither counts"
            ])
        #expect(bad.map(\.line) == [2])
        let stopped = #expect(throws: Failure.self) { try AskedQuestions(path: path, badRows: .stop) }
        #expect(stopped?.code == .specInvalid && stopped?.object == "\(path):2")
    }

    @Test("balanced rows have each answer to a wording equally often: the rarest up to twice, of the others some")
    func balance() throws {
        let folder = try DataFolder()
        try fill(folder)
        func names(_ numbers: Range<Int>) -> String { numbers.map { "\"images/p\($0).jpg\"" }.joined(separator: ",") }
        let path = try folder.file(
            "{\"question\": \"One of nine?\", \"answers\": {\"yes\": [\(names(0..<1))], \"no\": [\(names(1..<9))]}}\n"
                + "{\"question\": \"Three of five?\", \"answers\": {\"yes\": [\(names(0..<3))], \"no\": [\(names(3..<5))]}}\n"
                + "{\"question\": \"All?\", \"answers\": {\"yes\": [\(names(0..<9))]}}\n")
        let asked = try AskedQuestions(path: path, options: .init(isBalanced: true))
        let lines = said(asked.rows)
        #expect(lines.filter { $0 == "p0.jpg One of nine? yes" }.count == 2)
        #expect(lines.filter { $0.hasSuffix("One of nine? no") }.count == 2)
        #expect(Set(lines.filter { $0.hasSuffix("One of nine? no") }).count == 2)
        #expect(Set(lines.filter { $0.hasSuffix("Three of five? yes") }).count == 3)
        #expect(lines.filter { $0.hasSuffix("Three of five? no") }.count == 3)
        #expect(!lines.contains { $0.contains("All?") } && asked.oneSided == 1)
        #expect(try said(AskedQuestions(path: path, options: .init(isBalanced: true)).rows) == lines)
        let drawn = Set(
            try (1...8).map { seed in
                try said(AskedQuestions(path: path, options: .init(isBalanced: true, seed: seed)).rows)
                    .filter { $0.hasSuffix("One of nine? no") }
            })
        #expect(drawn.count > 1)
        // The same photos are drawn wherever they stand.
        let other = try DataFolder()
        try fill(other)
        let there = try other.file(String(contentsOfFile: path, encoding: .utf8), "q.jsonl")
        let moved = try AskedQuestions(
            path: there, options: .init(images: "\(other.path)/./{}", isBalanced: true))
        #expect(said(moved.rows) == lines)
        let alone = try folder.file("{\"question\": \"All?\", \"answers\": {\"yes\": [\(names(0..<9))]}}")
        let failure = #expect(throws: Failure.self) {
            try AskedQuestions(path: alone, options: .init(isBalanced: true))
        }
        #expect(failure?.hint.contains("--balance") == true)
    }

    @Test("answers are the same but for case and spaces, as they are where they are scored; the first spelling is kept")
    func spellings() throws {
        let folder = try DataFolder()
        try fill(folder)
        let path = try folder.file(
            #"{"question": "Is it on?", "answers": {"Yes": ["images/p1.jpg"]}}"# + "\n"
                + #"{"question": "Is it on?", "answers": {"yes ": ["images/p1.jpg", "images/p2.jpg"]}, "type": "state"}"#
        )
        var bad: [BadRow] = []
        let asked = try AskedQuestions(path: path) { bad.append($0) }
        #expect(said(asked.rows) == ["p1.jpg Is it on? Yes", "p2.jpg Is it on? Yes"])
        #expect(bad.isEmpty && asked.rows[1].kind == "state")
        let failure = #expect(throws: Failure.self) { try AskedQuestions(path: path, options: .init(isBalanced: true)) }
        #expect(failure?.cause.contains("more than one answer") == true)
        let missing = try folder.file(#"{"question": "Is it on?", "answers": {"yes": ["images/p77.jpg"]}}"#, "m.jsonl")
        let nothing = #expect(throws: Failure.self) { try AskedQuestions(path: missing) }
        #expect(nothing?.cause == "has no question that can be used; 1 bad rows were left out")
    }

    @Test(
        "a line that is none costs itself, a photo that is missing itself alone",
        arguments: [
            (#"{"question": "Is it on?"}"#, "has no answers"),
            (#"{"answers": {"yes": ["images/p1.jpg"]}}"#, "has no question"),
            (#"{"question": "Is it on?", "answers": {}}"#, "has no answers"),
            (#"{"question": "Is it on?", "answers": {"yes": []}}"#, "has no photo under any answer"),
            (#"{"question": "Is it on?", "answers": ["images/p1.jpg"]}"#, "has a answers of the wrong type"),
            (#"{"question": " ", "answers": {"yes": ["images/p1.jpg", "images/p2.jpg"]}}"#, "has an empty question"),
            (
                #"{"question": "Is it on?", "answers": {" ": ["images/p1.jpg", "images/p2.jpg"]}}"#,
                "has an empty answer"
            ),
            (
                #"{"question": "Is it on?", "answers": {"yes": ["images/p1.jpg"], "yes": ["images/p2.jpg"]}}"#,
                "has answers of which one has the key yes twice"
            ),
            (#"{"question": "Is it on?", "answers": {"yes": [""]}}"#, "has no image"),
            (
                #"{"question": "Is it on?", "answers": {"yes": ["images/p77.jpg"]}}"#,
                "the photo images/p77.jpg is missing"
            ),
            (#"{"question": "Is it on?", "answers": {"yes": ["images/p1.jpg"]"#, "is not an object in JSON"),
        ])
    func badLines(line: String, reason: String) throws {
        let folder = try DataFolder()
        try fill(folder)
        let path = try folder.file(
            line + "\n" + #"{"question": "Is it off?", "answers": {"no": ["images/p1.jpg"]}}"# + "\n")
        var bad: [BadRow] = []
        let asked = try AskedQuestions(path: path) { bad.append($0) }
        #expect(said(asked.rows) == ["p1.jpg Is it off? no"])
        #expect(bad.count == 1 && bad.first?.line == 1 && bad.first?.reason.hasPrefix(reason) == true)
        let stopped = #expect(throws: Failure.self) { try AskedQuestions(path: path, badRows: .stop) }
        #expect(stopped?.object == "\(path):1" && stopped?.cause.hasPrefix(reason) == true)
    }
}
