// The negative log-likelihood of given captions under a bundle: all captions of an image in one forward pass.
//
// Invariant: `total` is the sum over answer tokens and end tokens of −ln p(token | image, prompt, tokens before it).

internal import Diagnostics
internal import Files
internal import Glibc
internal import Language
internal import MemVP
internal import Specification
internal import Tensor
internal import Text
internal import Vision

/// Adds up the captions that it is given.
final class ToolboxCaptionScorer {
    /// Σ −ln p, in nats.
    private(set) var total = 0.0
    /// Tokens counted.
    private(set) var tokens = 0
    /// Images encoded.
    private(set) var images = 0
    var kernels: String { compute.kernels.name }
    var precision: String { bundle.precision.rawValue }

    private let bundle: ModelBundle
    private let compute: Compute
    private let prompt: [TextPart]
    private let form: AnswerForm
    private let projector: VisualProjector
    private let vision: VisionWorker
    private let adapter: Adapter
    private let adapterName: String
    private let state: LlamaState
    private let rows: TokenRows
    /// Rows of a sequence that fits into one pass and into the model's context, image tokens among them.
    private let longest: Int

    /// A scorer with the bundle's template for captions.
    ///
    /// - Throws: `model_missing` without a template or an adapter for captions, `model_invalid` for a wrong template.
    init(bundle: ModelBundle, compute: Compute, adapter: String?) throws(Failure) {
        let template = try bundle.taskTemplate(.caption)
        self.bundle = bundle
        self.compute = compute
        prompt = try template.prompt.parts()
        form = template.form
        self.adapter = try ToolboxModel.adapter(adapter, for: .caption, in: bundle)
        adapterName = adapter ?? bundle.description.adapters[.caption] ?? ""
        projector = try VisualProjector(adapter: self.adapter, patches: bundle.vision.patches)
        vision = VisionWorker(bundle.vision, compute: compute)
        rows = TokenRows(capacity: 512 + self.adapter.configuration.imageTokens)
        longest = min(rows.capacity, bundle.language.positions)
        state = LlamaState(
            bundle.language.configuration, compute: compute, rows: rows.capacity, logitRows: 64,
            positions: bundle.language.positions, slots: self.adapter.configuration.slots)
    }

    /// exp of the mean −ln p of what was counted.
    ///
    /// - Throws: `model_invalid` where that is no number, or beyond all.
    func perplexity() throws(Failure) -> Double {
        let perplexity = exp(total / Double(max(1, tokens)))
        guard perplexity.isFinite else { throw bundle.withoutNumber(adapter: adapterName, for: "the captions") }
        return perplexity
    }

    /// Adds the captions of one image.
    ///
    /// - Parameter photo: the path of the image; nil for none.
    /// - Returns: for each caption nil, or why it was not added: `prompt_too_long` for one that does not fit a pass or
    ///   the model's context.
    /// - Throws: the photo's failures; nothing was added then.
    func score(captions: [String], image photo: String?) throws(Failure) -> [Failure?] {
        let image = try visualPrompt(of: photo)
        var targets: [(row: Int, token: Int32)] = []
        var failures = [Failure?](repeating: nil, count: captions.count)
        rows.removeAll()
        for (place, caption) in captions.enumerated() {
            let example = form.example(caption, after: prompt, bundle.tokenizer)
            let text = example.tokens.dropLast()
            let input = VisualPrompt.inputs(image, before: text)
            guard !text.isEmpty, example.promptCount >= 1, input.count <= longest else {
                failures[place] = Failure(
                    .promptTooLong, "", "takes \(input.count) positions with its prompt; at most \(longest) fit")
                continue
            }
            if input.count > rows.capacity - rows.count {
                add(targets)
                targets = []
                rows.removeAll()
            }
            let cache = bundle.language.makeCache(capacity: input.count)
            guard let placed = rows.append(input[...], cache: cache, memory: image.memory) else { continue }
            let first = placed.upperBound - text.count
            for index in example.promptCount..<example.tokens.count {
                targets.append((first + index - 1, example.tokens[index]))
            }
        }
        add(targets)
        return failures
    }

    /// Runs the rows and adds −ln p of each target.
    private func add(_ targets: [(row: Int, token: Int32)]) {
        guard !targets.isEmpty else { return }
        bundle.language.forward(rows, state: state, compute: compute)
        let places = targets.map(\.row)
        var start = 0
        while start < places.count {
            let end = min(start + state.logitCapacity, places.count)
            let logits = bundle.language.logits(of: places[start..<end], state: state, compute: compute)
            for index in start..<end {
                let logit = logits.row(index - start)[Int(targets[index].token)]
                total += Double(compute.greedy(logits, row: index - start).logSumExp) - Double(logit)
            }
            start = end
        }
        tokens += targets.count
    }

    private func visualPrompt(of photo: String?) throws(Failure) -> VisualPrompt {
        guard let photo else { return try projector.visualPrompt(of: nil, compute: compute) }
        let bytes = try InputFile.read(photo, limit: ImageLimits().maxBytes, tooLarge: .imageTooLarge)
        let prepared: PreparedImage
        do {
            prepared = try bundle.prepare(photo: bytes)
        } catch { throw error.about(photo) }
        images += 1
        let features = vision.encode(
            prepared.pixels.span, layers: adapter.configuration.layers, adapters: adapter.vision)
        return try projector.visualPrompt(of: features, compute: compute)
    }
}
