// What the evaluations of captions and of answers have in common.

public import Diagnostics

/// How a data set is evaluated.
public struct EvaluationOptions: Sendable, Equatable {
    /// The adapter; nil for the one that the bundle names for the task.
    public var adapter: String?
    /// Whether the model sees nothing: V = 0, E₁ and E₂ stay.
    public var isBlind: Bool
    /// Whether a photo that does not decode, or a question that does not fit, is left out or ends the evaluation.
    public var badRows: BadRowPolicy
    /// Where rows come from, for the names of bad ones.
    public var file: String

    /// Options; the defaults are the bundle's adapter, with images, bad rows left out.
    public init(
        adapter: String? = nil, isBlind: Bool = false, badRows: BadRowPolicy = .skip, file: String = "data"
    ) {
        self.adapter = adapter
        self.isBlind = isBlind
        self.badRows = badRows
        self.file = file
    }

    /// A row that could not be evaluated, as its failure says.
    ///
    /// - Throws: `spec_invalid` naming the row under `stop`, and what is no fault of the row whatever the policy.
    public func bad(_ row: ExampleRow, _ failure: Failure) throws(Failure) -> BadRow {
        let faultsOfModel: Set<FailureCode> = [.modelMissing, .modelInvalid, .adapterMismatch, .internalError]
        guard !faultsOfModel.contains(failure.code) else { throw failure }
        // The daemon's advice is to raise a limit that only its configuration has.
        let told = failure.code == .promptTooLong ? failure.advising("Shorten it, or leave it out.") : failure
        return try badRows.leavesOut(row, of: file, because: told)
    }

    /// What an evaluation ends with in which no row could be used: its scores would be zeros that say nothing.
    public func nothing(_ bad: [BadRow]) -> Failure {
        Failure(
            .specInvalid, file, "has no row that could be evaluated",
            hint: bad.first.map { "The first that could not is \($0)." } ?? "docs/DATA.md describes the format.")
    }
}

/// How far an evaluation is: photos (or questions) done, of how many.
public typealias EvaluationProgress = (_ done: Int, _ total: Int) -> Void

extension Sequence {
    /// The elements of each key together, an image as a rule, in the order of their first appearance.
    func grouped<Key: Hashable>(by key: (Element) -> Key) -> [[Element]] {
        var places: [Key: Int] = [:]
        var groups: [[Element]] = []
        for element in self {
            let name = key(element)
            if let place = places[name] {
                groups[place].append(element)
            } else {
                places[name] = groups.count
                groups.append([element])
            }
        }
        return groups
    }
}
