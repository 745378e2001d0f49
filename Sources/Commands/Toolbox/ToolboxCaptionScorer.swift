// The negative log-likelihood of given captions under a bundle: all captions of an image in one forward pass.
//
// Invariant: `total` is the sum over answer tokens and end tokens of −ln p(token | image, prompt, tokens before it).

internal import Diagnostics
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
    private let state: LlamaState
    private let rows = TokenRows(capacity: 512)

    /// A scorer with the bundle's template for captions.
    ///
    /// - Throws: `model_missing` without a template or an adapter for captions, `model_invalid` for a wrong template.
    init(bundle: ModelBundle, compute: Compute, adapter: String?) throws(Failure) {
        guard let template = bundle.description.templates[.caption],
            let style = AnswerForm.Style(rawValue: template.style)
        else {
            throw Failure(.modelMissing, bundle.path, "has no template for captions", hint: "Convert the model again.")
        }
        self.bundle = bundle
        self.compute = compute
        prompt = try PromptTemplate(template.prompt, placeholders: []).parts()
        form = try AnswerForm(separator: template.separator, end: template.end, style: style, bundle.tokenizer)
        self.adapter = try ToolboxModel.adapter(adapter, for: .caption, in: bundle)
        projector = try VisualProjector(adapter: self.adapter, patches: bundle.vision.patches)
        vision = VisionWorker(bundle.vision, compute: compute)
        state = LlamaState(
            bundle.language.configuration, compute: compute, rows: rows.capacity, logitRows: 64,
            positions: bundle.language.positions, slots: bundle.slots)
    }

    /// Adds the captions of one image.
    ///
    /// - Parameter image: the photo's path; nil for no image.
    /// - Throws: the photo's failures; `prompt_too_long` for a caption that does not fit a pass.
    func score(captions: [String], image: String?) throws(Failure) {
        let memory = try memory(of: image)
        var targets: [(row: Int, token: Int32)] = []
        rows.removeAll()
        for caption in captions {
            let example = form.example(caption, after: prompt, bundle.tokenizer)
            let input = example.tokens.dropLast()
            guard !input.isEmpty, example.promptCount >= 1, input.count <= rows.capacity else {
                throw Failure(
                    .promptTooLong, image ?? "caption", "has a caption of \(input.count) tokens; \(rows.capacity) fit")
            }
            if input.count > rows.capacity - rows.count {
                add(targets)
                targets = []
                rows.removeAll()
            }
            let cache = bundle.language.makeCache(capacity: input.count)
            guard let placed = rows.append(input, cache: cache, memory: memory) else { continue }
            for index in example.promptCount..<example.tokens.count {
                targets.append((placed.lowerBound + index - 1, example.tokens[index]))
            }
        }
        add(targets)
    }

    /// Runs the rows and adds −ln p of each target.
    private func add(_ targets: [(row: Int, token: Int32)]) {
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

    private func memory(of image: String?) throws(Failure) -> FeedForwardMemory {
        guard let image else { return try projector.memory(of: nil, compute: compute) }
        let bytes = try ToolboxFile.read(image, limit: ImageLimits().maxBytes)
        let prepared: PreparedImage
        do {
            prepared = try bundle.prepare(photo: bytes)
        } catch { throw error.about(image) }
        images += 1
        let features = vision.encode(prepared.pixels.span, adapters: adapter.vision)
        return try projector.memory(of: features, compute: compute)
    }
}
