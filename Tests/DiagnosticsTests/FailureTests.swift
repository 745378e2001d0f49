import Diagnostics
import Foundation
import Testing

@Suite("Failure")
struct FailureTests {
    @Test("a failure reads as object, cause, code and hint")
    func description() {
        let failure = Failure(.emptyFile, "cat.jpg", "has no bytes", hint: "Copy it again.")
        #expect(failure.description == "cat.jpg: has no bytes [empty_file]. Copy it again.")
        #expect(failure.about("inbox").description == "inbox: cat.jpg: has no bytes [empty_file]. Copy it again.")
    }

    @Test("what a file brought reaches no terminal as a control sequence; the lines of a cause stay lines")
    func harmless() {
        let cause = "is x\u{9B}2J\r:\n  1:1: \u{202E}y"
        let failure = Failure(.modelUnsupported, "a\u{1B}[31m.gguf", cause, hint: "See\u{7}.")
        let text = #"a\u{1b}[31m.gguf: is x\u{9b}2J\u{d}:"# + "\n" + #"  1:1: \u{202e}y [model_unsupported]. See\u{7}."#
        #expect(failure.description == text)
        #expect("a\nb\tc\u{2028}".harmless == #"a\nb\tc\u{2028}"#)
        #expect("a\nb\t".harmlessLines == "a\nb" + #"\t"#)
        let plain = "Straße × 日本 é 🐕 \\ \"q\""
        #expect(plain.harmless == plain && plain.harmlessLines == plain)
    }

    @Test("codes are snake case, unique and never internal-looking")
    func codes() {
        let raw = FailureCode.allCases.map(\.rawValue)
        #expect(Set(raw).count == raw.count)
        #expect(raw.allSatisfy { $0.allSatisfy { $0 == "_" || ($0.isLowercase && $0.isASCII) } })
    }

    /// Scripts, units and clients go by them: what ARCHITECTURE.md promises stands there once more, as text.
    @Test("codes and their exit statuses are those of ARCHITECTURE.md")
    func exits() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let page = try String(contentsOf: root.appending(path: "ARCHITECTURE.md"), encoding: .utf8)
        let table = page.components(separatedBy: "## Blame decides the exit").last ?? ""
        var told: [String: Int] = [:]
        for line in table.split(separator: "\n").prefix(while: { !$0.hasPrefix("## ") }) {
            let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
            guard cells.count >= 3, let exit = Int(cells[2]) else { continue }
            for code in cells[1].split(separator: ", ") { told[code.trimmingCharacters(in: ["`"])] = exit }
        }
        let known = FailureCode.allCases.map { ($0.rawValue, Int($0.exitCode.rawValue)) }
        #expect(told == Dictionary(uniqueKeysWithValues: known))
    }
}
