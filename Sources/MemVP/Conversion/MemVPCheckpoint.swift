// A checkpoint of MemVP's official training (`checkpoint-N.pth`): the trainable tensors under `model`, each name with
// `module.` before it, beside an optimiser's state that is passed over.
//
// Failure modes: `model_invalid`, naming file and tensor.

internal import Diagnostics
internal import ModelFile

/// Reads the official checkpoint into an adapter.
struct MemVPCheckpoint {
    /// Shapes of what was read, with the constants that the caller chose.
    let configuration: Adapter.Configuration
    /// The tensors.
    let tensors: Adapter.Tensors

    /// What else a checkpoint may hold at its top, of no use for answering.
    private static let passedOver = ["optimizer.", "scaler.", "lr_scheduler.", "args."]
    /// A remnant of LaVIN that MemVP's forward pass does not use.
    private static let unused: Set<String> = ["adapter_modality_embedding.weight"]
    private static let blocks = "backbone.visual.transformer.resblocks"

    private let source: CheckpointTensors
    private let names: [String: String]

    /// Reads the checkpoint at `path`.
    ///
    /// - Parameters:
    ///   - layers: blocks of the vision encoder that run.
    ///   - lambda: λ.
    ///   - scale: s.
    ///   - visionScale: what the vision adapters' contribution is multiplied by.
    init(path: String, layers: Int, lambda: Float, scale: Float, visionScale: Float) throws(Failure) {
        let source = CheckpointTensors(file: try PyTorchFile(path: path))
        self.source = source
        let names = try Self.names(source)
        self.names = names
        let file = source.file.path
        // A name that is not there is named as it should stand in the file.
        let prefix = names.first.map { $0.value.dropLast($0.key.count) } ?? ""
        func full(_ name: String) -> String { names[name] ?? "\(prefix)\(name)" }
        func shape(_ name: String, rank: Int) throws(Failure) -> [Int] {
            let shape = try source.entry(full(name)).shape
            guard shape.count == rank, shape.allSatisfy({ (1...65_536).contains($0) }) else {
                throw Failure(.modelInvalid, "\(file): tensor \(full(name))", "has the shape \(shape)")
            }
            return shape
        }
        func values(_ name: String, _ shape: [Int]) throws(Failure) -> [Float] {
            try source.values(source.entry(full(name), shape))
        }
        let fc1 = try shape("adapter_proj.fc1.weight", rank: 2)
        let e1 = try shape("adapter_emb1", rank: 3)
        let c = Adapter.Configuration(
            features: fc1[1], hidden: fc1[0], width: e1[2], slots: e1[1], lambda: lambda, scale: scale)
        configuration = c
        let rank = try shape("\(Self.blocks).0.adapter_mlp.fc1.weight", rank: 2)[0]
        var vision = Adapter.VisionTensors(rank: rank, scale: visionScale, fc1: [], fc2: [])
        for layer in 0..<layers {
            let name = "\(Self.blocks).\(layer).adapter_mlp"
            vision.fc1.append(try values("\(name).fc1.weight", [rank, c.features]))
            vision.fc2.append(try values("\(name).fc2.weight", [c.features, rank]))
        }
        tensors = Adapter.Tensors(
            fc1Weight: try values("adapter_proj.fc1.weight", [c.hidden, c.features]),
            fc1Bias: try values("adapter_proj.fc1.bias", [c.hidden]),
            fc2Weight: try values("adapter_proj.fc2.weight", [c.width, c.hidden]),
            fc2Bias: try values("adapter_proj.fc2.bias", [c.width]),
            e1: try values("adapter_emb1", [1, c.slots, c.width]),
            e2: try values("adapter_emb2", [1, c.slots, c.width]), vision: vision)
        try refuseUnknown(layers: layers)
    }

    /// The file's names by the names in the code: without `model.` and `module.`.
    private static func names(_ source: CheckpointTensors) throws(Failure) -> [String: String] {
        var names: [String: String] = [:]
        for name in source.names where !passedOver.contains(where: name.hasPrefix) {
            var short = name[...]
            for prefix in ["model.", "module."] where short.hasPrefix(prefix) { short = short.dropFirst(prefix.count) }
            guard names.updateValue(name, forKey: String(short)) == nil else {
                throw Failure(.modelInvalid, "\(source.file.path): tensor \(name)", "is there twice")
            }
        }
        return names
    }

    private func refuseUnknown(layers: Int) throws(Failure) {
        var known = Self.unused.union(["adapter_emb1", "adapter_emb2"])
        for layer in ["fc1", "fc2"] {
            known.formUnion(["adapter_proj.\(layer).weight", "adapter_proj.\(layer).bias"])
            // The last block does not run; its adapter was in the optimiser's list nevertheless.
            known.formUnion((0...layers).map { "\(Self.blocks).\($0).adapter_mlp.\(layer).weight" })
        }
        let strays = Set(names.filter { !known.contains($0.key) }.values)
        try source.refuse { !strays.contains($0) }
    }
}
