// What is no number: in a bundle's small tensors it is found at opening, and what large values compute is no answer. And whoever names a
// fault of a bundle names the file.

import Diagnostics
import Foundation
import ModelFile
import Specification
import Tensor
import Testing
import Vision

@testable import Language
@testable import MemVP

@Suite("Numbers, and files that are named")
struct NumberTests {
    let workshop: Workshop
    let bundle: String

    init() throws {
        workshop = try Workshop()
        bundle = try workshop.bundle("b", TinyLlama(hasOutput: true), adapter: true)
    }

    private func refusal(_ body: () throws -> Void) -> Failure? { #expect(throws: Failure.self) { try body() } }

    private func open() throws { _ = try ModelBundle(path: bundle, positions: 64, verify: false) }

    /// Puts a value into a float32 tensor of a file of the bundle, in the places `at`.
    private func spoil(_ file: String, _ tensor: String, _ value: Float, at places: Range<Int> = 0..<1) throws {
        let offset = try GGUFFile(path: "\(bundle)/\(file)").tensor(named: tensor).offset
        var bytes = try workshop.bytes("b/\(file)")
        for place in places {
            for byte in 0..<4 {
                bytes[offset + 4 * place + byte] = UInt8(truncatingIfNeeded: value.bitPattern >> (8 * UInt32(byte)))
            }
        }
        try Data(bytes).write(to: URL(fileURLWithPath: "\(bundle)/\(file)"))
    }

    /// Writes a file of the bundle again with another value of a key.
    private func rewrite(_ file: String, _ key: String, _ value: GGUFValue) throws {
        let path = "\(bundle)/\(file)"
        let gguf = try GGUFFile(path: path)
        var metadata = gguf.metadata
        metadata[key] = value
        let writer = try GGUFWriter(
            path: path, metadata: metadata,
            tensors: gguf.tensors.entries.map { TensorDeclaration(name: $0.name, type: $0.type, shape: $0.shape) },
            alignment: 64)
        for tensor in gguf.tensors.entries {
            let bytes = gguf.mapping.copy(tensor.byteRange)
            try writer.write(bytes.span)
        }
        try writer.finish()
    }

    // MARK: At opening

    @Test(
        "scales, norms, biases and float32 kernels are numbers, or the file and the tensor are named",
        arguments: [
            ("language.gguf", "token_embd.scale"), ("language.gguf", "blk.1.attn_qkv.scale"),
            ("language.gguf", "blk.0.ffn_norm.weight"), ("language.gguf", "output_norm.weight"),
            ("vision.gguf", "stem.weight"), ("vision.gguf", "stem.bias"), ("vision.gguf", "blk.1.depthwise.weight"),
            ("vision.gguf", "blk.2.project.scale"), ("vision.gguf", "head.bias"),
        ], [Float.nan, .infinity, -.infinity])
    func opening(place: (file: String, tensor: String), value: Float) throws {
        try open()
        try spoil(place.file, place.tensor, value, at: 3..<4)
        let failure = refusal { try open() }
        #expect(failure?.code == .modelInvalid && failure?.object == "\(bundle)/\(place.file): tensor \(place.tensor)")
    }

    @Test("a scale is above 0, but for rows that only fill the last panel, whose scale is 0 as the packer leaves it")
    func scales() throws {
        let scales = try GGUFFile(path: "\(bundle)/language.gguf").floats(named: "token_embd.scale")
        #expect(scales.count == 112 && scales[98...].allSatisfy { $0 == 0 } && scales[..<98].allSatisfy { $0 > 0 })
        try open()
        for (value, row) in [(Float(0), 97), (-1, 0), (-1, 98), (.nan, 111)] {
            try spoil("language.gguf", "token_embd.scale", value, at: row..<row + 1)
            #expect(refusal { try open() }?.cause.contains("above 0") == true, "\(value) \(row)")
            try spoil("language.gguf", "token_embd.scale", row < 98 ? 1 : 0, at: row..<row + 1)
            try open()
        }
    }

    @Test("a transformer's embeddings are numbers too, and what its file lacks is said of the file once")
    func transformer() throws {
        let path = "\(workshop.path)/clip.gguf"
        var spoiled = ""
        func write(_ mark: Float, keys: Int = 6) throws {
            let numbers: [(String, UInt32)] = [
                ("image_size", 32), ("patch_size", 16), ("embedding_length", 16), ("feed_forward_length", 16),
                ("block_count", 0), ("attention.head_count", 1),
            ]
            let metadata: [(String, GGUFValue)] =
                [
                    ("general.architecture", .string(CLIPConfiguration.architecture)),
                    ("memvpd.precision", .string("int8")),
                ] + numbers.prefix(keys).map { ("\(CLIPConfiguration.keys).\($0.0)", .uint32($0.1)) }
            let tensors: [(String, [Int])] = [
                ("patch_embd.weight", [1, 768, 16]), ("class_embd", [16]), ("position_embd", [80]),
                ("pre_ln.weight", [16]), ("pre_ln.bias", [16]), ("post_ln.weight", [16]), ("post_ln.bias", [16]),
            ]
            let writer = try GGUFWriter(
                path: path, metadata: metadata,
                tensors: tensors.map { TensorDeclaration(name: $0.0, type: .float32, shape: $0.1) }, alignment: 64)
            for (name, shape) in tensors {
                var values = [Float](repeating: 0.5, count: shape.reduce(1, *))
                if name == spoiled { values[values.count - 1] = mark }
                try writer.write(values.span)
            }
            try writer.finish()
        }
        func load() throws { _ = try CLIPVisionTransformer(file: GGUFFile(path: path)) }
        try write(0)
        try load()
        for name in ["patch_embd.weight", "class_embd", "position_embd", "pre_ln.weight", "post_ln.bias"] {
            spoiled = name
            try write(.nan)
            #expect(refusal { try load() }?.object == "\(path): tensor \(name)")
        }
        try write(0, keys: 5)
        #expect(refusal { try load() }?.object == "\(path): metadata clip.vision.attention.head_count")
    }

    @Test("λ and s up to a million; beyond that an adapter is refused by its file")
    func constants() throws {
        let opened = try ModelBundle(path: bundle, positions: 64)
        func adapter(lambda: Float = 1, scale: Float = 1) throws {
            let path = "\(workshop.path)/constants.gguf"
            try AdapterFile.write(
                Self.configuration(lambda: lambda, scale: scale), tensors: Self.tensors(), base: opened.base,
                name: "c", to: path)
            _ = try opened.openAdapter(path: path)
        }
        try adapter(lambda: -1e6, scale: 1e6)
        for value in [Float(1.5e6), -1e38, .nan, .infinity] {
            for (name, failure) in [
                ("λ", refusal { try adapter(lambda: value) }), ("s", refusal { try adapter(scale: value) }),
            ] {
                #expect(failure?.code == .modelInvalid && failure?.object.contains("constants.gguf") == true)
                #expect(failure?.cause.hasSuffix("for \(name)") == true, "\(String(describing: failure))")
            }
        }
    }

    private static func configuration(lambda: Float = 1, scale: Float) -> Adapter.Configuration {
        Adapter.Configuration(features: 16, hidden: 8, width: 32, slots: 4, lambda: lambda, scale: scale)
    }

    private static func tensors(e2: Float = 1) -> Adapter.Tensors {
        func all(_ count: Int, _ value: Float) -> [Float] { [Float](repeating: value, count: count) }
        return Adapter.Tensors(
            fc1Weight: all(128, 0), fc1Bias: all(8, 0), fc2Weight: all(256, 0), fc2Bias: all(32, 0),
            e1: all(128, 0.5), e2: all(128, e2))
    }

    // MARK: While answering

    private func asking(_ choices: [String]?, adapter: String) -> TaskSpec.Task {
        let free = TaskSpec.Answer.free(TaskSpec.Generation(maximumTokens: 4))
        var task = TaskSpec.Task(id: "q", work: .ask(question: "he", answer: choices.map { .choice($0) } ?? free))
        task.adapter = adapter
        return task
    }

    /// Runs jobs of one task each, together.
    private func run(_ answerer: Answerer, _ tasks: [TaskSpec.Task]) throws -> [AnswerSet] {
        let jobs = try tasks.map { try answerer.submit(image: nil, tasks: [$0], contentSeed: 0) }
        var sets: [Int: AnswerSet] = [:]
        while !answerer.isIdle { for ended in answerer.step() { sets[ended.job] = ended.answers } }
        return try jobs.map { try #require(sets[$0]) }
    }

    private func answerer(_ path: String, _ wild: Adapter? = nil) throws -> Answerer {
        try Answerer(
            bundle: ModelBundle(path: path, positions: 64, verify: false),
            compute: Compute(kernels: Kernels.choose(forced: nil), threads: 1), batch: 8, promptTokens: 40,
            answerTokens: 16, additional: wild.map { ["wild": $0] } ?? [:])
    }

    @Test(
        "an adapter that computes no number fails its own jobs by its name, and no others; int8 hides it in no zeros",
        arguments: Precision.allCases)
    func adapters(precision: Precision) throws {
        let path = try workshop.bundle("o", TinyLlama(), precision: precision, adapter: true)
        let wild = try Adapter(Self.configuration(scale: 1e6), tensors: Self.tensors(e2: 3e38), precision: precision)
        let sets = try run(
            answerer(path, wild),
            [asking(nil, adapter: "wild"), asking(["a", "b"], adapter: "wild"), asking(nil, adapter: "a")])
        for set in sets.prefix(2) {
            #expect(set.answers.isEmpty && set.failure?.code == .modelInvalid)
            #expect(set.failure?.object == "\(path): adapter wild")
            #expect(set.failure?.cause == "computes no number for the task q")
        }
        #expect(sets[2].failure == nil)
        #expect(sets[2].answers == (try run(answerer(path), [asking(nil, adapter: "a")]).first?.answers))
    }

    @Test("logits that are no numbers are no answer, whether a token is chosen by them or a choice scored")
    func logits() throws {
        try spoil("language.gguf", "output.scale", 3e38, at: 0..<98)
        let sets = try run(answerer(bundle), [asking(nil, adapter: "a"), asking(["a", "b"], adapter: "a")])
        for set in sets { #expect(set.answers.isEmpty && set.failure?.code == .modelInvalid) }
    }

    @Test("a sequence ends with the first choice that nothing speaks for, which is no token of it")
    func sequence() {
        for value in [Float.nan, .infinity, -.infinity] {
            let goal = TokenTask.Goal.generate(maximumTokens: 4, end: 0, sampling: .greedy)
            let stream = Stream(id: 1, task: TokenTask(prompt: [1], goal: goal, image: nil), prefix: nil)
            #expect(!stream.accept(TokenChoice(token: 5, logProbability: -1), maximumTokens: 4, end: 0))
            #expect(stream.result.isFinite)
            #expect(stream.accept(TokenChoice(token: 6, logProbability: value), maximumTokens: 4, end: 0))
            #expect(!stream.result.isFinite && stream.result.tokens == [5])
        }
    }

    // MARK: Names of files

    @Test(
        "a key out of range is said of its file",
        arguments: [
            ("language.gguf", "llama.attention.layer_norm_rms_epsilon", GGUFValue.float32(2)),
            ("language.gguf", "tokenizer.ggml.model", .string("nobody's")),
            ("vision.gguf", "efficientnet.stem", .uint32(5_000)),
            ("adapters/a.gguf", "memvp.feature.blocks", .string("x")),
        ])
    func keys(file: String, key: String, value: GGUFValue) throws {
        try rewrite(file, key, value)
        let failure = refusal { try open() }
        let object = failure?.object ?? ""
        #expect(object.hasPrefix("\(bundle)/\(file): "), "\(String(describing: failure))")
        #expect(object.components(separatedBy: file).count == 2, "\(object)")
    }

    @Test("a factor that is missing beside an adapter's blocks is said of its file")
    func factors() throws {
        try rewrite("adapters/a.gguf", "memvp.feature.blocks", .int32s([1]))
        let failure = refusal { try open() }
        #expect(failure?.object == "\(bundle)/adapters/a.gguf: metadata memvp.feature.factors")
    }

    @Test("a model's name that a GGUF brings is made harmless; one that is not makes no bundle")
    func modelNames() throws {
        let name: [(String, GGUFValue)] = [("general.name", .string("ti\u{1B}[31mny"))]
        let path = try workshop.bundle("n", TinyLlama(metadata: name))
        #expect(try ModelBundle(path: path).description.name == #"ti\u{1b}[31mny"#)
        var description = try ModelBundle.description(in: path)
        description.name = "ti\u{1B}[31mny"
        let failure = refusal { try BundleBuilder.write(description, in: path) }
        #expect(failure?.object == "\(path)/model.yaml: name")
        try Data(description.yaml.utf8).write(to: URL(fileURLWithPath: "\(path)/model.yaml"))
        #expect(refusal { _ = try ModelBundle(path: path) }?.object == "\(path)/model.yaml: name")
    }
}
