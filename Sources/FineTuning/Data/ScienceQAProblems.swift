// The files of ScienceQA: problems.json (problems by id), pid_splits.json (ids by split) and, where the published code's figures
// are wanted, captions.json.
//
// Invariants: problems come in the order of their split; a bad one costs itself alone and is named by its id.
// Failure modes: `not_found`, `unreadable`, `not_regular_file` for a file; `spec_invalid` for one that is too large or
// not of its form, and for a split that is not there.

public import Diagnostics
internal import Files
internal import FoundationEssentials

/// One problem of ScienceQA.
public struct ScienceQAProblem: Sendable, Equatable, Decodable {
    /// What is asked.
    public var question: String
    /// What may be answered.
    public var choices: [String]
    /// The index of the right choice.
    public var answer: Int
    /// The context in words; may be empty.
    public var hint: String
    /// The image's file name; nil or empty without an image.
    public var image: String?
    /// `natural science`, `social science` or `language science`.
    public var subject: String
    /// `grade1` to `grade12`.
    public var grade: String
    /// What the subject teaches about it in general.
    public var lecture: String?
    /// Why the answer is right.
    public var solution: String?
    /// The split that the problem itself names: the folder of its image where subsets of splits are made.
    public var split: String?

    /// What decides the classes that the problem counts in.
    public var facts: ScienceQAFacts {
        ScienceQAFacts(subject: subject, grade: grade, hasText: !hint.isEmpty, hasImage: hasImage)
    }

    /// Whether an image belongs to it.
    public var hasImage: Bool { image.map { !$0.isEmpty } ?? false }

    /// What is wrong with it; nil if nothing is.
    var fault: String? {
        if !(2...26).contains(choices.count) { return "has \(choices.count) choices; there are letters for 2 to 26" }
        if !choices.indices.contains(answer) { return "has the answer \(answer) of \(choices.count) choices" }
        if question.isEmpty { return "has no question" }
        let known = facts.classes
        if known.isDisjoint(with: [.naturalScience, .socialScience, .languageScience]) {
            return "has the subject \(subject), which ScienceQA does not know"
        }
        if known.isDisjoint(with: [.lowerGrades, .upperGrades]) {
            return "has the grade \(grade), not one of grade1 to grade12"
        }
        return nil
    }
}

/// The problems of a split.
public struct ScienceQAProblems: Sendable {
    /// Each id of the split with its problem, or why it cannot be asked.
    public private(set) var rows: [(id: String, problem: Result<ScienceQAProblem, Failure>)]
    private let captions: [String: String]

    /// Reads a split.
    ///
    /// - Parameters:
    ///   - limit: at most so many problems, from the first of the split on.
    ///   - captions: the path of captions.json; its texts join the context, as the published code does it.
    /// - Throws: `not_found`, `unreadable`, `not_regular_file`, `spec_invalid`.
    public init(
        problems path: String, splits splitsPath: String, split: String, limit: Int? = nil, captions: String? = nil
    ) throws(Failure) {
        let splits: [String: [String]] = try Self.read(splitsPath, "an object of lists of ids, by split")
        guard let ids = splits[split] else {
            throw Failure(
                .specInvalid, splitsPath, "has no split \(split)",
                hint: "It has \(splits.keys.sorted().joined(separator: ", ")).")
        }
        guard !ids.isEmpty else { throw Failure(.specInvalid, splitsPath, "has no problem in the split \(split)") }
        let problems: [String: Lenient] = try Self.read(path, "an object of problems, by id")
        self.captions =
            try captions.map { (path) throws(Failure) in
                try Self.read(path, "an object with captions by id", as: Captions.self).captions
            } ?? [:]
        rows = ids.prefix(limit ?? ids.count).map { id in
            (id, Self.problem(problems[id]).mapError { $0.about("\(path): problem \(id)") })
        }
    }

    /// A problem's context: its hint, and its image's caption where captions were read.
    public func context(of id: String, _ problem: ScienceQAProblem) -> String {
        let joined = "\(problem.hint) \(captions[id] ?? "")".unicodeScalars.drop { $0.properties.isWhitespace }
        guard let last = joined.lastIndex(where: { !$0.properties.isWhitespace }) else { return "" }
        return String(joined[...last])
    }

    private static func problem(_ found: Lenient?) -> Result<ScienceQAProblem, Failure> {
        guard let found else { return .failure(Failure(.specInvalid, "", "is not in the file")) }
        guard let problem = found.problem else {
            return .failure(Failure(.specInvalid, "", "lacks a field or has one of another kind: \(found.reason)"))
        }
        return problem.fault.map { .failure(Failure(.specInvalid, "", $0)) } ?? .success(problem)
    }

    private struct Captions: Decodable {
        var captions: [String: String]
    }

    /// A problem that may be broken without breaking the file.
    private struct Lenient: Decodable {
        var problem: ScienceQAProblem?
        var reason = ""

        init(from decoder: any Decoder) throws {
            do {
                problem = try ScienceQAProblem(from: decoder)
            } catch let DecodingError.keyNotFound(key, _) {
                reason = key.stringValue
            } catch let DecodingError.typeMismatch(_, context) {
                reason = context.codingPath.last?.stringValue ?? ""
            } catch let DecodingError.valueNotFound(_, context) {
                reason = context.codingPath.last?.stringValue ?? ""
            } catch let DecodingError.dataCorrupted(context) {
                reason = context.codingPath.last?.stringValue ?? ""
            }
        }
    }

    private static func read<Value: Decodable>(
        _ path: String, _ form: String, as type: Value.Type = Value.self
    ) throws(Failure) -> Value {
        let data = Data(try InputFile.read(path, limit: ExampleRows.fileLimit, tooLarge: .specInvalid))
        guard let value = try? JSONDecoder().decode(type, from: data) else {
            throw Failure(.specInvalid, path, "is not \(form)", hint: "Use the file as ScienceQA published it.")
        }
        return value
    }
}
