// CLIP as released (openai/CLIP), TorchScript archive or state dictionary, becomes a bundle's vision.gguf: the vision
// transformer without its last block and its projection, which MemVP's official code does not run. The text side is left out.

internal import Diagnostics
internal import ModelFile
internal import Tensor
internal import Vision

/// Converts the vision encoder.
struct CLIPConversion {
    /// Values of a head in every released CLIP: heads = width / 64 (model.py, `VisionTransformer`).
    private static let headSize = 64
    private static let blocks = "visual.transformer.resblocks"

    /// The shape of the part that runs.
    let configuration: CLIPConfiguration
    private let source: CheckpointTensors

    /// Reads the architecture off the tensors' shapes.
    ///
    /// - Throws: `model_invalid` when the tensors do not form a CLIP vision transformer.
    init(_ file: PyTorchFile, precision: Precision) throws(Failure) {
        let source = CheckpointTensors(file: file)
        self.source = source
        let convolution = try source.entry("visual.conv1.weight").shape
        let positions = try source.entry("visual.positional_embedding").shape
        guard convolution.count == 4, convolution[1] == 3, convolution[2] == convolution[3], positions.count == 2 else {
            throw Failure(
                .modelInvalid, "\(file.path): tensor visual.conv1.weight",
                "and visual.positional_embedding have the shapes \(convolution) and \(positions)",
                hint: "CLIP models with a vision transformer are supported.")
        }
        let grid = Int(Double(max(0, positions[0] - 1)).squareRoot().rounded())
        guard grid > 0, grid <= 64, grid * grid + 1 == positions[0], (1...256).contains(convolution[2]) else {
            throw Failure(
                .modelInvalid, "\(file.path): tensor visual.positional_embedding",
                "has \(positions[0]) positions, which are not a square of patches and a class token")
        }
        let layers = try Self.layers(of: file)
        let hidden = try source.entry("\(Self.blocks).0.mlp.c_fc.weight").shape
        do {
            configuration = try CLIPConfiguration(
                side: grid * convolution[2], patch: convolution[2], width: convolution[0], hidden: hidden.first ?? 0,
                layers: layers - 1, heads: max(1, convolution[0] / Self.headSize), precision: precision)
        } catch { throw error.about(file.path) }
        try source.refuse { Self.isKnown($0, layers: layers) }
    }

    /// Writes `target`.
    ///
    /// - Throws: the reader's and the writer's failures.
    func write(to target: String, sourceHash: String, progress: (Double) -> Void) throws(Failure) {
        let c = configuration
        let plan = try plan()
        let keys = CLIPConfiguration.keys
        let metadata: [(String, GGUFValue)] = [
            ("general.architecture", .string(CLIPConfiguration.architecture)),
            ("general.name", .string("CLIP vision transformer")),
            ("memvpd.precision", .string(c.precision.rawValue)),
            ("memvpd.source.sha256", .string(sourceHash)),
            ("\(keys).image_size", .uint32(UInt32(c.side))),
            ("\(keys).patch_size", .uint32(UInt32(c.patch))),
            ("\(keys).embedding_length", .uint32(UInt32(c.width))),
            ("\(keys).feed_forward_length", .uint32(UInt32(c.hidden))),
            ("\(keys).block_count", .uint32(UInt32(c.layers))),
            ("\(keys).attention.head_count", .uint32(UInt32(c.attention.heads))),
        ]
        let writer = try GGUFWriter(
            path: target, metadata: metadata, tensors: plan.flatMap { $0.declarations(c.precision) }, alignment: 64)
        for (index, tensor) in plan.enumerated() {
            try tensor.write(to: writer, precision: c.precision)
            progress(Double(index + 1) / Double(plan.count))
        }
        try writer.finish()
    }

    // MARK: Names

    /// Blocks in the file, which must be numbered without a gap.
    private static func layers(of file: PyTorchFile) throws(Failure) -> Int {
        var count = 0
        while file.tensors["\(blocks).\(count).ln_1.weight"] != nil, count <= 256 { count += 1 }
        guard (1...256).contains(count) else {
            throw Failure(
                .modelInvalid, "\(file.path): tensor \(blocks).0.ln_1.weight",
                count == 0 ? "is not there" : "is followed by more than 256 blocks",
                hint: "CLIP models with a vision transformer are supported.")
        }
        return count
    }

    /// What a CLIP file may hold: the vision transformer, and the text side and constants that are not used here.
    private static func isKnown(_ name: String, layers: Int) -> Bool {
        let constants: Set<String> = [
            "logit_scale", "text_projection", "positional_embedding", "input_resolution", "context_length",
            "vocab_size", "visual.proj", "visual.class_embedding", "visual.positional_embedding",
            "visual.conv1.weight", "visual.input_resolution",
        ]
        if constants.contains(name) { return true }
        if ["transformer.", "token_embedding.", "ln_final."].contains(where: name.hasPrefix) { return true }
        let ends = [".weight", ".bias"]
        if ends.contains(where: { name == "visual.ln_pre\($0)" || name == "visual.ln_post\($0)" }) { return true }
        guard name.hasPrefix("\(blocks).") else { return false }
        let rest = name.dropFirst(blocks.count + 1).split(separator: ".", maxSplits: 1)
        guard rest.count == 2, let layer = Int(rest[0]), layer < layers else { return false }
        return Self.blockTensors.contains(String(rest[1]))
    }

    private static let blockTensors: Set<String> = [
        "attn.in_proj_weight", "attn.in_proj_bias", "attn.out_proj.weight", "attn.out_proj.bias", "ln_1.weight",
        "ln_1.bias", "ln_2.weight", "ln_2.bias", "mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight",
        "mlp.c_proj.bias",
    ]

    // MARK: Tensors

    private func plan() throws(Failure) -> [TensorPlan] {
        let c = configuration
        let convolution = try source.entry("visual.conv1.weight", [c.width, 3, c.patch, c.patch])
        var plan = [
            TensorPlan("patch_embd", .matrix(rows: c.width, columns: 3 * c.patch * c.patch), exact: true) {
                () throws(Failure) -> [Float] in
                Self.channelsLast(try source.values(convolution), rows: c.width, taps: c.patch * c.patch)
            },
            try vector("class_embd", "visual.class_embedding", [c.width]),
            try vector("position_embd", "visual.positional_embedding", [c.tokens, c.width]),
        ]
        plan += try norm("pre_ln", "visual.ln_pre")
        for index in 0..<c.layers {
            let name = "blk.\(index)"
            let from = "\(Self.blocks).\(index)"
            plan += try norm("\(name).ln1", "\(from).ln_1")
            for (part, end) in ["q", "k", "v"].enumerated() {
                plan += try projection("\(name).attn_\(end)", "\(from).attn.in_proj", part: part)
            }
            plan += try linear("\(name).attn_out", "\(from).attn.out_proj", c.width, c.width)
            plan += try norm("\(name).ln2", "\(from).ln_2")
            plan += try linear("\(name).ffn_up", "\(from).mlp.c_fc", c.hidden, c.width)
            plan += try linear("\(name).ffn_down", "\(from).mlp.c_proj", c.width, c.hidden)
        }
        return plan + (try norm("post_ln", "visual.ln_post"))
    }

    private func vector(_ name: String, _ from: String, _ shape: [Int]) throws(Failure) -> TensorPlan {
        let entry = try source.entry(from, shape)
        return TensorPlan(name, .vector(count: shape.reduce(1, *))) { () throws(Failure) -> [Float] in
            try source.values(entry)
        }
    }

    private func norm(_ name: String, _ from: String) throws(Failure) -> [TensorPlan] {
        [
            try vector("\(name).weight", "\(from).weight", [configuration.width]),
            try vector("\(name).bias", "\(from).bias", [configuration.width]),
        ]
    }

    private func linear(_ name: String, _ from: String, _ rows: Int, _ columns: Int) throws(Failure) -> [TensorPlan] {
        let weight = try source.entry("\(from).weight", [rows, columns])
        return [
            TensorPlan(name, .matrix(rows: rows, columns: columns)) { () throws(Failure) -> [Float] in
                try source.values(weight)
            },
            try vector("\(name).bias", "\(from).bias", [rows]),
        ]
    }

    /// One third of PyTorch's fused query, key and value projection.
    private func projection(_ name: String, _ from: String, part: Int) throws(Failure) -> [TensorPlan] {
        let width = configuration.width
        let weight = try source.entry("\(from)_weight", [3 * width, width])
        let bias = try source.entry("\(from)_bias", [3 * width])
        return [
            TensorPlan(name, .matrix(rows: width, columns: width)) { () throws(Failure) -> [Float] in
                try source.values(weight, rows: part * width..<(part + 1) * width)
            },
            TensorPlan("\(name).bias", .vector(count: width)) { () throws(Failure) -> [Float] in
                Array(try source.values(bias)[part * width..<(part + 1) * width])
            },
        ]
    }

    /// [rows, 3, patch, patch] as PyTorch orders it (colour, row, column) to row, column, colour.
    private static func channelsLast(_ weight: [Float], rows: Int, taps: Int) -> [Float] {
        var result = weight
        for row in 0..<rows {
            for colour in 0..<3 {
                for tap in 0..<taps {
                    result[(row * taps + tap) * 3 + colour] = weight[(row * 3 + colour) * taps + tap]
                }
            }
        }
        return result
    }
}
