// Evaluations on a real bundle: MEMVP_TEST_BUNDLE or build/models/default. Without one they are skipped by name.

import Diagnostics
import Foundation
import MemVP
import Specification
import Tensor
import Testing

@testable import FineTuning

private enum Material {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
    static let bundle =
        ProcessInfo.processInfo.environment["MEMVP_TEST_BUNDLE"]
        ?? root.appendingPathComponent("build/models/default").path
    static let hasBundle = FileManager.default.fileExists(atPath: "\(bundle)/model.yaml")

    static func photo(_ name: String) -> String {
        root.appendingPathComponent("Tests/CommandsTests/Fixtures/\(name)").path
    }

    static func answerer(batch: Int, additional: [String: Adapter] = [:]) throws -> Answerer {
        try Answerer(
            bundle: ModelBundle(path: bundle), compute: Compute(kernels: Kernels.choose(forced: nil), threads: 2),
            batch: batch, additional: additional)
    }
}

@Suite("Evaluations", .enabled(if: Material.hasBundle, "no bundle: run `make models` or set MEMVP_TEST_BUNDLE"))
struct MetricsEvaluationTests {
    private func caption(_ photo: String, _ text: String, line: Int) -> ExampleRow {
        ExampleRow(image: photo, task: .caption(text), line: line)
    }

    private func question(_ photo: String, _ text: String, _ answer: String, line: Int) -> ExampleRow {
        ExampleRow(image: photo, task: .question(text, answer: answer), line: line)
    }

    /// Rows of two photos, not together, and of one that does not decode.
    private var captions: [ExampleRow] {
        [
            caption(Material.photo("rocket.jpg"), "A rocket on its stand .", line: 1),
            caption(Material.photo("chelsea.jpg"), "A cat looks away .", line: 2),
            caption(#filePath, "A source file .", line: 3),
            caption(Material.photo("rocket.jpg"), "A tower with a rocket .", line: 4),
            question(Material.photo("rocket.jpg"), "Is it raining?", "no", line: 5),
        ]
    }

    @Test("each photo is captioned once, all its rows are references, a photo that does not decode is a bad row")
    func captionScores() throws {
        let options = EvaluationOptions(file: "rows.jsonl")
        var seen: [[Int]] = []
        let together = try CaptionEvaluation(captions, options: options, answerer: Material.answerer(batch: 16)) {
            seen.append([$0, $1])
        }
        #expect(together.photos.map(\.references.count) == [2, 1])
        #expect(together.scores.count == 2)
        #expect(together.badRows.map(\.line) == [3])
        #expect(together.badRows.first?.description.hasPrefix("rows.jsonl:3: ") == true)
        #expect(seen.last == [3, 3])
        #expect(
            together.scores
                == CaptionScores(together.photos.map { CaptionSample(caption: $0.caption, references: $0.references) }))
        let apart = try CaptionEvaluation(captions, options: options, answerer: Material.answerer(batch: 1))
        #expect(apart.photos == together.photos)
        #expect(apart.photos[0].caption != apart.photos[1].caption)
        let failure = #expect(throws: Failure.self) {
            try CaptionEvaluation(
                captions, options: EvaluationOptions(badRows: .stop, file: "rows.jsonl"),
                answerer: Material.answerer(batch: 16))
        }
        #expect(failure?.object == "rows.jsonl:3")
    }

    @Test("what was said is written with what is right and its score, as rows that can be read again")
    func writes() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("memvp-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = folder.appendingPathComponent("answers.jsonl").path
        let answerer = try Material.answerer(batch: 4)
        func objects() throws -> [[String: Any]] {
            try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map {
                try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
            }
        }
        let said = try CaptionEvaluation(captions, options: EvaluationOptions(), answerer: answerer)
        try said.write(to: path)
        let lines = try objects()
        #expect(lines.map { $0["references"] as? [String] } == said.photos.map(\.references))
        for (line, photo) in zip(lines, said.photos) {
            #expect(abs((line["cider_d"] as? Double ?? .nan) - photo.ciderD) < 1e-12)
        }
        #expect(Set(lines[0].keys) == ["image", "caption", "references", "cider_d"])
        let rows = try ExampleRows.read(path: path, splits: nil)
        #expect(rows.map(\.task.caption) == said.photos.map(\.caption))
        let places = { (paths: [String]) in paths.map { URL(filePath: $0).resolvingSymlinksInPath().path } }
        #expect(places(rows.map(\.image)) == places(said.photos.map(\.image)))
        #expect(said.photos.allSatisfy { FileManager.default.fileExists(atPath: $0.image) })

        let answered = try AnswerEvaluation(
            [
                question(Material.photo("rocket.jpg"), "Is it raining?", "no", line: 1),
                question(Material.photo("rocket.jpg"), "What is this?", "a \"rocket\"", line: 2),
            ], options: EvaluationOptions(), answerer: answerer)
        try answered.write(to: path)
        let answers = try objects()
        #expect(Set(answers[0].keys) == ["image", "question", "answer", "expected", "accuracy", "type"])
        #expect(answers.map { $0["answer"] as? String } == answered.questions.map(\.given))
        #expect(answers.map { $0["expected"] as? String } == ["no", "a \"rocket\""])
        #expect(answers.map { $0["accuracy"] as? Double } == answered.questions.map(\.accuracy))
        let failure = #expect(throws: Failure.self) { try answered.write(to: "/nonexistent/answers.jsonl") }
        #expect(failure?.code == .cannotCreate)
    }

    @Test("blind, every caption is the same and no photo is opened")
    func blind() throws {
        let answerer = try Material.answerer(batch: 4)
        let seeing = try CaptionEvaluation(captions, options: EvaluationOptions(), answerer: answerer)
        let blind = try CaptionEvaluation(captions, options: EvaluationOptions(isBlind: true), answerer: answerer)
        #expect(blind.photos.count == 3)
        #expect(Set(blind.photos.map(\.caption)).count == 1)
        #expect(blind.badRows.isEmpty)
        #expect(blind.photos[0].caption != seeing.photos[0].caption)
    }

    @Test("a question that does not fit costs itself alone; blind, equal questions have equal answers")
    func questions() throws {
        let long = String(repeating: "why ", count: 1_500)
        let rows = [
            question(Material.photo("rocket.jpg"), "Is it raining?", "no", line: 1),
            question(Material.photo("chelsea.jpg"), "Is it raining?", "no", line: 2),
            question(Material.photo("rocket.jpg"), long, "no", line: 3),
            question(Material.photo("rocket.jpg"), "What is this?", "a rocket", line: 4),
            caption(Material.photo("rocket.jpg"), "A rocket .", line: 5),
        ]
        let answerer = try Material.answerer(batch: 16)
        let seeing = try AnswerEvaluation(rows, options: EvaluationOptions(), answerer: answerer)
        #expect(seeing.questions.map(\.question) == ["Is it raining?", "Is it raining?", "What is this?"])
        #expect(seeing.badRows.map(\.line) == [3])
        let stopped = #expect(throws: Failure.self) {
            try AnswerEvaluation(rows, options: EvaluationOptions(badRows: .stop), answerer: answerer)
        }
        #expect(stopped?.hint.hasPrefix("Shorten it, or leave it out.") == true)
        #expect(seeing.scores.all.count == 3)
        #expect(seeing.scores.byType.keys.sorted() == ["other", "yes/no"])
        let blind = try AnswerEvaluation(rows, options: EvaluationOptions(isBlind: true), answerer: answerer)
        let raining = blind.questions.filter { $0.question == "Is it raining?" }
        #expect(raining.count == 2)
        #expect(Set(raining.map(\.given)).count == 1)
        #expect(blind.badRows.map(\.line) == [3])
    }

    @Test("nothing to evaluate, and an adapter that is not there, are refused")
    func refusals() throws {
        let answerer = try Material.answerer(batch: 4)
        let none = #expect(throws: Failure.self) {
            try AnswerEvaluation(
                [caption(#filePath, "x", line: 1)], options: EvaluationOptions(), answerer: answerer)
        }
        #expect(none?.cause == "has no question")
        // Scores of nothing would be zeros.
        let unread = #expect(throws: Failure.self) {
            try CaptionEvaluation(
                [caption(#filePath, "x", line: 7)], options: EvaluationOptions(file: "f"), answerer: answerer)
        }
        #expect(unread?.code == .specInvalid && unread?.object == "f" && unread?.hint.contains("f:7") == true)
        let unasked = #expect(throws: Failure.self) {
            try AnswerEvaluation(
                [question(#filePath, "x?", "y", line: 8)], options: EvaluationOptions(file: "f"), answerer: answerer)
        }
        #expect(unasked?.code == .specInvalid && unasked?.hint.contains("f:8") == true)
        let unknown = #expect(throws: Failure.self) {
            try CaptionEvaluation(captions, options: EvaluationOptions(adapter: "nobody"), answerer: answerer)
        }
        #expect(unknown?.code == .modelMissing && unknown?.object == "adapter nobody")
    }

    @Test("an adapter beside the bundle's answers as the bundle's own; one of other widths is refused")
    func additional() throws {
        let bundle = try ModelBundle(path: Material.bundle)
        let own = try #require(bundle.description.adapters[.caption].flatMap { bundle.adapters[$0] })
        let inTraining = try Material.answerer(batch: 4, additional: ["in training": own])
        let rows = [captions[0]]
        let first = try CaptionEvaluation(rows, options: EvaluationOptions(), answerer: inTraining)
        let second = try CaptionEvaluation(
            rows, options: EvaluationOptions(adapter: "in training"), answerer: inTraining)
        #expect(first.photos == second.photos)

        var narrow = own.configuration
        narrow.features = 8
        narrow.hidden = 2
        narrow.width = 4
        narrow.slots = 2
        let zeros = Adapter.Tensors(
            fc1Weight: Array(repeating: 0, count: 16), fc1Bias: [0, 0], fc2Weight: Array(repeating: 0, count: 8),
            fc2Bias: Array(repeating: 0, count: 4), e1: Array(repeating: 0, count: 8),
            e2: Array(repeating: 0, count: 8))
        let misfit = try Adapter(narrow, tensors: zeros, precision: own.precision)
        let failure = #expect(throws: Failure.self) { try Material.answerer(batch: 4, additional: ["x": misfit]) }
        #expect(failure?.code == .adapterMismatch)
    }
}
