// Evaluations on the official tiny model: what comes before the first photo, and in which order results come.

import Diagnostics
import Foundation
import MemVP
import Specification
import Tensor
import Testing

@testable import FineTuning

@Suite("Evaluations of a small model")
struct SmallEvaluationTests {
    private let official: OfficialBundle

    init() throws { official = try OfficialBundle(.float32) }

    private func answerer() throws -> Answerer {
        let compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 2)
        return try Answerer(bundle: ModelBundle(path: official.path), compute: compute, batch: 4)
    }

    private func question(_ photo: String, _ text: String, line: Int) -> ExampleRow {
        ExampleRow(image: photo, task: .question(text, answer: "no"), line: line)
    }

    /// Questions of two photos by turns, and of one that does not decode.
    private var questions: [ExampleRow] {
        let (rocket, cat) = (OfficialBundle.photo("rocket"), OfficialBundle.photo("chelsea"))
        return [
            question(rocket, "Is it raining?", line: 1), question(cat, "What is this?", line: 2),
            question(#filePath, "Is it raining?", line: 3), question(rocket, "What is this?", line: 4),
            question(cat, "Is it raining?", line: 5), question(#filePath, "Why?", line: 6),
        ]
    }

    @Test("answers come in the order of the data, with images and blind, and are those of each question alone")
    func order() throws {
        let answerer = try answerer()
        let good = questions.filter { $0.image != #filePath }
        for isBlind in [false, true] {
            let options = EvaluationOptions(isBlind: isBlind, file: "rows")
            let found = try AnswerEvaluation(questions, options: options, answerer: answerer)
            let asked = isBlind ? questions : good
            #expect(found.badRows.map(\.line) == (isBlind ? [] : [3, 6]))
            #expect(found.questions.map(\.image) == asked.map(\.image))
            let alone = try asked.flatMap {
                try AnswerEvaluation([$0], options: options, answerer: answerer).questions
            }
            #expect(found.questions == alone)
            #expect(found.scores.all.count == asked.count)
        }
    }

    @Test("an adapter that is not there is told before a photo is opened")
    func missingAdapter() throws {
        let captions = [ExampleRow(image: OfficialBundle.photo("rocket"), task: .caption("A rocket ."), line: 1)]
        func refused(_ adapter: String?, _ object: String) throws {
            let answerer = try answerer()
            for isBlind in [false, true] {
                let options = EvaluationOptions(adapter: adapter, isBlind: isBlind, file: "rows")
                var seen = 0
                let caption = #expect(throws: Failure.self) {
                    try CaptionEvaluation(captions, options: options, answerer: answerer) { _, _ in seen += 1 }
                }
                let answer = #expect(throws: Failure.self) {
                    try AnswerEvaluation(questions, options: options, answerer: answerer) { _, _ in seen += 1 }
                }
                for failure in [caption, answer] {
                    #expect(failure?.code == .modelMissing && failure?.object == object)
                }
                #expect(seen == 0)
            }
        }
        try refused("nobody", "adapter nobody")
        var description = try ModelBundle.description(in: official.path)
        description.adapters = [:]
        try Data(description.yaml.utf8).write(to: URL(fileURLWithPath: "\(official.path)/model.yaml"))
        try refused(nil, official.path)
    }
}
