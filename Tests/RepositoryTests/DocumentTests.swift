import Foundation
import Testing

@Suite("Documents tell the truth")
struct DocumentTests {
    static var documents: [URL] {
        let top = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(
            Repository.root.appendingPathComponent)
        return top.filter { FileManager.default.fileExists(atPath: $0.path) }
            + Repository.files(below: "docs", suffix: ".md")
    }

    @Test("every path in backticks exists")
    func pathsExist() throws {
        #expect(!Self.documents.isEmpty)
        for document in Self.documents {
            for path in Self.paths(in: try Repository.text(document)) {
                let exists = FileManager.default.fileExists(atPath: Repository.root.appendingPathComponent(path).path)
                #expect(exists, "\(document.lastPathComponent) names \(path), which does not exist")
            }
        }
    }

    @Test("the reader of paths finds them and leaves other code alone")
    func pathForms() {
        let text = "See `Sources/Spool/Spool.swift`, `docs/QUEUE.md` and `make test`, `a/b` and `Sources/X.swift:12`."
        #expect(Self.paths(in: text) == ["Sources/Spool/Spool.swift", "docs/QUEUE.md", "Sources/X.swift"])
    }

    @Test("the README has at most 700 words")
    func readmeLength() throws {
        let words = try Repository.text(Repository.root.appendingPathComponent("README.md")).split { $0.isWhitespace }
        #expect(words.count <= 700)
    }

    /// Text in backticks that starts with one of the repository's own folders.
    static func paths(in text: String) -> [String] {
        let folders = [
            "Sources/", "Tests/", "docs/", "scripts/", "systemd/", "etc/", "man/", "Models/", "Benchmarks/", ".ci/",
        ]
        return text.split(separator: "`", omittingEmptySubsequences: false).enumerated()
            .filter { $0.offset % 2 == 1 }.map { String($0.element) }
            .filter { code in folders.contains { code.hasPrefix($0) } && !code.contains(" ") && !code.contains("*") }
            .map { code in String(code.prefix { $0 != ":" }) }
    }
}
