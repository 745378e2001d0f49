import Diagnostics
import Testing
import Text

@Suite struct PromptTemplateTests {
    let tokenizer: ByteLevelBPETokenizer

    init() throws { tokenizer = try ByteLevelBPETests.make() }

    @Test func partsInOrder() throws {
        let template = try PromptTemplate(
            "{context}\n{choices}: {{x}} {context}", placeholders: ["context", "choices"])
        #expect(template.placeholders == ["context", "choices", "context"])
        #expect(
            try template.parts(["context": "a{choices}", "choices": "b"]) == [
                .value("a{choices}"), .template("\n"), .value("b"), .template(": {x} "), .value("a{choices}"),
            ])
    }

    @Test func bracesCanBeWritten() throws {
        #expect(try PromptTemplate("{{}}", placeholders: []).parts() == [.template("{}")])
        #expect(
            try PromptTemplate("{{{a}}}", placeholders: ["a"]).parts(["a": "1"]) == [
                .template("{"), .value("1"), .template("}"),
            ])
    }

    @Test(arguments: [
        ("Question: {qestion}", "{qestion}"), ("x {", "character 3 is never closed"), ("}", "character 1 closes"),
        ("é日 }", "character 4 closes"), ("{question", "never closed"), ("{}", "{}"), ("{ question}", "{ question}"),
        ("", "empty"),
    ]) func refuses(_ text: String, _ cause: String) throws {
        let failure = try #require(throws: Failure.self) { try PromptTemplate(text, placeholders: ["question"]) }
        #expect(failure.code == .modelInvalid)
        #expect(failure.cause.contains(cause), "\(failure)")
    }

    @Test func knownPlaceholdersAreNamedInTheHint() throws {
        let failure = try #require(throws: Failure.self) { try PromptTemplate("{x}", placeholders: ["a", "b"]) }
        #expect(failure.hint.contains("{a}, {b}"))
    }

    @Test func valuesMustFit() throws {
        let template = try PromptTemplate("{question}", placeholders: ["question", "context"])
        for (values, object) in [([:], "question"), (["question": "x", "context": "y"], "context")] {
            let failure = try #require(throws: Failure.self) { try template.parts(values) }
            #expect(failure.code == .specInvalid)
            #expect(failure.object == object)
        }
        let empty = try #require(throws: Failure.self) { try template.tokens(["question": ""], tokenizer) }
        #expect(empty.code == .specInvalid)
    }

    @Test func beginningTokenWhereTheModelHasOne() throws {
        let template = try PromptTemplate("hello", placeholders: [])
        let with = try ByteLevelBPETests.make(special: SpecialTokens(beginning: 1, end: 0, addsBeginning: true))
        #expect(try template.tokens(tokenizer) == tokenizer.encode("hello"))
        #expect(try template.tokens(with) == [1] + tokenizer.encode("hello"))
    }
}

extension PromptTemplate {
    fileprivate func tokens(_ tokenizer: any Tokenizer) throws(Failure) -> [Int32] { try tokens([:], tokenizer) }
}

@Suite struct AnswerFormTests {
    let tokenizer: ByteLevelBPETokenizer

    init() throws { tokenizer = try ByteLevelBPETests.make() }

    @Test(arguments: [
        ("A man in a hat .", "a man in a hat."), ("  Two DOGS", "two dogs."), ("x . .. ", "x."), ("Is it?", "is it?."),
        ("Mr. X, e.g.  y .", "mr. x, e.g.  y."), ("", "."), ("ÉCOLE\n", "école."),
    ]) func captions(_ text: String, _ written: String) {
        #expect(AnswerForm(endToken: 0, style: .caption).written(text) == written)
    }

    @Test func otherStyles() {
        #expect(AnswerForm(endToken: 0).written(" Yes. ") == " Yes. ")
        #expect(AnswerForm(endToken: 0, style: .lowercase).written("Yes. ") == "yes. ")
    }

    @Test func choiceIsTokenizedAsAContinuation() throws {
        let form = try AnswerForm(end: "<|end|>", tokenizer)
        #expect(form.endToken == 0)
        let prompt = try PromptTemplate("{question}:", placeholders: ["question"]).parts(["question": "hello"])
        let choice = form.tokens("hello", after: prompt, tokenizer)
        #expect(choice.map { ByteLevelBPETests.pieces[Int($0)] } == ["Ġhello"])
        #expect(form.example("hello", after: prompt, tokenizer).tokens == tokenizer.encode("hello: hello") + [0])
        #expect(!form.tokens("<|end|>", after: prompt, tokenizer).contains(0))
    }

    /// " :" is one token, so the prompt "hello " ends with a token that the joined text would not have.
    @Test func thePromptKeepsItsTokensWhereTheContinuationWouldChangeThem() {
        let form = AnswerForm(separator: "", endToken: 0)
        let prompt = [TextPart.template("hello ")]
        let example = form.example(":", after: prompt, tokenizer)
        #expect(example.tokens.map { ByteLevelBPETests.pieces[Int($0)] } == ["hello", "Ġ", ":", "<|end|>"])
        #expect(example.promptCount == 2)
    }

    @Test func beginningTokenIsPartOfThePrompt() throws {
        let with = try ByteLevelBPETests.make(special: SpecialTokens(beginning: 1, end: 0, addsBeginning: true))
        let example = AnswerForm(endToken: 0).example("hello", after: [.template("hello:")], with)
        #expect(
            example.tokens.map { ByteLevelBPETests.pieces[Int($0)] } == [
                "<|start|>", "hello", ":", "Ġhello", "<|end|>",
            ])
        #expect(example.promptCount == 3)
    }

    @Test func unknownEndTokenIsRefusedByName() throws {
        let failure = try #require(throws: Failure.self) { try AnswerForm(end: "<|eot|>", tokenizer) }
        #expect(failure.code == .modelInvalid)
        #expect(failure.object.contains("<|eot|>"))
    }

    @Test func separatorIsTakenOffGeneratedText() {
        let form = AnswerForm(endToken: 0)
        #expect(form.answer(in: " a dog") == "a dog")
        #expect(form.answer(in: "a dog") == "a dog")
        #expect(AnswerForm(separator: "", endToken: 0).answer(in: " a") == " a")
        #expect(form.answer(in: " \u{301}a").utf8.elementsEqual("\u{301}a".utf8))
    }
}
