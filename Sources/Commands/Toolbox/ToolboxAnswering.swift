// Runs requests through one answerer, several photos at a time, and reports in the order of the requests.
//
// Invariant: one record for each request. A failure is that request's record and stops nothing else.

internal import Diagnostics
internal import Files
internal import MemVP
internal import Specification
internal import Tensor
internal import Vision

/// One photo with one task, or why the request cannot be run.
struct ToolboxRequest {
    var image: String
    /// What the caller calls it by, if anything.
    var id: ToolboxRecordName?
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

    var id: ToolboxRecordName?
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

    init(image: String, id: ToolboxRecordName? = nil, answer: Answer, kernels: String, warnings: [String]) {
        (self.image, self.id) = (image, id)
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

    init(image: String, id: ToolboxRecordName? = nil, failure: Failure) {
        (self.image, self.id) = (image, id)
        error = Fault(
            code: failure.code.rawValue,
            message: failure.object.isEmpty ? failure.cause : "\(failure.object): \(failure.cause)",
            hint: failure.hint.isEmpty ? nil : failure.hint)
    }
}

extension ToolboxRecord {
    /// The record as a line of JSON. A result that has no such form is its own record's error: the records behind it have theirs.
    ///
    /// - Throws: never in practice: an error is text alone.
    func line() throws(Failure) -> String {
        do throws(Failure) {
            return try ToolboxJSON.line(self)
        } catch {
            return try ToolboxJSON.line(ToolboxRecord(image: image, id: id, failure: error))
        }
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
    /// - Parameters:
    ///   - next: the next request, for which it may wait; nil after the last.
    ///   - isReady: whether `next` would not wait; asked where requests are under way already.
    /// - Returns: the first failure among the outcomes.
    /// - Throws: what `next` throws, once the requests before it have been reported; what `report` throws, at once.
    func run(
        _ next: () throws(Failure) -> ToolboxRequest?, isReady: () -> Bool = { true },
        report: (ToolboxRequest, Outcome) throws(Failure) -> Void
    ) throws(Failure) -> Failure? {
        var waiting: [(request: ToolboxRequest, warnings: [String], job: Int?, outcome: Outcome?)] = []
        var isDrained = false
        var firstFailure: Failure?
        var fault: Failure?
        while true {
            while !isDrained, waiting.count < window, answerer.hasRoom, waiting.isEmpty || isReady() {
                let taken = Result { () throws(Failure) in try next() }
                if case .failure(let failure) = taken { fault = failure }
                guard case .success(let request?) = taken else {
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
            if waiting.isEmpty, isDrained {
                if let fault { throw fault }
                return firstFailure
            }
            for finished in answerer.step() {
                guard let index = waiting.firstIndex(where: { $0.job == finished.job }) else { continue }
                if let failure = finished.answers.failure {
                    let image = waiting[index].request.image
                    waiting[index].outcome = .failure(image.isEmpty ? failure : failure.about(image))
                } else if let answer = finished.answers.answers.first {
                    waiting[index].outcome = .success((answer, waiting[index].warnings))
                }
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
