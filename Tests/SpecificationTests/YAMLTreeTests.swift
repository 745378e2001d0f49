// The strict subset of YAML: what it refuses, where it says the breach is, and what it costs to find out.
import Testing

@testable import Specification

@Suite("Strict YAML")
struct YAMLTreeTests {
    private func fault(_ bytes: [UInt8], limit: Int = 65_536) -> Fault? {
        do {
            _ = try YAMLTree.parse(bytes, limit: limit)
            return nil
        } catch {
            return error.all.first
        }
    }

    private func line(_ text: String) -> String? { fault(Array(text.utf8))?.line }

    @Test("anchors, aliases, tags and merge keys")
    func features() {
        #expect(line("a: 1\nb: &x 2") == "2:4: anchors (&name) are not allowed. Remove it.")
        #expect(line("b: &x\n  - 2") == "1:4: anchors (&name) are not allowed. Remove it.")
        #expect(line("&x {a: 1}") == "1:1: anchors (&name) are not allowed. Remove it.")
        #expect(line("a: *x") == "1:4: aliases (*name) are not allowed. Write the value out.")
        #expect(line("*x : a") == "1:1: aliases (*name) are not allowed. Write the value out.")
        let tag = "tags (!name) are not allowed. Put text that begins with ! in quotes."
        #expect(line("a: !!str 2") == "1:4: \(tag)")
        #expect(line("a: ! 2") == "1:4: \(tag)")
        #expect(line("a:\n- !<tag:x> [1]") == "2:3: \(tag)")
        #expect(line("!!map {a: 1}") == "1:1: \(tag)")
        #expect(line("!!str a: 1") == "1:1: \(tag)")
        #expect(line("a:\n  <<: {b: 1}") == "2:3: merge keys (<<) are not allowed. Write the keys out.")
        #expect(line("\"<<\": 1") == nil, "a quoted << is a key like others")
    }

    @Test("one document without directives")
    func documents() {
        #expect(line("%YAML 1.1\n---\na: 1") == "1:1: directives (%YAML, %TAG) are not allowed. Remove the line.")
        #expect(
            line("%TAG ! tag:x,2000:\n---\na: 1") == "1:1: directives (%YAML, %TAG) are not allowed. Remove the line.")
        #expect(line("a: 1\n---\nb: 2") == "2:1: a second document begins; only one is allowed")
        #expect(line("a: 1\n...\nb: 2") != nil)
        #expect(line("---\na: 1\n...\n# end") == nil)
    }

    @Test("duplicate keys and keys that are no text")
    func keys() {
        #expect(line("a: 1\nb: {c: 1,\n  c: 2}") == "3:3: the key \"c\" stands here again; first in line 2")
        #expect(line("a: 1\n'a': 2") == "2:1: the key \"a\" stands here again; first in line 1")
        #expect(line("a: {b: 1}\nb: 2") == nil)
        #expect(line("? {a: 1}\n: 2") == "1:3: a key must be text, not a list or a mapping")
    }

    @Test("nesting and the number of values are bounded")
    func bounds() {
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        #expect(line(nested(8)) == nil)
        #expect(line(nested(9)) == "1:9: nested deeper than 8 levels")
        #expect(line(String(repeating: "[", count: 60_000)) == "1:9: nested deeper than 8 levels")
        #expect(line(String(repeating: "{a: ", count: 16_000)) == "1:33: nested deeper than 8 levels")
        #expect(line(String(repeating: "- ", count: 30_000)) == "1:17: nested deeper than 8 levels")
        #expect(line(String(repeating: "? ", count: 30_000)) == "1:3: a key must be text, not a list or a mapping")
        // The list and 9,999 items.
        #expect(line("[" + String(repeating: "a,", count: 9_999) + "]") == nil)
        #expect(line("[" + String(repeating: "a,", count: 10_000) + "]") == "1:20000: more than 10000 values")
    }

    @Test("bombs of aliases and entities die at the first anchor")
    func bombs() {
        var laughs = "a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n"
        for (previous, name) in zip("abcdefgh", "bcdefghi") {
            laughs += "\(name): &\(name) [\(Array(repeating: "*\(previous)", count: 9).joined(separator: ","))]\n"
        }
        #expect(line(laughs) == "1:4: anchors (&name) are not allowed. Remove it.")
        #expect(line("&a [*a]") == "1:1: anchors (&name) are not allowed. Remove it.")
        #expect(line("&a a: {<<: *a}") == "1:1: anchors (&name) are not allowed. Remove it.")
    }

    @Test("characters: UTF-8, printable, and a mark only at the start")
    func characters() {
        #expect(fault([0x61, 0x0A, 0xC3, 0x28])?.line == "2:1: a byte that is not UTF-8. Save the file as UTF-8.")
        #expect(fault(Array("a: é".utf8) + [0xFF])?.line == "1:5: a byte that is not UTF-8. Save the file as UTF-8.")
        #expect(fault([0xFF, 0xFE, 0x61, 0x00])?.line == "1:1: a byte that is not UTF-8. Save the file as UTF-8.")
        #expect(fault([0x61, 0x3A, 0x20, 0xED, 0xA0, 0x80])?.position == Position(line: 1, column: 4), "a surrogate")
        #expect(fault([0x61, 0xC0, 0x80])?.position == Position(line: 1, column: 2), "an overlong NUL")
        #expect(fault([0x61, 0xF4, 0x90, 0x80, 0x80])?.position == Position(line: 1, column: 2), "beyond U+10FFFF")
        #expect(fault([0x61, 0xE2, 0x82])?.position == Position(line: 1, column: 2), "cut short")
        #expect(line("a: 1\r\nb: \0") == "2:4: the control character U+0 is not allowed")
        #expect(line("a: 1\rb: \u{1B}[0m") == "2:4: the control character U+1B is not allowed")
        #expect(line("a: \u{FFFE}") == "1:4: the control character U+FFFE is not allowed")
        #expect(line("\u{FEFF}a: 1") == nil)
        #expect(line("\u{FEFF}") == nil)
        #expect(line("\u{FEFF}a: &b 1") == "1:4: anchors (&name) are not allowed. Remove it.")
        #expect(line("é: 1\n𝒳: &b 1") == "2:4: anchors (&name) are not allowed. Remove it.", "columns are characters")
    }

    @Test("what is not YAML comes with its place and advice")
    func syntax() {
        // The words are libyaml 0.2's, the place and the advice are ours.
        #expect(
            line("ask: Is it: raining?")
                == "1:11: is not valid YAML: mapping values are not allowed in this context. "
                + "Put text that holds a colon and a space in quotes.")
        #expect(
            line("a:\n\t- b")
                == "2:1: is not valid YAML: found character that cannot start any token. "
                + "Indent with spaces, not tabs; put text that begins with @, ` or % in quotes.")
        #expect(line("a: \"b\nc: d")?.hasSuffix("A closing quotation mark is missing.") == true)
        #expect(line("a: 1\n b: 2")?.hasPrefix("2:3: is not valid YAML: ") == true)
        #expect(line("a: [1, 2")?.hasSuffix(". A closing bracket is missing.") == true)
        #expect(line("a: \"\\ud800\"")?.hasPrefix("1:7: is not valid YAML: ") == true)
    }

    @Test("nodes know where they stand; nothing is told from an empty text")
    func nodes() throws {
        let tree = try #require(try YAMLTree.parse(Array("a:\nb: ''\n  \nc:\n  - x\n".utf8), limit: 100))
        guard case .mapping(let fields) = tree.content else {
            Issue.record("not a mapping")
            return
        }
        #expect(fields.map(\.key) == ["a", "b", "c"])
        #expect(fields.map(\.keyPosition.line) == [1, 2, 4])
        #expect(fields.map(\.value.isAbsent) == [true, false, false])
        #expect(fields.map(\.value.shown) == ["nothing", "\"\"", "a list"])
        guard case .sequence(let items) = fields[2].value.content else {
            Issue.record("not a list")
            return
        }
        #expect(items.map(\.position) == [Position(line: 5, column: 5)])
        let nothing = try YAMLTree.parse([], limit: 100)
        #expect(nothing.map(\.shown) == nil)
    }
}
