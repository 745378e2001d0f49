// What surrounds the daemon goes wrong or is unusual: rights, file systems, writers who pause, names, partners who never come.

import Foundation
import Testing

@Suite(
    .serialized, .enabled(if: Build.hasModel, "needs a model bundle with an adapter: make models, or MEMVP_TEST_BUNDLE")
)
struct SurroundingsTests {
    @Test("A writer who pauses for longer than settle is waited for, and status says so")
    func slowWriter() async throws {
        let daemon = try RunningDaemon()
        try daemon.configure(extra: "scan:\n  interval: 100ms")
        try daemon.start()
        try await daemon.waitForControl()
        let photo = try Data(contentsOf: Build.photo)
        try Data([0xFF]).write(to: daemon.inbox("slow.jpg"))
        let writer = try FileHandle(forWritingTo: daemon.inbox("slow.jpg"))
        for part in [photo.prefix(photo.count / 3), photo.dropFirst(photo.count / 3).prefix(1000)] {
            try writer.write(contentsOf: part)
            // Each of these was closed after the pause had begun and had to stand still for `settle`, while scans went on.
            for round in 0..<2 {
                let fence = "fence\(part.startIndex)-\(round)"
                try photo.prefix(photo.count / 2).write(to: daemon.inbox("\(fence).jpg"))
                try await daemon.wait(for: [fence])
                #expect(try daemon.outcome(fence).error?.code == "corrupt_image")
            }
            #expect(!daemon.outcomes.contains("slow.json"))
            #expect(try daemon.status().waiting == ["slow.jpg": "is being written"])
            #expect(try daemon.jobs()["slow.jpg"]?.note == "is being written")
        }
        try writer.write(contentsOf: photo.dropFirst(photo.count / 3 + 1000))
        try writer.close()
        try await daemon.wait(for: ["slow"])
        #expect(try daemon.outcome("slow").status == "ok")
        #expect(daemon.outcomes.count == 5)
        #expect(try daemon.stop() == 0)
    }

    @Test("An inbox that the configuration wants polled is polled; status says why; drops of every kind are answered")
    func polling() async throws {
        let daemon = try RunningDaemon()
        try daemon.configure(extra: "watch:\n  inbox: poll\nscan:\n  poll: 100ms")
        try daemon.start()
        try await daemon.waitForControl()
        let inbox = try #require(try daemon.status().directories.first { $0.role == "inbox" })
        #expect(inbox.watch == "poll" && inbox.note == "the configuration says so")
        try daemon.dropPhoto("written.jpg")
        try daemon.movePhoto("moved.jpg")
        try daemon.drop("pair.yaml", "task: caption\n")
        try daemon.dropPhoto("pair.jpg")
        try daemon.drop("bad.jpg", "no photo\n")
        try await daemon.wait(for: ["written", "moved", "pair", "bad"])
        #expect(try daemon.outcome("written").answers == daemon.outcome("moved").answers)
        #expect(try daemon.outcome("pair").status == "ok")
        #expect(try daemon.outcome("bad").error?.code == "unsupported_type")
        #expect(daemon.outcomes.count == 4)
        #expect(try daemon.stop() == 0)

        try daemon.configure(extra: "watch:\n  inbox: inotify")
        try daemon.start()
        try await daemon.waitForControl()
        #expect(try daemon.status().directories.first { $0.role == "inbox" }?.watch == "inotify")
        #expect(try daemon.stop() == 0)
    }

    @Test(
        "Inbox or outbox on another file system than the spool",
        .enabled(if: Build.hasTwoFileSystems, "needs /tmp and /dev/shm to be two file systems"),
        arguments: [["inbox"], ["outbox"], ["inbox", "outbox"]])
    func twoFileSystems(_ elsewhere: [String]) async throws {
        let daemon = try RunningDaemon(elsewhere: Set(elsewhere))
        try daemon.dropPhoto("early.jpg")
        try daemon.start()
        try daemon.drop("pair.yaml", "caption: { max_tokens: 8 }\n")
        try daemon.movePhoto("pair.jpg")
        try daemon.dropPhoto("photo.jpg")
        try daemon.drop("empty.jpg", "")
        try await daemon.wait(for: ["early", "pair", "photo", "empty"])
        #expect(try daemon.outcome("early").answers == daemon.outcome("photo").answers)
        #expect(try daemon.outcome("pair").status == "ok")
        #expect(try daemon.outcome("empty").error?.code == "empty_file")
        let left = try FileManager.default.subpathsOfDirectory(atPath: daemon.directory("inbox").path)
        #expect(left.allSatisfy { $0 == ".memvpd" }, "\(left)")
        #expect(daemon.outcomes.count == 4)
        #expect(try daemon.stop() == 0)
    }

    @Test(
        "What could not be copied stays beside the inbox, and nothing says that it is elsewhere",
        .enabled(if: Build.hasTwoFileSystems, "needs /tmp and /dev/shm to be two file systems"))
    func keptBesideTheInbox() async throws {
        let daemon = try RunningDaemon(elsewhere: ["inbox"])
        try daemon.start()
        #expect(unsafe mkfifo(daemon.inbox("pipe.jpg").path, 0o644) == 0)
        try await daemon.wait(for: ["pipe"])
        let outcome = try daemon.outcome("pipe")
        #expect(outcome.error?.code == "not_regular_file")
        let place = "\(daemon.directory("inbox").path)/.memvpd/kept/\(outcome.job)/pipe.jpg"
        try await daemon.wait("filed job") { try daemon.explanation(outcome.job).contains("ended with an error") }
        let explanation = try daemon.explanation(outcome.job)
        #expect(explanation.contains("The file stays in \(place)."), "\(explanation)")
        #expect(explanation.contains("The reason is in \(daemon.directory("failed").path)/\(outcome.job)/reason.json."))
        #expect(!explanation.contains("Its originals") && !explanation.contains("memvpctl retry"), "\(explanation)")
        #expect(try daemon.stop() == 0)
    }

    @Test(
        "A file that the daemon's user may not read is one error that names the remedy; the daemon goes on",
        .enabled(if: Build.canDropRights, "needs setpriv(1), and programs and a model that nobody may read"))
    func unreadable() async throws {
        let daemon = try RunningDaemon()
        try daemon.startUnprivileged()
        for name in ["secret.jpg", "pair.jpg"] { try daemon.aside(name) }
        try Data("task: caption\n".utf8).write(to: daemon.root.appending(path: "run/pair.yaml"))
        for name in ["secret.jpg", "pair.yaml"] {
            try FileManager.default.setAttributes(
                [.posixPermissions: 0], ofItemAtPath: "\(daemon.root.path)/run/\(name)")
        }
        for name in ["secret.jpg", "pair.yaml", "pair.jpg"] { try daemon.moveIn(name) }
        try await daemon.wait(for: ["secret", "pair"])
        for name in ["secret", "pair"] {
            let outcome = try daemon.outcome(name)
            #expect(outcome.error?.code == "unreadable", "\(name): \(outcome.error?.message ?? "")")
            #expect(outcome.error?.hint?.contains("setfacl") == true && outcome.image?.file == "\(name).jpg")
        }
        try daemon.aside("after.jpg")
        try daemon.moveIn("after.jpg")
        try await daemon.wait(for: ["after"])
        #expect(try daemon.outcome("after").status == "ok")
        #expect(try daemon.stop() == 0)
    }

    @Test(
        "An outbox that cannot be written to: outcomes wait in the spool, status and health say so, nothing is lost",
        .enabled(if: Build.canDropRights, "needs setpriv(1), and programs and a model that nobody may read"))
    func unwritableOutbox() async throws {
        let daemon = try RunningDaemon()
        try daemon.startUnprivileged()
        try await daemon.waitForControl()
        let outbox = daemon.directory("outbox").path
        try FileManager.default.setAttributes([.posixPermissions: 0o555], ofItemAtPath: outbox)
        for name in ["one.jpg", "two.jpg"] {
            try daemon.aside(name)
            try daemon.moveIn(name)
        }
        try await daemon.wait("committed jobs") {
            let jobs = try daemon.jobs()
            return jobs.count == 2 && jobs.values.allSatisfy { $0.state == "answered" }
        }
        #expect(daemon.outcomes.isEmpty)
        let health = try daemon.control("health")
        #expect(health.code == 69 && health.output.contains("FAIL  outbox: \(outbox): is not writable"))
        #expect(health.errors.contains("is not well: outbox") && health.errors.contains("memvpctl status"))
        // A stop and a start do not lose them either.
        #expect(try daemon.stop() == 0)
        try daemon.startUnprivileged()
        try await daemon.waitForControl()
        #expect(try daemon.jobs().values.map(\.state) == ["answered", "answered"])
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: outbox)
        try await daemon.wait(for: ["one", "two"])
        #expect(try daemon.outcome("one").answers == daemon.outcome("two").answers)
        #expect(try daemon.control("health").code == 0)
        #expect(try daemon.stop() == 0)
    }

    @Test("A spec whose photo never comes waits, is shown waiting, and then fails alone")
    func photoNeverComes() async throws {
        let daemon = try RunningDaemon()
        try daemon.start()
        try daemon.drop("lonely.yaml", "task: caption\n")
        try daemon.drop("wrong.yaml", "task: caption\ncolour: red\n")
        try await daemon.wait("waiting specs") {
            try daemon.control("status").code == 0 && daemon.status().waiting.count == 2
        }
        try await daemon.wait("reasons") {
            try daemon.status().waiting["lonely.yaml"] == "waiting for a photo of its stem"
        }
        #expect(daemon.outcomes.isEmpty)
        #expect(try daemon.stop() == 0)

        try daemon.configure(timeout: "300ms")
        try daemon.start()
        try await daemon.wait(for: ["lonely", "wrong"])
        #expect(try daemon.outcome("lonely").error?.code == "image_missing")
        #expect(try daemon.outcome("lonely").image == nil)
        // A retry needs a photo.
        try await daemon.wait("filed job") {
            try daemon.explanation(daemon.outcome("lonely").job).contains("ended with an error")
        }
        #expect(try !daemon.explanation(daemon.outcome("lonely").job).contains("memvpctl retry"))
        #expect(try daemon.outcome("wrong").error?.code == "spec_invalid")
        try daemon.dropPhoto("lonely.jpg")
        try await daemon.wait(for: ["lonely-2"])
        #expect(try daemon.outcome("lonely-2").status == "ok")
        #expect(try daemon.stop() == 0)
    }

    @Test("A name that is not UTF-8 is answered, with its bytes")
    func bytesForNames() async throws {
        let daemon = try RunningDaemon()
        try daemon.start()
        // "caf\xE9 \xFF.jpg", moved by a shell, since Foundation knows no such names.
        let name = [UInt8]("caf".utf8) + [0xE9, 0x20, 0xFF] + [UInt8](".jpg".utf8)
        try daemon.aside("photo.jpg")
        let script = #"mv "$0/run/photo.jpg" "$0/inbox/$(printf 'caf\351 \377.jpg')""#
        #expect(try daemon.run("/bin/sh", ["-c", script, daemon.root.path]).code == 0)
        let show = #"cd "$0/outbox" && set -- *.json && [ -e "$1" ] && cat "$@""#
        var printed = ""
        try await daemon.wait("outcome") {
            printed = try daemon.run("/bin/sh", ["-c", show, daemon.root.path]).output
            return !printed.isEmpty
        }
        let outcome = try JSONDecoder().decode(Outcome.self, from: Data(printed.utf8))
        #expect(outcome.status == "ok")
        #expect(outcome.image?.bytes == Data(name).base64EncodedString())
        #expect(outcome.image?.file == #"caf\xe9 \xff.jpg"#)
        #expect(try daemon.control("show", outcome.job).code == 0)
        // The stem keeps its bytes in the outcome's name, too.
        let list = #"cd "$0/outbox" && [ -e "$(printf 'caf\351 \377.json')" ]"#
        #expect(try daemon.run("/bin/sh", ["-c", list, daemon.root.path]).code == 0)
        #expect(try daemon.stop() == 0)
    }
}

@Suite(
    .serialized, .enabled(if: Build.hasModel, "needs a model bundle with an adapter: make models, or MEMVP_TEST_BUNDLE")
)
struct ModelTrouble {
    /// A bundle of links to the real one's files, changed by `change`.
    private func bundle(_ daemon: RunningDaemon, _ change: (_ yaml: String, _ at: URL) throws -> String) throws
        -> String
    {
        let at = daemon.root.appending(path: "model")
        try? FileManager.default.removeItem(at: at)
        let adapters = at.appending(path: "adapters")
        try FileManager.default.createDirectory(at: adapters, withIntermediateDirectories: true)
        for file in ["language.gguf", "vision.gguf", "adapters/captions.gguf", "adapters/vqa.gguf"] {
            try FileManager.default.createSymbolicLink(
                at: at.appending(path: file), withDestinationURL: Build.model.appending(path: file))
        }
        let yaml = try String(contentsOf: Build.model.appending(path: "model.yaml"), encoding: .utf8)
        try Data(try change(yaml, at).utf8).write(to: at.appending(path: "model.yaml"))
        return at.path
    }

    @Test("A bundle that cannot serve ends the start with 78 and says what to do")
    func unusable() throws {
        let daemon = try RunningDaemon()
        func start(_ extra: String = "", _ change: (String, URL) throws -> String) throws -> (
            code: Int32, errors: String
        ) {
            try daemon.configure(model: try bundle(daemon, change), extra: extra)
            let end = try daemon.run("memvpd", ["--config", daemon.configurationFile, "--once"])
            return (end.code, end.errors)
        }
        let base = try start { yaml, _ in
            var lines = yaml.replacing("adapters:\n  caption: \"captions\"\n  ask: \"vqa\"", with: "adapters: {}")
                .split(separator: "\n")
            for file in ["adapters/captions.gguf", "adapters/vqa.gguf"] {
                let entry = try #require(lines.firstIndex { $0.contains(file) })
                lines.removeSubrange(entry...entry + 1)
            }
            return lines.joined(separator: "\n") + "\n"
        }
        #expect(base.code == 78 && base.errors.contains("has no adapter") && base.errors.contains("convert adapter"))

        let unknown = try start("adapters:\n  ask: vqa.v2") { yaml, _ in yaml }
        #expect(unknown.code == 78 && unknown.errors.contains("has no adapter vqa.v2"), "\(unknown.errors)")
        #expect(unknown.errors.contains("It has captions, vqa"))

        let exchanged = try start { yaml, at in
            let vision = at.appending(path: "vision.gguf")
            var bytes = try Data(contentsOf: vision.resolvingSymlinksInPath())
            bytes[bytes.count / 2] ^= 1
            try FileManager.default.removeItem(at: vision)
            try bytes.write(to: vision)
            return yaml
        }
        #expect(exchanged.code == 78 && exchanged.errors.contains("vision.gguf"), "\(exchanged.errors)")

        let truncated = try start { yaml, at in
            let file = at.appending(path: "adapters/captions.gguf")
            let bytes = try Data(contentsOf: file.resolvingSymlinksInPath())
            try FileManager.default.removeItem(at: file)
            try bytes.prefix(100).write(to: file)
            return yaml
        }
        #expect(truncated.code == 78, "\(truncated.errors)")

        let garbage = try start { _, _ in "version: 1\nname: [\n" }
        #expect(garbage.code == 78 && garbage.errors.contains("model.yaml"), "\(garbage.errors)")
        let nothing = try start { yaml, at in
            try FileManager.default.removeItem(at: at.appending(path: "language.gguf"))
            return yaml
        }
        #expect(nothing.code == 78 && nothing.errors.contains("make models"), "\(nothing.errors)")
    }

    @Test("An adapter may have dots in its name; configuration and spec may choose it")
    func dots() async throws {
        let daemon = try RunningDaemon()
        let model = try bundle(daemon) { yaml, at in
            try FileManager.default.moveItem(
                at: at.appending(path: "adapters/captions.gguf"), to: at.appending(path: "adapters/cap.v1.2.gguf"))
            return yaml.replacing("captions", with: "cap.v1.2")
        }
        try daemon.configure(model: model, extra: "adapters:\n  caption: cap.v1.2")
        try daemon.start()
        try daemon.drop("spec.yaml", "tasks:\n  - id: a\n    caption: {}\n    adapter: cap.v1.2\n")
        try daemon.dropPhoto("spec.jpg")
        try daemon.dropPhoto("plain.jpg")
        try await daemon.wait(for: ["spec", "plain"])
        #expect(try daemon.outcome("plain").model?.adapter == "cap.v1.2")
        #expect(try daemon.outcome("spec").answers.map(\.text) == daemon.outcome("plain").answers.map(\.text))
        #expect(try daemon.status().model.adapters["caption"] == "cap.v1.2")
        #expect(try daemon.stop() == 0)
    }
}
