// A random model of a few kilobytes, written here tensor by tensor: a `llama` GGUF as others make them, an encoder and
// adapters. What the tests of conversion and installation work on.

import Foundation
import ModelFile
import Specification
import Tensor
import Vision

@testable import MemVP

/// SplitMix64: the same sequence everywhere.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    mutating func floats(_ count: Int) -> [Float] { (0..<count).map { _ in .random(in: -1...1, using: &self) } }
}

/// A directory that goes away with the value.
final class Workshop {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("memvp-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func contents(_ folder: String = "") throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: "\(path)/\(folder)").sorted()
    }

    func bytes(_ name: String) throws -> [UInt8] {
        try [UInt8](Data(contentsOf: URL(fileURLWithPath: "\(path)/\(name)")))
    }
}

/// The shape of a tiny decoder.
struct TinyLlama {
    var width = 32
    var hidden = 48
    var layers = 2
    var heads = 2
    var keyValueHeads = 1
    let headSize = 16
    var type = ElementType.float32
    var hasOutput = false
    var seed: UInt64 = 1
    var metadata: [(String, GGUFValue)] = []
    var extraTensors: [TensorDeclaration] = []
    /// Applied to the first matrix's bytes.
    var spoil: ([UInt8]) -> [UInt8] = { $0 }

    static let pieces =
        ["<|end|>", "<|start|>"] + (0x21...0x7E).map { String(Unicode.Scalar(UInt8($0))) } + ["Ġ", "he"]

    var tensors: [TensorDeclaration] {
        func matrix(_ name: String, _ rows: Int, _ columns: Int) -> TensorDeclaration {
            let fits = columns % type.blockElements == 0
            return TensorDeclaration(name: name, type: fits ? type : .float32, shape: [rows, columns])
        }
        func vector(_ name: String) -> TensorDeclaration {
            TensorDeclaration(name: name, type: .float32, shape: [width])
        }
        var list = [matrix("token_embd.weight", Self.pieces.count, width), vector("output_norm.weight")]
        for layer in 0..<layers {
            let name = "blk.\(layer)"
            list += [
                vector("\(name).attn_norm.weight"), matrix("\(name).attn_q.weight", heads * headSize, width),
                matrix("\(name).attn_k.weight", keyValueHeads * headSize, width),
                matrix("\(name).attn_v.weight", keyValueHeads * headSize, width),
                matrix("\(name).attn_output.weight", width, heads * headSize), vector("\(name).ffn_norm.weight"),
                matrix("\(name).ffn_gate.weight", hidden, width), matrix("\(name).ffn_up.weight", hidden, width),
                matrix("\(name).ffn_down.weight", width, hidden),
            ]
        }
        if hasOutput { list.append(matrix("output.weight", Self.pieces.count, width)) }
        return list + extraTensors
    }

    func write(to path: String) throws {
        var random = SeededGenerator(state: seed)
        var keys: [(String, GGUFValue)] = [
            ("general.architecture", .string("llama")), ("general.name", .string("tiny")),
            ("general.license", .string("CC0-1.0")), ("llama.embedding_length", .uint32(UInt32(width))),
            ("llama.feed_forward_length", .uint32(UInt32(hidden))), ("llama.block_count", .uint32(UInt32(layers))),
            ("llama.attention.head_count", .uint32(UInt32(heads))),
            ("llama.attention.head_count_kv", .uint32(UInt32(keyValueHeads))),
            ("llama.attention.key_length", .uint32(UInt32(headSize))),
            ("llama.attention.layer_norm_rms_epsilon", .float32(1e-5)), ("llama.context_length", .uint32(64)),
            ("llama.rope.dimension_count", .uint32(UInt32(headSize))), ("tokenizer.ggml.model", .string("gpt2")),
            ("tokenizer.ggml.pre", .string("smollm")), ("tokenizer.ggml.tokens", .strings(Self.pieces)),
            ("tokenizer.ggml.merges", .strings(["h e"])), ("tokenizer.ggml.eos_token_id", .uint32(0)),
            ("tokenizer.ggml.bos_token_id", .uint32(1)),
            ("tokenizer.ggml.token_type", .int32s([3, 3] + [Int32](repeating: 1, count: Self.pieces.count - 2))),
        ]
        for (key, value) in metadata {
            keys.removeAll { $0.0 == key }
            keys.append((key, value))
        }
        let writer = try GGUFWriter(path: path, metadata: keys, tensors: tensors)
        for (index, tensor) in tensors.enumerated() {
            let count = tensor.shape.reduce(1, *)
            var bytes: [UInt8] = []
            switch tensor.type {
            case .float32, .float16:
                let values = random.floats(count)
                if index == 0, tensor.type == .float32 {
                    bytes = spoil(
                        values.flatMap { value in
                            (0..<4).map { UInt8(truncatingIfNeeded: value.bitPattern >> (8 * UInt32($0))) }
                        })
                    try writer.write(bytes.span)
                } else {
                    try writer.write(values.span)
                }
                continue
            case .bfloat16:
                for value in random.floats(count) {
                    bytes += [
                        UInt8(truncatingIfNeeded: value.bitPattern >> 16),
                        UInt8(truncatingIfNeeded: value.bitPattern >> 24),
                    ]
                }
            default:
                // Blocks of ggml: binary16 scale (and minimum), then any bytes at all, -128 among them.
                let halves = tensor.type == .q4_1 ? 2 : 1
                for _ in 0..<count / 32 {
                    for _ in 0..<halves {
                        let bits = Float16(Float.random(in: 0.01...1, using: &random)).bitPattern
                        bytes += [UInt8(truncatingIfNeeded: bits), UInt8(truncatingIfNeeded: bits >> 8)]
                    }
                    for _ in 0..<tensor.type.blockBytes - 2 * halves {
                        bytes.append(.random(in: 0...255, using: &random))
                    }
                }
                if index == 0 { bytes = spoil(bytes) }
            }
            try writer.write(bytes.span)
        }
        try writer.finish()
    }
}

enum TinyVision {
    /// Patches of the encoder, and so the least slots of an adapter.
    static let patches = 4
    static let features = 16

    /// A vision.gguf: 32 × 32 pixels, a stem and three blocks of 16 channels.
    static func write(to path: String, precision: Precision) throws {
        var random = SeededGenerator(state: 5)
        let keys = EfficientNetConfiguration.keys
        let metadata: [(String, GGUFValue)] = [
            ("general.architecture", .string(EfficientNetConfiguration.architecture)),
            ("general.name", .string("tiny")),
            ("memvpd.precision", .string(precision.rawValue)), ("memvpd.source.sha256", .string("tiny vision")),
            ("\(keys).image_size", .uint32(32)), ("\(keys).stem", .uint32(16)), ("\(keys).head", .uint32(16)),
            ("\(keys).block.kernel", .int32s([3, 3, 3])), ("\(keys).block.stride", .int32s([2, 2, 2])),
            ("\(keys).block.input", .int32s([16, 16, 16])), ("\(keys).block.expanded", .int32s([16, 16, 16])),
            ("\(keys).block.output", .int32s([16, 16, 16])),
        ]
        func matrix(_ name: String, _ columns: Int, exact: Bool = false) -> [TensorPlan] {
            let values = random.floats(16 * columns)
            let bias = random.floats(16)
            return [
                TensorPlan(name, .matrix(rows: 16, columns: columns), exact: exact) { values },
                TensorPlan("\(name).bias", .vector(count: 16)) { bias },
            ]
        }
        var plan = matrix("stem", 27, exact: true)
        for block in 0..<3 {
            let taps = random.floats(9 * 16)
            let bias = random.floats(16)
            plan += [
                TensorPlan("blk.\(block).depthwise", .depthwise(kernel: 3, channels: 16)) { taps },
                TensorPlan("blk.\(block).depthwise.bias", .vector(count: 16)) { bias },
            ]
            plan += matrix("blk.\(block).project", 16)
        }
        plan += matrix("head", 16)
        let writer = try GGUFWriter(
            path: path, metadata: metadata, tensors: plan.flatMap { $0.declarations(precision) }, alignment: 64)
        for tensor in plan { try tensor.write(to: writer, precision: precision) }
        try writer.finish()
    }
}

enum TinyAdapter {
    /// A safetensors file with an adapter whose E₁ begins with `mark`.
    static func write(to path: String, mark: Float, width: Int = 32) throws {
        var random = SeededGenerator(state: 11)
        let shapes: [(String, [Int])] = [
            ("fc1.weight", [8, TinyVision.features]), ("fc1.bias", [8]), ("fc2.weight", [width, 8]),
            ("fc2.bias", [width]),
            ("e1", [TinyVision.patches, width]), ("e2", [TinyVision.patches, width]),
        ]
        let writer = try SafetensorsWriter(
            path: path, tensors: shapes.map { TensorDeclaration(name: $0.0, type: .float32, shape: $0.1) })
        for (name, shape) in shapes {
            var values = random.floats(shape.reduce(1, *))
            if name == "e1" { values[0] = mark }
            try writer.write(values.span)
        }
        try writer.finish()
    }
}

extension Workshop {
    /// Imports `model` into the bundle `name`; the encoder is the tiny one.
    func bundle(_ name: String, _ model: TinyLlama, precision: Precision = .int8, adapter: Bool = false) throws
        -> String
    {
        try model.write(to: "\(path)/\(name).gguf")
        return try bundle(name, from: "\(path)/\(name).gguf", precision: precision, adapter: adapter)
    }

    /// Imports a GGUF into the bundle `name`.
    func bundle(_ name: String, from gguf: String, precision: Precision = .int8, adapter: Bool = false) throws -> String
    {
        let vision = "\(path)/vision-\(precision.rawValue).gguf"
        try TinyVision.write(to: vision, precision: precision)
        let bundle = "\(path)/\(name)"
        try BundleBuilder.importLanguage(
            gguf, vision: vision, name: nil, licence: nil, end: nil, side: 260, to: bundle, precision: precision
        ) { _, _ in }
        if adapter {
            try TinyAdapter.write(to: "\(path)/adapter.safetensors", mark: 1)
            try BundleBuilder.addAdapter("\(path)/adapter.safetensors", name: "a", kinds: [.caption, .ask], to: bundle)
        }
        return bundle
    }
}
