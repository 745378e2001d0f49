// Adapters that put the image into the input sequence: what the engine makes of image tokens, that answers depend on nothing
// else, and what their files must hold.

import Diagnostics
import Foundation
import Language
import ModelFile
import Specification
import Tensor
import Testing
import Text
import Vision

@testable import MemVP

@Suite("Image tokens in the input sequence")
struct ImageTokenTests {
    /// More than the encoder's patches: the last ones are E₁ alone.
    private static let slots = TinyVision.patches + 2
    private static let shape = Adapter.Configuration(
        features: TinyVision.features, hidden: 8, width: 32, slots: slots, lambda: 1, scale: 1, prompting: .input)

    private let workshop: Workshop

    init() throws { workshop = try Workshop() }

    private static func tensors() -> Adapter.Tensors {
        var random = SeededGenerator(state: 31)
        return Adapter.Tensors(
            fc1Weight: random.floats(8 * TinyVision.features), fc1Bias: random.floats(8),
            fc2Weight: random.floats(32 * 8), fc2Bias: random.floats(32), e1: random.floats(slots * 32), e2: nil)
    }

    /// A bundle with an adapter `a` of memory and `i` of image tokens, the latter for all tasks.
    private func bundle(_ precision: Precision) throws -> String {
        let model = TinyLlama(metadata: [("llama.context_length", .uint32(512))])
        let path = try workshop.bundle("b-\(precision.rawValue)", model, precision: precision, adapter: true)
        let opened = try ModelBundle(path: path)
        let file = "\(workshop.path)/i.gguf"
        try AdapterFile.write(Self.shape, tensors: Self.tensors(), base: opened.base, name: "i", to: file)
        #expect(
            try BundleBuilder.promote(
                file, hash: ModelBundle.sha256(ofFile: file), name: "i", kinds: [.caption, .ask], to: opened))
        return path
    }

    // MARK: Answers

    private static let tasks = [
        TaskSpec.Task(id: "caption", work: .caption(TaskSpec.Generation(maximumTokens: 8))),
        TaskSpec.Task(
            id: "drawn",
            work: .caption(
                TaskSpec.Generation(maximumTokens: 8, sampling: .random(temperature: 0.8, topP: 0.9, seed: 7)))),
        TaskSpec.Task(id: "choice", work: .ask(question: "he", answer: .choice(["he", "z", "abc"]))),
    ]

    private static func run(_ answerer: Answerer, _ photo: PreparedImage?, _ tasks: [TaskSpec.Task]) throws -> [Answer]
    {
        let job = try answerer.submit(image: photo, tasks: tasks, contentSeed: 0)
        while !answerer.isIdle { for ended in answerer.step() where ended.job == job { return ended.answers.answers } }
        throw CancellationError()
    }

    @Test(
        "a photo's answers are the same alone, in a batch with other photos and adapters, and on any threads",
        arguments: [Precision.int8, .float32])
    func sameBytes(precision: Precision) throws {
        let bundle = try ModelBundle(path: bundle(precision))
        let rocket = try bundle.prepare(photo: Fixture.bytes("rocket.jpg"))
        let other = try bundle.prepare(photo: Fixture.bytes("astronaut.jpg"))
        for kernels in Kernels.available {
            func answerer(_ threads: Int, _ batch: Int) throws -> Answerer {
                try Answerer(bundle: bundle, compute: Compute(kernels: kernels, threads: threads), batch: batch)
            }
            let alone = try answerer(1, 1)
            // One by one nothing is shared.
            let expected = try Self.tasks.flatMap { try Self.run(alone, rocket, [$0]) }
            #expect(expected.map(\.text) != (try Self.tasks.flatMap { try Self.run(alone, other, [$0]) }).map(\.text))
            #expect(expected.map(\.text) != (try Self.tasks.flatMap { try Self.run(alone, nil, [$0]) }).map(\.text))
            for threads in [1, 2] {
                let busy = try answerer(threads, 16)
                var inMemory = Self.tasks[0]
                inMemory.adapter = "a"
                _ = try busy.submit(image: other, tasks: [Self.tasks[2]], contentSeed: 0)
                _ = try busy.submit(image: rocket, tasks: [inMemory], contentSeed: 0)
                #expect(try Self.run(busy, rocket, Self.tasks) == expected, "\(kernels.name), \(threads) threads")
            }
        }
    }

    // MARK: The engine

    /// Embeddings of some tokens as image tokens.
    private static func rows(_ tokens: [Int32], _ model: LlamaModel, _ compute: Compute) -> FloatRows {
        let rows = FloatRows(capacity: tokens.count, columns: 32)
        for (row, token) in tokens.enumerated() {
            compute.row(Int(token), of: model.weights.embedding, into: rows, outputRow: row)
        }
        return rows
    }

    @Test("image tokens that are tokens' embeddings do what those tokens do, in passes of any size")
    func embeddings() throws {
        let model = try ModelBundle(path: bundle(.int8)).language
        let compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 2)
        let (shown, prompt): ([Int32], [Int32]) = ([5, 40, 21], [9, 8, 7, 6])
        func results(_ tasks: [TokenTask], rows: Int) -> (results: [TokenResult], passes: Int) {
            let engine = Engine(
                model: model, compute: compute, limits: EngineLimits(streams: 8, rows: rows, positions: 64, slots: 1))
            var results: [Int: TokenResult] = [:]
            let ids = engine.submit(tasks)
            while !engine.isIdle { for ended in engine.step() { results[ended.id] = ended.result } }
            return (ids.compactMap { results[$0] }, engine.passes)
        }
        for goal in [
            TokenTask.Goal.generate(maximumTokens: 6, end: -1, sampling: .greedy),
            .choose([[11, 12], [13]], end: 0),
        ] {
            let text = results([TokenTask(prompt: shown + prompt, goal: goal, image: nil)], rows: 64).results
            let image = VisualPrompt.tokens(Self.rows(shown, model, compute))
            let task = TokenTask(prompt: prompt, goal: goal, image: image)
            for rows in [2, 5, 64] { #expect(results([task], rows: rows).results == text, "\(rows) rows a pass") }
            // Four prompts that differ in the last token share image tokens and beginning: one pass, and one for the rest.
            let others = (0..<4).map { TokenTask(prompt: prompt.dropLast() + [$0 + 50], goal: goal, image: image) }
            let first = results(
                others.map {
                    TokenTask(
                        prompt: $0.prompt, goal: .generate(maximumTokens: 1, end: -1, sampling: .greedy), image: image)
                }, rows: 6)
            #expect(first.passes == 2)
            #expect(results(others, rows: 64).results == others.flatMap { results([$0], rows: 64).results })
        }
    }

    @Test("image tokens take positions: of the task, of the engine, of the bundle")
    func positions() throws {
        let path = try bundle(.float32)
        #expect(try ModelBundle(path: path, positions: 40).language.positions == 40 + Self.slots)
        let model = try ModelBundle(path: path).language
        let compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 1)
        let task = TokenTask(
            prompt: [9, 8, 7, 6], goal: .generate(maximumTokens: 5, end: -1, sampling: .greedy),
            image: .tokens(Self.rows([5, 40, 21], model, compute)))
        for (positions, fits) in [(11, false), (12, true)] {
            let engine = Engine(
                model: model, compute: compute,
                limits: EngineLimits(streams: 1, rows: 8, positions: positions, slots: 1))
            #expect(engine.fits(task) == fits)
        }
        // The longest prompt that is read still fits, with the answer and the image.
        let question = String(repeating: "z", count: 20)
        let task20 = TaskSpec.Task(
            id: "q", work: .ask(question: question, answer: .free(TaskSpec.Generation(maximumTokens: 16))))
        let length = try ModelBundle(path: path).tokenizer.encode("Question: \(question) Answer:").count
        let answerer = try Answerer(
            bundle: ModelBundle(path: path, positions: length + 16), compute: compute, batch: 1, promptTokens: length,
            answerTokens: 16)
        #expect(try Self.run(answerer, nil, [task20]).count == 1)
    }

    // MARK: Files

    private func refused(_ code: FailureCode, _ part: String, _ body: () throws -> Void) {
        let failure = #expect(throws: Failure.self) { try body() }
        #expect(failure?.code == code && failure?.description.contains(part) == true, "\(String(describing: failure))")
    }

    /// The adapter file at `path` with another value of `memvp.prompting`.
    private func rewritten(_ path: String, prompting: String?) throws -> String {
        let file = try GGUFFile(path: path)
        var keys = file.metadata.filter { $0.0 != "memvp.prompting" }.map { ($0.0, $0.1) }
        if let prompting { keys.append(("memvp.prompting", .string(prompting))) }
        let tensors = file.tensors.entries
        let target = "\(workshop.path)/rewritten.gguf"
        let writer = try GGUFWriter(
            path: target, metadata: keys,
            tensors: tensors.map { TensorDeclaration(name: $0.name, type: .float32, shape: $0.shape) })
        for tensor in tensors {
            let values = try file.floats(of: tensor)
            try writer.write(values.span)
        }
        try writer.finish()
        return target
    }

    @Test("a file says where the image goes; without saying so it is memory, and anything else is refused")
    func files() throws {
        let bundle = try bundle(.float32)
        let base = try ModelBundle(path: bundle).base
        let (shape, tensors) = try AdapterFile.tensors(path: "\(bundle)/adapters/i.gguf", base: base)
        #expect(shape == Self.shape && tensors.e2 == nil && tensors.e1 == Self.tensors().e1)
        #expect(try GGUFFile(path: "\(bundle)/adapters/i.gguf").tensors["e2"] == nil)
        let memory = "\(bundle)/adapters/a.gguf"
        #expect(try GGUFFile(path: memory).metadata["memvp.prompting"] == nil)
        #expect(try AdapterFile.tensors(path: memory, base: base).0.prompting == .memory)
        let named = try AdapterFile.tensors(path: rewritten(memory, prompting: "memory"), base: base)
        #expect(named.0.prompting == .memory && named.1.e2 != nil)
        refused(.modelUnsupported, "memvp.prompting: is dream") {
            _ = try AdapterFile.tensors(path: rewritten(memory, prompting: "dream"), base: base)
        }
        refused(.modelMissing, "e2") {
            _ = try AdapterFile.tensors(path: rewritten("\(bundle)/adapters/i.gguf", prompting: nil), base: base)
        }
    }

    @Test("E₂ belongs to memory, and to memory alone")
    func e2() throws {
        var tensors = Self.tensors()
        var shape = Self.shape
        _ = try Adapter(shape, tensors: tensors, precision: .float32)
        tensors.e2 = tensors.e1
        refused(.modelInvalid, "e2") { _ = try Adapter(shape, tensors: tensors, precision: .float32) }
        shape.prompting = .memory
        _ = try Adapter(shape, tensors: tensors, precision: .float32)
        tensors.e2 = nil
        refused(.modelInvalid, "e2") { _ = try Adapter(shape, tensors: tensors, precision: .float32) }
    }
}
