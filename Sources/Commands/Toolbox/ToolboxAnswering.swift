// Runs requests through one answerer, several photos at a time, and reports in the order of the requests.
//
// Invariant: one record for each request. A failure is that request's record and stops nothing else.

internal import Diagnostics
internal import MemVP
internal import ModelFile
internal import Specification
internal import Tensor
internal import Vision

/// One photo with one task, or why the request cannot be run.
struct ToolboxRequest {
    var image: String
    var task: Result<TaskSpec.Task, Failure>
    /// Whether the question is put without an image: V = 0, E₁ and E₂ stay.
    var isBlind = false
}

/// What came of one request, as `--json` writes it.
struct ToolboxRecord: Encodable {
    struct Fault: Encodable {
        var code: String
        var message: String
        /// Left out where there is nothing to do, as in the daemon's answers.
        var hint: String?
    }

    var image: String
    var task: String?
    var prompt: String?
    var text: String?
    var letter: String?
    var confidence: Double?
    /// Of each choice, as in the daemon's answers.
    var probabilities: [String: Double]?
    var finish: String?
    var adapter: String?
    var kernels: String?
    var warnings: [String]?
    var error: Fault?

    init(image: String, answer: Answer, kernels: String, warnings: [String]) {
        self.image = image
        task = answer.task.rawValue
        prompt = answer.prompt
        text = answer.text
        letter = answer.letter
        confidence = answer.confidence
        probabilities = answer.probabilities.map {
            Dictionary($0.map { ($0.choice, $0.probability) }) { first, _ in first }
        }
        finish = answer.finish
        adapter = answer.adapter
        self.kernels = kernels
        self.warnings = warnings
    }

    init(image: String, failure: Failure) {
        self.image = image
        error = Fault(
            code: failure.code.rawValue,
            message: failure.object.isEmpty ? failure.cause : "\(failure.object): \(failure.cause)",
            hint: failure.hint.isEmpty ? nil : failure.hint)
    }
}

/// Requests in, results out, in order.
struct ToolboxAnswering {
    /// A request's outcome.
    typealias Outcome = Result<(answer: Answer, warnings: [String]), Failure>

    let answerer: Answerer
    /// Requests that are taken before the oldest is reported.
    let window: Int

    /// Runs all requests.
    ///
    /// - Returns: the first failure among the outcomes.
    func run(
        _ next: () -> ToolboxRequest?, report: (ToolboxRequest, Outcome) throws(Failure) -> Void
    ) throws(Failure) -> Failure? {
        var waiting: [(request: ToolboxRequest, warnings: [String], job: Int?, outcome: Outcome?)] = []
        var isDrained = false
        var firstFailure: Failure?
        while true {
            while !isDrained, waiting.count < window, answerer.hasRoom {
                guard let request = next() else {
                    isDrained = true
                    break
                }
                do throws(Failure) {
                    let task = try request.task.get()
                    let image = request.isBlind ? nil : try prepare(request.image)
                    let job = try submit(task, image, of: request)
                    waiting.append((request, image?.warnings ?? [], job, nil))
                } catch {
                    waiting.append((request, [], nil, .failure(error)))
                }
            }
            while let first = waiting.first, let outcome = first.outcome {
                if case .failure(let failure) = outcome, firstFailure == nil { firstFailure = failure }
                try report(first.request, outcome)
                waiting.removeFirst()
            }
            if waiting.isEmpty, isDrained { return firstFailure }
            for finished in answerer.step() {
                guard let index = waiting.firstIndex(where: { $0.job == finished.job }),
                    let answer = finished.answers.answers.first
                else { continue }
                waiting[index].outcome = .success((answer, waiting[index].warnings))
            }
        }
    }

    /// Hands a task to the answerer, whose failures know no photo, and whose advice on long prompts is for the daemon's
    /// configuration.
    private func submit(
        _ task: TaskSpec.Task, _ image: PreparedImage?, of request: ToolboxRequest
    ) throws(Failure) -> Int {
        do throws(Failure) {
            return try answerer.submit(image: image, tasks: [task], contentSeed: 0)
        } catch {
            let failure = request.image.isEmpty ? error : error.about(request.image)
            guard failure.code == .promptTooLong else { throw failure }
            throw failure.advising("Shorten the question, or what is given with it.")
        }
    }

    private func prepare(_ path: String) throws(Failure) -> PreparedImage {
        let limits = ImageLimits()
        let bytes = try InputFile.read(path, limit: limits.maxBytes, tooLarge: .imageTooLarge)
        do {
            return try answerer.bundle.prepare(photo: bytes, limits: limits)
        } catch { throw error.about(path) }
    }
}
