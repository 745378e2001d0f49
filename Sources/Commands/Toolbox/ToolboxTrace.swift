// `memvp trace`: one photo and one prompt through the model, with what every stage gave, for comparison with other
// implementations. Failure modes: those of the bundle, the photo and the output file.

internal import ArgumentParser
internal import Diagnostics
internal import Files
internal import Language
internal import MemVP
internal import ModelFile
internal import Specification
internal import Tensor
internal import Text
internal import Vision

/// `memvp trace`
struct ToolboxTrace: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trace", abstract: "Write what every stage of the model gives, as safetensors.",
        discussion: """
            Tensors: pixels [1, 3, side, side] normalised, vision [patches, features], projected [patches, width] \
            with λ (the rows of V), layer<i>.prefill [prompt, width] after block i, logits [steps, vocabulary], ids [steps], prompt_ids. \
            Greedy; the end of text does not end it. Without an image V is zero, and E₁ and E₂ stay; image tokens in the \
            sequence count to the prompt; --adapter none runs the bare language model.
            """)

    @OptionGroup var model: ToolboxModelOptions

    @Option(help: ArgumentHelp("A photo.", valueName: "file.jpg"))
    var image: String?

    @Option(
        help: ArgumentHelp("Normalised pixels in a tensor `pixels` [1, 3, side, side].", valueName: "file.safetensors"))
    var pixels: String?

    @Flag(help: "No image.")
    var noImage = false

    @Option(help: ArgumentHelp("The prompt, byte for byte; control tokens are read as such.", valueName: "file"))
    var promptFile: String

    @Option(help: "Tokens to generate, 1 to 1024.")
    var steps = 16

    @Option(help: "The adapter; by default the bundle's for captions. `none`: the bare language model.")
    var adapter: String?

    @Option(help: ArgumentHelp("The file to write.", valueName: "file.safetensors"))
    var out: String

    @Flag(help: "Write the ids and their text as JSON.")
    var json = false

    func validate() throws {
        guard [image != nil, pixels != nil, noImage].filter({ $0 }).count == 1 else {
            throw ValidationError("Give one of --image, --pixels and --no-image.")
        }
        guard (1...1_024).contains(steps) else { throw ValidationError("--steps is \(steps); it must be 1 to 1024.") }
    }

    func run() throws {
        let inputs = [image, pixels, promptFile, ToolboxModel.file(of: adapter)].compactMap { $0 }
        try ToolboxOutput.check(out, reading: inputs, bundle: model.model)
        let bundle = try model.bundle()
        let compute = try model.compute()
        let written = try InputFile.read(promptFile, limit: 1 << 20, tooLarge: .promptTooLong)
        guard let text = String(validating: written, as: UTF8.self) else {
            throw Failure(.specInvalid, promptFile, "is not UTF-8")
        }
        let prompt = bundle.tokenizer.prompt([.template(text)])
        let positions = bundle.language.positions - (try chosenAdapter(bundle)?.configuration.imageTokens ?? 0)
        guard !prompt.isEmpty, prompt.count + steps <= positions else {
            throw Failure(
                .promptTooLong, promptFile,
                "has \(prompt.count) tokens; with \(steps) more at least 1 and at most \(positions) fit")
        }
        var trace = ToolboxTraceFile()
        let image = try see(bundle, compute, into: &trace)
        let ids = generate(bundle, compute, prompt: prompt, image: image, into: &trace)
        try trace.write(to: out)
        let answer = bundle.tokenizer.decode(ids)
        if json {
            try Output.write(
                ToolboxJSON.line(ToolboxTraceSummary(ids: ids, kernels: compute.kernels.name, text: answer)))
        } else {
            try Output.write("\(out): \(trace.names.joined(separator: ", "))\n\(answer.harmlessLines)")
        }
    }

    /// The image as the adapter shows it, with `pixels`, `vision` (the encoder's result), `vision.blocks` (where the
    /// adapter reads blocks instead) and `projected` on the way.
    private func see(
        _ bundle: ModelBundle, _ compute: Compute, into trace: inout ToolboxTraceFile
    ) throws(Failure) -> VisualPrompt? {
        let chosen = try chosenAdapter(bundle)
        var features: FloatRows?
        if let interleaved = try normalisedPixels(bundle) {
            let side = bundle.vision.side
            trace.add("pixels", [1, 3, side, side], Self.planes(interleaved, side: side))
            let layers = chosen?.configuration.layers ?? .result
            let rows = VisionWorker(bundle.vision, compute: compute).encode(
                interleaved.span, layers: [.result, layers], adapters: chosen?.vision)
            trace.add("vision", rows[0], count: bundle.vision.patches)
            if layers != .result { trace.add("vision.blocks", rows[1], count: bundle.vision.patches) }
            features = rows[1]
        }
        guard let chosen else { return nil }
        let patches = bundle.vision.patches
        let projector = try VisualProjector(adapter: chosen, patches: patches)
        let image = try projector.visualPrompt(of: features, compute: compute)
        if features != nil {
            let lambda = chosen.configuration.lambda
            trace.add(
                "projected", [patches, chosen.configuration.width],
                ToolboxTraceFile.values(projector.projected, count: patches).map { lambda * $0 })
        }
        return image
    }

    /// The adapter that runs; nil for the bare language model.
    private func chosenAdapter(_ bundle: ModelBundle) throws(Failure) -> Adapter? {
        if adapter == "none" || adapter == nil && bundle.description.adapters[.caption] == nil { return nil }
        return try ToolboxModel.adapter(adapter, for: .caption, in: bundle)
    }

    /// Pixels as the encoder takes them, [side, side, 3]; nil without an image.
    private func normalisedPixels(_ bundle: ModelBundle) throws(Failure) -> [Float]? {
        if let image {
            let bytes = try InputFile.read(image, limit: ImageLimits().maxBytes, tooLarge: .imageTooLarge)
            do {
                return try bundle.prepare(photo: bytes).pixels
            } catch { throw error.about(image) }
        }
        guard let pixels else { return nil }
        let side = bundle.vision.side
        let file = try SafetensorsFile(path: pixels)
        let tensor = try file.tensor(named: "pixels")
        guard tensor.shape == [1, 3, side, side] || tensor.shape == [3, side, side] else {
            throw Failure(
                .modelInvalid, "\(pixels): tensor pixels", "has the shape \(tensor.shape), not [1, 3, \(side), \(side)]"
            )
        }
        let values = try file.floats(of: tensor)
        guard values.allSatisfy(\.isFinite) else {
            throw Failure(
                .modelInvalid, "\(pixels): tensor pixels", "holds a value that is not finite",
                hint: "Write numbers, normalised as model.yaml says.")
        }
        return Self.interleaved(values, side: side)
    }

    /// [side, side, 3] to [3, side, side]
    static func planes(_ pixels: [Float], side: Int) -> [Float] {
        let area = side * side
        return (0..<3 * area).map { pixels[$0 % area * 3 + $0 / area] }
    }

    /// [3, side, side] to [side, side, 3]
    static func interleaved(_ planes: [Float], side: Int) -> [Float] {
        let area = side * side
        return (0..<3 * area).map { planes[$0 % 3 * area + $0 / 3] }
    }

    /// `steps` greedy tokens, with each block's output over the prompt and the logits of every step.
    private func generate(
        _ bundle: ModelBundle, _ compute: Compute, prompt: [Int32], image: VisualPrompt?,
        into trace: inout ToolboxTraceFile
    ) -> [Int32] {
        let language = bundle.language
        let vocabulary = language.configuration.vocabulary
        var pending = VisualPrompt.inputs(image, before: prompt)
        let length = pending.count
        let rows = TokenRows(capacity: length)
        let state = LlamaState(
            language.configuration, compute: compute, rows: length, logitRows: 1, positions: language.positions,
            slots: max(1, image?.memory?.slots ?? 1))
        let cache = language.makeCache(capacity: length + steps)
        var ids: [Int32] = []
        var logits: [Float] = []
        logits.reserveCapacity(steps * vocabulary)
        while ids.count < steps {
            rows.removeAll()
            guard rows.append(pending[...], cache: cache, memory: image?.memory) != nil else { break }
            var blocks: [(Int, [Float])] = []
            let isPrefill = ids.isEmpty
            language.forward(rows, state: state, compute: compute) { layer, output in
                if isPrefill { blocks.append((layer, ToolboxTraceFile.values(output, count: length))) }
            }
            for (layer, values) in blocks {
                trace.add("layer\(layer).prefill", [length, language.configuration.width], values)
            }
            let last = language.logits(of: [rows.count - 1], state: state, compute: compute)
            logits += last.array(row: 0)
            let choice = Int32(compute.greedy(last, row: 0).index)
            ids.append(choice)
            pending = [.token(choice)]
        }
        trace.add("logits", [steps, vocabulary], logits)
        trace.ids = [("prompt_ids", prompt), ("ids", ids)]
        return ids
    }
}

/// What `trace --json` prints.
struct ToolboxTraceSummary: Encodable {
    var ids: [Int32]
    var kernels: String
    var text: String
}

/// Tensors gathered for a trace.
struct ToolboxTraceFile {
    private var tensors: [(name: String, shape: [Int], values: [Float])] = []
    /// Token ids, by tensor name.
    var ids: [(name: String, values: [Int32])] = []

    /// The tensors' names.
    var names: [String] { tensors.map(\.name) + ids.map(\.name) }

    mutating func add(_ name: String, _ shape: [Int], _ values: [Float]) { tensors.append((name, shape, values)) }

    mutating func add(_ name: String, _ rows: FloatRows, count: Int) {
        add(name, [count, rows.columns], Self.values(rows, count: count))
    }

    /// The first `count` rows, without their padding.
    static func values(_ rows: FloatRows, count: Int) -> [Float] { (0..<count).flatMap { rows.array(row: $0) } }

    /// Writes the file.
    ///
    /// - Throws: the writer's failures.
    func write(to path: String) throws(Failure) {
        let writer = try SafetensorsWriter(
            path: path,
            tensors: tensors.map { TensorDeclaration(name: $0.name, type: .float32, shape: $0.shape) }
                + ids.map { TensorDeclaration(name: $0.name, type: .int32, shape: [$0.values.count]) })
        for tensor in tensors { try writer.write(tensor.values.span) }
        for tensor in ids { try writer.write(tensor.values.span) }
        try writer.finish()
    }
}
