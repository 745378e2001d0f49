// The log of a training run (`log.jsonl` in its directory), as a report needs it.
//
// Invariants: of several records of one step, as a run that was resumed leaves them, the last one counts; numbers are
// finite. A line that is no record is passed over and counted: the last one may be cut where the machine went down.

public import Diagnostics
internal import Files
internal import FoundationEssentials

/// What a run's log says.
public struct TrainingLog: Sendable {
    /// A loss at a step.
    public struct Point: Sendable, Equatable {
        /// The step, from 0 or 1.
        public var step: Int
        /// The loss, in nats a token.
        public var loss: Double

        /// A loss at a step.
        public init(step: Int, loss: Double) {
            self.step = step
            self.loss = loss
        }
    }

    /// Losses of training, by step.
    public private(set) var training: [Point] = []
    /// Losses on the validation rows, by step.
    public private(set) var validation: [Point] = []
    /// What the run's first record says of it: name and value.
    public private(set) var facts: [(name: String, value: String)] = []
    /// Seconds of training, as the last record has them.
    public private(set) var seconds: Double?
    /// Lines that are no records.
    public private(set) var badLines = 0

    /// Reads `log.jsonl` of a run's directory.
    ///
    /// - Throws: `not_found`, `unreadable`, `not_regular_file`; `spec_invalid` for one that is too large.
    public init(run: String) throws(Failure) {
        let path = "\(run)/log.jsonl"
        self.init(bytes: try InputFile.read(path, limit: ExampleRows.fileLimit, tooLarge: .specInvalid))
    }

    /// Reads a log.
    init(bytes: [UInt8]) {
        let decoder = JSONDecoder()
        var training: [Int: Double] = [:]
        var validation: [Int: Double] = [:]
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            guard let record = try? decoder.decode([String: LogValue].self, from: Data(line)) else {
                badLines += 1
                continue
            }
            if case .text("start")? = record["event"] { facts = Self.facts(record) }
            if let seconds = record["seconds"]?.number { self.seconds = seconds }
            guard let number = record["step"]?.number, let step = Int(exactly: number) else { continue }
            let isValidation = record["event"] == .text("validation")
            if let loss = record["validation_loss"]?.number ?? (isValidation ? record["loss"]?.number : nil) {
                validation[step] = loss
            }
            if !isValidation, let loss = record["loss"]?.number { training[step] = loss }
        }
        self.training = training.sorted { $0.key < $1.key }.map { Point(step: $0.key, loss: $0.value) }
        self.validation = validation.sorted { $0.key < $1.key }.map { Point(step: $0.key, loss: $0.value) }
    }

    private static func facts(_ record: [String: LogValue]) -> [(name: String, value: String)] {
        record.sorted { $0.key < $1.key }.compactMap { name, value in
            name == "event" ? nil : value.text.map { (name, $0) }
        }
    }
}

/// A value of a record; lists and objects are passed over.
private enum LogValue: Decodable, Equatable {
    case text(String)
    case number(Double)
    case flag(Bool)
    case other

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if let flag = try? value.decode(Bool.self) {
            self = .flag(flag)
        } else if let number = try? value.decode(Double.self) {
            self = .number(number)
        } else if let text = try? value.decode(String.self) {
            self = .text(text)
        } else {
            self = .other
        }
    }

    /// A finite number.
    var number: Double? { if case .number(let number) = self, number.isFinite { number } else { nil } }

    /// The value as people read it.
    var text: String? {
        switch self {
        case .text(let text): text
        case .number(let number): Int(exactly: number).map { "\($0)" } ?? "\(number)"
        case .flag(let flag): flag ? "yes" : "no"
        case .other: nil
        }
    }
}
