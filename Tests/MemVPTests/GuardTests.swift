// What a bundle, a task and the engine refuse, and what their numbers are: each against a tiny model made here.

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

@Suite("Bundles and tasks are checked")
struct GuardTests {
    let workshop: Workshop
    let bundle: String

    init() throws {
        workshop = try Workshop()
        bundle = try workshop.bundle("b", TinyLlama(), precision: .float32, adapter: true)
    }

    private func refused(_ code: FailureCode, _ part: String, _ body: () throws -> Void) {
        let failure = #expect(throws: Failure.self) { try body() }
        #expect(failure?.code == code, "\(String(describing: failure))")
        #expect(failure?.description.contains(part) == true, "\(String(describing: failure))")
    }

    private func rewrite(_ change: (inout ModelDescription) throws -> Void) throws {
        var description = try ModelBundle.description(in: bundle)
        try change(&description)
        try Data(description.yaml.utf8).write(to: URL(fileURLWithPath: "\(bundle)/model.yaml"))
    }

    private func answerer(promptTokens: Int = 40, answerTokens: Int = 16) throws -> Answerer {
        try Answerer(
            bundle: ModelBundle(path: bundle, positions: 64),
            compute: Compute(kernels: Kernels.choose(forced: nil), threads: 1), batch: 4, promptTokens: promptTokens,
            answerTokens: answerTokens)
    }

    private func run(_ answerer: Answerer, _ tasks: [TaskSpec.Task], image: PreparedImage? = nil) throws -> [Answer] {
        _ = try answerer.submit(image: image, tasks: tasks, contentSeed: 0)
        var answers: [Answer] = []
        while !answerer.isIdle { for ended in answerer.step() { answers += ended.answers.answers } }
        return answers
    }

    private func asking(_ question: String, _ choices: [String]? = nil, tokens: Int = 5) -> TaskSpec.Task {
        let free = TaskSpec.Answer.free(TaskSpec.Generation(maximumTokens: tokens))
        return TaskSpec.Task(id: "q", work: .ask(question: question, answer: choices.map { .choice($0) } ?? free))
    }

    @Test("what stands beside a vision transformer's blocks must be numbers")
    func visionAdapters() throws {
        let good = [Float](repeating: 0.5, count: 16)
        func packed(_ fc1: [Float], _ fc2: [Float], scale: Float = 0.1) throws {
            _ = try Adapter.VisionTensors(rank: 1, scale: scale, fc1: [fc1], fc2: [fc2])
                .packed(width: 16, precision: .int8)
        }
        try packed(good, good)
        let bad = [Float.nan] + good.dropFirst()
        refused(.modelInvalid, "not finite") { try packed(bad, good) }
        refused(.modelInvalid, "not finite") { try packed(good, bad) }
        refused(.modelInvalid, "not finite") { try packed(good, good, scale: .infinity) }
    }

    @Test("files: missing, changed, of another precision, of another size, of two adapters with one name")
    func files() throws {
        refused(.modelMissing, "memvp models install") { _ = try ModelBundle(path: workshop.path) }
        var bytes = try workshop.bytes("b/vision.gguf")
        bytes[bytes.count - 8] ^= 1
        let path = "\(bundle)/vision.gguf"
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        refused(.modelInvalid, "vision.gguf: is not the file") { _ = try ModelBundle(path: bundle) }
        _ = try ModelBundle(path: bundle, verify: false)

        refused(.modelUnsupported, "architecture llama") {
            _ = try LlamaModel(file: GGUFFile(path: "\(workshop.path)/b.gguf"), positions: 64)
        }
        try TinyVision.write(to: path, precision: .int8)
        try rewrite { $0.files["vision.gguf"] = try ModelBundle.sha256(ofFile: path) }
        refused(.modelInvalid, "do not belong together") { _ = try ModelBundle(path: bundle) }
        try TinyVision.write(to: path, precision: .float32)
        try rewrite {
            $0.files["vision.gguf"] = try ModelBundle.sha256(ofFile: path)
            $0.image.side = 64
        }
        refused(.modelInvalid, "do not belong together") { _ = try ModelBundle(path: bundle) }
        try FileManager.default.copyItem(
            atPath: "\(bundle)/adapters/a.gguf", toPath: "\(bundle)/adapters/a~2.gguf")
        try rewrite {
            $0.image.side = 32
            $0.files["adapters/a~2.gguf"] = $0.files["adapters/a.gguf"]
        }
        refused(.modelInvalid, "two files for the adapter a") { _ = try ModelBundle(path: bundle) }
    }

    @Test(
        "a file that is opened by its name must be listed with its hash", arguments: ["language.gguf", "vision.gguf"])
    func unlisted(file: String) throws {
        try rewrite { $0.files[file] = nil }
        for verify in [true, false] {
            refused(.modelInvalid, "model.yaml: names no SHA-256 of \(file)") {
                _ = try ModelBundle(path: bundle, verify: verify)
            }
        }
    }

    @Test("more tokens than the embedding has rows: neither converted nor opened; rows without a token are padding")
    func vocabulary() throws {
        func tokens(_ pieces: [String]) -> [(String, GGUFValue)] {
            let types: [Int32] = [3, 3] + [Int32](repeating: 1, count: pieces.count - 2)
            return [("tokenizer.ggml.tokens", .strings(pieces)), ("tokenizer.ggml.token_type", .int32s(types))]
        }
        let (fewer, more) = (TinyLlama.pieces.filter { $0 != "~" }, TinyLlama.pieces + ["ab"])
        refused(.modelInvalid, "has 99 tokens, but the embedding has 98 rows") {
            _ = try workshop.bundle("more", TinyLlama(metadata: tokens(more)))
        }
        let padded = try workshop.bundle("padded", TinyLlama(metadata: tokens(fewer)))
        let opened = try ModelBundle(path: padded, positions: 64)
        #expect(opened.tokenizer.vocabularySize == 97 && opened.language.configuration.vocabulary == 98)

        let path = "\(padded)/language.gguf"
        let file = try GGUFFile(path: path)
        var metadata = file.metadata
        for (key, value) in tokens(more) { metadata[key] = value }
        let writer = try GGUFWriter(
            path: path, metadata: metadata,
            tensors: file.tensors.entries.map { TensorDeclaration(name: $0.name, type: $0.type, shape: $0.shape) },
            alignment: 64)
        for tensor in file.tensors.entries {
            let bytes = file.mapping.copy(tensor.byteRange)
            try writer.write(bytes.span)
        }
        try writer.finish()
        refused(.modelInvalid, "language.gguf: tokenizer.ggml.tokens: has 99 tokens") {
            _ = try ModelBundle(path: padded, positions: 64, verify: false)
        }
    }

    @Test("adapters: of another width, of another base, for fewer patches")
    func adapters() throws {
        let source = "\(workshop.path)/wide.safetensors"
        try TinyAdapter.write(to: source, mark: 1, width: 48)
        refused(.adapterMismatch, "does not fit") {
            try BundleBuilder.addAdapter(source, name: "wide", kinds: [.ask], to: bundle)
        }
        #expect(try workshop.contents("b/adapters") == ["a.gguf"])
        let base = try BaseIdentity(
            language: GGUFFile(path: "\(bundle)/language.gguf"), vision: GGUFFile(path: "\(bundle)/vision.gguf"))
        for (width, slots, identity, code) in [
            (48, 4, base, FailureCode.adapterMismatch), (32, 3, base, .adapterMismatch),
            (32, 4, BaseIdentity(language: "x", vision: base.vision), .adapterMismatch),
        ] {
            let path = "\(bundle)/adapters/b.gguf"
            let zeros = { [Float](repeating: 0, count: $0) }
            try AdapterFile.write(
                Adapter.Configuration(features: 16, hidden: 8, width: width, slots: slots, lambda: 1, scale: 1),
                tensors: Adapter.Tensors(
                    fc1Weight: zeros(128), fc1Bias: zeros(8), fc2Weight: zeros(8 * width), fc2Bias: zeros(width),
                    e1: zeros(slots * width), e2: zeros(slots * width)), base: identity, name: "b", to: path)
            try rewrite { $0.files["adapters/b.gguf"] = try ModelBundle.sha256(ofFile: path) }
            refused(code, "b.gguf") { _ = try ModelBundle(path: bundle) }
        }
    }

    @Test("tasks: without template, without adapter, with an unknown adapter, too long")
    func tasks() throws {
        let answerer = try answerer(promptTokens: 32, answerTokens: 8)
        refused(.promptTooLong, "at most 32") { _ = try run(answerer, [asking(String(repeating: "z", count: 40))]) }
        refused(.promptTooLong, "does not fit") { _ = try run(answerer, [asking("z", tokens: 60)]) }
        refused(.promptTooLong, "does not fit") {
            _ = try run(answerer, [asking("z", ["a", String(repeating: "b", count: 60)])])
        }
        var named = asking("z")
        named.adapter = "nobody"
        refused(.specInvalid, "nobody") { _ = try run(answerer, [named]) }
        #expect(answerer.isIdle)
        try rewrite {
            $0.templates[.caption] = nil
            $0.adapters = [:]
        }
        let poor = try self.answerer()
        refused(.specInvalid, "no template") {
            _ = try run(poor, [TaskSpec.Task(id: "c", work: .caption(.caption))])
        }
        refused(.specInvalid, "no adapter") { _ = try run(poor, [asking("z")]) }
        refused(.specInvalid, "none") { _ = try run(poor, []) }
        #expect(poor.isIdle)
        named.adapter = "a"
        #expect(try run(poor, [named]).count == 1)
    }

    @Test("whether a kind of task has an adapter is known before a task is made")
    func requiredAdapters() throws {
        let rich = try answerer()
        for kind in TaskKind.allCases {
            try rich.requireAdapter(nil, for: kind)
            try rich.requireAdapter("a", for: kind)
            refused(.modelMissing, "adapter nobody: is not in the model bundle [model_missing]. It has a.") {
                try rich.requireAdapter("nobody", for: kind)
            }
        }
        try rewrite { $0.adapters = [.caption: "a"] }
        let poor = try answerer()
        try poor.requireAdapter(nil, for: .caption)
        try poor.requireAdapter("a", for: .ask)
        refused(.modelMissing, "names no adapter for ask") { try poor.requireAdapter(nil, for: .ask) }
    }

    @Test("a job ends with the last of its tasks, and jobs of one pass end in the order of their numbers")
    func endings() throws {
        let answerer = try answerer()
        // Six choices are scored in two passes, three beside each other; one choice in one.
        let (short, long) = (asking("he", ["a"]), asking("he", ["he", "abcde", "z", "b", "c", "d"]))
        let jobs = try [[short, long], [short], [short]].map {
            try answerer.submit(image: nil, tasks: $0, contentSeed: 0)
        }
        var ended: [[Int]] = []
        while !answerer.isIdle {
            let finished = answerer.step()
            if !finished.isEmpty { ended.append(finished.map(\.job)) }
            for (job, set) in finished {
                #expect(set.answers.count == (job == jobs[0] ? 2 : 1))
                #expect(set.times.prefill > .zero && set.times.generate > .zero)
            }
        }
        #expect(ended == [[jobs[1], jobs[2]], [jobs[0]]])
    }

    @Test("tasks of one job under two adapters answer as if alone")
    func twoAdapters() throws {
        let source = "\(workshop.path)/second.safetensors"
        try TinyAdapter.write(to: source, mark: 30)
        try BundleBuilder.addAdapter(source, name: "second", kinds: [], lambda: 9, scale: 9, to: bundle)
        let answerer = try answerer()
        var other = asking("he", ["he", "z"])
        other.adapter = "second"
        let tasks = [asking("he", ["he", "z"]), other]
        let together = try run(answerer, tasks)
        #expect(together == (try tasks.flatMap { try run(answerer, [$0]) }))
        #expect(together.first?.probabilities != together.last?.probabilities)
    }

    @Test("a choice's probability is that of its whole text and the end, summed here token by token")
    func choices() throws {
        let answerer = try answerer()
        let choices = ["he", "abc", "z"]
        let answer = try #require(try run(answerer, [asking("he", choices)]).first)
        let bundle = answerer.bundle
        let compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 1)
        let projector = try VisualProjector(adapter: #require(bundle.adapters["a"]), patches: TinyVision.patches)
        let memory = try projector.visualPrompt(of: nil, compute: compute).memory
        let prompt = bundle.tokenizer.encode("Question: he Answer:")
        let end = try #require(bundle.tokenizer.controlToken("<|end|>"))
        var scores: [Double] = []
        for choice in choices {
            let tokens = bundle.tokenizer.encode(" \(choice)")
            let state = LlamaState(
                bundle.language.configuration, compute: compute, rows: 64, logitRows: 1, positions: 64, slots: 8)
            let rows = TokenRows(capacity: 64)
            let cache = bundle.language.makeCache(capacity: 64)
            _ = rows.append((prompt + tokens)[...], cache: cache, memory: memory)
            bundle.language.forward(rows, state: state, compute: compute)
            var score = 0.0
            for (index, token) in (tokens + [end]).enumerated() {
                let logits = bundle.language.logits(
                    of: [prompt.count - 1 + index], state: state, compute: compute
                ).array(row: 0).map(Double.init)
                let largest = logits.max() ?? 0
                score += logits[Int(token)] - largest - log(logits.reduce(0) { $0 + Foundation.exp($1 - largest) })
            }
            scores.append(score)
        }
        let weights = scores.map { Foundation.exp($0 - (scores.max() ?? 0)) }
        let expected = weights.map { $0 / weights.reduce(0, +) }
        let found = try #require(answer.probabilities).map(\.probability)
        for (a, b) in zip(found, expected) { #expect(abs(a - b) < 1e-4, "\(found) \(expected)") }
        let best = try #require(expected.indices.max { expected[$0] < expected[$1] })
        #expect(answer.text == choices[best])
        #expect(answer.confidence == found[best])
        #expect(answer.finish == "choice")
    }

    @Test("an explanation that leaves no room for the letters is left out; a question that leaves none is refused")
    func explanations() throws {
        let long = TinyLlama(metadata: [("llama.context_length", .uint32(512))])
        let path = try workshop.bundle("long", long, precision: .float32, adapter: true)
        let format = try #require(QuestionFormat(named: "QCM-LEA"))
        let task = TaskSpec.Task(
            id: "q", work: .problem(TaskSpec.Problem(question: "he", options: ["a", "b"], format: format)))
        let text = "Question: he\nContext: N/A\nOptions: (A) a (B) b\nResponse:"
        let length = try ModelBundle(path: path).tokenizer.prompt([.value(text)]).count
        func answer(explained: Int, positions: Int) throws -> Answer? {
            let answerer = try Answerer(
                bundle: ModelBundle(path: path, positions: positions),
                compute: Compute(kernels: Kernels.choose(forced: nil), threads: 1), batch: 4, promptTokens: 400,
                answerTokens: explained + 16)
            return try run(answerer, [task]).first
        }
        let whole = try #require(try answer(explained: 40, positions: 400))
        #expect(whole.prompt.hasPrefix(text) && whole.prompt.count > text.count + 20)
        let bare = try #require(try answer(explained: 16, positions: length + 16))
        #expect(bare.prompt == "\(text) The answer is")
        for answer in [whole, bare] { #expect(answer.finish == "choice" && answer.probabilities?.count == 2) }
        refused(.promptTooLong, "does not fit") { _ = try answer(explained: 4, positions: length + 4) }
    }

    @Test("free text ends at its limit, its confidence is the geometric mean; cancelled jobs leave the others alone")
    func freeText() throws {
        let answerer = try answerer()
        let alone = try #require(try run(answerer, [asking("he", tokens: 6)]).first)
        #expect(alone.finish == "length" ? alone.tokens.count == 6 : alone.tokens.count < 6)
        let engine = Engine(
            model: answerer.bundle.language, compute: try Compute(kernels: Kernels.choose(forced: nil), threads: 1),
            limits: EngineLimits(streams: 4, rows: 64, positions: 64, slots: 8))
        let prompt = answerer.bundle.tokenizer.encode("Question: he Answer:")
        let end = try #require(answerer.bundle.tokenizer.controlToken("<|end|>"))
        let compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 1)
        let image = try VisualProjector(
            adapter: #require(answerer.bundle.adapters["a"]), patches: TinyVision.patches
        ).visualPrompt(of: nil, compute: compute)
        let task = TokenTask(
            prompt: prompt, goal: .generate(maximumTokens: 6, end: end, sampling: .greedy), image: image)
        _ = engine.submit([task])
        var result: TokenResult?
        while !engine.isIdle { result = engine.step().first?.result ?? result }
        let found = try #require(result)
        #expect(found.tokens == alone.tokens)
        let mean = found.logProbabilities.reduce(0.0) { $0 + Double($1) } / Double(found.logProbabilities.count)
        #expect(abs(alone.confidence - Foundation.exp(mean)) < 1e-12)

        // A choice's score is that of its tokens and the end, the first among them.
        try #require(found.tokens.count >= 2)
        _ = engine.submit([
            TokenTask(
                prompt: prompt, goal: .choose([[found.tokens[0]]], end: found.tokens[1]), image: image)
        ])
        while !engine.isIdle { result = engine.step().first?.result ?? result }
        let score = Double(found.logProbabilities[0]) + Double(found.logProbabilities[1])
        #expect(abs((result?.choiceScores.first ?? 0) - score) < 1e-4)

        let ids = engine.submit([task, task])
        engine.cancel([ids[0]])
        #expect(engine.freeStreams == 3)
        engine.cancel([ids[1]])
        #expect(engine.isIdle)

        // The end token ends, and is counted in the confidence but not in the text.
        let first = try #require(found.tokens.first)
        _ = engine.submit([
            TokenTask(prompt: prompt, goal: .generate(maximumTokens: 6, end: first, sampling: .greedy), image: image)
        ])
        while !engine.isIdle { result = engine.step().first?.result ?? result }
        #expect(result?.finish == .stop)
        #expect(result?.tokens == [])
        #expect(result?.logProbabilities.count == 1)

        let dropped = try answerer.submit(
            image: nil, tasks: [asking("a", tokens: 3), asking("b", ["a", "b"])], contentSeed: 0)
        let kept = try answerer.submit(image: nil, tasks: [asking("he", tokens: 6)], contentSeed: 0)
        _ = answerer.step()
        answerer.cancel(dropped)
        var ended: [Int: [Answer]] = [:]
        while !answerer.isIdle { for job in answerer.step() { ended[job.job] = job.answers.answers } }
        #expect(ended.keys.sorted() == [kept])
        #expect(ended[kept] == [alone])
        #expect(answerer.hasRoom)
    }

    @Test("an image's memory is V + E1 and s (V + E2), V = λ fc2(SiLU(fc1 f)), with E alone past the patches")
    func memory() throws {
        var random = SeededGenerator(state: 21)
        let c = Adapter.Configuration(features: 16, hidden: 8, width: 32, slots: 6, lambda: 0.5, scale: 0.25)
        let t = Adapter.Tensors(
            fc1Weight: random.floats(128), fc1Bias: random.floats(8), fc2Weight: random.floats(256),
            fc2Bias: random.floats(32), e1: random.floats(192), e2: random.floats(192))
        let e2 = try #require(t.e2)
        let projector = try VisualProjector(adapter: Adapter(c, tensors: t, precision: .float32), patches: 4)
        let compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 1)
        let features = FloatRows(capacity: 4, columns: 16)
        let f = (0..<4).map { _ in random.floats(16) }
        for (index, row) in f.enumerated() { features.setRow(index, row.span) }
        let memory = try #require(try projector.visualPrompt(of: features, compute: compute).memory)
        let blind = try #require(try projector.visualPrompt(of: nil, compute: compute).memory)
        let row = FloatRows(capacity: 1, columns: 32)
        for slot in 0..<6 {
            var v = [Float](repeating: 0, count: 32)
            if slot < 4 {
                let hidden = (0..<8).map { h in
                    let sum = (0..<16).reduce(t.fc1Bias[h]) { $0 + t.fc1Weight[h * 16 + $1] * f[slot][$1] }
                    return sum / (1 + Foundation.exp(-sum))
                }
                v = (0..<32).map { w in 0.5 * (0..<8).reduce(t.fc2Bias[w]) { $0 + t.fc2Weight[w * 8 + $1] * hidden[$1] }
                }
            }
            compute.row(slot, of: memory.keys, into: row, outputRow: 0)
            for (column, found) in row.array(row: 0).enumerated() {
                #expect(abs(found - v[column] - t.e1[slot * 32 + column]) < 1e-5)
            }
            compute.row(slot, of: blind.keys, into: row, outputRow: 0)
            #expect(row.array(row: 0) == Array(t.e1[slot * 32..<slot * 32 + 32]))
            let slots = FloatRows(capacity: 1, columns: 6)
            for column in 0..<32 {
                compute.row(column, of: memory.values, into: slots, outputRow: 0)
                let wanted = 0.25 * (v[column] + e2[slot * 32 + column])
                #expect(abs(slots.array(row: 0)[slot] - wanted) < 1e-5)
            }
        }
        let few = #expect(throws: Failure.self) {
            try VisualProjector(adapter: Adapter(c, tensors: t, precision: .float32), patches: 7)
        }
        #expect(few?.code == .adapterMismatch)
    }
}
