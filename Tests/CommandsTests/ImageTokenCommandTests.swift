// Commands on a bundle whose adapter puts the image into the input sequence: none of them needs to be told.

import ArgumentParser
import Diagnostics
import Foundation
import Language
import MemVP
import ModelFile
import Specification
import Tensor
import Testing
import Text
import Vision

@testable import Commands

@Suite("Commands with image tokens")
struct ImageTokenCommandTests {
    private let official: OfficialModel
    private let bundle: ModelBundle
    private let compute: Compute

    /// The official tiny model with its own projector's image tokens as the adapter of all tasks.
    init() throws {
        official = try OfficialModel()
        try #require(official.convert() == 0)
        let before = try ModelBundle(path: official.out)
        var (shape, tensors) = try AdapterFile.tensors(
            path: "\(official.out)/adapters/official.gguf", base: before.base)
        (shape.prompting, shape.lambda, tensors.e2) = (.input, 1, nil)
        let file = "\(official.path)/input.gguf"
        try AdapterFile.write(shape, tensors: tensors, base: before.base, name: "input", to: file)
        #expect(
            try BundleBuilder.promote(
                file, hash: ModelBundle.sha256(ofFile: file), name: "input", kinds: [.caption, .ask], to: before))
        bundle = try ModelBundle(path: official.out)
        compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 2)
    }

    private var adapter: Adapter { get throws { try #require(bundle.adapters["input"]) } }

    /// What the engine makes of a task on a photo, or on none.
    private func result(_ prompt: [Int32], _ goal: TokenTask.Goal, photo: String?) throws -> TokenResult {
        let adapter = try adapter
        let features = try photo.map {
            let pixels = try bundle.prepare(photo: [UInt8](Data(contentsOf: URL(fileURLWithPath: $0)))).pixels
            return VisionWorker(bundle.vision, compute: compute).encode(pixels.span, adapters: adapter.vision)
        }
        let image = try VisualProjector(adapter: adapter, patches: bundle.vision.patches).visualPrompt(
            of: features, compute: compute)
        let engine = Engine(model: bundle.language, compute: compute, limits: EngineLimits(streams: 1))
        _ = engine.submit([TokenTask(prompt: prompt, goal: goal, image: image)])
        var result: TokenResult?
        while result == nil { result = engine.step().first?.result }
        return try #require(result)
    }

    @Test("trace runs image tokens before the prompt, and generates what the engine does")
    func trace() throws {
        let golden = try OfficialModel.golden()
        for row in golden.prompts.prefix(3) {
            let found = try official.trace(row, images: golden.images)
            let prompt = bundle.tokenizer.prompt([.template(row.text)])
            let width = bundle.language.configuration.width
            let slots = try adapter.configuration.slots
            #expect(try found.tensor(named: "layer0.prefill").shape == [slots + prompt.count, width])
            let photo = row.sees ? OfficialModel.fixture(golden.images[row.image]) : nil
            let expected = try result(
                prompt, .generate(maximumTokens: row.steps, end: -1, sampling: .greedy), photo: photo)
            let ids = try found.integers(of: found.tensor(named: "ids")).map { Int32($0) }
            #expect(ids == expected.tokens)
        }
    }

    @Test("the scorer's likelihood is the engine's, however captions are gathered into passes")
    func scorer() throws {
        let template = try bundle.taskTemplate(.caption)
        let (form, parts) = (template.form, try template.prompt.parts())
        let captions = ["A rocket on its stand .", "two dogs", "A man ."]
        for photo in [OfficialModel.fixture("rocket.jpg"), nil] {
            let scorer = try ToolboxCaptionScorer(bundle: bundle, compute: compute, adapter: nil)
            #expect(try scorer.score(captions: captions, image: photo) == [nil, nil, nil])
            var expected = 0.0
            for caption in captions {
                let example = form.example(caption, after: parts, bundle.tokenizer)
                let answer = example.tokens[example.promptCount...]
                let goal = TokenTask.Goal.choose([Array(answer.dropLast())], end: try #require(answer.last))
                expected -= try result(Array(example.tokens[..<example.promptCount]), goal, photo: photo).choiceScores[
                    0]
            }
            #expect(abs(scorer.total - expected) < 1e-4 * expected)
        }
    }

    @Test("a caption needs no flag")
    func caption() throws {
        let arguments = ["caption", OfficialModel.fixture("rocket.jpg"), "--model", official.out, "--max-tokens", "5"]
        #expect(MemvpCommand.execute(arguments) == 0)
    }

    @Test("bench prompting measures both kinds at each number of slots")
    func bench() throws {
        let command = try ToolboxBenchPrompting.parse([
            "--model", official.out, "--threads", "2", "--slots", "3,20", "--runs", "1",
        ])
        let report = try command.measure()
        #expect(report.results.map(\.slots) == [3, 20] && report.threads == 2)
        for result in report.results {
            for times in [result.step, result.answer] {
                #expect(times.memory > 0 && times.input > 0 && times.ratio > 0)
            }
        }
        let line = try ToolboxJSON.line(report)
        for key in [
            "kernels", "threads", "batch", "text_tokens", "answer_tokens", "results", "slots", "step_milliseconds",
            "answer_milliseconds", "memory", "input", "ratio",
        ] { #expect(line.contains("\"\(key)\":")) }
    }
}
