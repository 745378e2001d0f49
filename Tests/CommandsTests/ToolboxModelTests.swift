// The commands on a real bundle: MEMVP_TEST_BUNDLE or build/models/default. Without one they are skipped by name, and the
// run says so.

import ArgumentParser
import Diagnostics
import Foundation
import Language
import MemVP
import ModelFile
import Specification
import Tensor
import Testing
import Vision

@testable import Commands

/// Where the tests find a bundle and photos.
enum Material {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
    static let bundle =
        ProcessInfo.processInfo.environment["MEMVP_TEST_BUNDLE"]
        ?? root.appendingPathComponent("build/models/default").path
    static let hasBundle = FileManager.default.fileExists(atPath: "\(bundle)/model.yaml")

    static func photo(_ name: String) -> String {
        root.appendingPathComponent("Tests/CommandsTests/Fixtures/\(name)").path
    }
}

@Suite("memvp on a model", .enabled(if: Material.hasBundle, "no bundle: run `make models` or set MEMVP_TEST_BUNDLE"))
struct ToolboxModelTests {
    private func answering(window: Int) throws -> ToolboxAnswering {
        let compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 2)
        return ToolboxAnswering(
            answerer: try Answerer(bundle: try ModelBundle(path: Material.bundle), compute: compute, batch: 16),
            window: window)
    }

    @Test("every request has its outcome, in order, and failures stop nothing; the window changes no byte")
    func order() throws {
        let photos = ["rocket.jpg", "missing.jpg", "chelsea.jpg", "rocket.jpg"].map(Material.photo)
        var texts: [[String]] = []
        for window in [1, 16] {
            var rest = photos[...]
            var seen: [String] = []
            var found: [String] = []
            let failure = try answering(window: window).run({
                rest.popFirst().map {
                    ToolboxRequest(
                        image: $0, task: .success(TaskSpec.Task(id: "c", work: .caption(.init(maximumTokens: 12)))))
                }
            }) { request, outcome throws(Failure) in
                seen.append(request.image)
                switch outcome {
                case .success(let result): found.append(result.answer.text)
                case .failure(let failure): found.append(failure.code.rawValue)
                }
            }
            #expect(failure?.code == .notFound)
            #expect(seen == photos)
            #expect(found[1] == "not_found")
            #expect(found[0] == found[3])
            #expect(found[0] != found[2])
            texts.append(found)
        }
        #expect(texts[0] == texts[1])
    }

    @Test("requests that are there run together, none waits for one that is not, and a fault of the source comes last")
    func readiness() throws {
        let task = TaskSpec.Task(id: "c", work: .caption(.init(maximumTokens: 3)))
        var asked = 0
        var reported = 0
        let fault = Failure(.inputOutput, "standard input", "cannot be read")
        let failure = #expect(throws: Failure.self) {
            try answering(window: 16).run(
                { () throws(Failure) in
                    asked += 1
                    // Two are ready, then one that comes when both have been reported, then the source fails.
                    if asked == 3 { #expect(reported == 2) }
                    guard asked < 4 else { throw fault }
                    return ToolboxRequest(image: Material.photo("rocket.jpg"), task: .success(task))
                },
                isReady: { asked != 2 },
                report: { _, outcome throws(Failure) in
                    _ = try outcome.get()
                    reported += 1
                    // With nothing but readiness in the way the third would have been asked for before this.
                    if reported == 1 { #expect(asked == 2) }
                })
        }
        #expect(failure == fault)
        #expect(reported == 3)
    }

    @Test("a precision that the bundle does not have is refused with what to make")
    func precision() throws {
        let precision = try ModelBundle(path: Material.bundle).precision
        let other = precision == .int8 ? "f32" : "int8"
        let options = try ToolboxModelOptions.parse(["--model", Material.bundle, "--precision", other])
        let failure = #expect(throws: Failure.self) { try options.bundle() }
        #expect(failure?.code == .configurationInvalid)
        #expect(failure?.hint.contains(precision == .int8 ? "make models-f32" : "make models") == true)
        let same = try ToolboxModelOptions.parse(["--model", Material.bundle, "--precision", precision.rawValue])
        #expect(try same.bundle().precision == precision)
    }

    @Test("a trace holds what the contract names, and its pixels give the same trace again")
    func trace() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("memvp-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try Data("Caption:".utf8).write(to: URL(fileURLWithPath: "\(folder)/prompt"))
        func run(_ source: [String], to name: String) throws -> SafetensorsFile {
            let arguments =
                ["trace", "--model", Material.bundle, "--prompt-file", "\(folder)/prompt", "--steps", "3"] + source
            try #require(MemvpCommand.execute(arguments + ["--out", "\(folder)/\(name)"]) == 0)
            return try SafetensorsFile(path: "\(folder)/\(name)")
        }
        let first = try run(["--image", Material.photo("rocket.jpg")], to: "first")
        let bundle = try ModelBundle(path: Material.bundle)
        let c = bundle.language.configuration
        let v = bundle.vision
        let prompt = try first.tensor(named: "prompt_ids").count
        #expect(try first.tensor(named: "pixels").shape == [1, 3, v.side, v.side])
        #expect(try first.tensor(named: "vision").shape == [v.patches, v.features])
        #expect(try first.tensor(named: "projected").shape == [v.patches, c.width])
        for layer in 0..<c.layers {
            #expect(try first.tensor(named: "layer\(layer).prefill").shape == [prompt, c.width])
        }
        #expect(try first.tensor(named: "logits").shape == [3, c.vocabulary])
        let ids = try first.integers(of: first.tensor(named: "ids"))
        let logits = try first.floats(named: "logits")
        for (step, id) in ids.enumerated() {
            let row = logits[step * c.vocabulary..<(step + 1) * c.vocabulary]
            #expect(row[row.startIndex + id] == row.max())
        }

        let again = try run(["--pixels", "\(folder)/first"], to: "again")
        #expect(try again.floats(named: "logits") == logits)
        let blind = try run(["--no-image"], to: "blind")
        #expect(!blind.has(tensor: "pixels"))
        #expect(try blind.floats(named: "logits") != logits)
        let bare = try run(["--no-image", "--adapter", "none"], to: "bare")
        #expect(try bare.floats(named: "logits") != blind.floats(named: "logits"))
    }

    @Test("the benchmark measures everything that its contract names")
    func benchmark() throws {
        let options = try ToolboxModelOptions.parse(["--model", Material.bundle, "--threads", "2"])
        let path = Material.photo("chelsea.jpg")
        let report = try ToolboxBenchmark(
            options: options, photo: [UInt8](Data(contentsOf: URL(fileURLWithPath: path))), photoPath: path, runs: 1
        ).run()
        let speeds = ["decode_1", "decode_16", "decode_8", "prefill_320", "prefill_64"]
        #expect(report.tokensPerSecond.keys.sorted() == speeds)
        #expect(report.milliseconds.keys.sorted() == ["image_to_caption_p50", "ready", "vision"])
        #expect(report.tokensPerSecond.values.allSatisfy { $0 > 0 })
        #expect(report.milliseconds.values.allSatisfy { $0 > 0 })
        #expect(report.captionsPerSecond > 0)
        #expect(report.peakMegabytes > 10)
        #expect(report.threads == 2)
    }

    @Test("the scorer agrees with the engine's own probabilities, however captions are gathered into passes")
    func scorer() throws {
        let bundle = try ModelBundle(path: Material.bundle)
        let compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 2)
        func scorer() throws -> ToolboxCaptionScorer {
            try ToolboxCaptionScorer(bundle: bundle, compute: compute, adapter: nil)
        }
        let photo = Material.photo("rocket.jpg")
        let together = try scorer()
        let captions = ["A rocket on its stand .", "two dogs", "A man ."]
        #expect(try together.score(captions: captions, image: photo) == [nil, nil, nil])
        let apart = try scorer()
        for caption in captions { #expect(try apart.score(captions: [caption], image: photo) == [nil]) }
        #expect(together.tokens == apart.tokens)
        #expect(together.total == apart.total)
        #expect(together.images == 1)
        // One that is too long costs itself alone.
        let long = String(repeating: "a man and ", count: 400)
        let beside = try scorer()
        let failures = try beside.score(captions: [captions[0], long] + captions.dropFirst(), image: photo)
        #expect(failures.map { $0?.code } == [nil, .promptTooLong, nil, nil])
        #expect(beside.total == together.total && beside.tokens == together.tokens)

        // The greedy caption's own log-probabilities are what the scorer must find for it.
        let answerer = try Answerer(bundle: bundle, compute: compute, batch: 1)
        let image = try bundle.prepare(photo: [UInt8](Data(contentsOf: URL(fileURLWithPath: photo))))
        let task = TaskSpec.Task(id: "c", work: .caption(.caption))
        _ = try answerer.submit(image: image, tasks: [task], contentSeed: 0)
        var answer: Answer?
        while answer == nil, !answerer.isIdle { answer = answerer.step().first?.answers.answers.first }
        let found = try #require(answer)
        try #require(found.finish == "stop" && found.text.hasSuffix("."))
        let greedy = try scorer()
        #expect(try greedy.score(captions: [found.text], image: photo) == [nil])
        #expect(greedy.tokens == found.tokens.count + 1)
        let mean = exp(-greedy.total / Double(greedy.tokens))
        #expect(abs(mean - found.confidence) < 1e-4)
    }

    @Test("a bundle and a file are described, in text and as JSON")
    func inspect() throws {
        let report = try ToolboxBundleReport(Material.bundle)
        #expect(report.files.map(\.file).contains { $0.hasSuffix("/language.gguf") })
        #expect(report.text.contains("caption"))
        let line = try ToolboxJSON.line(report)
        let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
        #expect(object["hashes"] != nil)
        #expect(MemvpCommand.execute(["inspect", "\(Material.bundle)/vision.gguf", "--json"]) == 0)
    }
}
