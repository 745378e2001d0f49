// What a run begins with: fresh parameters, or those of an adapter that is there, whose shape and constants then hold.

internal import Diagnostics
internal import Language
internal import MemVP
internal import Tensor
internal import Vision

/// Makes the parameters of a run.
struct StartingAdapter {
    let bundle: ModelBundle
    let compute: Compute
    let configuration: TrainingConfiguration

    /// Fresh parameters, in the measure of the encoder's features on the photos of `rows`.
    ///
    /// - Throws: `usage` for too few slots, and for options of a vision transformer where there is none;
    ///   `configuration_invalid` for blocks that the encoder lacks; what keeps photos from being encoded.
    func fresh(_ rows: [ExampleRow]) throws(Failure) -> TrainableAdapter {
        let c = configuration
        try checkVision()
        let slots = c.slots ?? bundle.vision.patches
        guard slots >= bundle.vision.patches else {
            throw Failure(
                .usage, "--slots \(slots)",
                "is fewer than the encoder's \(bundle.vision.patches) patches",
                hint: "Leave --slots out, or give at least as many.")
        }
        let layers = try FeatureScale.layers(
            c.featureBlocks ?? bundle.vision.stageBlocks, of: rows, bundle: bundle, compute: compute)
        return TrainableAdapter(
            Adapter.Configuration(
                features: bundle.vision.width(of: layers) ?? bundle.vision.features,
                hidden: c.hidden ?? TrainingConfiguration.defaultHidden, width: bundle.language.configuration.width,
                slots: slots, lambda: c.lambda ?? TrainingConfiguration.defaultLambda,
                scale: c.scale ?? TrainingConfiguration.defaultScale, prompting: c.prompting ?? .memory, layers: layers),
            seed: c.seed, visionBlocks: c.freezesVision ? 0 : bundle.vision.trainableBlocks,
            visionRank: c.visionRank ?? TrainingConfiguration.defaultVisionRank)
    }

    /// The parameters of the adapter at `path`, with rows added where more slots are asked for.
    ///
    /// - Throws: those of `ModelBundle.openAdapter`; `usage` as above; `configuration_invalid` where an option asks for what
    ///   the adapter is not.
    func adapter(at path: String) throws(Failure) -> TrainableAdapter {
        let c = configuration
        try checkVision()
        // Whether it fits, and whether it holds numbers only: int8 would round one that is none away.
        _ = try bundle.openAdapter(path: path)
        let (shape, tensors) = try AdapterFile.tensors(path: path, base: bundle.base)
        try check("--prompting", c.prompting?.rawValue, shape.prompting.rawValue, path)
        try check("--feature-blocks", c.featureBlocks.map(Self.name), Self.name(shape.layers.blocks.map(\.index)), path)
        try check("--hidden", c.hidden, shape.hidden, path)
        try check("--lambda", c.lambda, shape.lambda, path)
        try check("--scale", c.scale, shape.scale, path)
        try check("--vision-rank", c.visionRank, tensors.vision?.rank, path)
        if let slots = c.slots, slots < shape.slots { try check("--slots", slots, shape.slots, path) }
        let (wide, widened) = TrainableAdapter.widened(shape, tensors, slots: c.slots ?? shape.slots, seed: c.seed)
        return TrainableAdapter(wide, tensors: widened, freezesVision: c.freezesVision)
    }

    private static func name(_ blocks: [Int]) -> String {
        blocks.isEmpty ? "result" : blocks.map { "\($0)" }.joined(separator: ",")
    }

    /// Nothing can stand beside the blocks of a convolutional encoder, and an option that changes nothing is refused.
    private func checkVision() throws(Failure) {
        let rank = configuration.visionRank.map { "--vision-rank \($0)" }
        let asked: String? = configuration.freezesVision ? "--freeze-vision" : rank
        guard let asked, bundle.vision.trainableBlocks == 0 else { return }
        throw Failure(
            .usage, asked, "is about adapters beside a vision transformer's blocks, and \(bundle.path) has none",
            hint: "Leave it out.")
    }

    /// An option that would be passed over in silence is refused.
    private func check<Value: Equatable>(
        _ option: String, _ asked: Value?, _ found: Value?, _ path: String
    ) throws(Failure) {
        guard let asked, asked != found else { return }
        throw Failure(
            .configurationInvalid, "\(option) \(asked)",
            "is not that of \(path), which has \(found.map { "\($0)" } ?? "none")",
            hint: "Leave \(option) out\(found.map { " or give \($0)" } ?? ""), or begin with another adapter.")
    }
}
