// The files that ship: the commented configuration and its manual page know every key, and no other.
import FoundationEssentials
import Testing

@testable import Specification

@Suite("ShippedFiles")
struct ShippedFilesTests {
    private let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private func read(_ path: String) throws -> String {
        String(decoding: try Data(contentsOf: root.appending(path: path)), as: UTF8.self)
    }

    @Test("etc/memvpd.yaml has every key at its default")
    func configuration() throws {
        let decoded = try ConfigurationDecoder.decode(Array(try read("etc/memvpd.yaml").utf8))
        #expect(decoded.configuration == DaemonConfiguration())
        #expect(Set(decoded.positions.keys) == Set(ConfigurationKey.all.map(\.name)))
    }

    @Test("memvpd.yaml(5) names every key with its default")
    func manual() throws {
        let manual = try read("man/memvpd.yaml.5")
        for key in ConfigurationKey.all {
            #expect(manual.contains("\n.It Ic \(key.name)\n"), "\(key.name)")
        }
    }

    @Test(
        "both are what the table of keys says",
        arguments: [("etc/memvpd.yaml", ReferencePages.yaml), ("man/memvpd.yaml.5", ReferencePages.manual)])
    func derived(path: String, text: String) throws {
        guard ProcessInfo.processInfo.environment["MEMVP_RECORD"] == nil else {
            try Data(text.utf8).write(to: root.appending(path: path))
            Issue.record("\(path) was recorded; run the tests again without MEMVP_RECORD")
            return
        }
        let shipped = try read(path)
        #expect(shipped == text, "\(path) is out of date; MEMVP_RECORD=1 swift test --filter ShippedFiles writes it")
    }
}
