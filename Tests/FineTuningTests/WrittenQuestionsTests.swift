// The questions of Models/questions, as whoever repeats the adapter's training reads them.

import Diagnostics
import Foundation
import Testing

@testable import FineTuning

@Suite("Questions written to sheets of photos")
struct WrittenQuestionsTests {
    private struct Line: Decodable {
        let question: String
        let answers: [String: [String]]
        let kind: String
    }

    @Test(
        "each file has yes and no alone, of photos that are known by name, and as many rows as docs/TRAINING.md says",
        arguments: [
            ("coco", 4_838, 130_570), ("flickr8k", 6_091, 86_246), ("coco-listed", 4_838, 90_346),
            ("flickr8k-listed", 6_091, 55_978),
        ])
    func shipped(name: String, photos: Int, rows: Int) throws {
        let path = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Models/questions/\(name).jsonl").path
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map { line in
            try JSONDecoder().decode(Line.self, from: Data(line.utf8))
        }
        #expect(lines.allSatisfy { $0.kind == "written" && $0.question.hasSuffix("?") })
        #expect(Set(lines.flatMap(\.answers.keys)) == ["no", "yes"])
        let names = Set(lines.flatMap { $0.answers.values.joined() })
        #expect(names.count == photos)
        // Photos are not part of the project; that they are there is all that the reader wants to know.
        let folder = try DataFolder()
        for photo in names {
            #expect(FileManager.default.createFile(atPath: "\(folder.path)/\(photo).jpg", contents: nil))
        }
        var bad: [BadRow] = []
        let asked = try AskedQuestions(
            path: path, options: .init(images: "\(folder.path)/{}.jpg", isBalanced: true)
        ) { bad.append($0) }
        #expect(bad.isEmpty && asked.rows.count == rows)
        #expect(asked.rows.count { $0.answers == ["yes"] } == rows / 2)
    }
}
