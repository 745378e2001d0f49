import Diagnostics
import Testing

@testable import Text

/// The word splitter by itself. The expected words follow from the pattern in PreTokenizer.swift.
@Suite struct PreTokenizerTests {
    func words(_ text: String) -> [String] {
        let bytes = Array(text.utf8)
        var words: [String] = []
        PreTokenizer.smolLM.split(bytes, 0..<bytes.count) { words.append(String(decoding: bytes[$0], as: UTF8.self)) }
        return words
    }

    @Test(
        arguments: [
            ("", []),
            ("Hello world", ["Hello", " world"]),
            (
                "it's they're we've I'm he'll she'd can't",
                [
                    "it", "'s", " they", "'re", " we", "'ve", " I", "'m", " he", "'ll", " she", "'d", " can", "'t",
                ]
            ),
            ("I'LL IT'S", ["I", "'", "LL", " IT", "'", "S"]),
            ("'sup 'tis x 's", ["'s", "up", " '", "tis", " x", " '", "s"]),
            ("!'s ''s", ["!'", "s", " ''", "s"]),
            ("'r 'l '", ["'", "r", " '", "l", " '"]),
            ("a1b22", ["a", "1", "b", "2", "2"]),
            ("x  12", ["x", "  ", "1", "2"]),
            ("½²١Ⅷ", ["½", "²", "١", "Ⅷ"]),
            ("a  b", ["a", " ", " b"]),
            ("a \n b", ["a", " \n", " b"]),
            ("a\n\nb", ["a", "\n", "\n", "b"]),
            ("a\tb", ["a", "\t", "b"]),
            ("end  ", ["end", "  "]),
            ("x\u{3000}y \u{00A0}z", ["x", "\u{3000}", "y", " ", "\u{00A0}", "z"]),
            ("naïve日本 — ok…", ["naïve日本", " —", " ok", "…"]),
            ("e\u{0301}x", ["e", "\u{0301}", "x"]),
            ("🚀👍 go", ["🚀👍", " go"]),
        ] as [(String, [String])])
    func words(_ text: String, _ expected: [String]) {
        #expect(words(text).map { Array($0.utf8) } == expected.map { Array($0.utf8) })
    }

    @Test func otherPreTokenizersAreRefusedByName() {
        #expect(throws: Failure.self) { try PreTokenizer(name: "llama-bpe") }
        do {
            _ = try PreTokenizer(name: "llama-bpe")
        } catch {
            #expect(error.code == .modelUnsupported)
            #expect(error.cause.contains("llama-bpe"))
        }
    }
}
