// Answers of an adapter in training, through serving's engine, from features that are at hand: what a reward or a validation
// scores. Nothing is decoded or encoded again.
//
// Invariant: an answer follows from the parameters, the photo, the prompt and the seed alone, never from what runs beside it.

internal import Diagnostics
internal import Language
internal import MemVP
internal import Tensor
internal import Vision

/// A prompt about a photo, to be answered once or several times.
struct DrawingRequest {
    /// The photo's key in its source.
    var photo: String
    /// The prompt in tokens.
    var prompt: [Int32]
    /// The token that ends an answer.
    var end: Int32
    /// How each of the answers is drawn.
    var samplings: [Sampling]
}

/// Draws answers; owns an engine.
final class AnswerDrawing {
    private let bundle: ModelBundle
    private let compute: Compute
    private let photos: PhotoSource
    private let engine: Engine
    private let features: FloatRows  // [patches, features]
    private let longest: Int

    /// Room for `streams` answers at a time of up to `longest` tokens, under adapters of `shape`.
    init(
        bundle: ModelBundle, compute: Compute, photos: PhotoSource, shape: Adapter.Configuration, streams: Int,
        longest: Int
    ) {
        self.bundle = bundle
        self.compute = compute
        self.photos = photos
        self.longest = longest
        engine = Engine(
            model: bundle.language, compute: compute,
            limits: EngineLimits(streams: streams, rows: 512, positions: bundle.language.positions, slots: shape.slots))
        features = FloatRows(capacity: bundle.vision.patches, columns: shape.features)
    }

    /// The answers to each request, in the order of its samplings.
    ///
    /// - Parameters:
    ///   - dropout: what the adapter does not see of the photos.
    ///   - after: is told after each pass how many answers it ended; what it throws ends the work.
    /// - Throws: `model_invalid` when a parameter is not a number; `prompt_too_long`; the photo source's failures.
    func answers(
        _ requests: [DrawingRequest], of adapter: TrainableAdapter, dropout: FeatureDropout? = nil,
        after: (Int) throws(Failure) -> Void = { _ in }
    ) throws(Failure) -> [[TokenResult]] {
        var dropout = dropout
        let present = try Adapter(adapter.configuration, tensors: adapter.tensors, precision: bundle.precision)
        let projector = try VisualProjector(adapter: present, patches: bundle.vision.patches)
        var results = requests.map { [TokenResult?](repeating: nil, count: $0.samplings.count) }
        var places: [Int: (request: Int, answer: Int)] = [:]
        // Whoever draws next has the engine to himself, however this ends.
        defer { engine.cancel(Set(places.keys)) }
        var next = 0
        while next < requests.count || !engine.isIdle {
            while next < requests.count, engine.freeStreams > 0 {
                let tasks = try tasks(requests[next], projector, &dropout)
                for (answer, stream) in engine.submit(tasks).enumerated() { places[stream] = (next, answer) }
                next += 1
            }
            let ended = engine.step()
            for (stream, result) in ended {
                guard let place = places.removeValue(forKey: stream) else { continue }
                results[place.request][place.answer] = result
            }
            try after(ended.count)
        }
        return results.map { $0.compactMap { $0 } }
    }

    private func tasks(
        _ request: DrawingRequest, _ projector: VisualProjector, _ dropout: inout FeatureDropout?
    ) throws(Failure) -> [TokenTask] {
        try photos.features(request.photo, into: features, at: 0, compute: compute)
        dropout?.drop(features, photos: [request.photo], patches: bundle.vision.patches)
        let image = try projector.visualPrompt(of: features, compute: compute)
        let tasks = request.samplings.map { sampling in
            TokenTask(
                prompt: request.prompt,
                goal: .generate(maximumTokens: longest, end: request.end, sampling: sampling), image: image)
        }
        guard tasks.allSatisfy(engine.fits) else {
            throw Failure(.promptTooLong, "a prompt of \(request.prompt.count) tokens", "does not fit with its answer")
        }
        return tasks
    }
}
