import Diagnostics
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
}
