// The nine accuracies of ScienceQA (Lu et al. 2022, arXiv 2209.09513, table 3), as its own evaluation defines them.
//
// Invariant: a problem is in one subject and one half of the grades, in TXT if it has a hint, in IMG if it has an image (both, if
// both), in NO if it has neither, and always in Avg.

/// The classes that accuracies are given for, in the paper's order.
public enum ScienceQAClass: String, Sendable, CaseIterable {
    /// Natural science.
    case naturalScience = "NAT"
    /// Social science.
    case socialScience = "SOC"
    /// Language science.
    case languageScience = "LAN"
    /// Problems with a context in words.
    case text = "TXT"
    /// Problems with an image.
    case image = "IMG"
    /// Problems with neither.
    case noContext = "NO"
    /// Grades 1 to 6.
    case lowerGrades = "G1-6"
    /// Grades 7 to 12.
    case upperGrades = "G7-12"
    /// All problems.
    case all = "Avg"
}

/// What decides the classes of a problem.
public struct ScienceQAFacts: Sendable, Equatable {
    /// `natural science`, `social science` or `language science`.
    public var subject: String
    /// `grade1` to `grade12`.
    public var grade: String
    /// Whether its hint has any text.
    public var hasText: Bool
    /// Whether it has an image.
    public var hasImage: Bool

    /// Facts as the problem's record has them.
    public init(subject: String, grade: String, hasText: Bool, hasImage: Bool) {
        self.subject = subject
        self.grade = grade
        self.hasText = hasText
        self.hasImage = hasImage
    }

    /// The classes that the problem counts in. A subject or grade that is not in the paper is in none.
    public var classes: Set<ScienceQAClass> {
        var classes: Set<ScienceQAClass> = [.all]
        let subjects: [String: ScienceQAClass] = [
            "natural science": .naturalScience, "social science": .socialScience, "language science": .languageScience,
        ]
        if let subject = subjects[subject] { classes.insert(subject) }
        if hasText { classes.insert(.text) }
        if hasImage { classes.insert(.image) }
        if !hasText, !hasImage { classes.insert(.noContext) }
        switch gradeNumber {
        case 1...6: classes.insert(.lowerGrades)
        case 7...12: classes.insert(.upperGrades)
        default: break
        }
        return classes
    }

    private var gradeNumber: Int {
        guard grade.hasPrefix("grade") else { return 0 }
        let number = Int(grade.dropFirst(5)) ?? 0
        // "grade07" and "grade+7" are not how grades are written.
        return "grade\(number)" == grade ? number : 0
    }
}

/// Accuracies that are being counted.
public struct ScienceQAAccuracy: Sendable, Equatable {
    /// Answers of one class.
    public struct Tally: Sendable, Equatable {
        /// Problems.
        public var count = 0
        /// Right answers.
        public var correct = 0
        /// Right answers in percent; nil where there is no problem.
        public var percent: Double? { count == 0 ? nil : 100 * Double(correct) / Double(count) }
    }

    private var tallies: [ScienceQAClass: Tally] = [:]

    /// Nothing counted yet.
    public init() {}

    /// Counts one answer.
    public mutating func add(_ facts: ScienceQAFacts, isCorrect: Bool) {
        for part in facts.classes {
            tallies[part, default: Tally()].count += 1
            if isCorrect { tallies[part, default: Tally()].correct += 1 }
        }
    }

    /// What was counted in a class.
    public subscript(part: ScienceQAClass) -> Tally { tallies[part] ?? Tally() }
}
