// Broken official files: each is refused by name with 65, and nothing half-written stays behind.

import Diagnostics
import Foundation
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
        ]
    }

    static let all =
        common(.llama, wq) + common(.clip, fc) + common(.checkpoint, e2) + [
            Damage(
                "one piece fewer than the embedding has rows", .tokenizer,
                names: ["consolidated.00.pth", "tok_embeddings.weight", "599"],
                Damage.bytes { data in
                    // The first piece is field 1 with its length in one byte; control pieces can go without harm elsewhere.
                    let length = Int(data[data.startIndex + 1])
                    data.removeFirst(length + 2)
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
}
