// `job.json`: what the queue knows about a job and could not read from its directory.
//
// The directory tells the state (which directory it is in) and the inputs (`input/`); the record tells the rest. A record
// that is missing, torn or from another version costs counts and priorities, never the job: every field has a default.

internal import FoundationEssentials

/// What `job.json` holds. Times are microseconds since 1970.
struct JobRecord: Codable, Sendable, Equatable {
    /// When the job was claimed. Its name says so too, but names only rise: after a clock that ran ahead they stay ahead.
    var claimedAt: Int64?
    /// The image or odd file that was, or is to be, claimed, and its state when that was decided.
    var image: FileName?
    var imageContent: FileStatus.Content?
    /// The spec likewise.
    var spec: FileName?
    var specContent: FileStatus.Content?
    /// Whether the files had stood unchanged for `settle` before the claim.
    var settled = false
    /// What the spec asks for.
    var priority = 0
    /// Attempts that a passing fault ended, and when the next one may begin.
    var attempts = 0
    var notBefore: Int64?
    var lastFailure: RecordedFailure?
    /// The job whose inputs these are, and the first number that the outcome's name may carry.
    var retryOf: String?
    var firstOrdinal = 1
    /// Whether the job was in flight at an unclean end; the rest counts what happened while it ran alone.
    var alone = false
    var strikes = 0
    var uncleanEnds = 0
    /// The last session whose end was counted.
    var countedSession: String?
    /// A failure decided before the claim (a late spec, say).
    var verdict: RecordedFailure?
    /// The job that this one's spec joins.
    var joins: String?
    /// The name that the outcome has, or is about to get, in the outbox; and the code of a failure.
    var outcomeName: FileName?
    var outcomeCode: String?
    /// What happened so far, how often a worker had the job, and the milliseconds in each stage that the outcome tells.
    var history: [JobStep] = []
    var starts = 0
    var timing: [String: Double] = [:]

    init() {}

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        func value<Value: Decodable>(_ key: CodingKeys) -> Value? {
            (try? container.decodeIfPresent(Value.self, forKey: key)) ?? nil
        }
        claimedAt = value(.claimedAt)
        image = value(.image)
        imageContent = value(.imageContent)
        spec = value(.spec)
        specContent = value(.specContent)
        settled = value(.settled) ?? false
        priority = value(.priority) ?? 0
        attempts = max(0, value(.attempts) ?? 0)
        notBefore = value(.notBefore)
        lastFailure = value(.lastFailure)
        retryOf = value(.retryOf)
        firstOrdinal = max(1, value(.firstOrdinal) ?? 1)
        alone = value(.alone) ?? false
        strikes = max(0, value(.strikes) ?? 0)
        uncleanEnds = max(0, value(.uncleanEnds) ?? 0)
        countedSession = value(.countedSession)
        verdict = value(.verdict)
        joins = value(.joins)
        outcomeName = value(.outcomeName)
        outcomeCode = value(.outcomeCode)
        history = value(.history) ?? []
        starts = max(0, value(.starts) ?? 0)
        timing = value(.timing) ?? [:]
    }

    /// Larger than any record: more is damage, and is not read.
    static let maximumBytes = 64 << 10

    init?(bytes: [UInt8]) {
        guard let record = try? JSONDecoder().decode(JobRecord.self, from: Data(bytes)) else { return nil }
        self = record
    }

    var bytes: [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Every field is a number, a flag or text: encoding cannot fail. An empty record would be read as a missing one.
        guard let data = try? encoder.encode(self) else { return [] }
        return Array(data) + [0x0A]
    }
}
