// Adapters of a running daemon: `memvp promote` and `memvpctl reload` while photos come, tasks and their adapters, and what is
// refused. The second adapter is the first with another scale, patched into its file.

import Foundation
import Testing

@Suite(
    .serialized, .enabled(if: Build.hasModel, "needs a model bundle with an adapter: make models, or MEMVP_TEST_BUNDLE")
)
struct AdapterTests {
    private static let file = "adapters/captions.gguf"

    /// A bundle of links to the real one, with files that a promotion may write.
    private func bundle(_ daemon: RunningDaemon) throws -> URL {
        let at = daemon.root.appending(path: "model")
        try FileManager.default.createDirectory(
            at: at.appending(path: "adapters"), withIntermediateDirectories: true)
        for file in ["language.gguf", "vision.gguf"] {
            try FileManager.default.createSymbolicLink(
                at: at.appending(path: file), withDestinationURL: Build.model.appending(path: file))
        }
        for file in [Self.file, "adapters/vqa.gguf", "model.yaml"] {
            try FileManager.default.copyItem(at: Build.model.appending(path: file), to: at.appending(path: file))
        }
        return at
    }

    /// The real adapter's file with the value of `key`, of `type` in GGUF, replaced.
    private func adapter(
        _ daemon: RunningDaemon, _ key: String, type: UInt32, _ change: (inout Data, _ at: Int) -> Void
    ) throws -> URL {
        var bytes = try Data(contentsOf: Build.model.appending(path: Self.file))
        let mark = Data(key.utf8) + littleEndian(type)
        let found = try #require(bytes.range(of: mark))
        change(&bytes, found.upperBound)
        let target = daemon.root.appending(path: "run/\(key).gguf")
        try bytes.write(to: target)
        return target
    }

    private func littleEndian(_ value: UInt32) -> Data {
        Data((0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) })
    }

    /// One that answers otherwise: a tenth of the scale.
    private func weaker(_ daemon: RunningDaemon) throws -> URL {
        try adapter(daemon, "memvp.scale", type: 6) { bytes, at in
            bytes.replaceSubrange(at..<at + 4, with: littleEndian(Float(0.01).bitPattern))
        }
    }

    /// One of another base.
    private func foreign(_ daemon: RunningDaemon) throws -> URL {
        try adapter(daemon, "memvp.base.language.sha256", type: 8) { bytes, at in
            bytes[at + 8] = bytes[at + 8] == 0x30 ? 0x31 : 0x30
        }
    }

    /// Data on which every adapter is as good: nobody says these words.
    private func rows(_ daemon: RunningDaemon) throws -> String {
        let file = daemon.root.appending(path: "run/rows.jsonl")
        try Data(#"{"image": "\#(Build.drawing.path)", "caption": "zyx wvu"}"#.utf8).write(to: file)
        return file.path
    }

    private func promote(_ daemon: RunningDaemon, _ new: URL, as name: String = "captions") throws -> (
        code: Int32, output: String, errors: String
    ) {
        try daemon.run(
            "memvp",
            [
                "promote", new.path, "--model", "\(daemon.root.path)/model", "--as", name, "--for", "caption",
                "--evaluate", try rows(daemon), "--at-least", "rouge_l", "--json",
            ])
    }

    /// The hash of the adapter that an outcome names.
    private func hash(_ outcome: Outcome) throws -> String {
        let files = try #require(outcome.model?.files)
        return try #require(files.first { $0.key.hasPrefix("adapters/captions") }?.value)
    }

    @Test(
        "promote and reload while photos come: each is answered once, by the old adapter or, from then on, by the new one"
    )
    func promotion() async throws {
        struct Report: Decodable {
            let promoted: Bool
            let sha256: String
        }
        let daemon = try RunningDaemon()
        let model = try bundle(daemon)
        try daemon.configure(model: model.path, grace: "0", extra: "workers: 2\nbatch: 4")
        try daemon.start()
        let names = (0..<60).map { "p\($0)" }
        for name in names { try daemon.aside("\(name).jpg") }
        for name in names[..<20] { try daemon.moveIn("\(name).jpg") }
        try await daemon.wait(for: [names[0]])
        let old = try hash(daemon.outcome(names[0]))

        // Photos come all the while that the new adapter is judged and taken up: each when the one before it is answered.
        let root = daemon.root.path
        let dropping = Task { @Sendable in
            for name in names[20..<45] {
                try FileManager.default.moveItem(
                    atPath: "\(root)/run/\(name).jpg", toPath: "\(root)/inbox/\(name).jpg")
                try await RunningDaemon.wait("answer to \(name)") {
                    FileManager.default.fileExists(atPath: "\(root)/outbox/\(name).json")
                }
            }
        }
        let promoted = try promote(daemon, weaker(daemon))
        #expect(promoted.code == 0, "\(promoted.errors)")
        let report = try JSONDecoder().decode(Report.self, from: Data(promoted.output.utf8))
        #expect(report.promoted && report.sha256 != old)
        let reload = try daemon.control("reload")
        #expect(reload.code == 0, "\(reload.errors)")
        for name in names[45...] { try daemon.moveIn("\(name).jpg") }
        try await dropping.value
        try await daemon.wait(for: names)

        #expect(daemon.outcomes.count == names.count)
        var texts: [String: Set<String>] = [:]
        for name in names {
            let outcome = try daemon.outcome(name)
            #expect(outcome.status == "ok")
            texts[try hash(outcome), default: []].formUnion(outcome.answers.map(\.text))
        }
        #expect(Set(texts.keys) == [old, report.sha256])
        // The document names the adapter that really answered: each has one text, and not the other's.
        #expect(texts[old]?.count == 1 && texts[report.sha256]?.count == 1 && texts[old] != texts[report.sha256])
        for name in names[45...] { #expect(try hash(daemon.outcome(name)) == report.sha256, "\(name)") }

        let back = try daemon.run("memvp", ["promote", "--rollback", "--model", model.path, "--as", "captions"])
        #expect(back.code == 0, "\(back.errors)")
        #expect(try daemon.control("reload").code == 0)
        try daemon.movePhoto("back.jpg")
        try await daemon.wait(for: ["back"])
        #expect(try hash(daemon.outcome("back")) == old)
        #expect(try daemon.stop() == 0)
    }

    @Test(
        "a reload to a damaged bundle, or to one with an adapter of another base, is refused, and the old one goes on")
    func refusedReloads() async throws {
        let daemon = try RunningDaemon()
        let model = try bundle(daemon)
        try daemon.configure(model: model.path)
        try daemon.start()
        try daemon.movePhoto("before.jpg")
        try await daemon.wait(for: ["before"])
        let before = try daemon.outcome("before")
        let yaml = model.appending(path: "model.yaml")
        let (good, description) = (
            try Data(contentsOf: model.appending(path: Self.file)), try String(contentsOf: yaml, encoding: .utf8)
        )

        /// Puts another adapter in place, as whole or broken as it is, and reloads.
        func reload(_ bytes: Data, _ yamlText: String) throws -> (code: Int32, output: String, errors: String) {
            try bytes.write(to: model.appending(path: Self.file))
            try Data(yamlText.utf8).write(to: yaml)
            return try daemon.control("reload")
        }
        let cut = try reload(good.prefix(1_000), description)
        #expect(cut.code == 78 && cut.errors.contains("captions.gguf"), "\(cut)")
        let unreadable = try reload(good, "version: 1\nname: [\n")
        #expect(unreadable.code == 78 && unreadable.errors.contains("model.yaml"), "\(unreadable)")
        let foreign = try Data(contentsOf: foreign(daemon))
        let sum = try daemon.run("/usr/bin/sha256sum", ["\(daemon.root.path)/run/memvp.base.language.sha256.gguf"])
        let old = try hash(before)
        let mismatch = try reload(foreign, description.replacing(old, with: sum.output.prefix(64)))
        #expect(mismatch.code == 78 && mismatch.errors.contains("adapter_mismatch"), "\(mismatch)")
        try daemon.configure(model: model.path, extra: "adapters:\n  caption: nobody")
        let unknown = try reload(good, description)
        #expect(unknown.code == 78 && unknown.errors.contains("no adapter nobody"), "\(unknown)")

        try daemon.movePhoto("after.jpg")
        try await daemon.wait(for: ["after"])
        #expect(try daemon.outcome("after").answers == before.answers)
        #expect(try daemon.outcome("after").model == before.model)
        try daemon.configure(model: model.path)
        // What is named everywhere is what is served: a reload may bring a bundle of another name.
        let name = try #require(before.model?.name)
        #expect(try daemon.control("metrics").output.contains("model=\"\(name)\""))
        #expect(try reload(good, description.replacing("\"\(name)\"", with: "renamed", maxReplacements: 1)).code == 0)
        let metrics = try daemon.control("metrics").output
        #expect(metrics.contains("model=\"renamed\"") && !metrics.contains("model=\"\(name)\""))
        #expect(try reload(good, description).code == 0)
        #expect(try daemon.stop() == 0)

        // At the start it is the same refusal, and promote makes it too, without touching the bundle.
        let refused = try promote(daemon, daemon.root.appending(path: "run/memvp.base.language.sha256.gguf"))
        #expect(refused.code == 78 && refused.errors.contains("adapter_mismatch"), "\(refused)")
        #expect(try String(contentsOf: yaml, encoding: .utf8) == description)
        try foreign.write(to: model.appending(path: Self.file))
        try Data(description.replacing(old, with: sum.output.prefix(64)).utf8).write(to: yaml)
        let start = try daemon.run("memvpd", ["--config", daemon.configurationFile, "--once"])
        #expect(start.code == 78 && start.errors.contains("adapter_mismatch"), "\(start)")
    }

    @Test("the configuration maps tasks to adapters, a reload maps them anew, and a task spec may name another one")
    func mapping() async throws {
        let daemon = try RunningDaemon()
        let model = try bundle(daemon)
        let promoted = try daemon.run(
            "memvp",
            [
                "promote", try weaker(daemon).path, "--model", model.path, "--as", "weak", "--for", "caption",
                "--evaluate", try rows(daemon), "--at-least", "rouge_l",
            ])
        #expect(promoted.code == 0, "\(promoted.errors)")
        try daemon.configure(model: model.path, extra: "adapters:\n  caption: captions")
        try daemon.start()
        let spec = """
            version: 1
            tasks:
              - { id: own, caption: {} }
              - { id: named, caption: {}, adapter: weak }
            """
        try daemon.drop("both.yaml", spec)
        try daemon.movePhoto("both.jpg")
        try daemon.movePhoto("first.jpg")
        try await daemon.wait(for: ["both", "first"])
        let both = try daemon.outcome("both")
        #expect(both.model?.adapter == "captions,weak")
        let texts = both.answers.map(\.text)
        #expect(texts.count == 2 && texts[0] != texts[1])
        #expect(try daemon.outcome("first").answers.map(\.text) == [texts[0]])
        #expect(try daemon.outcome("first").model?.adapter == "captions")

        // The bundle's own choice is the promoted one.
        try daemon.configure(model: model.path, extra: "threads: 1\nlimits:\n  answer_tokens: 512\n  tasks: 3")
        let reload = try daemon.control("reload")
        #expect(
            reload.code == 0 && reload.output.contains("waiting for a restart: threads, limits.tasks."), "\(reload)")
        #expect(try daemon.status().model.adapters == ["caption": "weak", "ask": "vqa"])
        // Specs are held against the limits that the reload brought.
        try daemon.drop("long.yaml", "version: 1\ntasks:\n  - { id: x, caption: { max_tokens: 400 } }\n")
        try daemon.movePhoto("long.jpg")
        try await daemon.wait(for: ["long"])
        #expect(try daemon.outcome("long").status == "ok")
        try daemon.movePhoto("second.jpg")
        try daemon.drop("none.yaml", "version: 1\ntasks:\n  - { id: x, caption: {}, adapter: nobody }\n")
        try daemon.movePhoto("none.jpg")
        try await daemon.wait(for: ["second", "none"])
        #expect(try daemon.outcome("second").model?.adapter == "weak")
        #expect(try daemon.outcome("second").answers.map(\.text) == [texts[1]])
        let none = try daemon.outcome("none")
        #expect(none.error?.code == "spec_invalid" && none.error?.message.contains("nobody") == true)
        #expect(try daemon.stop() == 0)
    }
}
