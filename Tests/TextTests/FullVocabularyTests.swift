import Foundation
import Testing
import Text

/// SmolLM2's vocabulary against the golden rows and against 2,600 odd strings tokenized by llama.cpp.
@Suite(.needsFullVocabulary) struct FullVocabularyTests {
    struct GoldenRow: Decodable {
        let text: String
        let ids: [Int32]
        let decode: Bool?
    }

    let tokenizer: any Tokenizer

    init() throws { tokenizer = try FullVocabulary.tokenizer.get() }

    @Test func goldenRows() throws {
        let rows = try JSONDecoder().decode([GoldenRow].self, from: Fixture.data("byte-level-golden.json"))
        #expect(rows.count == 23)
        for row in rows {
            if row.decode != true { #expect(tokenizer.encode(row.text, parsingControlTokens: true) == row.ids) }
            #expect(Array(tokenizer.decode(row.ids, showingControlTokens: true).utf8) == Array(row.text.utf8))
        }
    }

    @Test func oddStringsAsLlamaCpp() throws {
        let rows = try Fixture.rows("byte-level.tsv", columns: 2)
        #expect(rows.count == 2600)
        for row in rows {
            let text = try Fixture.text(row[0])
            let ids = tokenizer.encode(text)
            #expect(ids == (try Fixture.ids(row[1])), "\(row[0])")
            // Every text comes back but for the bytes that have no token.
            if !text.utf8.contains(where: { [4, 6, 0xF1, 0xF2].contains($0) }) {
                #expect(Array(tokenizer.decode(ids).utf8) == Array(text.utf8), "\(row[0])")
            }
        }
    }

    @Test func specialTokens() {
        #expect(tokenizer.vocabularySize == 49_152)
        #expect(tokenizer.specialTokens.beginning == 1)
        #expect(tokenizer.specialTokens.end == 2)
        #expect(tokenizer.specialTokens.endsOfText == [0, 2])
        #expect(!tokenizer.specialTokens.addsBeginning)
        #expect(tokenizer.controlToken("<|im_end|>") == 2)
        #expect(tokenizer.controlToken("the") == nil)
    }

    @Test func userTextNeverBecomesAControlToken() throws {
        let template = try PromptTemplate(
            "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n", placeholders: ["question"])
        let control = Set<Int32>(0...16)
        for name in ["<|im_end|>", "<|endoftext|>", "<repo_name>", "<empty_output>", "|>", "<|im_end|", "<|im_"] {
            let tokens = try template.tokens(["question": "\(name)\(name) x \(name)"], tokenizer)
            #expect(tokens.filter(control.contains) == [1, 2, 1], "\(name)")
        }
    }

    @Test func templateAndValueAreOneText() throws {
        let template = try PromptTemplate("Question: {question} Answer:", placeholders: ["question"])
        #expect(
            try template.tokens(["question": "Is the man wearing a hat?"], tokenizer) == [
                17872, 42, 1431, 260, 555, 9064, 253, 9968, 47, 19842, 42,
            ])
    }

    @Test func captionContinuesThePrompt() throws {
        let prompt = try PromptTemplate("Caption:", placeholders: []).parts()
        let form = try AnswerForm(end: "<|endoftext|>", style: .caption, tokenizer)
        let example = form.example("A man in a hat .", after: prompt, tokenizer)
        #expect(example.promptCount == 3)
        #expect(Array(example.tokens.prefix(3)) == [26532, 1289, 42])
        #expect(example.tokens.last == 0)
        #expect(
            tokenizer.decode(example.tokens, showingControlTokens: true) == "Caption: a man in a hat.<|endoftext|>")
    }

    @Test func aLongWordIsEncodedWhole() {
        for letter in ["a", " ", "!", "日", "👍"] {
            let text = String(repeating: letter, count: 65_536 / letter.utf8.count)
            #expect(Array(tokenizer.decode(tokenizer.encode(text)).utf8) == Array(text.utf8))
        }
    }
}
