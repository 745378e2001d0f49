// The published model's file formats, end to end: `memvp convert official` and `memvp trace` on a small random model that
// MemVP's official code answered itself (Fixtures/official-tiny/golden.json says with what).

import Diagnostics
import Foundation
import MemVP
import ModelFile
import Specification
import Tensor
import Testing
import Text
import Vision

@testable import Commands

/// A small official model, its files laid out as released, in a directory that goes away with the value.
final class OfficialModel {
    struct Golden: Decodable {
        /// Prompt, image, whether the image is seen, steps.
        struct Case: Decodable {
            var text: String
            var image: Int
            var sees: Bool
            var steps: Int

            init(from decoder: any Decoder) throws {
                var fields = try decoder.unkeyedContainer()
                text = try fields.decode(String.self)
                image = try fields.decode(Int.self)
                sees = try fields.decode(Int.self) == 1
                steps = try fields.decode(Int.self)
            }
        }

        var prompts: [Case]
        var images: [String]
        var token_ids: [[Int]]
        var generated_ids: [[Int]]
    }

    static let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    static func fixture(_ name: String) -> String {
        tests.appendingPathComponent("CommandsTests/Fixtures/\(name)").path
    }
    static func source(_ name: String) -> String {
        tests.appendingPathComponent("ModelFileTests/Fixtures/\(name)").path
    }
    static func golden() throws -> Golden {
        try JSONDecoder().decode(
            Golden.self, from: Data(contentsOf: URL(fileURLWithPath: fixture("official-tiny/golden.json"))))
    }

    let path: String
    let llama: String
    let out: String
    var clip = source("clip-state-dict.pt")
    var adapter = source("checkpoint-19.pth")
    private let files = FileManager.default

    init() throws {
        path = files.temporaryDirectory.appendingPathComponent("official-\(UUID().uuidString)").path
        llama = "\(path)/llama"
        out = "\(path)/out/bundle"
        try files.createDirectory(atPath: "\(llama)/7B", withIntermediateDirectories: true)
        try files.createDirectory(atPath: "\(path)/out", withIntermediateDirectories: true)
        try files.copyItem(
            atPath: Self.source("consolidated.00.pth"), toPath: "\(llama)/7B/consolidated.00.pth")
        try files.copyItem(atPath: Self.fixture("official-tiny/params.json"), toPath: "\(llama)/7B/params.json")
        try files.copyItem(atPath: Self.source("tokenizer.model"), toPath: "\(llama)/tokenizer.model")
    }

    deinit { try? files.removeItem(atPath: path) }

    /// Runs `memvp convert official`.
    func convert(_ precision: String = "f32") -> Int32 {
        MemvpCommand.execute([
            "convert", "official", "--llama", llama, "--clip", clip, "--adapter", adapter, "--out", out,
            "--precision", precision,
        ])
    }

    /// What the conversion throws.
    func failure() -> Failure? {
        do {
            try BundleBuilder.convertOfficial(
                OfficialSource(llama: llama, clip: clip, adapter: adapter), to: "\(path)/direct", precision: .int8
            ) { _, _ in }
            return nil
        } catch { return error }
    }

    /// Runs `memvp trace`.
    func trace(_ row: Golden.Case, images: [String]) throws -> SafetensorsFile {
        try Data(row.text.utf8).write(to: URL(fileURLWithPath: "\(path)/prompt"))
        let eyes = row.sees ? ["--image", Self.fixture(images[row.image])] : ["--no-image"]
        let code = MemvpCommand.execute(
            ["trace", "--model", out, "--prompt-file", "\(path)/prompt", "--out", "\(path)/trace", "--threads", "2"]
                + ["--steps", "\(row.steps)"] + eyes)
        try #require(code == 0)
        return try SafetensorsFile(path: "\(path)/trace")
    }
}

/// How far a vector is from the one it should be; a wrong length, NaN or infinity is infinitely far.
func relativeL2(_ found: [Float], _ expected: [Float]) -> Double {
    guard found.count == expected.count, !expected.isEmpty, found.allSatisfy(\.isFinite) else { return .infinity }
    var (squares, norm) = (0.0, 0.0)
    for (a, b) in zip(found, expected) {
        let difference = Double(a) - Double(b)
        squares += difference * difference
        norm += Double(b) * Double(b)
    }
    return norm > 0 ? (squares / norm).squareRoot() : .infinity
}

/// The cosine of two vectors; −1 where they cannot be compared.
func cosine(_ found: [Float], _ expected: [Float]) -> Double {
    guard found.count == expected.count, found.allSatisfy(\.isFinite) else { return -1 }
    func dot(_ a: [Float], _ b: [Float]) -> Double { zip(a, b).reduce(0) { $0 + Double($1.0) * Double($1.1) } }
    let lengths = (dot(found, found) * dot(expected, expected)).squareRoot()
    return lengths > 0 ? dot(found, expected) / lengths : -1
}

@Suite("Official checkpoints", .serialized)
struct OfficialModelTests {
    @Test("the comparer refuses NaN, a wrong sign, a wrong shape and a wrong scale")
    func comparer() {
        let right: [Float] = [1, -2, 3]
        #expect(relativeL2(right, right) == 0 && abs(cosine(right, right) - 1) < 1e-12)
        for wrong: [Float] in [[.nan, -2, 3], [1, 2, 3], [1, -2], [2, -4, 6], [.infinity, -2, 3]] {
            #expect(relativeL2(wrong, right) > 1e-3)
        }
        for wrong: [Float] in [[.nan, -2, 3], [-1, 2, -3], [1, -2]] { #expect(cosine(wrong, right) < 0.995) }
        #expect(relativeL2([], []) == .infinity)
    }

    @Test(
        "every stage gives what the official code gave, from both CLIP files and in both precisions",
        arguments: ["clip-torchscript.pt", "clip-state-dict.pt"], ["f32", "int8"])
    func parity(clip: String, precision: String) throws {
        let model = try OfficialModel()
        model.clip = OfficialModel.source(clip)
        try #require(model.convert(precision) == 0)
        let golden = try OfficialModel.golden()
        let expected = try SafetensorsFile(path: OfficialModel.fixture("official-tiny/golden.safetensors"))
        for (number, row) in golden.prompts.enumerated() {
            let trace = try model.trace(row, images: golden.images)
            #expect(try trace.integers(of: trace.tensor(named: "prompt_ids")) == golden.token_ids[number])
            let logits = try expected.floats(named: "case\(number).logits")
            let vocabulary = logits.count / row.steps
            let first = Array(try trace.floats(named: "logits").prefix(vocabulary))
            #expect(cosine(first, Array(logits.prefix(vocabulary))) >= 0.995, "case \(number)")
            if row.sees {
                try comparePixels(trace.floats(named: "pixels"), expected.floats(named: "pixels"), image: row.image)
            }
            guard precision == "f32" else { continue }
            #expect(try trace.integers(of: trace.tensor(named: "ids")) == golden.generated_ids[number])
            var compared = 0
            for name in expected.tensors.names where name.hasPrefix("case\(number).") {
                let stage = String(name.dropFirst("case\(number).".count))
                guard row.sees || !["vision", "projected"].contains(stage) else { continue }
                let distance = relativeL2(try trace.floats(named: stage), try expected.floats(named: name))
                #expect(distance < 1e-3, "\(name)")
                compared += 1
            }
            #expect(compared == (row.sees ? 6 : 4))
        }
    }

    @Test("a question with choices is put as the official code puts it, and answered by letter")
    func letters() throws {
        let model = try OfficialModel()
        try #require(model.convert("f32") == 0)
        let golden = try OfficialModel.golden()
        let bundle = try ModelBundle(path: model.out)
        #expect(bundle.description.templates[.ask]?.format == .standard)
        let compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 1)
        let answerer = try Answerer(bundle: bundle, compute: compute, batch: 1)
        let task = TaskSpec.Task(
            id: "q",
            work: .ask(question: "Which of these is in the photo?", answer: .choice(["a rocket", "a cat"])))
        _ = try answerer.submit(image: nil, tasks: [task], contentSeed: 0)
        var answer: Answer?
        while answer == nil { answer = answerer.step().first?.answers.answers.first }
        let found = try #require(answer)
        #expect(golden.token_ids[0] == bundle.tokenizer.prompt([.value(found.prompt)]).map { Int($0) })
        #expect(found.prompt.hasSuffix("Options: (A) a rocket (B) a cat\nResponse:The answer is"))
        #expect(["A", "B"].contains(found.letter) && found.probabilities?.count == 2)
    }

    /// Pixels within one 8-bit level, before normalisation.
    private func comparePixels(_ found: [Float], _ all: [Float], image: Int) throws {
        let expected = Array(all[image * found.count..<(image + 1) * found.count])
        let area = found.count / 3
        let deviations: [Float] = [0.229, 0.224, 0.225]
        var worst: Float = 0
        for index in found.indices {
            let levels = abs(found[index] - expected[index]) * deviations[index / area] * 255
            #expect(levels.isFinite)
            worst = max(worst, levels)
        }
        #expect(worst < 1.01)
    }

    @Test("an image changes the answer, its absence leaves E₁ and E₂, and the bare encoder differs from the adapted")
    func image() throws {
        let model = try OfficialModel()
        try #require(model.convert() == 0)
        let bundle = try ModelBundle(path: model.out)
        let adapter = try #require(bundle.adapters["official"])
        #expect(adapter.configuration.slots == 20 && bundle.vision.patches == 16)
        #expect(adapter.configuration.lambda == 0.01 && adapter.configuration.scale == 0.1)
        let photo = try bundle.prepare(
            photo: [UInt8](Data(contentsOf: URL(fileURLWithPath: OfficialModel.fixture("rocket.jpg")))))
        let expected = try SafetensorsFile(path: OfficialModel.fixture("official-tiny/golden.safetensors"))
            .floats(named: "case0.vision")
        for kernels in Kernels.available {
            for threads in [1, 2] {
                let worker = VisionWorker(bundle.vision, compute: try Compute(kernels: kernels, threads: threads))
                func features(_ adapters: CLIPAdapters?) -> [Float] {
                    let rows = worker.encode(photo.pixels.span, adapters: adapters)
                    return (0..<bundle.vision.patches).flatMap { rows.array(row: $0) }
                }
                #expect(relativeL2(features(adapter.vision), expected) < 1e-4, "\(kernels.name)")
                #expect(relativeL2(features(nil), expected) > 1e-2, "\(kernels.name)")
            }
        }
    }

    @Test("two shards, joined along the right axes, give the bundle that one file gives")
    func shards() throws {
        let whole = try OfficialModel()
        try #require(whole.convert("int8") == 0)
        let cut = try OfficialModel()
        let source = try TorchArchive(reading: "\(cut.llama)/7B/consolidated.00.pth")
        for part in 0..<2 {
            var shard = source
            shard.tensors = source.tensors.map { Self.share($0, part: part, of: 2) }
            try shard.write(to: "\(cut.llama)/7B/consolidated.0\(part).pth")
        }
        try #require(cut.convert("int8") == 0)
        try expectSameWeights(whole.out, cut.out)
    }

    /// One model-parallel share, as the release cuts them.
    static func share(_ tensor: TorchTensor, part: Int, of parts: Int) -> TorchTensor {
        guard tensor.shape.count == 2 else { return tensor }
        var share = tensor
        let (rows, columns) = (tensor.shape[0], tensor.shape[1])
        if ["wo", "w2", "tok_embeddings"].contains(where: { tensor.name.contains("\($0).") }) {
            let width = columns / parts
            share.shape = [rows, width]
            share.values = []
            for row in 0..<rows {
                let start = row * columns + part * width
                share.values += tensor.values[start..<start + width]
            }
        } else {
            let height = rows / parts
            share.shape = [height, columns]
            share.values = Array(tensor.values[part * height * columns..<(part + 1) * height * columns])
        }
        return share
    }

    private func expectSameWeights(_ first: String, _ second: String) throws {
        let (a, b) = try (GGUFFile(path: "\(first)/language.gguf"), GGUFFile(path: "\(second)/language.gguf"))
        #expect(a.tensors.names == b.tensors.names)
        for name in a.tensors.names {
            let (x, y) = try (a.tensor(named: name), b.tensor(named: name))
            #expect(x.shape == y.shape && x.type == y.type)
            #expect(
                a.mapping.copy(x.byteRange) == b.mapping.copy(y.byteRange), "\(name)")
        }
    }

    @Test("the layout of Hugging Face, with its permuted q and k in two files, gives the bundle that the release gives")
    func huggingFace() throws {
        let released = try OfficialModel()
        try #require(released.convert("int8") == 0)
        let other = try OfficialModel()
        try Self.layOutAsHuggingFace(other, isTied: false)
        try #require(other.convert("int8") == 0)
        try expectSameWeights(released.out, other.out)

        let tied = try OfficialModel()
        try Self.layOutAsHuggingFace(tied, isTied: true)
        try #require(tied.convert("int8") == 0)
        #expect(try GGUFFile(path: "\(tied.out)/language.gguf").tensors["output.weight"] == nil)
    }

    @Test(
        "θ is read where transformers has it, before version 5 and since",
        arguments: [
            #""rope_theta": 500000"#,
            #""rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}"#,
        ])
    func theta(key: String) throws {
        let model = try OfficialModel()
        try Self.layOutAsHuggingFace(model, isTied: true, more: ", \(key)")
        try #require(model.convert("int8") == 0)
        let file = try GGUFFile(path: "\(model.out)/language.gguf")
        #expect(file.metadata["llama.rope.freq_base"] == .float32(500_000))
    }

    /// Puts transformers' layout in the place of the release; tied, the embedding is the output too.
    private static func layOutAsHuggingFace(_ model: OfficialModel, isTied: Bool, more: String = "") throws {
        let source = try TorchArchive(reading: "\(model.llama)/7B/consolidated.00.pth")
        try FileManager.default.removeItem(atPath: "\(model.llama)/7B")
        let config = """
            {"model_type": "llama", "hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 3, "rope_scaling": null,
             "num_attention_heads": 4, "rms_norm_eps": 1e-6, "tie_word_embeddings": \(isTied),
             "max_position_embeddings": 2048\(more)}
            """
        try Data(config.utf8).write(to: URL(fileURLWithPath: "\(model.llama)/config.json"))
        let tensors = source.tensors.filter { $0.name != "rope.freqs" && !(isTied && $0.name == "output.weight") }
            .map(huggingFace)
        for (index, half) in [tensors[..<10], tensors[10...]].enumerated() {
            let writer = try SafetensorsWriter(
                path: "\(model.llama)/model-0000\(index + 1)-of-00002.safetensors",
                tensors: half.map { TensorDeclaration(name: $0.name, type: .float32, shape: $0.shape) })
            for tensor in half { try writer.write(tensor.values.span) }
            try writer.finish()
        }
    }

    /// A released tensor under its name in transformers; q and k permuted as its conversion script does it:
    /// view(heads, headSize / 2, 2, columns).transpose(1, 2).
    private static func huggingFace(_ tensor: TorchTensor) -> TorchTensor {
        var result = tensor
        if tensor.name.contains(".wq.") || tensor.name.contains(".wk.") {
            let (headSize, columns) = (16, tensor.shape[1])
            result.values = []
            for row in 0..<tensor.shape[0] {
                let (head, inner) = (row / headSize, row % headSize)
                let (half, pair) = (inner / (headSize / 2), inner % (headSize / 2))
                let from = (head * headSize + 2 * pair + half) * columns
                result.values += tensor.values[from..<from + columns]
            }
        }
        let names = [
            ("tok_embeddings", "model.embed_tokens"), ("layers.", "model.layers."),
            ("attention.wq", "self_attn.q_proj"),
            ("attention.wk", "self_attn.k_proj"), ("attention.wv", "self_attn.v_proj"),
            ("attention.wo", "self_attn.o_proj"), ("feed_forward.w1", "mlp.gate_proj"),
            ("feed_forward.w2", "mlp.down_proj"), ("feed_forward.w3", "mlp.up_proj"),
            ("attention_norm", "input_layernorm"), ("ffn_norm", "post_attention_layernorm"), ("output", "lm_head"),
        ]
        for (from, to) in names { result.name = result.name.replacingOccurrences(of: from, with: to) }
        if result.name == "norm.weight" { result.name = "model.norm.weight" }
        return result
    }

    @Test("the vocabulary stands in the field's usual keys and reads back as the tokenizer it came from")
    func vocabulary() throws {
        let model = try OfficialModel()
        try #require(model.convert("int8") == 0)
        let file = try GGUFFile(path: "\(model.out)/language.gguf")
        let source = try SentencePieceModel(path: OfficialModel.source("tokenizer.model"))
        #expect(try file.string("tokenizer.ggml.model") == "llama")
        #expect(try file.strings("tokenizer.ggml.tokens") == source.pieces)
        #expect(try file.metadata.floats("tokenizer.ggml.scores") == source.scores)
        #expect(try file.integers("tokenizer.ggml.token_type") == source.types.map { Int($0.rawValue) })
        #expect(try file.integer("tokenizer.ggml.bos_token_id") == source.beginID)
        #expect(try file.integer("tokenizer.ggml.eos_token_id") == source.endID)
        #expect(try file.metadata.bool("tokenizer.ggml.add_bos_token"))
    }

    @Test("a checkpoint that says which command line made it is read all the same")
    func namespace() throws {
        let model = try OfficialModel()
        let checkpoint = try TorchArchive(reading: model.adapter)
        #expect(checkpoint.isCheckpoint)
        model.adapter = "\(model.path)/with-args.pth"
        try checkpoint.write(to: model.adapter)
        #expect(model.convert() == 0)
    }

    @Test("a checkpoint's optimiser state is passed over")
    func optimiserState() throws {
        let model = try OfficialModel()
        var checkpoint = try TorchArchive(reading: model.adapter)
        checkpoint.isCheckpoint = false
        let name = "optimizer.state.0.exp_avg"
        checkpoint[name] = TorchTensor(name: name, shape: [1], values: [1])
        model.adapter = "\(model.path)/with-state.pth"
        try checkpoint.write(to: model.adapter)
        #expect(model.convert() == 0)
    }
}
