// ScienceQA: prompts and accuracies against what make_scienceqa.py worked out, and the evaluation on a real bundle.

import ArgumentParser
import Diagnostics
import FineTuning
import Foundation
import Language
import Specification
import Tensor
import Testing
import Text
import Vision

@testable import Commands
@testable import MemVP

/// The data set of Fixtures/scienceqa, and what is expected of it.
private struct Expected: Decodable {
    struct Prompt: Decodable {
        var id: String
        var input: String
        var captions: Bool
        var prompt: String
    }

    var answers: [String: Int]
    var accuracy: [String: Double]
    var counts: [String: Int]
    var prompts: [Prompt]

    static let folder = Material.photo("scienceqa")
    static func read() throws -> Expected {
        try JSONDecoder().decode(
            Expected.self, from: Data(contentsOf: URL(fileURLWithPath: "\(folder)/expected.json")))
    }

    static func problems(
        split: String = "test", limit: Int? = nil, captions: Bool = false, at path: String? = nil
    ) throws(Failure) -> ScienceQAProblems {
        try ScienceQAProblems(
            problems: path ?? "\(folder)/problems.json", splits: "\(folder)/pid_splits.json", split: split,
            limit: limit, captions: captions ? "\(folder)/captions.json" : nil)
    }
}

@Suite("ScienceQA: problems, prompts and accuracies")
struct ScienceQATests {
    @Test("the nine accuracies are those of the definitions, and one answer changes those of its classes alone")
    func accuracies() throws {
        let expected = try Expected.read()
        let rows = try Expected.problems().rows
        #expect(rows.count == 24)
        func tally(flipping flipped: String? = nil) throws -> ScienceQAAccuracy {
            var accuracy = ScienceQAAccuracy()
            for (id, found) in rows {
                let problem = try found.get()
                let isRight = try #require(expected.answers[id]) == problem.answer
                accuracy.add(problem.facts, isCorrect: isRight != (id == flipped))
            }
            return accuracy
        }
        let counted = try tally()
        for part in ScienceQAClass.allCases {
            let percent = try #require(counted[part].percent)
            #expect(abs(percent - (expected.accuracy[part.rawValue] ?? -1)) < 1e-9, "\(part)")
            #expect(counted[part].count == expected.counts[part.rawValue])
        }
        for (id, found) in rows {
            let bent = try tally(flipping: id)
            let classes = try found.get().facts.classes
            for part in ScienceQAClass.allCases {
                #expect((bent[part].correct != counted[part].correct) == classes.contains(part), "\(id), \(part)")
            }
        }
    }

    @Test("classes at their edges")
    func classes() throws {
        func facts(_ subject: String, _ grade: String, _ text: Bool, _ image: Bool) -> Set<ScienceQAClass> {
            ScienceQAFacts(subject: subject, grade: grade, hasText: text, hasImage: image).classes
        }
        #expect(facts("natural science", "grade6", true, true) == [.naturalScience, .text, .image, .lowerGrades, .all])
        #expect(facts("social science", "grade7", false, false) == [.socialScience, .noContext, .upperGrades, .all])
        #expect(facts("language science", "grade12", true, false) == [.languageScience, .text, .upperGrades, .all])
        #expect(facts("Natural science", "grade0", false, true) == [.image, .all])
        for grade in ["grade13", "grade", "grade07", "7", "grade+7"] {
            #expect(facts("", grade, false, false) == [.noContext, .all])
        }
        #expect(ScienceQAAccuracy()[.all].percent == nil)
        for (image, hasImage) in [(#""image.png""#, true), (#""""#, false), ("null", false)] {
            let record =
                #"{"question": "q", "choices": ["a", "b"], "answer": 0, "hint": "", "subject": "s", "grade": "g"}"#
            let text = record.replacing("}", with: #", "image": \#(image)}"#)
            let problem = try JSONDecoder().decode(ScienceQAProblem.self, from: Data(text.utf8))
            #expect(problem.facts.hasImage == hasImage && problem.facts.classes.contains(.image) == hasImage)
        }
    }

    @Test("prompts are those of the published code, to the byte")
    func prompts() throws {
        let expected = try Expected.read()
        #expect(expected.prompts.count == 144)
        for wanted in expected.prompts {
            let set = try Expected.problems(captions: wanted.captions)
            let row = try #require(set.rows.first { $0.id == wanted.id })
            let problem = try row.problem.get()
            for output in ["A", "ALE", "LEA"] {
                let format = try #require(QuestionFormat(named: "\(wanted.input)-\(output)"))
                let prompt = QuestionPrompt(
                    TaskSpec.Problem(
                        question: problem.question, context: set.context(of: row.id, problem),
                        lecture: problem.lecture ?? "", solution: problem.solution ?? "", options: problem.choices),
                    format: format)
                #expect(prompt.text == wanted.prompt + (output == "LEA" ? "" : "The answer is"))
                #expect(prompt.explainsFirst == (output == "LEA") && prompt.goesOn == (output == "ALE"))
                #expect(prompt.answers.first == (output == "ALE" ? " A. BECAUSE:" : " A."))
                #expect(prompt.answers.count == problem.choices.count)
                let second = prompt.continued(" For it flies. The answer is B. The answer is C.")
                if output == "LEA" { #expect(second == wanted.prompt + "For it flies. The answer is") }
            }
        }
    }

    @Test(
        "the letter of generated text: the first capital, after the words that announce it",
        arguments: [
            (" A", 0), ("B.", 1), (" (C)", 2), ("a B", 1), ("", nil), (" a.", nil), (" D", nil), (" Ä B", 1),
            ("I think. The answer is C.", 2), ("The answer is A. The answer is B.", 1), ("The answer is", nil),
        ] as [(String, Int?)])
    func letters(text: String, option: Int?) {
        #expect(QuestionPrompt.option(in: text, of: 3) == option)
    }

    @Test("problems that cannot be asked are named and cost themselves alone")
    func badProblems() throws {
        let good = #""question": "q", "choices": ["a", "b"], "answer": 1, "hint": "", "subject": "social science""#
        let bad: [(String, String)] = [
            (#"{\#(good), "grade": "grade13", "image": null}"#, "grade13"),
            (#"{\#(good), "image": null}"#, "grade"),
            (#"{\#(good), "grade": 7}"#, "grade"),
            (#"{\#(good.replacing("1", with: "2")), "grade": "grade7"}"#, "answer 2"),
            (#"{\#(good.replacing("1", with: "-1")), "grade": "grade7"}"#, "answer -1"),
            (#"{\#(good.replacing(#"["a", "b"]"#, with: #"["a"]"#)), "grade": "grade7"}"#, "1 choices"),
            (#"{\#(good.replacing("social", with: "dismal")), "grade": "grade7"}"#, "dismal science"),
            (#"{\#(good.replacing(#""q""#, with: #""""#)), "grade": "grade7"}"#, "no question"), ("7", "lacks a field"),
        ]
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("memvp-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let entries = bad.enumerated().map { #""\#($0.offset)": \#($0.element.0)"# }
        let fine = #""fine": {\#(good), "grade": "grade7"}"#
        try Data("{\((entries + [fine]).joined(separator: ",\n"))}".utf8).write(
            to: URL(fileURLWithPath: "\(folder)/problems.json"))
        let ids = bad.indices.map { #""\#($0)""# } + [#""fine""#, #""gone""#]
        try Data(#"{"test": [\#(ids.joined(separator: ","))], "none": []}"#.utf8).write(
            to: URL(fileURLWithPath: "\(folder)/splits.json"))
        func read(_ split: String) throws(Failure) -> ScienceQAProblems {
            try ScienceQAProblems(
                problems: "\(folder)/problems.json", splits: "\(folder)/splits.json", split: split)
        }
        let rows = try read("test").rows
        for (index, (_, word)) in bad.enumerated() {
            let failure = #expect(throws: Failure.self) { try rows[index].problem.get() }
            #expect(failure?.code == .specInvalid)
            #expect(failure?.object == "\(folder)/problems.json: problem \(index)")
            #expect(failure?.cause.contains(word) == true, "\(failure?.cause ?? "")")
        }
        #expect(try rows[bad.count].problem.get().answer == 1)
        let gone = #expect(throws: Failure.self) { try rows[bad.count + 1].problem.get() }
        #expect(gone?.cause == "is not in the file")
        let unknown = #expect(throws: Failure.self) { try read("dev") }
        #expect(unknown?.hint == "It has none, test.")
        #expect(throws: Failure.self) { try read("none") }
    }
}

@Suite(
    "memvp eval scienceqa", .enabled(if: Material.hasBundle, "no bundle: run `make models` or set MEMVP_TEST_BUNDLE"))
struct ScienceQAModelTests {
    private func command(_ more: [String], images: String? = nil) throws -> ToolboxEvalScienceQA {
        let folder = Expected.folder
        return try #require(
            try MemvpCommand.parseAsRoot(
                [
                    "eval", "scienceqa", "--model", Material.bundle, "--problems", "\(folder)/problems.json",
                    "--splits",
                    "\(folder)/pid_splits.json", "--images", images ?? "\(folder)/images",
                ] + more) as? ToolboxEvalScienceQA)
    }

    /// The likeliest letter of every problem, by the engine itself.
    private func likeliest(_ bundle: ModelBundle, _ rows: ScienceQAProblems) throws -> [String: (Int, [Double])] {
        let compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 2)
        let engine = Engine(model: bundle.language, compute: compute, limits: EngineLimits(streams: 4))
        let end = try #require(bundle.tokenizer.controlToken(bundle.description.templates[.ask]?.end ?? ""))
        let name = try #require(bundle.description.adapters[.ask])
        let adapter = try #require(bundle.adapters[name])
        let projector = try VisualProjector(adapter: adapter, patches: bundle.vision.patches)
        var found: [String: (Int, [Double])] = [:]
        for (id, row) in rows.rows {
            let problem = try row.get()
            let options = zip("ABCDEFG", problem.choices).map { "(\($0)) \($1)" }.joined(separator: " ")
            let context = problem.hint.isEmpty ? "N/A" : problem.hint
            let text = "Question: \(problem.question)\nContext: \(context)\nOptions: \(options)\nResponse:The answer is"
                .replacingOccurrences(of: "  ", with: " ")
            let prompt = bundle.tokenizer.encode(text)
            let choices = "ABCDEFG".prefix(problem.choices.count).map {
                Array(bundle.tokenizer.encode("\(text) \($0).").dropFirst(prompt.count))
            }
            var image: PreparedImage?
            if problem.hasImage {
                let path = "\(Expected.folder)/images/test/\(id)/image.png"
                image = try bundle.prepare(photo: [UInt8](Data(contentsOf: URL(fileURLWithPath: path))))
            }
            let features = image.map {
                VisionWorker(bundle.vision, compute: compute).encode(
                    $0.pixels.span, layers: adapter.configuration.layers, adapters: adapter.vision)
            }
            let shown = try projector.visualPrompt(of: features, compute: compute)
            _ = engine.submit([TokenTask(prompt: prompt, goal: .choose(choices, end: end), image: shown)])
            var result: TokenResult?
            while result == nil { result = engine.step().first?.result }
            let scores = try #require(result).choiceScores
            let top = try #require(scores.max())
            found[id] = (try #require(scores.firstIndex(of: top)), scores)
        }
        return found
    }

    @Test("letters are scored as whole answers, images where a problem has one, and every problem is counted")
    func letters() throws {
        let (report, failure) = try command(["--limit", "12"]).measure()
        #expect(failure == nil && report.failed.isEmpty && report.unreadable == 0)
        let bundle = try ModelBundle(path: Material.bundle)
        let problems = try Expected.problems(limit: 12)
        let scored = try likeliest(bundle, problems)
        var expected = ScienceQAAccuracy()
        for (id, row) in problems.rows {
            let problem = try row.get()
            expected.add(problem.facts, isCorrect: scored[id]?.0 == problem.answer)
        }
        #expect(report.accuracies == expected)
        #expect(report.accuracies[.all].count == 12)

        // Probabilities are the scores, normalised over the options.
        let compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 1)
        let answerer = try Answerer(bundle: bundle, compute: compute, batch: 4)
        let (id, row) = problems.rows[0]
        let problem = try row.get()
        let posed = TaskSpec.Problem(
            question: problem.question, context: problem.hint, options: problem.choices, format: .standard)
        let path = "\(Expected.folder)/images/test/\(id)/image.png"
        let url = URL(fileURLWithPath: path)
        let image = problem.hasImage ? try bundle.prepare(photo: [UInt8](Data(contentsOf: url))) : nil
        let task = TaskSpec.Task(id: "p", work: .problem(posed))
        _ = try answerer.submit(image: image, tasks: [task], contentSeed: 0)
        var answer: Answer?
        while answer == nil { answer = answerer.step().first?.answers.answers.first }
        let found = try #require(answer)
        let (best, scores) = try #require(scored[id])
        let total = scores.reduce(0) { $0 + exp($1) }
        let probabilities = try #require(found.probabilities)
        for (probability, score) in zip(probabilities, scores) {
            #expect(abs(probability.probability - exp(score) / total) < 1e-9)
        }
        #expect(found.text == problem.choices[best] && found.letter == ["A", "B", "C", "D"][best])
        #expect(found.finish == "choice")
    }

    @Test("every format has an answer for every problem", arguments: ["QCMLE-ALE", "QCM-LEA", "CQM-A", "QM-EA"])
    func formats(name: String) throws {
        let (report, failure) = try command(["--limit", "3", "--format", name]).measure()
        #expect(failure == nil && report.accuracies[.all].count == 3 && report.unreadable == 0)
        #expect(report.format == name && report.method == "letters")
    }

    @Test("generated answers without a letter are counted as wrong and said")
    func generated() throws {
        let (report, failure) = try command(["--limit", "12", "--generate"]).measure()
        #expect(failure == nil && report.accuracies[.all].count == 12)
        #expect(report.accuracies[.all].correct + report.unreadable <= 12)
        #expect(report.text.contains("name no option") == (report.unreadable > 0))
    }

    @Test("missing and broken images are named, counted as failed and in no accuracy")
    func brokenImages() throws {
        let images = FileManager.default.temporaryDirectory.appendingPathComponent("memvp-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: images) }
        try FileManager.default.copyItem(atPath: "\(Expected.folder)/images", toPath: images)
        let problems = try Expected.problems()
        let illustrated = try problems.rows.filter { try $0.problem.get().hasImage }.map(\.id)
        try FileManager.default.removeItem(atPath: "\(images)/test/\(illustrated[0])")
        let cut = URL(fileURLWithPath: "\(images)/test/\(illustrated[1])/image.png")
        try Data(contentsOf: cut).dropLast(20).write(to: cut)
        let (report, failure) = try command([], images: images).measure()
        #expect(report.failed == Array(illustrated.prefix(2)))
        #expect(failure?.code == .notFound)
        #expect(report.accuracies[.all].count == 22 && report.accuracies[.image].count == illustrated.count - 2)
        #expect(report.text.contains("2 problems could not be asked"))
        let object = try JSONSerialization.jsonObject(with: Data(try ToolboxJSON.line(report).utf8)) as? [String: Any]
        #expect((object?["accuracy"] as? [String: Any])?.count == 9)
        #expect(object?["failed"] as? [String] == report.failed)
    }

    @Test("a class without a problem has no accuracy, and a subset finds its images by the problems' own split")
    func subset() throws {
        let (report, failure) = try command(["--split", "minitest"]).measure()
        #expect(failure == nil && report.accuracies[.all].count == 4 && report.accuracies[.image].count == 3)
        let (one, _) = try command(["--limit", "1"]).measure()
        let line = try ToolboxJSON.line(one)
        let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
        let accuracy = try #require(object["accuracy"] as? [String: Any])
        #expect(accuracy.count == 9 && accuracy.values.contains { $0 is NSNull })
        #expect(one.text.contains("-"))
    }

    @Test("options with letters need a format, and one that has a place for what is said")
    func misfits() throws {
        let bundle = try ModelBundle(path: Material.bundle)
        try #require(bundle.description.templates[.ask]?.format == nil)
        let answerer = try Answerer(
            bundle: bundle, compute: try Compute(kernels: Kernels.choose(forced: nil), threads: 1), batch: 4,
            promptTokens: 200, answerTokens: 40)
        func failure(_ problem: TaskSpec.Problem) -> Failure? {
            let task = TaskSpec.Task(id: "p", work: .problem(problem))
            do throws(Failure) {
                _ = try answerer.submit(image: nil, tasks: [task], contentSeed: 0)
                return nil
            } catch { return error }
        }
        let two = ["a", "b"]
        #expect(failure(.init(question: "q", context: "c", options: two))?.hint == "Name one: `format: QCM-A`.")
        let stray = failure(.init(question: "q", lecture: "l", options: two, format: .standard))
        #expect(stray?.cause == "has a lecture, for which QCM-A has no place")
        let many = (0..<27).map { "\($0)" }
        #expect(failure(.init(question: "q", options: many, format: .standard))?.code == .specInvalid)
        let long = String(repeating: "word ", count: 300)
        #expect(failure(.init(question: long, options: two, format: .standard))?.code == .promptTooLong)
        #expect(failure(.init(question: "q", options: two, format: .standard)) == nil)
    }
}
