// Reads an encoder from a bundle's vision.gguf, whose tensors stand packed for the kernels (docs/FORMAT.md).

public import Diagnostics
public import ModelFile
internal import Tensor

extension EfficientNetConfiguration {
    /// The architecture name of our own vision files.
    public static let architecture = "memvpd-efficientnet-lite"
    /// Prefix of the configuration's keys.
    public static let keys = "efficientnet"
}

extension EfficientNetLite {
    /// Maps the encoder in `file`.
    ///
    /// - Throws: `model_unsupported` for another architecture, `model_invalid` for missing or misshapen tensors.
    public convenience init(file: GGUFFile) throws(Failure) {
        try file.requireArchitecture(EfficientNetConfiguration.architecture)
        let precision = try file.precision()
        let configuration = try Self.configuration(of: file, precision: precision)
        func pointwise(_ name: String, _ rows: Int, _ columns: Int) throws(Failure) -> EfficientNetWeights.Pointwise {
            EfficientNetWeights.Pointwise(
                weight: try file.packedMatrix(name, precision: precision, rows: rows, columns: columns),
                bias: try file.vector("\(name).bias", count: rows))
        }
        var blocks: [EfficientNetWeights.Block] = []
        for (index, block) in configuration.blocks.enumerated() {
            let name = "blk.\(index)"
            blocks.append(
                EfficientNetWeights.Block(
                    expand: block.expands ? try pointwise("\(name).expand", block.expanded, block.input) : nil,
                    depthwise: try file.depthwiseWeights(
                        "\(name).depthwise", channels: block.expanded, kernel: block.kernel),
                    depthwiseBias: try file.vector("\(name).depthwise.bias", count: block.expanded),
                    project: try pointwise("\(name).project", block.output, block.expanded)))
        }
        let last = configuration.blocks.last?.output ?? configuration.stem
        self.init(
            configuration: configuration,
            weights: EfficientNetWeights(
                stem: EfficientNetWeights.Pointwise(
                    weight: try file.exactMatrix("stem", rows: configuration.stem, columns: 27),
                    bias: try file.vector("stem.bias", count: configuration.stem)),
                blocks: blocks, head: try pointwise("head", configuration.head, last)))
    }

    private static func configuration(of file: GGUFFile, precision: Precision) throws(Failure)
        -> EfficientNetConfiguration
    {
        let keys = EfficientNetConfiguration.keys
        let kernels = try file.integers("\(keys).block.kernel")
        let strides = try file.integers("\(keys).block.stride")
        let inputs = try file.integers("\(keys).block.input")
        let expansions = try file.integers("\(keys).block.expanded")
        let outputs = try file.integers("\(keys).block.output")
        guard [strides, inputs, expansions, outputs].allSatisfy({ $0.count == kernels.count }) else {
            throw Failure(.modelInvalid, "\(file.path): \(keys).block.*", "have different lengths")
        }
        let blocks = kernels.indices.map { index in
            EfficientNetBlock(
                kernel: kernels[index], stride: strides[index], input: inputs[index], expanded: expansions[index],
                output: outputs[index])
        }
        let (side, stem) = (try file.integer("\(keys).image_size"), try file.integer("\(keys).stem"))
        let head = try file.integer("\(keys).head")
        // What the file throws names it; the checks know numbers alone.
        do {
            return try EfficientNetConfiguration(
                side: side, stem: stem, blocks: blocks, head: head, precision: precision)
        } catch { throw error.about(file.path) }
    }
}
