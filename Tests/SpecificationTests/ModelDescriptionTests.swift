// model.yaml: what is written is read back, and the format of questions is checked like all else.
import Diagnostics
import Testing

@testable import Specification

@Suite("Model description")
struct ModelDescriptionTests {
    private static let description = ModelDescription(
        name: "a \"model\"", licence: "Apache-2.0",
        image: .init(side: 224, divisor: 255, mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225]),
        templates: [
            .caption: .init(prompt: "Caption:", separator: " ", end: "</s>", style: "caption"),
            .ask: .init(
                prompt: "Question: {question}\nResponse:", separator: "", end: "</s>", style: "as_written",
                format: .standard),
        ], adapters: [.ask: "science"], files: ["language.gguf": String(repeating: "0a", count: 32)])

    @Test("a description comes back from its own document")
    func roundTrip() throws {
        var description = Self.description
        #expect(description.yaml.contains("    format: QCM-A\n"))
        #expect(try ModelDescription(yaml: Array(description.yaml.utf8), named: "model.yaml") == description)
        description.templates[.ask]?.format = nil
        #expect(!description.yaml.contains("format:"))
        #expect(try ModelDescription(yaml: Array(description.yaml.utf8), named: "model.yaml") == description)
    }

    @Test("what a promotion replaced comes back, and half an entry is refused")
    func previous() throws {
        var description = Self.description
        description.previous = [
            "science": FormerAdapter(
                file: .init(path: "adapters/science.gguf", sha256: String(repeating: "1b", count: 32)),
                adapters: [.ask: "", .caption: "a.1"]),
            "other": FormerAdapter(file: nil, adapters: [:]),
        ]
        let yaml = description.yaml
        #expect(try ModelDescription(yaml: Array(yaml.utf8), named: "model.yaml") == description)
        for (part, other) in [
            ("    sha256: \(String(repeating: "1b", count: 32))\n", ""), ("    file: \"adapters/science.gguf\"\n", ""),
            ("adapters/science.gguf", "../science.gguf"), ("  - adapter: \"other\"", "  - adapter: \"science\""),
            ("\"a.1\"", "\".1\""), ("adapter: \"other\"", "adapter: \"\""), ("    tasks: {}\n", ""),
        ] {
            #expect(yaml.contains(part))
            let failure = #expect(throws: Failure.self, "\(part)") {
                try ModelDescription(yaml: Array(yaml.replacing(part, with: other).utf8), named: "model.yaml")
            }
            #expect(failure?.code == .modelInvalid)
        }
    }

    @Test("a file that is listed twice is refused with its place, hashes alike or not", arguments: ["0a", "1b"])
    func files(byte: String) {
        let yaml = Self.description.yaml
        let line = yaml.count { $0 == "\n" } + 1
        let again = "  - file: \"language.gguf\"\n    sha256: \(String(repeating: byte, count: 32))\n"
        let failure = #expect(throws: Failure.self) {
            try ModelDescription(yaml: Array((yaml + again).utf8), named: "model.yaml")
        }
        #expect(failure?.code == .modelInvalid && failure?.object == "model.yaml:\(line):5")
        #expect(failure?.cause == "files has two entries for \"language.gguf\"")
    }

    @Test("a format is known, and belongs to questions", arguments: ["QCM", "qcm-a", "", "QCM-A-B"])
    func formats(name: String) {
        let yaml = Self.description.yaml.replacing("format: QCM-A", with: "format: \"\(name)\"")
        let failure = #expect(throws: Failure.self) {
            try ModelDescription(yaml: Array(yaml.utf8), named: "model.yaml")
        }
        #expect(failure?.code == .modelInvalid)
        let caption = Self.description.yaml.replacing("style: caption\n", with: "style: caption\n    format: QCM-A\n")
        #expect(throws: Failure.self) { try ModelDescription(yaml: Array(caption.utf8), named: "model.yaml") }
    }

    @Test("there are nine inputs with nine outputs, each once")
    func table() {
        #expect(QuestionFormat.all.count == 81)
        #expect(Set(QuestionFormat.all.map(\.name)).count == 81)
        #expect(QuestionFormat(named: "QCM-A") == .standard)
        for format in QuestionFormat.all {
            #expect(QuestionFormat(named: format.name) == format)
            #expect(format.has(.question) && format.has(.options))
            let (input, output) = (format.name.prefix { $0 != "-" }, format.name.drop { $0 != "-" }.dropFirst())
            #expect(format.has(.context) == input.contains("C") && format.has(.lecture) == input.contains("L"))
            #expect(format.has(.solution) == input.contains("E"))
            #expect(format.answersFirst == (output.first == "A") && format.explains == (output != "A"))
        }
    }
}
