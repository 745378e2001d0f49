// The outcome document that stands in the outbox (DESIGN 4 "Answer"): one for each drop, an answer or an explained error.
//
// Invariants: keys are sorted and numbers are written the shortest way that reads back, so the same outcome is the same bytes but
// for `job` and `timing_ms`. A file name that is not UTF-8 comes with its bytes in base64.

internal import Control
internal import Diagnostics
internal import FoundationEssentials
internal import MemVP
internal import Specification
internal import Spool
internal import Tensor

/// One outcome, ready to be written.
struct AnswerDocument: Encodable, Sendable {
    /// A dropped file, and of an image what could be found out about it.
    struct File: Encodable, Sendable {
        /// The name; where it is not UTF-8, as `\xFF` and the like.
        var file: String
        /// The name's bytes in base64; only where the name is not UTF-8.
        var bytes: String?
        /// The content's SHA-256; missing where it could not be read.
        var sha256: String?
        /// Columns, upright; missing where the image could not be decoded.
        var width: Int?
        /// Rows, upright; missing where the image could not be decoded.
        var height: Int?

        /// Names a file.
        init(_ name: FileName) {
            file = name.text ?? name.description
            bytes = name.text == nil ? name.base64 : nil
        }

        private enum CodingKeys: String, CodingKey {
            case file, sha256, width, height
            case bytes = "file_bytes"
        }
    }

    /// Why there is no answer.
    struct Explanation: Encodable, Sendable {
        /// The stable code.
        var code: String
        /// What and why.
        var message: String
        /// What to do; missing where nothing can be done.
        var hint: String?

        /// Explains a failure.
        init(_ failure: Failure) {
            code = failure.code.rawValue
            message = failure.object.isEmpty ? failure.cause : "\(failure.object): \(failure.cause)"
            hint = failure.hint.isEmpty ? nil : failure.hint
        }
    }

    /// What answered.
    struct Model: Encodable, Sendable {
        /// The bundle's name.
        var name: String
        /// SHA-256 by path in the bundle.
        var files: [String: String]
        /// The adapters that were used, joined by commas; missing where none was.
        var adapter: String?
        /// `int8` or `f32`.
        var quantisation: String
        /// The kernel path.
        var kernels: String

        /// The model of a bundle.
        init(_ bundle: ModelBundle, kernels: String) {
            name = bundle.description.name
            files = bundle.description.files
            quantisation = bundle.precision.rawValue
            self.kernels = kernels
        }
    }

    /// Milliseconds in each stage that the job went through.
    struct Timing: Encodable, Sendable {
        /// From claim to start.
        var queued: Double?
        /// Reading and decoding the image.
        var jpeg: Double?
        /// The vision encoder and the memories.
        var vision: Double?
        /// To the first answer token.
        var prefill: Double?
        /// From there to the last.
        var generate: Double?
        /// From claim to commit.
        var total: Double?

        /// No stage yet.
        init() {}

        /// The stages by name, for the spool's records.
        var milliseconds: [String: Double] {
            let stages: [(Stage, Double?)] = [
                (.queued, queued), (.jpeg, jpeg), (.vision, vision), (.prefill, prefill), (.generate, generate),
                (.total, total),
            ]
            return Dictionary(
                uniqueKeysWithValues: stages.compactMap { stage, time in time.map { (stage.rawValue, $0) } })
        }
    }

    private struct Entry: Encodable, Sendable {
        let answer: Answer

        private enum CodingKeys: String, CodingKey {
            case id, task, prompt, text, letter, confidence, probabilities, finish
        }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(answer.id, forKey: .id)
            try container.encode(answer.task.rawValue, forKey: .task)
            try container.encode(answer.prompt, forKey: .prompt)
            try container.encode(answer.text, forKey: .text)
            try container.encodeIfPresent(answer.letter, forKey: .letter)
            try container.encode(answer.confidence, forKey: .confidence)
            try container.encodeIfPresent(
                answer.probabilities.map { Dictionary($0.map { ($0.choice, $0.probability) }) { first, _ in first } },
                forKey: .probabilities)
            try container.encode(answer.finish, forKey: .finish)
        }
    }

    private var version = 1
    private let job: String
    private var retryOf: String?
    private var status: String
    private var image: File?
    private var spec: File?
    private var answers: [Entry]
    private var error: Explanation?
    private var model: Model?
    private var timing: Timing
    private var warnings: [String]

    private enum CodingKeys: String, CodingKey {
        case version, job, status, image, spec, answers, error, model, warnings
        case retryOf = "retry_of"
        case timing = "timing_ms"
    }

    /// An answer.
    init(
        _ job: Job, image: File, answers: [Answer], model: Model, timing: Timing, warnings: [String]
    ) {
        self.job = job.id.description
        retryOf = job.retryOf?.description
        status = "ok"
        self.image = image
        spec = job.spec.map { File($0) }
        self.answers = answers.map { Entry(answer: $0) }
        self.model = model
        self.model?.adapter = Set(answers.map(\.adapter)).sorted().joined(separator: ",")
        self.timing = timing
        self.warnings = warnings
    }

    /// An error that a worker met.
    init(_ job: Job, image: File, failure: Failure, model: Model, timing: Timing) {
        self.init(job, image: image, answers: [], model: model, timing: timing, warnings: [])
        status = "error"
        error = Explanation(failure)
        self.model?.adapter = nil
    }

    /// An error that the spool met: no worker saw the drop; `model` is what would have answered.
    init(_ drop: FailedDrop, model: Model) {
        job = drop.job.description
        retryOf = drop.retryOf?.description
        status = "error"
        image = drop.image.map { File($0) }
        spec = drop.spec.map { File($0) }
        answers = []
        error = Explanation(drop.failure)
        self.model = model
        timing = Timing()
        timing.total = drop.milliseconds
        warnings = []
    }

    /// The document as one line of JSON.
    ///
    /// - Throws: `internal_error` when it has none: a confidence that is not finite.
    func encoded() throws(Failure) -> [UInt8] {
        do throws(Failure) {
            return try ControlJSON.encode(self)
        } catch {
            throw Failure(
                .internalError, "the answer", "cannot be written: \(error.cause)",
                hint: "Report it, with the photo, its task spec and the model's name.")
        }
    }

    /// The same of an error. All that is in one are texts, whole numbers and times that were counted in microseconds, so it has this form;
    /// were it not so, the drop would still get its one outcome.
    var explained: [UInt8] {
        (try? encoded())
            ?? Array(
                (#"{"answers":[],"error":{"code":"internal_error","hint":"Look at memvpctl show \#(job).","#
                    + #""message":"the error cannot be written"},"job":"\#(job)","status":"error","timing_ms":{},"#
                    + #""version":1,"warnings":[]}"# + "\n").utf8)
    }
}

extension Duration {
    /// This duration in milliseconds, to the microsecond.
    var milliseconds: Double {
        let (seconds, attoseconds) = components
        return (Double(seconds) * 1e6 + Double(attoseconds / 1_000_000_000_000)) / 1e3
    }
}
