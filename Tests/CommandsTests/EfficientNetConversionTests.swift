// Checkpoints of EfficientNet-Lite: what is no number, or none once batch norm is folded in, is refused by its tensor's name.

import Diagnostics
import Foundation
import ModelFile
import Tensor
import Testing
import Vision

@testable import MemVP

@Suite("EfficientNet checkpoints")
struct EfficientNetConversionTests {
    /// A directory that goes away with the value.
    private final class Folder {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("lite-\(UUID().uuidString)").path

        init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }

        deinit { try? FileManager.default.removeItem(atPath: path) }
    }

    private let folder: Folder

    init() throws { folder = try Folder() }

    /// A stem, a block that keeps its input's width, one that widens it, and a head; all values from 0.25 to 1.
    private static var checkpoint: TorchArchive {
        var tensors: [TorchTensor] = []
        func add(_ name: String, _ shape: [Int]) {
            let values = (0..<shape.reduce(1, *)).map { Float($0 % 7) / 8 + 0.25 }
            tensors.append(TorchTensor(name: name, shape: shape, values: values))
        }
        func norm(_ name: String, _ channels: Int) {
            for part in ["weight", "bias", "running_mean", "running_var"] { add("\(name).\(part)", [channels]) }
        }
        add("_conv_stem.weight", [16, 3, 3, 3])
        norm("_bn0", 16)
        add("_blocks.0._depthwise_conv.weight", [16, 1, 3, 3])
        norm("_blocks.0._bn1", 16)
        add("_blocks.0._project_conv.weight", [16, 16, 1, 1])
        norm("_blocks.0._bn2", 16)
        add("_blocks.1._expand_conv.weight", [32, 16, 1, 1])
        norm("_blocks.1._bn0", 32)
        add("_blocks.1._depthwise_conv.weight", [32, 1, 5, 5])
        norm("_blocks.1._bn1", 32)
        add("_blocks.1._project_conv.weight", [24, 32, 1, 1])
        norm("_blocks.1._bn2", 24)
        add("_conv_head.weight", [16, 24, 1, 1])
        norm("_bn1", 16)
        return TorchArchive(tensors)
    }

    private func convert(_ archive: TorchArchive, _ precision: Precision = .int8) throws -> EfficientNetLite {
        let source = "\(folder.path)/lite.pth"
        let target = "\(folder.path)/vision.gguf"
        try archive.write(to: source)
        let conversion = try EfficientNetConversion(PyTorchFile(path: source), side: 32, precision: precision)
        try conversion.write(to: target, sourceHash: "tiny")
        return try EfficientNetLite(file: GGUFFile(path: target))
    }

    private func refused(_ archive: TorchArchive, _ tensor: String, _ cause: String) throws {
        let failure = #expect(throws: Failure.self) { try convert(archive) }
        #expect(failure?.code == .modelInvalid)
        #expect(failure?.object.hasSuffix("lite.pth: tensor \(tensor)") == true, "\(String(describing: failure))")
        #expect(failure?.cause.contains(cause) == true, "\(String(describing: failure))")
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["lite.pth"])
    }

    @Test("a checkpoint of numbers becomes an encoder", arguments: [Precision.int8, .float32])
    func sound(precision: Precision) throws {
        let configuration = try convert(Self.checkpoint, precision).configuration
        #expect(configuration.blocks.map(\.expanded) == [16, 32] && configuration.blocks.map(\.output) == [16, 24])
        #expect(configuration.blocks.map(\.kernel) == [3, 5] && configuration.patches == 256)
    }

    @Test(
        "what is not finite is refused, in every kind of tensor",
        arguments: [
            "_conv_stem.weight", "_blocks.0._depthwise_conv.weight", "_blocks.1._expand_conv.weight", "_bn0.weight",
            "_blocks.0._bn2.bias", "_blocks.1._bn1.running_mean", "_blocks.1._bn2.running_var", "_conv_head.weight",
        ], [Float.nan, .infinity])
    func numbers(name: String, value: Float) throws {
        var archive = Self.checkpoint
        archive[name]?.values[1] = value
        try refused(archive, name, "not finite")
    }

    @Test(
        "a tensor of another shape is refused by its name in the source",
        arguments: [
            ("_blocks.1._expand_conv.weight", [32, 15, 1, 1], "has 480 values where 512 are needed"),
            ("_blocks.0._depthwise_conv.weight", [16, 1, 3, 2], "has 96 values where 144 are needed"),
            ("_bn0.bias", [15], "has 15 values where 16 are needed"),
            ("_conv_stem.weight", [16, 27], "where 4 dimensions are needed"),
        ])
    func shapes(name: String, shape: [Int], cause: String) throws {
        var archive = Self.checkpoint
        let values = [Float](repeating: 0.5, count: shape.reduce(1, *))
        archive[name] = TorchTensor(name: name, shape: shape, values: values)
        try refused(archive, name, cause)
    }

    @Test("a block that no encoder has is said of the file")
    func blocks() throws {
        var archive = Self.checkpoint
        let name = "_blocks.0._depthwise_conv.weight"
        archive[name] = TorchTensor(name: name, shape: [16, 1, 2, 2], values: [Float](repeating: 1, count: 64))
        let failure = #expect(throws: Failure.self) { try convert(archive) }
        #expect(failure?.object.hasSuffix("lite.pth: vision block 0") == true, "\(String(describing: failure))")
    }

    @Test("a variance below 0 is refused, even where ε would hide it; one of 0 is not")
    func variances() throws {
        var archive = Self.checkpoint
        let name = "_blocks.1._bn2.running_var"
        archive[name]?.values[3] = -1e-4
        try refused(archive, name, "below 0")
        archive[name]?.values[3] = 0
        _ = try convert(archive)
    }

    @Test("numbers whose product is none are refused by the tensor that they are folded into")
    func products() throws {
        for (norm, part, tensor) in [
            ("_bn0", "weight", "_conv_stem.weight"),
            ("_blocks.0._bn1", "weight", "_blocks.0._depthwise_conv.weight"), ("_bn1", "running_mean", "_bn1.bias"),
        ] {
            var archive = Self.checkpoint
            archive["\(norm).\(part)"]?.values[1] = 3e38
            archive["\(norm).running_var"]?.values[1] = 0
            try refused(archive, tensor, "not finite with \(norm) folded into it")
        }
    }
}
