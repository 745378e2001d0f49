// A run's directory, `adapter.train/`: log.jsonl, loss.svg, checkpoint.safetensors, adapter.gguf.
//
// Invariants: the log's lines are whole; on resuming, lines after the checkpoint's step are dropped, so the log tells one
// story. One run at a time has the directory (flock(2)): two would cut each other's log and put each other's checkpoint back.
// What a save that was killed has left goes when the next run opens the directory.

internal import Diagnostics
internal import Files
internal import FoundationEssentials
internal import Glibc
internal import SystemPackage

/// One line of log.jsonl. Which fields are there depends on `event`.
public struct TrainingRecord: Codable, Sendable {
    /// start, step, validation, warning, sample, end.
    public var event: String
    /// Steps done.
    public var step: Int
    /// Mean −ln p of the step's answer tokens.
    public var loss: Double?
    /// The learning rate of the step.
    public var learningRate: Double?
    /// Norm of the gradient before clipping.
    public var gradientNorm: Double?
    /// Tokens since the run began.
    public var tokens: Int?
    /// Seconds of work since the run began, those before it was resumed too.
    public var seconds: Double?
    /// Mean −ln p on validation rows.
    public var validationLoss: Double?
    /// The same without the image.
    public var blindLoss: Double?
    /// CIDEr-D of captions: drawn ones in training, greedy ones in validation.
    public var ciderD: Double?
    /// The part of validation questions that are answered exactly.
    public var exact: Double?
    /// The photo of a sample.
    public var image: String?
    /// The prompt's task in words: the question, or `caption`.
    public var prompt: String?
    /// What the adapter answers now.
    public var answer: String?
    /// What the data says.
    public var reference: String?
    /// Words for people: counts, what is wrong.
    public var note: String?
    /// Rows to learn from that were left out.
    public var badRows: Int?
    /// Rows to validate on that were left out.
    public var badValidationRows: Int?
    /// The options that shape the run, with their values.
    public var options: [String: String]?
    /// The files that the run's rows come from.
    public var data: [RunRows]?
    /// The base that is trained on.
    public var base: RunBase?
    /// The adapter to begin with.
    public var initial: String?

    enum CodingKeys: String, CodingKey {
        case event, step, loss, tokens, seconds, exact, image, prompt, answer, reference, note, options, data, base
        case initial
        case badRows = "bad_rows"
        case badValidationRows = "bad_validation_rows"
        case ciderD = "cider_d"
        case learningRate = "learning_rate"
        case gradientNorm = "gradient_norm"
        case validationLoss = "validation_loss"
        case blindLoss = "blind_loss"
    }

    init(_ event: String, step: Int) {
        self.event = event
        self.step = step
    }
}

/// Files of one run.
public final class RunDirectory {
    /// What a run writes there.
    public static let names = [log, curve, checkpoint, adapter]
    private static let (log, curve) = ("log.jsonl", "loss.svg")
    private static let (checkpoint, adapter) = ("checkpoint.safetensors", "adapter.gguf")

    let path: String
    var checkpointPath: String { "\(path)/\(Self.checkpoint)" }
    /// The adapter as of the last checkpoint, to be tried while the run goes on.
    var adapterPath: String { "\(path)/\(Self.adapter)" }
    private var logPath: String { "\(path)/\(Self.log)" }
    private var isNew = false
    private let lock: FileDescriptor
    private var log: FileDescriptor?
    private(set) var records: [TrainingRecord] = []

    /// Makes the directory if need be, and keeps other runs out of it.
    ///
    /// - Throws: `cannot_create`, `permission_denied`; `temporary` while another run has it.
    init(path: String) throws(Failure) {
        self.path = path
        let wasThere = FileManager.default.fileExists(atPath: path)
        do {
            try FolderBridge.make(path)
            lock = try FileDescriptor.open(FilePath(path), .readOnly, options: [.directory, .closeOnExec])
        } catch {
            let isDenied = [.permissionDenied, .notPermitted, .readOnlyFileSystem].contains(error as? Errno)
            throw Failure(
                isDenied ? .permissionDenied : .cannotCreate, path, "cannot hold the run: \(error)",
                hint: "Name another --out.")
        }
        guard flock(lock.rawValue, LOCK_EX | LOCK_NB) == 0 else {
            let number = Errno(rawValue: errno)
            guard number == .wouldBlock else { throw Failure(.cannotCreate, path, "cannot be locked: \(number)") }
            throw Failure(
                .temporary, path, "is in use by another run", hint: "Wait for its end, or name another --out.")
        }
        isNew = !wasThere
    }

    /// The step that the log has come to, if a checkpoint was saved on the way: a step is logged before its checkpoint. What the log
    /// says of how often that was done counts, and where it says nothing `interval`.
    func loggedStep(beyond interval: Int) -> Int? {
        let lines = (FileManager.default.contents(atPath: logPath).map { [UInt8]($0) } ?? []).split(separator: 10)
        let records = lines.compactMap { try? JSONDecoder().decode(TrainingRecord.self, from: Data($0)) }
        let told = records.last { $0.event == "start" }?.options?["checkpoint_every"].flatMap { Int($0) }
        guard let step = records.lazy.filter({ $0.event == "step" }).map(\.step).max() else { return nil }
        return step > told ?? interval ? step : nil
    }

    /// Whether a checkpoint and the log can be written, before the work that comes first.
    ///
    /// - Throws: `cannot_create`, `permission_denied`.
    func check() throws(Failure) { try OutputFile.check(logPath) }

    /// Opens the log; `keepingUpTo` drops lines of later steps, nil begins a new one.
    ///
    /// - Throws: the failures of writing it.
    func open(keepingUpTo step: Int?) throws(Failure) {
        removeLeftovers()
        var kept: [UInt8] = []
        if let step {
            let lines = (FileManager.default.contents(atPath: logPath).map { [UInt8]($0) } ?? []).split(separator: 10)
            for line in lines {
                guard let record = try? JSONDecoder().decode(TrainingRecord.self, from: Data(line)) else { continue }
                if record.step > step { continue }
                records.append(record)
                kept += line + [10]
            }
        }
        // The old log stands until the new one is whole.
        let file = try OutputFile(path: logPath)
        try file.write(kept)
        try file.commit()
        try reopen()
    }

    /// Saves that were killed leave files that nothing reads. The lock says that nobody is writing one now.
    private func removeLeftovers() {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
        where name.hasPrefix(".memvp-") && name.hasSuffix(".partial") {
            try? FileManager.default.removeItem(atPath: "\(path)/\(name)")
        }
    }

    /// Opens the log that stands there, to append to it.
    func reopen() throws(Failure) {
        try? log?.close()
        log = nil
        do {
            log = try FileDescriptor.open(FilePath(logPath), .writeOnly, options: [.append, .closeOnExec])
        } catch { throw Failure(.inputOutput, logPath, "cannot be opened: \(error)") }
    }

    deinit {
        try? log?.close()
        // A start that was refused leaves nothing behind: an empty directory goes, while nobody else has it.
        if isNew, (try? FileManager.default.contentsOfDirectory(atPath: path))?.isEmpty ?? false {
            try? FileManager.default.removeItem(atPath: path)
        }
        try? lock.close()
    }

    /// Whether the log has a validation of a step.
    func hasValidation(of step: Int) -> Bool {
        records.contains { $0.event == "validation" && $0.step == step }
    }

    /// Appends a line.
    func append(_ record: TrainingRecord) throws(Failure) { try append([record]) }

    /// Appends lines that belong together, in one write: a kill leaves all of them or none.
    func append(_ new: [TrainingRecord]) throws(Failure) {
        records += new
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do {
            var lines: [UInt8] = []
            for record in new {
                lines += try encoder.encode(record)
                lines.append(UInt8(ascii: "\n"))
            }
            try log?.writeAll(lines)
        } catch {
            let full = (error as? Errno) == .noSpace
            throw Failure(full ? .noSpace : .inputOutput, logPath, "cannot be written: \(error)")
        }
    }

    /// Writes loss.svg anew.
    func draw() throws(Failure) {
        func points(_ event: String, _ loss: (TrainingRecord) -> Double?) -> [TrainingLog.Point] {
            records.compactMap { record in
                record.event == event ? loss(record).map { TrainingLog.Point(step: record.step, loss: $0) } : nil
            }
        }
        let drawing = LossCurve.svg(
            training: points("step", \.loss), validation: points("validation", \.validationLoss))
        let file = try OutputFile(path: "\(path)/\(Self.curve)")
        try file.write(Array(drawing.utf8))
        try file.commit()
    }

    /// Whether a checkpoint's adapter is there to begin with.
    var hasAdapter: Bool { FileManager.default.fileExists(atPath: adapterPath) }

    /// What helps a run that cannot go on as it is; of files it names those that are there.
    func advice(_ change: String = "another --out") -> String {
        let adapter = hasAdapter ? ", perhaps with the adapter of the last checkpoint (--initial \(adapterPath))" : ""
        return "Begin again with \(change)\(adapter)."
    }
}
