// The official tiny model as a bundle, for tests that train: MemVP's released formats, a LLaMA of three blocks, CLIP of two.

import Foundation
import MemVP
import Tensor

/// A bundle in a folder of its own, which goes with it.
final class OfficialBundle {
    let folder: URL
    let path: String

    init(_ precision: Precision) throws {
        let files = FileManager.default
        folder = files.temporaryDirectory.appendingPathComponent("official-\(UUID().uuidString)")
        let tests = Self.tests
        let source = tests.appendingPathComponent("ModelFileTests/Fixtures").path
        let llama = folder.appendingPathComponent("llama").path
        try files.createDirectory(atPath: "\(llama)/7B", withIntermediateDirectories: true)
        try files.copyItem(atPath: "\(source)/consolidated.00.pth", toPath: "\(llama)/7B/consolidated.00.pth")
        try files.copyItem(
            atPath: tests.appendingPathComponent("CommandsTests/Fixtures/official-tiny/params.json").path,
            toPath: "\(llama)/7B/params.json")
        try files.copyItem(atPath: "\(source)/tokenizer.model", toPath: "\(llama)/tokenizer.model")
        path = folder.appendingPathComponent("bundle").path
        try BundleBuilder.convertOfficial(
            OfficialSource(llama: llama, clip: "\(source)/clip-state-dict.pt", adapter: "\(source)/checkpoint-19.pth"),
            to: path, precision: precision
        ) { _, _ in }
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    /// The folder of all tests.
    static let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// A photo of the command tests.
    static func photo(_ name: String) -> String {
        tests.appendingPathComponent("CommandsTests/Fixtures/\(name).jpg").path
    }
}
