// The measurements of `memvp bench`.
//
// Invariant: the serving part comes first and its worker is gone before the engine's own measurements begin, so that the
// peak of resident memory is that of one worker, as in the daemon.

internal import Diagnostics
internal import FoundationEssentials
internal import Language
internal import MemVP
internal import Specification
internal import Tensor
internal import Vision

/// One benchmark of one bundle.
struct ToolboxBenchmark {
    let options: ToolboxModelOptions
    let photo: [UInt8]
    let photoPath: String
    let runs: Int

    /// Measures everything.
    ///
    /// - Throws: the bundle's and the photo's failures; `model_missing` when the bundle cannot caption,
    ///   `model_unsupported` when its context is too short for the prompts.
    func run() throws(Failure) -> ToolboxBenchReport {
        var progress = ToolboxProgress()
        defer { progress.end() }
        progress.show("ready", 0)
        let clock = ContinuousClock()
        let start = clock.now
        let bundle = try options.bundle()
        try checkContext(of: bundle)
        let compute = try options.compute()
        var report = ToolboxBenchReport(kernels: compute.kernels.name, threads: compute.threads)
        let image: PreparedImage
        do {
            image = try bundle.prepare(photo: photo)
        } catch { throw error.about(photoPath) }
        try serve(bundle, compute, since: start, into: &report, &progress)
        try encode(bundle, compute, image, into: &report, &progress)
        report.peakMegabytes = ToolboxTime.rounded(Self.peakMegabytes, 1)
        return report
    }

    /// Whether the longest prompt and the token that follows it fit, before minutes have gone into what does.
    private func checkContext(of bundle: ModelBundle) throws(Failure) {
        let adapter = try ToolboxModel.adapter(nil, for: .caption, in: bundle)
        let tokens = adapter.configuration.imageTokens + longestPrompt
        let positions = bundle.language.positions
        guard tokens < positions else {
            throw Failure(
                .modelUnsupported, options.model,
                "has \(positions) positions; \(tokens) prompt tokens are measured, and one that follows")
        }
    }

    /// ready, image_to_caption_p50, captions_per_second.
    private func serve(
        _ bundle: ModelBundle, _ compute: Compute, since start: ContinuousClock.Instant,
        into report: inout ToolboxBenchReport, _ progress: inout ToolboxProgress
    ) throws(Failure) {
        let batch = 16
        let answerer = try Answerer(bundle: bundle, compute: compute, batch: batch)
        report.milliseconds["ready"] = Self.milliseconds(ToolboxTime.seconds(start.duration(to: .now)))
        try caption(1, batch: 1, answerer)
        var times: [Double] = []
        for run in 0..<runs {
            progress.show("image to caption", Double(run) / Double(runs))
            times.append(try seconds { () throws(Failure) in try caption(1, batch: 1, answerer) })
        }
        report.milliseconds["image_to_caption_p50"] = Self.milliseconds(ToolboxTime.median(times))
        progress.show("captions", 0)
        let photos = 2 * batch
        let time = try seconds { () throws(Failure) in try caption(photos, batch: batch, answerer) }
        report.captionsPerSecond = ToolboxTime.rounded(Double(photos) / time, 2)
    }

    /// Captions the photo `count` times, from its bytes, up to `batch` at a time.
    private func caption(_ count: Int, batch: Int, _ answerer: Answerer) throws(Failure) {
        let task = TaskSpec.Task(id: "caption", work: .caption(.caption))
        var submitted = 0
        var ended = 0
        while ended < count {
            while submitted < count, submitted - ended < batch, answerer.hasRoom {
                let image = try answerer.bundle.prepare(photo: photo)
                _ = try answerer.submit(image: image, tasks: [task], contentSeed: 0)
                submitted += 1
            }
            ended += answerer.step().count
        }
    }

    /// vision and tokens_per_second.
    private func encode(
        _ bundle: ModelBundle, _ compute: Compute, _ image: PreparedImage, into report: inout ToolboxBenchReport,
        _ progress: inout ToolboxProgress
    ) throws(Failure) {
        let adapter = try ToolboxModel.adapter(nil, for: .caption, in: bundle)
        let vision = VisionWorker(bundle.vision, compute: compute)
        var features = vision.encode(image.pixels.span, layers: adapter.configuration.layers, adapters: adapter.vision)
        var times: [Double] = []
        for _ in 0..<runs {
            times.append(
                ToolboxTime.measure {
                    features = vision.encode(
                        image.pixels.span, layers: adapter.configuration.layers, adapters: adapter.vision)
                })
        }
        report.milliseconds["vision"] = Self.milliseconds(ToolboxTime.median(times))
        let projector = try VisualProjector(adapter: adapter, patches: bundle.vision.patches)
        // A batch of the daemon is one of different photos: each sequence has its own memory, none is shared.
        var images: [VisualPrompt] = []
        for _ in 0..<16 { images.append(try projector.visualPrompt(of: features, compute: compute)) }
        let engine = Engine(
            model: bundle.language, compute: compute,
            limits: EngineLimits(
                streams: 16, rows: 512, positions: 512 + adapter.configuration.imageTokens, slots: bundle.slots))
        for count in [64, longestPrompt] {
            progress.show("prefill_\(count)", 0)
            let time = median { prefill(count, images[0], engine) }
            report.tokensPerSecond["prefill_\(count)"] = ToolboxTime.rounded(Double(count) / time, 1)
        }
        for batch in [1, 8, 16] {
            progress.show("decode_\(batch)", 0)
            let time = median { decode(images.prefix(batch), engine) }
            report.tokensPerSecond["decode_\(batch)"] = ToolboxTime.rounded(Double(batch * (newTokens - 1)) / time, 1)
        }
    }

    private let longestPrompt = 320
    private let newTokens = 24
    /// No token has this id, so no sequence ends early.
    private let noEnd: Int32 = -1

    /// Seconds of the one pass over `count` prompt tokens.
    private func prefill(_ count: Int, _ image: VisualPrompt, _ engine: Engine) -> Double {
        let task = TokenTask(
            prompt: prompt(count, sequence: 0, engine),
            goal: .generate(maximumTokens: 1, end: noEnd, sampling: .greedy),
            image: image)
        _ = engine.submit([task])
        return ToolboxTime.measure { while !engine.isIdle { _ = engine.step() } }
    }

    /// Seconds of the passes after the first, one token of each sequence in each.
    private func decode(_ images: ArraySlice<VisualPrompt>, _ engine: Engine) -> Double {
        for (sequence, image) in images.enumerated() {
            let goal = TokenTask.Goal.generate(maximumTokens: newTokens, end: noEnd, sampling: .greedy)
            _ = engine.submit([
                TokenTask(prompt: prompt(16, sequence: sequence, engine), goal: goal, image: image)
            ])
        }
        _ = engine.step()
        return ToolboxTime.measure { while !engine.isIdle { _ = engine.step() } }
    }

    /// Tokens spread over the vocabulary, other ones for each sequence.
    private func prompt(_ count: Int, sequence: Int, _ engine: Engine) -> [Int32] {
        let vocabulary = engine.model.configuration.vocabulary
        return (0..<count).map { Int32((1_000 + 7_919 * sequence + 104_729 * $0) % vocabulary) }
    }

    /// The median of `runs` times after one that warms up.
    private func median(_ time: () -> Double) -> Double {
        _ = time()
        return ToolboxTime.median((0..<runs).map { _ in time() })
    }

    private func seconds(_ work: () throws(Failure) -> Void) throws(Failure) -> Double {
        let start = ContinuousClock.now
        try work()
        return ToolboxTime.seconds(start.duration(to: .now))
    }

    private static func milliseconds(_ seconds: Double) -> Double { ToolboxTime.rounded(seconds * 1_000, 2) }

    /// The most resident memory so far (proc(5), VmHWM); 0 where /proc is missing.
    private static var peakMegabytes: Double {
        guard let data = try? Data(contentsOf: URL(filePath: "/proc/self/status")) else { return 0 }
        for line in String(decoding: data, as: UTF8.self).split(separator: "\n") where line.hasPrefix("VmHWM:") {
            let kibibytes = line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Double($0) }
            return (kibibytes ?? 0) * 1_024 / 1_000_000
        }
        return 0
    }
}
