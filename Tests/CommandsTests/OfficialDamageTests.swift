// Broken official files: each is refused by name with 65, and nothing half-written stays behind.

import Diagnostics
import Foundation
import ModelFile
import Testing

@testable import Commands

/// What is done to one of the files.
struct Damage: CustomTestStringConvertible, Sendable {
    enum File: String, Sendable { case llama, clip, checkpoint, tokenizer }

    let testDescription: String
    let file: File
    /// What the message must name beside the file.
    let names: [String]
    let change: @Sendable (String) throws -> Void

    init(_ title: String, _ file: File, names: [String], _ change: @escaping @Sendable (String) throws -> Void) {
        testDescription = "\(title): \(file.rawValue)"
        self.file = file
        self.names = names
        self.change = change
    }

    /// Reads a PyTorch file, changes it and writes it back.
    static func archive(_ change: @escaping @Sendable (inout TorchArchive) -> Void) -> @Sendable (String) throws -> Void
    {
        { path in
            var archive = try TorchArchive(reading: path)
            change(&archive)
            try archive.write(to: path)
        }
    }

    /// Changes the bytes of a file.
    static func bytes(_ change: @escaping @Sendable (inout Data) -> Void) -> @Sendable (String) throws -> Void {
        { path in
            var data = try Data(contentsOf: URL(fileURLWithPath: path))
            change(&data)
            try data.write(to: URL(fileURLWithPath: path))
        }
    }
}

@Suite("Broken official files", .serialized)
struct OfficialDamageTests {
    private static let wq = "layers.1.attention.wq.weight"
    private static let fc = "visual.transformer.resblocks.1.mlp.c_fc.weight"
    private static let e2 = "module.adapter_emb2"

    /// What is done to each of the three PyTorch files, at one tensor that it needs.
    private static func common(_ file: Damage.File, _ tensor: String) -> [Damage] {
        [
            Damage("truncated zip", file, names: ["zip"], Damage.bytes { $0.removeLast($0.count / 3) }),
            Damage("wrong central directory", file, names: ["zip"], Damage.bytes { $0[$0.count - 6] ^= 0x15 }),
            Damage(
                "forbidden global", file, names: ["posix.system"],
                Damage.archive { $0.rebuild = "posix\nsystem" }),
            Damage(
                "stride beyond the storage", file, names: [tensor, "storage"],
                Damage.archive {
                    guard var found = $0[tensor] else { return }
                    found.strides = found.shape.map { _ in 1 << 20 }
                    $0[tensor] = found
                }),
            Damage("missing tensor", file, names: [tensor], Damage.archive { $0[tensor] = nil }),
            Damage(
                "extra tensor", file, names: ["module.visual.surplus"],
                Damage.archive {
                    $0["module.visual.surplus"] = TorchTensor(name: "module.visual.surplus", shape: [1], values: [1])
                }),
            Damage(
                "wrong shape", file, names: [tensor, "shape"],
                Damage.archive {
                    guard var found = $0[tensor] else { return }
                    found.shape = [found.values.count]
                    $0[tensor] = found
                }),
            Damage(
                "not a number", file, names: [tensor],
                Damage.archive { $0[tensor]?.values[3] = .nan }),
            Damage("integers", file, names: ["not floats"], Damage.archive { $0.storage = "IntStorage" }),
        ]
    }

    static let all =
        common(.llama, wq) + common(.clip, fc) + common(.checkpoint, e2) + [
            Damage(
                "one piece fewer than the embedding has rows", .tokenizer,
                names: ["consolidated.00.pth", "tok_embeddings.weight", "599 pieces"],
                Damage.bytes { data in
                    // The first piece is field 1 with its length in one byte; control pieces can go without harm elsewhere.
                    let length = Int(data[data.startIndex + 1])
                    data.removeFirst(length + 2)
                }),
            Damage(
                "a position fewer than a square and one", .clip, names: ["visual.positional_embedding", "square"],
                Damage.archive {
                    guard var found = $0["visual.positional_embedding"] else { return }
                    found.shape[0] -= 1
                    found.values.removeLast(found.shape[1])
                    $0["visual.positional_embedding"] = found
                }),
            Damage(
                "a block more", .clip, names: ["resblocks.99.ln_1.bias"],
                Damage.archive {
                    let name = "visual.transformer.resblocks.99.ln_1.bias"
                    $0[name] = TorchTensor(name: name, shape: [1], values: [1])
                }),
            Damage(
                "a tensor with and without its prefix", .checkpoint, names: ["adapter_emb1", "twice"],
                Damage.archive {
                    guard var found = $0["module.adapter_emb1"] else { return }
                    found.name = "adapter_emb1"
                    $0["adapter_emb1"] = found
                }),
            Damage(
                "a vector for the matrix that shapes are read off", .checkpoint,
                names: ["adapter_proj.fc1.weight", "shape"],
                Damage.archive {
                    guard var found = $0["module.adapter_proj.fc1.weight"] else { return }
                    found.shape = [found.values.count]
                    $0["module.adapter_proj.fc1.weight"] = found
                }),
            Damage("truncated", .tokenizer, names: ["tokenizer.model"], Damage.bytes { $0.removeLast(7) }),
        ]

    @Test("is refused with 65, naming file and tensor; nothing stays behind", arguments: all)
    func damage(_ damage: Damage) throws {
        let model = try OfficialModel()
        let path: String
        switch damage.file {
        case .llama: path = "\(model.llama)/7B/consolidated.00.pth"
        case .tokenizer: path = "\(model.llama)/tokenizer.model"
        case .clip:
            path = "\(model.path)/clip.pt"
            try FileManager.default.copyItem(atPath: model.clip, toPath: path)
            model.clip = path
        case .checkpoint:
            path = "\(model.path)/checkpoint.pth"
            try FileManager.default.copyItem(atPath: model.adapter, toPath: path)
            model.adapter = path
        }
        try damage.change(path)
        #expect(model.convert() == 65)
        #expect(try FileManager.default.contentsOfDirectory(atPath: "\(model.path)/out").isEmpty)
        let failure = try #require(model.failure())
        if damage.file != .tokenizer { #expect(failure.object.contains(path), "\(failure)") }
        for name in damage.names { #expect(failure.description.contains(name), "\(failure)") }
        #expect(!failure.cause.isEmpty)
    }

    @Test("parts of different models, a missing part and a directory without a model are refused by name")
    func mismatches() throws {
        let wide = try OfficialModel()
        var checkpoint = try TorchArchive(reading: wide.adapter)
        for name in ["module.adapter_emb1", "module.adapter_emb2"] {
            guard var tensor = checkpoint[name] else { continue }
            tensor.shape = [1, 40, 32]
            checkpoint[name] = tensor
        }
        for name in ["module.adapter_proj.fc2.weight", "module.adapter_proj.fc2.bias"] {
            guard var tensor = checkpoint[name] else { continue }
            tensor.shape[0] = 32
            tensor.values.removeLast(tensor.values.count / 2)
            checkpoint[name] = tensor
        }
        wide.adapter = "\(wide.path)/wide.pth"
        try checkpoint.write(to: wide.adapter)
        #expect(wide.convert() == 65)
        #expect(wide.failure()?.description.contains("adapter_emb1") == true)

        let gap = try OfficialModel()
        let folder = "\(gap.llama)/7B"
        try FileManager.default.moveItem(
            atPath: "\(folder)/consolidated.00.pth", toPath: "\(folder)/consolidated.01.pth")
        #expect(gap.convert() == 65)
        #expect(gap.failure()?.object.hasSuffix("consolidated.00.pth") == true)

        let several = try OfficialModel()
        try FileManager.default.copyItem(atPath: "\(several.llama)/7B", toPath: "\(several.llama)/13B")
        #expect(several.convert() == 64)
        #expect(several.failure()?.hint.contains("13B") == true)

        let empty = try OfficialModel()
        try FileManager.default.removeItem(atPath: "\(empty.llama)/7B")
        #expect(empty.failure()?.code == .modelMissing)
    }

    @Test("norms that differ between the parts of a release are refused: the parts are of two models")
    func differentParts() throws {
        let model = try OfficialModel()
        let first = try TorchArchive(reading: "\(model.llama)/7B/consolidated.00.pth")
        for part in 0..<2 {
            var shard = first
            shard.tensors = first.tensors.map { OfficialModelTests.share($0, part: part, of: 2) }
            if part == 1 { shard["layers.1.ffn_norm.weight"]?.values[0] += 1 }
            try shard.write(to: "\(model.llama)/7B/consolidated.0\(part).pth")
        }
        let failure = try #require(model.failure())
        #expect(failure.code == .modelInvalid)
        #expect(failure.object.hasSuffix("consolidated.01.pth: tensor layers.1.ffn_norm.weight"))
    }

    @Test("a part with more rows than all parts together could have is refused before they are added up")
    func endlessParts() throws {
        let model = try OfficialModel()
        let name = "layers.0.feed_forward.w1.weight"
        var shard = try TorchArchive(reading: "\(model.llama)/7B/consolidated.00.pth")
        try #require(shard[name] != nil)
        shard[name] = TorchTensor(name: name, shape: [1 << 62, 0], values: [])
        for part in 0..<2 { try shard.write(to: "\(model.llama)/7B/consolidated.0\(part).pth") }
        let failure = try #require(model.failure())
        #expect(failure.code == .modelInvalid && failure.object.hasSuffix("7B/params.json"), "\(failure)")
    }

    @Test("what the decoder does not do is refused by what the settings say; a tensor in two files is refused")
    func settings() throws {
        let scaled = try OfficialModel()
        let parameters = "\(scaled.llama)/7B/params.json"
        let text = try String(contentsOfFile: parameters, encoding: .utf8)
        try text.replacing("{", with: #"{"use_scaled_rope": true, "#, maxReplacements: 1)
            .write(toFile: parameters, atomically: true, encoding: .utf8)
        #expect(scaled.failure()?.code == .modelUnsupported)

        let other = try OfficialModel()
        try FileManager.default.removeItem(atPath: "\(other.llama)/7B")
        for part in 1...2 {
            let writer = try SafetensorsWriter(
                path: "\(other.llama)/model-\(part).safetensors",
                tensors: [TensorDeclaration(name: "model.norm.weight", type: .float32, shape: [1])])
            let one: [Float] = [1]
            try writer.write(one.span)
            try writer.finish()
        }
        func failure(_ more: String) throws -> Failure? {
            let config = """
                {"hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 3, "num_attention_heads": 4,
                 "rms_norm_eps": 1e-6, \(more)}
                """
            try Data(config.utf8).write(to: URL(fileURLWithPath: "\(other.llama)/config.json"))
            return other.failure()
        }
        #expect(try failure(#""model_type": "mistral""#)?.code == .modelUnsupported)
        for (more, key) in [
            (#""rope_scaling": {"factor": 2}"#, "rope_scaling"),
            (#""rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5}"#, "rope_parameters.rope_type"),
            (#""hidden_act": "gelu""#, "hidden_act"),
        ] {
            let refused = try failure(more)
            #expect(refused?.code == .modelUnsupported && refused?.cause.hasSuffix(": \(key)") == true)
        }
        let twice = try failure(#""model_type": "llama""#)
        #expect(twice?.object.hasSuffix("model-2.safetensors: tensor model.norm.weight") == true)
        #expect(twice?.cause == "stands in another file too")
    }

    @Test("a checkpoint for another CLIP, of fewer features or more patches, is refused by name")
    func otherCLIP() throws {
        let narrow = try OfficialModel()
        var checkpoint = try TorchArchive(reading: narrow.adapter)
        for index in checkpoint.tensors.indices {
            let name = checkpoint.tensors[index].name
            let isInner = name.hasSuffix("adapter_proj.fc1.weight") || name.hasSuffix("adapter_mlp.fc1.weight")
            guard isInner || name.hasSuffix("adapter_mlp.fc2.weight") else { continue }
            checkpoint.tensors[index].shape[isInner ? 1 : 0] /= 2
            checkpoint.tensors[index].values.removeLast(checkpoint.tensors[index].values.count / 2)
        }
        narrow.adapter = "\(narrow.path)/narrow.pth"
        try checkpoint.write(to: narrow.adapter)
        #expect(narrow.failure()?.object.hasSuffix("narrow.pth: tensor adapter_proj.fc1.weight") == true)

        let short = try OfficialModel()
        checkpoint = try TorchArchive(reading: short.adapter)
        for name in ["module.adapter_emb1", "module.adapter_emb2"] {
            guard var tensor = checkpoint[name] else { continue }
            tensor.shape[1] /= 2
            tensor.values.removeLast(tensor.values.count / 2)
            checkpoint[name] = tensor
        }
        short.adapter = "\(short.path)/short.pth"
        try checkpoint.write(to: short.adapter)
        #expect(short.failure()?.object.hasSuffix("short.pth: tensor adapter_emb1") == true)
    }
}
