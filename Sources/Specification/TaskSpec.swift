// What to do with one photo: the value of a task spec (`photo.yaml`), checked in full.
//
// Invariants of every value that came from a document: 1 to 64 tasks with ids that differ; texts that are not empty and
// hold no control characters; every number within its range. The format is DESIGN 4 "Task spec"; the decoder is
// `TaskSpecDecoder`.
public import Diagnostics

/// A task spec: which image, how urgent, and what to do with it.
public struct TaskSpec: Sendable, Equatable {
    /// The plain name of the image file; nil for the image of the spec's own stem.
    public var image: String?
    /// From -10 to 10; higher goes first.
    public var priority: Int
    /// At least one task, in the order of the answers.
    public var tasks: [Task]

    /// Makes a spec by hand, unchecked.
    public init(image: String? = nil, priority: Int = 0, tasks: [Task]) {
        self.image = image
        self.priority = priority
        self.tasks = tasks
    }

    /// The spec of a photo that came without one.
    public init(default kind: DefaultTask, limits: Limits = Limits()) {
        self.init(tasks: [Task(id: kind.rawValue, work: .standard(kind, limits))])
    }

    /// Reads a task spec.
    ///
    /// - Parameters:
    ///   - bytes: The file's content.
    ///   - name: What the failure calls the file.
    ///   - limits: What this daemon allows.
    /// - Throws: `empty_file` for no bytes, `spec_invalid` with every fault and its line and column for all else.
    public init(yaml bytes: [UInt8], named name: String, limits: Limits = Limits()) throws(Failure) {
        guard !bytes.isEmpty else {
            throw Failure(.emptyFile, name, "has no bytes", hint: "Write at least `task: caption`.")
        }
        do {
            self = try TaskSpecDecoder.decode(bytes, limits: limits)
        } catch {
            throw error.failure(.specInvalid, in: name)
        }
    }

    /// The faults of a task spec one by one, for programs that show them in their place; empty if it is good.
    public static func faults(in bytes: [UInt8], limits: Limits = Limits()) -> [Fault] {
        do {
            _ = try TaskSpecDecoder.decode(bytes, limits: limits)
            return []
        } catch {
            return error.all
        }
    }

    /// How large a task spec may be and what it may ask for.
    public struct Limits: Sendable, Equatable {
        /// The longest document in bytes (DESIGN 4: 64 KiB).
        public var bytes = 65_536
        /// The most tasks.
        public var tasks = 64
        /// The most new tokens of one answer.
        public var answerTokens = 256

        /// The limits of DESIGN 4.
        public init() {}
    }
}

/// The tasks that need nothing but a photo, by their names in configuration and spec.
public enum DefaultTask: String, Sendable, CaseIterable {
    /// One sentence that says what is to be seen.
    case caption

    /// What kind of task it is.
    public var kind: TaskKind { .caption }
}

extension TaskSpec {
    /// One task: one entry of the answers.
    public struct Task: Sendable, Equatable {
        /// Its name in the answer, unlike all others of the spec.
        public var id: String
        /// The adapter to use; nil for the one that configuration or bundle have for this kind of task.
        public var adapter: String?
        /// What to do.
        public var work: Work

        /// Makes a task by hand, unchecked.
        public init(id: String, adapter: String? = nil, work: Work) {
            self.id = id
            self.adapter = adapter
            self.work = work
        }
    }

    /// What a task does.
    public enum Work: Sendable, Equatable {
        /// Say in a sentence what is to be seen.
        case caption(Generation)
        /// Answer a question.
        case ask(question: String, answer: Answer)
        /// Answer a question of a test by the letter of an option.
        case problem(Problem)

        /// What a default task does, within the limits.
        static func standard(_ kind: DefaultTask, _ limits: Limits) -> Work {
            switch kind {
            case .caption:
                .caption(Generation(maximumTokens: min(Generation.caption.maximumTokens, limits.answerTokens)))
            }
        }

        /// The kind's name in specs, configuration and answers.
        public var kind: TaskKind {
            switch self {
            case .caption: .caption
            case .ask, .problem: .ask
            }
        }
    }

    /// A question of a test: texts that are empty are not there.
    public struct Problem: Sendable, Equatable {
        /// What is asked.
        public var question: String
        /// What is to be known for it.
        public var context: String
        /// What the subject teaches about it in general.
        public var lecture: String
        /// Why the answer is right.
        public var solution: String
        /// What may be answered: 2 to 26 texts, the first of them A.
        public var options: [String]
        /// How it is put; nil for the format that the model's template names.
        public var format: QuestionFormat?
        /// Where set, the letter is read out of so many generated tokens instead of being scored, as the published code
        /// does it for its figures; no document asks for this.
        public var generatedTokens: Int?

        /// Makes a problem by hand, unchecked.
        public init(
            question: String, context: String = "", lecture: String = "", solution: String = "", options: [String],
            format: QuestionFormat? = nil, generatedTokens: Int? = nil
        ) {
            self.question = question
            self.context = context
            self.lecture = lecture
            self.solution = solution
            self.options = options
            self.format = format
            self.generatedTokens = generatedTokens
        }
    }

    /// What an answer may be.
    public enum Answer: Sendable, Equatable {
        /// Any text.
        case free(Generation)
        /// One of these texts (2 to 64, all different), with a probability for each.
        case choice([String])
    }

    /// How a text is generated.
    public struct Generation: Sendable, Equatable {
        /// The most new tokens.
        public var maximumTokens: Int
        /// How each token is chosen.
        public var sampling: Sampling

        /// Makes it by hand, unchecked.
        public init(maximumTokens: Int, sampling: Sampling = .greedy) {
            self.maximumTokens = maximumTokens
            self.sampling = sampling
        }

        /// What a caption gets when the spec says nothing else: 40 tokens, greedy.
        public static let caption = Generation(maximumTokens: 40)
        /// What a free answer gets when the spec says nothing else: 32 tokens, greedy.
        public static let answer = Generation(maximumTokens: 32)
    }

    /// How the next token is chosen.
    public enum Sampling: Sendable, Equatable {
        /// The most probable one.
        case greedy
        /// Drawn at `temperature` (0 < t ≤ 2) from the smallest set of tokens whose probabilities sum to `topP`
        /// (0 < p ≤ 1); without a `seed` it comes from the job's content.
        case random(temperature: Double, topP: Double, seed: UInt64?)
    }
}

/// The kinds of task, by their names in specs, configuration and answers.
public enum TaskKind: String, Sendable, CaseIterable {
    /// Say what is to be seen.
    case caption
    /// Answer a question.
    case ask
}
