// Facts about the repository itself: imports point one way, documents name things that exist.

import Foundation
import Testing

/// The repository's root and its files, read once.
enum Repository {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    static func files(below folder: String, suffix: String) -> [URL] {
        let start = root.appendingPathComponent(folder)
        guard let walker = FileManager.default.enumerator(at: start, includingPropertiesForKeys: nil) else { return [] }
        return walker.compactMap { $0 as? URL }.filter { $0.path.hasSuffix(suffix) }.sorted { $0.path < $1.path }
    }

    static func text(_ url: URL) throws -> String { try String(contentsOf: url, encoding: .utf8) }
}

@Suite("Imports point one way")
struct LayoutTests {
    /// Each module with the modules of ours that it may import (DESIGN 7; ARCHITECTURE.md says why).
    static let allowed: [String: Set<String>] = [
        "Diagnostics": [],
        "Tensor": ["CKernels", "Diagnostics"],
        "Files": ["Diagnostics"],
        "ModelFile": ["Diagnostics", "Files", "Tensor"],
        "Text": ["Diagnostics", "ModelFile"],
        "Vision": ["CJPEG", "CPNG", "Diagnostics", "ModelFile", "Tensor"],
        "Language": ["Diagnostics", "ModelFile", "Tensor"],
        "Specification": ["CYAML", "Diagnostics", "Files"],
        "Spool": ["CLinux", "Diagnostics"],
        "Control": ["Diagnostics"],
        "MemVP": [
            "CLinux", "Diagnostics", "Files", "Language", "ModelFile", "Specification", "Tensor", "Text", "Vision",
        ],
        "FineTuning": [
            "Diagnostics", "Files", "Language", "MemVP", "ModelFile", "Specification", "Tensor", "Text", "Vision",
        ],
        "Daemon": ["Control", "Diagnostics", "MemVP", "Specification", "Spool", "Tensor", "Vision"],
        "Commands": [
            "Control", "Daemon", "Diagnostics", "Files", "FineTuning", "Language", "MemVP", "ModelFile",
            "Specification", "Spool", "Tensor", "Text", "Vision",
        ],
        "memvpd": ["Commands"],
        "memvpctl": ["Commands"],
        "memvp": ["Commands"],
    ]

    @Test("every Swift file imports only what its module may")
    func imports() throws {
        let files = Repository.files(below: "Sources", suffix: ".swift")
        #expect(files.count > 20)
        let ours = Set(Self.allowed.keys).union(["CKernels", "CJPEG", "CPNG", "CYAML", "CLinux"])
        for file in files {
            let parts = file.path.components(separatedBy: "/Sources/")
            let module = try #require(parts.last?.split(separator: "/").first.map(String.init))
            let allowed = try #require(Self.allowed[module], "module \(module) is not in the table of this test")
            let imports = Self.imports(in: try Repository.text(file))
            // The whole of Foundation brings ICU, megabytes that no program needs.
            #expect(!imports.contains("Foundation"), "\(file.lastPathComponent): import FoundationEssentials")
            for imported in imports where ours.contains(imported) {
                #expect(allowed.contains(imported), "\(module) must not import \(imported): \(file.lastPathComponent)")
            }
        }
    }

    @Test("the reader of import lines sees every form")
    func importForms() {
        let source = """
            // import Commented
            public import Tensor
            internal import CKernels
            import struct Foundation.URL
            @testable import Spool
            let text = "import Nothing"
            """
        #expect(Self.imports(in: source) == ["Tensor", "CKernels", "Foundation", "Spool"])
    }

    static func imports(in source: String) -> [String] {
        source.split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ").map(String.init)
            guard let index = words.firstIndex(of: "import"), index + 1 < words.count,
                words[..<index].allSatisfy({
                    $0.hasPrefix("@") || ["public", "internal", "private", "package"].contains($0)
                })
            else { return nil }
            let kinds = ["struct", "class", "enum", "func", "protocol", "typealias", "var", "let"]
            let name = kinds.contains(words[index + 1]) && index + 2 < words.count ? words[index + 2] : words[index + 1]
            return name.split(separator: ".").first.map(String.init)
        }
    }
}
