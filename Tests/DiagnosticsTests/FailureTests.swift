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

    @Test("codes are snake case, unique and never internal-looking")
    func codes() {
        let raw = FailureCode.allCases.map(\.rawValue)
        #expect(Set(raw).count == raw.count)
        #expect(raw.allSatisfy { $0.allSatisfy { $0 == "_" || ($0.isLowercase && $0.isASCII) } })
    }
}
