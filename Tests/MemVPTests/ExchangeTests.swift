// `llama` GGUF files from elsewhere become bundles, and bundles become such files again.

import Diagnostics
import Foundation
import Language
import ModelFile
import Specification
import Tensor
import Testing

@testable import MemVP

@Suite("Language models out of GGUF and into it")
struct ExchangeTests {
    let workshop: Workshop

    init() throws { workshop = try Workshop() }

    /// Where each tensor of a source stands in the bundle's packed matrices.
    private func placed(_ model: TinyLlama) -> [(
        source: String, packed: String, rows: Int, columns: Int, place: (Int) -> Int
    )] {
        let queries = model.heads * model.headSize
        let keys = model.keyValueHeads * model.headSize
        let vocabulary = TinyLlama.pieces.count
        var list: [(source: String, packed: String, rows: Int, columns: Int, place: (Int) -> Int)] = [
            ("token_embd", "token_embd", vocabulary, model.width, { $0 })
        ]
        if model.hasOutput { list.append(("output", "output", vocabulary, model.width, { $0 })) }
        for layer in 0..<model.layers {
            let name = "blk.\(layer)"
            let all = queries + 2 * keys
            list += [
                ("\(name).attn_q", "\(name).attn_qkv", all, model.width, { $0 }),
                ("\(name).attn_k", "\(name).attn_qkv", all, model.width, { $0 + queries }),
                ("\(name).attn_v", "\(name).attn_qkv", all, model.width, { $0 + queries + keys }),
                ("\(name).attn_output", "\(name).attn_output", model.width, queries, { $0 }),
                ("\(name).ffn_gate", "\(name).ffn_gate_up", 2 * model.hidden, model.width, { $0 / 16 * 32 + $0 % 16 }),
                (
                    "\(name).ffn_up", "\(name).ffn_gate_up", 2 * model.hidden, model.width,
                    { $0 / 16 * 32 + 16 + $0 % 16 }
                ),
                ("\(name).ffn_down", "\(name).ffn_down", model.width, model.hidden, { $0 }),
            ]
        }
        return list
    }

    @Test(
        "every element type is imported: float32 to the bit, int8 within half a step of its row, without -128",
        arguments: [ElementType.float32, .float16, .bfloat16, .q8_0, .q4_0, .q4_1])
    func types(_ type: ElementType) throws {
        var model = TinyLlama(type: type, hasOutput: true)
        // The least int8 there is, in a block whose scale is large: the row's largest magnitude.
        if type == .q8_0 { model.spoil = { [0x00, 0x3c] + [0x80] + $0.dropFirst(3) } }
        let exact = try GGUFFile(path: workshop.bundle("f32", model, precision: .float32) + "/language.gguf")
        let coarse = try GGUFFile(path: workshop.bundle("int8", model) + "/language.gguf")
        let source = try GGUFFile(path: "\(workshop.path)/int8.gguf")
        #expect(try source.tensor(named: "blk.0.attn_q.weight").type == type)
        for (name, packed, rows, columns, place) in placed(model) {
            let values = try source.floats(named: "\(name).weight")
            let floats = try exact.unpackedFloats(packed, rows: rows, columns: columns)
            let (integers, scales) = try coarse.unpackedIntegers(packed, rows: rows, columns: columns)
            #expect(integers.allSatisfy { $0 >= -127 })
            for row in 0..<values.count / columns {
                let range = place(row) * columns..<(place(row) + 1) * columns
                let wanted = values[row * columns..<(row + 1) * columns]
                #expect(Array(floats[range]) == Array(wanted), "\(name) row \(row)")
                let scale = scales[place(row)]
                for (found, value) in zip(integers[range], wanted) {
                    #expect(abs(Float(found) * scale - value) <= 0.501 * scale, "\(name) row \(row)")
                }
            }
        }
        if type == .q8_0 {
            #expect(try source.floats(named: "token_embd.weight")[0] == -128)
            let (integers, scales) = try coarse.unpackedIntegers(
                "token_embd", rows: TinyLlama.pieces.count, columns: model.width)
            #expect(integers[0] == -127)
            #expect(abs(scales[0] * 127 - 128) < 1e-4)
        }
    }

    @Test(
        "import, export, import, export: the same integers and the same file",
        arguments: [Precision.int8, .float32], [32, 48])
    func roundTrip(precision: Precision, width: Int) throws {
        let model = TinyLlama(width: width, type: .float32, hasOutput: width == 48)
        let first = try workshop.bundle("first", model, precision: precision)
        let once = "\(workshop.path)/once.gguf"
        try BundleBuilder.exportLanguage(first, to: once) { _, _ in }
        let second = try workshop.bundle("second", from: once, precision: precision)
        try BundleBuilder.exportLanguage(second, to: "\(workshop.path)/twice.gguf") { _, _ in }
        #expect(try workshop.bytes("once.gguf") == workshop.bytes("twice.gguf"))

        // What was exported is the source, within the steps of the two quantisations.
        let source = try GGUFFile(path: "\(workshop.path)/first.gguf")
        let exported = try GGUFFile(path: once)
        #expect(exported.tensors.names.sorted() == source.tensors.names.sorted())
        for tensor in source.tensors.entries {
            let found = try exported.tensor(named: tensor.name)
            #expect(found.shape == tensor.shape)
            let isBlocked = tensor.shape.count == 2 && tensor.columns % 32 == 0
            #expect(found.type == (isBlocked ? .q8_0 : .float32))
            let wanted = try source.floats(of: tensor)
            // Half a step of the row, and half a unit in the last place of its 16-bit scale.
            let allowed: Float = tensor.shape.count == 1 ? 0 : 0.5 / 127 + 1 / 2_048
            for (a, b) in zip(try exported.floats(of: found), wanted) {
                #expect(abs(a - b) <= allowed, "\(tensor.name)")
            }
        }
        if precision == .int8 {
            for (_, packed, rows, columns, _) in placed(model) {
                let a = try GGUFFile(path: "\(first)/language.gguf").unpackedIntegers(
                    packed, rows: rows, columns: columns)
                let b = try GGUFFile(path: "\(second)/language.gguf").unpackedIntegers(
                    packed, rows: rows, columns: columns)
                #expect(a.values == b.values)
                for (x, y) in zip(a.scales, b.scales) { #expect(abs(x - y) <= x / 2_048) }
            }
        }
    }

    @Test("an export keeps shape and tokenizer under the names that others read")
    func metadata() throws {
        let bundle = try workshop.bundle("b", TinyLlama())
        let path = "\(workshop.path)/out.gguf"
        try BundleBuilder.exportLanguage(bundle, to: path) { _, _ in }
        let source = try GGUFFile(path: "\(workshop.path)/b.gguf")
        let exported = try GGUFFile(path: path)
        #expect(try exported.string("general.architecture") == "llama")
        #expect(try exported.integer("general.file_type") == 7)
        for key in source.metadata.keys where !key.hasPrefix("general.") {
            #expect(exported.metadata[key] == source.metadata[key], "\(key)")
        }
        #expect(!exported.metadata.keys.contains { $0.hasPrefix("memvpd.") })
        #expect(throws: Failure.self) { try BundleBuilder.exportLanguage(workshop.path, to: path) { _, _ in } }
    }

    @Test("an imported bundle opens, is named after its source and answers once it has an adapter")
    func answers() throws {
        let path = try workshop.bundle("b", TinyLlama(), adapter: true)
        let bundle = try ModelBundle(path: path, positions: 64)
        #expect(bundle.description.name == "tiny")
        #expect(bundle.description.licence == "CC0-1.0")
        #expect(bundle.description.templates[.caption]?.end == "<|end|>")
        #expect(bundle.description.image.side == 32)
        let compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 1)
        let answerer = try Answerer(bundle: bundle, compute: compute, batch: 2, promptTokens: 32, answerTokens: 16)
        let image = try bundle.prepare(photo: Fixture.bytes("rocket.jpg"))
        let task = TaskSpec.Task(id: "q", work: .ask(question: "he?", answer: .choice(["he", "no"])))
        _ = try answerer.submit(image: image, tasks: [task], contentSeed: 0)
        var answers: [Answer] = []
        while !answerer.isIdle { for ended in answerer.step() { answers += ended.answers.answers } }
        #expect(answers.count == 1)
        #expect(abs((answers.first?.probabilities?.reduce(0) { $0 + $1.probability } ?? 0) - 1) < 1e-9)
    }

    @Test("what this decoder does not do is refused by name, not skipped")
    func refusals() throws {
        func refused(_ model: TinyLlama, _ code: FailureCode, _ part: String) throws {
            let failure = #expect(throws: Failure.self) { try workshop.bundle("refused", model) }
            #expect(failure?.code == code)
            #expect(failure?.description.contains(part) == true, "\(String(describing: failure))")
        }
        let keys: [(String, GGUFValue)] = [
            ("llama.rope.scaling.type", .string("yarn")), ("llama.expert_count", .uint32(8)),
            ("llama.rope.dimension_count", .uint32(8)), ("llama.attention.value_length", .uint32(32)),
            ("llama.attention.sliding_window", .uint32(512)), ("llama.logit_scale", .float32(2)),
        ]
        for key in keys { try refused(TinyLlama(metadata: [key]), .modelUnsupported, key.0) }
        try refused(
            TinyLlama(metadata: [("general.architecture", .string("gemma"))]), .modelUnsupported, "architecture gemma")
        for name in ["blk.0.attn_q.bias", "rope_freqs.weight", "blk.2.attn_q.weight"] {
            let extra = TensorDeclaration(name: name, type: .float32, shape: [32])
            try refused(TinyLlama(extraTensors: [extra]), .modelUnsupported, name)
        }
        try refused(TinyLlama(hidden: 40), .modelInvalid, "feed_forward_length")
        var infinite = TinyLlama()
        infinite.spoil = { [0, 0, 0x80, 0x7f] + $0.dropFirst(4) }
        try refused(infinite, .modelInvalid, "not finite")
        try refused(TinyLlama(metadata: [("tokenizer.ggml.eos_token_id", .uint32(9))]), .modelInvalid, "--end")
        let plain = TinyLlama(metadata: [
            ("llama.rope.scaling.type", .string("none")), ("llama.expert_count", .uint32(0)),
        ])
        _ = try workshop.bundle("plain", plain)
    }

    @Test("an encoder of another precision is refused")
    func encoder() throws {
        try TinyLlama().write(to: "\(workshop.path)/l.gguf")
        try TinyVision.write(to: "\(workshop.path)/v.gguf", precision: .float32)
        let failure = #expect(throws: Failure.self) {
            try BundleBuilder.importLanguage(
                "\(workshop.path)/l.gguf", vision: "\(workshop.path)/v.gguf", name: nil, licence: nil, end: nil,
                side: 32,
                to: "\(workshop.path)/b", precision: .int8
            ) { _, _ in }
        }
        #expect(failure?.code == .modelUnsupported)
        #expect(failure?.hint.contains("int8") == true)
    }
}
