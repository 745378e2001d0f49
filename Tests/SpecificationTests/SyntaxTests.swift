// Text forms of values: what is read, what is refused, and that writing gives back what reading takes.
import Testing

@testable import Specification

@Suite("Syntax")
struct SyntaxTests {
    @Test("whole numbers are decimal digits, nothing else")
    func wholeNumbers() {
        let syntax = Syntax<Int>.wholeNumber(-10...100)
        for (text, value) in [("0", 0), ("7", 7), ("-10", -10), ("100", 100)] {
            #expect(syntax.read(text) == value)
            #expect(syntax.write(value) == text)
        }
        let refused = [
            "", "-", "+1", "01", "-01", "00", " 1", "1 ", "1.0", "1e1", "0x1", "1_0", "101", "-11", "٣", "１", "--1",
            "9223372036854775808", "-9223372036854775809", "99999999999999999999999",
        ]
        for text in refused { #expect(syntax.read(text) == nil, "\(text)") }
        #expect(Syntax<Int>.wholeNumber(.min ... .max).read("-9223372036854775808") == .min)
    }

    @Test("decimals have digits on both sides of at most one point")
    func decimals() {
        let syntax = Syntax<Double>.decimal(0...2, expected: "")
        for (text, value) in [("0", 0.0), ("2", 2), ("0.25", 0.25), ("1.0000000000", 1)] {
            #expect(syntax.read(text) == value)
        }
        for text in [
            "", ".", "1.", ".5", "-0.1", "2.1", "1.2.3", "1e0", "nan", "inf", "0x1p0", "1,5",
            "1.00000000000000000000000",
        ] {
            #expect(syntax.read(text) == nil, "\(text)")
        }
    }

    @Test("durations")
    func durations() {
        let syntax = Syntax<Duration>.time(.zero ... .seconds(86_400 * 400))
        let table: [(String, Duration)] = [
            ("0", .zero), ("500ms", .milliseconds(500)), ("1s", .seconds(1)), ("2m", .seconds(120)),
            ("1h", .seconds(3_600)), ("7d", .seconds(604_800)), ("1500ms", .milliseconds(1_500)), ("90s", .seconds(90)),
        ]
        for (text, value) in table {
            #expect(syntax.read(text) == value)
            #expect(syntax.write(value) == text)
        }
        #expect(syntax.read("60s") == .seconds(60))
        #expect(syntax.write(.seconds(60)) == "1m")
        #expect(syntax.read("0s") == .zero)
        // 213503982335d is 2⁶⁴ + 34448384 milliseconds: an overflow that would land within the range.
        let refused = [
            "", "1", "s", "1 s", "-1s", "1.5s", "01s", "1S", "1sec", "1h30m", "forever", "401d",
            "213503982335d", "99999999999999999999s",
        ]
        for text in refused { #expect(syntax.read(text) == nil, "\(text)") }
        #expect(Syntax<Duration>.time(.seconds(1) ... .seconds(2)).read("0") == nil)
    }

    @Test("retention")
    func retention() {
        let syntax = Syntax<Retention>.retention(.seconds(1) ... .seconds(86_400 * 10))
        #expect(syntax.read("forever") == .forever)
        #expect(syntax.write(.forever) == "forever")
        #expect(syntax.read("7d") == .after(.seconds(604_800)))
        #expect(syntax.write(.after(.seconds(604_800))) == "7d")
        for text in ["0", "11d", "Forever", "never"] { #expect(syntax.read(text) == nil, "\(text)") }
        #expect(syntax.expected == "`forever` or a duration from 1s to 10d")
    }

    @Test("sizes")
    func sizes() {
        let syntax = Syntax<Int>.size(0...Int.max)
        let table = [
            ("0", 0), ("1", 1), ("1000001", 1_000_001), ("64KiB", 65_536), ("20MB", 20_000_000), ("1GiB", 1 << 30),
            ("3GB", 3_000_000_000), ("5KB", 5_000), ("2MiB", 2 << 20),
        ]
        for (text, value) in table {
            #expect(syntax.read(text) == value)
            #expect(syntax.write(value) == text)
        }
        #expect(syntax.read("12B") == 12)
        // 18014398509481985KiB is 2⁶⁴ + 1024 bytes.
        for text in ["", "KB", "1kb", "1 KB", "1K", "-1KB", "1.5MB", "1TB", "18014398509481985KiB", "08KB"] {
            #expect(syntax.read(text) == nil, "\(text)")
        }
        #expect(Syntax<Int>.size(10...65_536).read("65537") == nil)
        #expect(
            Syntax<Int>.size(64...65_536).expected == "a size from 64 to 64KiB, such as 64KiB or 20MB")
    }

    @Test("absolute paths are normalised; others are refused")
    func paths() {
        let syntax = Syntax<String>.path(maximum: 20)
        for (text, path) in [
            ("/a", "/a"), ("/a/", "/a"), ("//a///b", "/a/b"), ("/a b/…", "/a b/…"), ("/..a/b.", "/..a/b."),
        ] {
            #expect(syntax.read(text) == path)
        }
        for text in [
            "", "/", "//", "a", "./a", "~/a", "/a/../b", "/..", "/./a", "/a\u{0}", "/a\nb", "/aaaaaaaaaaaaaaaaaaaa",
        ] {
            #expect(syntax.read(text) == nil, "\(text)")
        }
        #expect(Syntax<String?>.optionalPath.read("none") == .some(nil))
        #expect(Syntax<String?>.optionalPath.read("/a") == "/a")
        #expect(Syntax<String?>.optionalPath.read("a") == .none)
    }

    @Test("identifiers and adapters")
    func identifiers() {
        let syntax = Syntax<String>.identifier("an id")
        for text in ["a", "0", "a.b_c-D", String(repeating: "x", count: 64)] { #expect(syntax.read(text) == text) }
        for text in [
            "", ".", "-a", "_a", "a/b", "a b", "é", "a\n", "[", "@", "`", "{", String(repeating: "x", count: 65),
        ] {
            #expect(syntax.read(text) == nil, "\(text)")
        }
        #expect(Syntax<AdapterChoice>.adapter.read("default") == .bundleDefault)
        #expect(Syntax<AdapterChoice>.adapter.read("captions") == .named("captions"))
        #expect(Syntax<AdapterChoice>.adapter.read("") == nil)
        #expect(Syntax<AdapterChoice>.adapter.write(.bundleDefault) == "default")
        #expect(Syntax<AdapterChoice>.adapter.write(.named("x")) == "x")
    }

    @Test("the nearest key")
    func nearest() {
        #expect(FieldReader.editDistance("kitten", "sitting") == 3)
        #expect(FieldReader.editDistance("", "abc") == 3)
        #expect(FieldReader.editDistance("abc", "") == 3)
        #expect(FieldReader.editDistance("imgae", "image") == 1, "a swap is one error")
        #expect(FieldReader.editDistance("Image", "image") == 0)
        #expect(FieldReader.nearest("priorty", among: ["image", "priority"]) == "priority")
        #expect(FieldReader.nearest("id", among: ["ask"]) == nil, "every letter replaced is no likeness")
        #expect(FieldReader.nearest("zzzzzzzz", among: ["image", "priority"]) == nil)
        #expect(FieldReader.nearest(String(repeating: "image", count: 13_000), among: ["image"]) == nil)
    }

    @Test(
        "text that is written can be read again",
        arguments: ["a", "/a b", "-x", "a: b", "\"\\", "#", "", "é", "yes", "&a"])
    func yaml(text: String) throws {
        let node = try YAMLTree.parse(Array("key: \(yamlText(text))\n".utf8), limit: 100)
        guard case .mapping(let fields) = node?.content, case .scalar(let read, _) = fields.first?.value.content else {
            Issue.record("not read as a mapping")
            return
        }
        #expect(read == text)
    }
}
