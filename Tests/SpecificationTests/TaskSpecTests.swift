// Task specs: what good documents mean, and the exact words for bad ones.
import Diagnostics
import Testing

@testable import Specification

private func spec(_ text: String, limits: TaskSpec.Limits = TaskSpec.Limits()) throws(Failure) -> TaskSpec {
    try TaskSpec(yaml: Array(text.utf8), named: "photo.yaml", limits: limits)
}

/// The failure's text without the code's, or nil if the document was taken.
private func complaint(_ text: String, limits: TaskSpec.Limits = TaskSpec.Limits()) -> String? {
    do {
        _ = try spec(text, limits: limits)
        return nil
    } catch {
        return error.description
    }
}

@Suite("Task spec")
struct TaskSpecTests {
    @Test("the document of the design")
    func design() throws {
        let text = """
            version: 1
            image: photo.jpg            # optional
            priority: 0                 # -10 … 10
            tasks:
              - id: alt
                caption: { max_tokens: 40 }
              - id: weather
                ask: "Is it raining?"
                answer: { choices: [yes, no] }
            """
        let expected = TaskSpec(
            image: "photo.jpg",
            tasks: [
                TaskSpec.Task(id: "alt", work: .caption(TaskSpec.Generation(maximumTokens: 40))),
                TaskSpec.Task(id: "weather", work: .ask(question: "Is it raining?", answer: .choice(["yes", "no"]))),
            ])
        #expect(try spec(text) == expected)
        #expect(try spec(text.split(separator: "\n").joined(separator: "\r\n")) == expected, "CRLF")
        #expect(try spec("\u{FEFF}" + text) == expected, "byte order mark")
        #expect(try spec("---\n" + text + "\n...\n") == expected, "document markers")
    }

    @Test("the short forms")
    func shortForms() throws {
        let caption = TaskSpec(default: .caption)
        #expect(try spec("task: caption") == caption)
        #expect(try spec("version: 1\ntask: caption\n") == caption)
        #expect(try spec("caption:") == caption)
        #expect(try spec("{caption: {}}") == caption)
        let ask = TaskSpec(
            tasks: [TaskSpec.Task(id: "ask", work: .ask(question: "Is it raining?", answer: .free(.answer)))])
        #expect(try spec("ask: \"Is it raining?\"") == ask)
        #expect(try spec("ask: Is it raining?") == ask)
        #expect(try spec("ask: |\n  Is it raining?\n") == ask)
        #expect(try spec("ask: Is it raining?\nanswer: {}") == ask)
        var urgent = caption
        urgent.priority = -10
        urgent.image = "-a b.jpg"
        urgent.tasks[0].adapter = "captions-2"
        #expect(try spec("task: caption\npriority: -10\nimage: -a b.jpg\nadapter: captions-2") == urgent)
    }

    @Test(
        "text is text, whatever YAML makes of it", arguments: ["yes", "1.0", "null", "~", "0x10", "2026-01-01", "no"])
    func plainScalars(word: String) throws {
        let parsed = try spec("ask: \(word)\nanswer: {choices: [\(word), other]}")
        #expect(parsed.tasks[0].work == .ask(question: word, answer: .choice([word, "other"])))
    }

    @Test("a problem with lettered options, in a format or in that of the model")
    func problems() throws {
        let text = """
            ask: "Which is in the photo?"
            context: |
              Two things.
              One of them flies.
            lecture: Rockets fly.
            solution: It is a rocket.
            format: QCMLE-A
            answer: { choices: [a rocket, a cat] }
            """
        var problem = TaskSpec.Problem(
            question: "Which is in the photo?", context: "Two things.\nOne of them flies.", lecture: "Rockets fly.",
            solution: "It is a rocket.", options: ["a rocket", "a cat"], format: QuestionFormat(named: "QCMLE-A"))
        #expect(try spec(text).tasks == [TaskSpec.Task(id: "ask", work: .problem(problem))])
        problem = TaskSpec.Problem(question: "Why?", context: "Rain.", options: ["a", "b"])
        #expect(
            try spec("tasks: [{ask: Why?, context: Rain., answer: {choices: [a, b]}}]").tasks[0].work
                == .problem(problem))
        problem = TaskSpec.Problem(question: "Why?", options: ["a", "b"], format: .standard)
        #expect(try spec("ask: Why?\nformat: QCM-A\nanswer: {choices: [a, b]}").tasks[0].work == .problem(problem))
        let letters = (1...26).map { "c\($0)" }.joined(separator: ",")
        #expect(try spec("ask: Why?\nformat: QM-A\nanswer: {choices: [\(letters)]}").tasks.count == 1)
    }

    @Test("generation on request")
    func generation() throws {
        let text = "caption: {max_tokens: 7, temperature: 0.7, top_p: 0.95, seed: 9007199254740991}"
        let sampling = TaskSpec.Sampling.random(temperature: 0.7, topP: 0.95, seed: 9_007_199_254_740_991)
        #expect(
            try spec(text).tasks[0].work == .caption(TaskSpec.Generation(maximumTokens: 7, sampling: sampling)))
        #expect(
            try spec("ask: Why?\nanswer: {temperature: 2}").tasks[0].work
                == .ask(
                    question: "Why?",
                    answer: .free(
                        TaskSpec.Generation(
                            maximumTokens: 32, sampling: .random(temperature: 2, topP: 1, seed: nil)))))
        #expect(try spec("caption: {temperature: 0.0}") == TaskSpec(default: .caption))
    }

    @Test("the daemon's limit caps defaults and refuses requests")
    func limits() throws {
        var limits = TaskSpec.Limits()
        limits.answerTokens = 10
        limits.tasks = 1
        #expect(try spec("task: caption", limits: limits).tasks[0].work.maximumTokens == 10)
        #expect(try spec("caption:", limits: limits).tasks[0].work.maximumTokens == 10)
        #expect(try spec("ask: Why?", limits: limits).tasks[0].work.maximumTokens == 10)
        #expect(
            complaint("caption: {max_tokens: 11}", limits: limits)
                == "photo.yaml:1:23: max_tokens: \"11\" is not a whole number from 1 to 10 (limits.answer_tokens) [spec_invalid]"
        )
        #expect(
            complaint("tasks: [caption: {}, caption: {}]", limits: limits)
                == "photo.yaml:1:8: tasks: has 2; from 1 to 1 tasks are allowed (limits.tasks) [spec_invalid]")
    }

    @Test("ids: given, by kind, and never twice")
    func ids() throws {
        let tasks = "tasks: [{ask: a}, {ask: b}, {id: ask-2, ask: c}, {caption: }, {ask: d, id: x.y_z-1}, {ask: e}]"
        #expect(try spec(tasks).tasks.map(\.id) == ["ask", "ask-3", "ask-2", "caption", "x.y_z-1", "ask-4"])
    }

    @Test("64 questions of 64 choices fit")
    func full() throws {
        let choices = (1...64).map { "c\($0)" }.joined(separator: ",")
        let tasks = (1...64).map { "- {id: t\($0), ask: q, answer: {choices: [\(choices)]}}" }.joined(separator: "\n")
        #expect(try spec("tasks:\n\(tasks)").tasks.count == 64)
    }

    struct Bad: Sendable, CustomTestStringConvertible {
        let text: String
        let words: String
        var testDescription: String { quoted(text) }

        init(_ text: String, _ words: String) {
            self.text = text
            self.words = words
        }
    }

    static let bad: [Bad] = [
        // The document.
        Bad("# nothing\n", ": holds nothing but comments [spec_invalid]. Write at least `task: caption`."),
        Bad("---\n", ":2:1: the document: nothing is not a task spec such as `task: caption` [spec_invalid]"),
        Bad("caption", ":1:1: the document: \"caption\" is not a task spec such as `task: caption` [spec_invalid]"),
        Bad("- caption", ":1:1: the document: a list is not a task spec such as `task: caption` [spec_invalid]"),
        Bad(
            "version: 2\ntask: caption",
            ":1:10: version: \"2\" is not 1, the only version there is [spec_invalid]. "
                + "Write `version: 1`, or leave the key out."),
        Bad(
            "version: 1.0\ntask: caption",
            ":1:10: version: \"1.0\" is not 1, the only version there is [spec_invalid]. "
                + "Write `version: 1`, or leave the key out."),
        Bad("version: 1", ":1:1: no task is named [spec_invalid]. Add `caption: {}` or `ask: \"…\"`."),
        // Keys.
        Bad(
            "prioritty: 1\ntask: caption", ":1:1: unknown key \"prioritty\" [spec_invalid]. Did you mean \"priority\"?"),
        Bad("task: caption\nimgae: x.jpg", ":2:1: unknown key \"imgae\" [spec_invalid]. Did you mean \"image\"?"),
        Bad("task: caption\nTASKS: x.jpg", ":2:1: unknown key \"TASKS\" [spec_invalid]. Did you mean \"tasks\"?"),
        Bad(
            "tasks:\n  - caption: { maxtokens: 4 }",
            ":2:16: unknown key \"maxtokens\" [spec_invalid]. Did you mean \"max_tokens\"?"),
        Bad(
            "task: caption\nquestionnaire: 1",
            ":2:1: unknown key \"questionnaire\" [spec_invalid]. "
                + "Known here: version, image, priority, tasks, task, caption, ask, context, lecture, solution, format, answer, adapter."
        ),
        Bad("task: caption\n? [a]\n: b", ":2:3: a key must be text, not a list or a mapping [spec_invalid]"),
        // Values.
        Bad("task: ask", ":1:7: task: \"ask\" is not caption [spec_invalid]"),
        Bad("task: [caption]", ":1:7: task: a list is not caption [spec_invalid]"),
        Bad(
            "task: caption\npriority: high",
            ":2:11: priority: \"high\" is not a whole number from -10 to 10 [spec_invalid]. "
                + "Higher goes first; leave the key out for 0."),
        Bad(
            "task: caption\npriority: 11",
            ":2:11: priority: \"11\" is not a whole number from -10 to 10 [spec_invalid]. "
                + "Higher goes first; leave the key out for 0."),
        Bad(
            "task: caption\npriority:",
            ":2:10: priority: nothing is not a whole number from -10 to 10 [spec_invalid]. "
                + "Higher goes first; leave the key out for 0."),
        Bad(
            "task: caption\npriority: 007",
            ":2:11: priority: \"007\" is not a whole number from -10 to 10 [spec_invalid]. "
                + "Higher goes first; leave the key out for 0."),
        Bad(
            "ask: \" \\t \"",
            ":1:6: ask: \" \\t \" is not a question: 1 to 4096 bytes of text without control characters [spec_invalid]. "
                + "Write the question in quotes: `ask: \"…\"`."),
        Bad(
            "ask: \"a\\0b\"",
            ":1:6: ask: \"a\\u{0}b\" is not a question: 1 to 4096 bytes of text without control characters [spec_invalid]"
        ),
        Bad(
            "ask: #why\n",
            ":1:5: ask: nothing is not a question: 1 to 4096 bytes of text without control characters [spec_invalid]. "
                + "Write the question in quotes: `ask: \"…\"`."),
        Bad(
            "caption: 40",
            ":1:10: caption: \"40\" is not a mapping of options such as { max_tokens: 20 } [spec_invalid]"),
        Bad(
            "caption: {max_tokens: 0}",
            ":1:23: max_tokens: \"0\" is not a whole number from 1 to 256 (limits.answer_tokens) [spec_invalid]"),
        Bad(
            "caption: {max_tokens: 99999999999999999999}",
            ":1:23: max_tokens: \"99999999999999999999\" is not a whole number from 1 to 256 (limits.answer_tokens) [spec_invalid]"
        ),
        Bad("caption: {temperature: 2.1}", ":1:24: temperature: \"2.1\" is not a number from 0 to 2 [spec_invalid]"),
        Bad("caption: {temperature: nan}", ":1:24: temperature: \"nan\" is not a number from 0 to 2 [spec_invalid]"),
        Bad("caption: {temperature: .5}", ":1:24: temperature: \".5\" is not a number from 0 to 2 [spec_invalid]"),
        Bad(
            "caption: {temperature: 1, top_p: 0}",
            ":1:34: top_p: \"0\" is not a number above 0 and at most 1 [spec_invalid]"),
        Bad(
            "caption: {seed: 7}",
            ":1:11: seed has no effect without a temperature above 0 [spec_invalid]. Set temperature, or remove seed."),
        Bad(
            "caption:\nadapter: a/b",
            ":2:10: adapter: \"a/b\" is not the name of an adapter: 1 to 64 of A-Z, a-z, 0-9, `.`, `_` and `-`, "
                + "the first a letter or digit [spec_invalid]"),
        // Tasks.
        Bad(
            "task: caption\nask: why",
            ":2:1: ask cannot stand beside task of line 1 [spec_invalid]. "
                + "Make each a task of its own in the list `tasks`."),
        Bad(
            "tasks: [{ask: a}]\nanswer: {}",
            ":2:1: answer belongs to a task [spec_invalid]. Move it into the list `tasks`."),
        Bad("tasks: []", ":1:8: tasks: has 0; from 1 to 64 tasks are allowed (limits.tasks) [spec_invalid]"),
        Bad("tasks: caption", ":1:8: tasks: \"caption\" is not a list of tasks [spec_invalid]"),
        Bad(
            "tasks: [caption]",
            ":1:9: tasks: \"caption\" is not a task such as `caption: {}` or `ask: \"…\"` [spec_invalid]"),
        Bad("tasks: [{id: a}]", ":1:9: no task is named [spec_invalid]. Add `caption: {}` or `ask: \"…\"`."),
        Bad(
            "tasks: [{id: a, ask: q}, {id: a, ask: r}]",
            ":1:31: the id \"a\" stands here again; first in line 1 [spec_invalid]. "
                + "Give each task an id of its own, or none."),
        Bad(
            "tasks: [{id: ../a, ask: q}]",
            ":1:14: id: \"../a\" is not an id: 1 to 64 of A-Z, a-z, 0-9, `.`, `_` and `-`, the first a letter or digit [spec_invalid]"
        ),
        Bad("caption:\nanswer: {choices: [a, b]}", ":2:1: answer belongs to ask, not to caption [spec_invalid]"),
        // Problems.
        Bad(
            "ask: q\nformat: QCM\nanswer: {choices: [a, b]}",
            ":2:9: format: \"QCM\" is not a format such as QCM-A; memvpd(8) lists them [spec_invalid]. "
                + "Did you mean \"QCM-A\"?"),
        Bad(
            "ask: q\nformat: multiple choice\nanswer: {choices: [a, b]}",
            ":2:9: format: \"multiple choice\" is not a format such as QCM-A; memvpd(8) lists them [spec_invalid]. "
                + "Write QCM-A, or leave the key out for the model's own."),
        Bad(
            "ask: q\nformat: QCM-A",
            ":2:1: format needs choices, 2 to 26, each with a letter [spec_invalid]. "
                + "Add `answer: { choices: [first, second] }`."),
        Bad(
            "ask: q\nanswer: {max_tokens: 3}\ncontext: c",
            ":3:1: context needs choices, 2 to 26, each with a letter [spec_invalid]. "
                + "Add `answer: { choices: [first, second] }`."),
        Bad(
            "ask: q\ncontext: c\nanswer: {choices: [a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,1]}",
            ":2:1: context needs choices, 2 to 26, each with a letter [spec_invalid]. "
                + "Add `answer: { choices: [first, second] }`."),
        Bad(
            "ask: q\nlecture: l\nformat: QCM-A\nanswer: {choices: [a, b]}",
            ":2:1: lecture has no place in the format QCM-A [spec_invalid]. Remove it."),
        Bad(
            "ask: q\ncontext: c\nformat: QM-A\nanswer: {choices: [a, b]}",
            ":2:1: context has no place in the format QM-A [spec_invalid]. Remove it."),
        Bad(
            "ask: q\nformat: QCME-A\nanswer: {choices: [a, b]}",
            ":2:9: the format QCME-A needs a solution [spec_invalid]"),
        Bad(
            "ask: q\ncontext: ''\nanswer: {choices: [a, b]}",
            ":2:10: context: \"\" is not a text: 1 to 16384 bytes of text without control characters [spec_invalid]"),
        Bad("caption:\ncontext: c", ":2:1: context belongs to ask, not to caption [spec_invalid]"),
        Bad(
            "tasks: [{ask: a}]\nformat: QCM-A",
            ":2:1: format belongs to a task [spec_invalid]. Move it into the list `tasks`."),
        // Choices.
        Bad(
            "ask: q\nanswer: {choices: [a]}",
            ":2:19: choices: has 1; from 2 to 64 choices are allowed [spec_invalid]. "
                + "Add a choice, or leave `answer` out for a free answer."),
        Bad(
            "ask: q\nanswer:\n  choices: [a, b, ' a']",
            ":3:19: the choice \"a\" stands here again; first in line 3 [spec_invalid]"),
        Bad("ask: q\nanswer: {choices: a}", ":2:19: choices: \"a\" is not a list of choices [spec_invalid]"),
        Bad(
            "ask: q\nanswer: {choices: [a, [b]]}",
            ":2:23: choices: a list is not a choice: 1 to 256 bytes of text without control characters [spec_invalid]"),
        Bad(
            "ask: q\nanswer: {choices: [a, b], max_tokens: 3}",
            ":2:27: max_tokens has no effect beside choices [spec_invalid]. Remove it."),
    ]

    @Test("bad documents say what, where and what is allowed", arguments: bad)
    func refused(bad: Bad) {
        #expect(complaint(bad.text) == "photo.yaml" + bad.words)
    }

    @Test(
        "an image is a plain file name",
        arguments: [
            "../../etc/passwd", "/etc/passwd", "a/b.jpg", ".", "..", ".hidden.jpg", "", "a\\0.jpg",
            String(repeating: "é", count: 128),
        ])
    func imageNames(name: String) throws {
        let failure = try #require(complaint("task: caption\nimage: \"\(name)\""))
        #expect(failure.hasPrefix("photo.yaml:2:8: image: \""))
        #expect(
            failure.hasSuffix(
                "\" is not the plain name of a file: 1 to 255 bytes, no `/`, no leading dot [spec_invalid]"))
        let long = String(repeating: "é", count: 127)
        #expect(try spec("task: caption\nimage: \"\(long)\"").image == long)
        #expect(try spec("task: caption\nimage: \"a\\nb …\\\\.jpg\"").image == "a\nb …\\.jpg")
    }

    @Test("no bytes, and too many")
    func sizes() {
        #expect(complaint("") == "photo.yaml: has no bytes [empty_file]. Write at least `task: caption`.")
        let large = "task: caption\n#" + String(repeating: "x", count: 2_000_000)
        #expect(complaint(large) == "photo.yaml: is 2000015 bytes long; at most 65536 are read [spec_invalid]")
        let text = "task: caption\n#"
        let exact = text + String(repeating: "x", count: 65_536 - text.utf8.count)
        #expect(complaint(exact) == nil)
        #expect(complaint(exact + "x") != nil)
    }

    @Test("all faults at once, in the order of the text")
    func several() {
        let text = "prio: 1\nask: why\nanswer: {choices: [a, a], max_token: 3}\nimage: a/b\n"
        #expect(
            complaint(text) == """
                photo.yaml: has 4 faults
                  1:1: unknown key "prio". Known here: version, image, priority, tasks, task, caption, ask, context, lecture, solution, format, answer, adapter.
                  3:23: the choice "a" stands here again; first in line 3
                  3:27: unknown key "max_token". Did you mean "max_tokens"?
                  4:8: image: "a/b" is not the plain name of a file: 1 to 255 bytes, no `/`, no leading dot [spec_invalid]
                """)
        #expect(TaskSpec.faults(in: Array(text.utf8)).map(\.position?.line) == [1, 3, 3, 4])
        #expect(TaskSpec.faults(in: Array("task: caption".utf8)) == [])
        let keys = (1...30).map { "unknown\($0):" }.joined(separator: "\n")
        let many = complaint("task: caption\n" + keys)
        #expect(many?.hasPrefix("photo.yaml: has 30 faults\n  2:1: unknown key \"unknown1\". Known") == true)
        #expect(many?.hasSuffix("\n  and 10 more [spec_invalid]") == true)
    }

    @Test("what is quoted cannot forge a line of a log")
    func quoting() {
        let failure = complaint("ask: q\n\"a\\n\\e[31m\\u202Eb\\\"\(String(repeating: "c", count: 90))\":")
        #expect(
            failure?.hasPrefix(
                "photo.yaml:2:1: unknown key \"a\\n\\u{1b}[31m\\u{202e}b\\\"\(String(repeating: "c", count: 50))…\" [spec_invalid]."
            ) == true)
    }
}

extension TaskSpec.Work {
    /// For a task with a generation; 0 for one that has none.
    fileprivate var maximumTokens: Int {
        switch self {
        case .caption(let generation), .ask(_, .free(let generation)): generation.maximumTokens
        case .ask(_, .choice), .problem: 0
        }
    }
}
