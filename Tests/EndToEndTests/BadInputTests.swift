// Every bad drop ends in exactly one explained error, and the daemon goes on.

import Foundation
import Testing

@Suite(
    .serialized, .enabled(if: Build.hasModel, "needs a model bundle with an adapter: make models, or MEMVP_TEST_BUNDLE")
)
struct BadInputTests {
    @Test("Bad inputs, each with its code")
    func table() async throws {
        let daemon = try RunningDaemon()
        try daemon.start()
        let photo = try Data(contentsOf: Build.photo)
        try daemon.drop("empty.jpg", "")
        try daemon.drop("text.jpg", "not a photo\n")
        try photo.prefix(photo.count / 2).write(to: daemon.inbox("truncated.jpg"))
        try Data([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]).write(to: daemon.inbox("signature.png"))
        try Data("GIF89a".utf8).write(to: daemon.inbox("drawing.gif"))
        try Data("GIF89a".utf8).write(to: daemon.inbox("disguised.png"))
        for (stem, spec) in [
            ("zero", ""), ("unknown", "version: 1\ntask: caption\ncolour: red\n"),
            ("escape", "version: 1\nimage: ../../etc/passwd\ntask: caption\n"),
            ("bomb", "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"),
            ("large", "task: caption\n#" + String(repeating: "x", count: 2_000_000) + "\n"),
        ] {
            try daemon.drop("\(stem).yaml", spec)
            try daemon.dropPhoto("\(stem).jpg")
        }
        try Self.withLargestHeader(photo).write(to: daemon.inbox("huge.jpg"))
        try daemon.drop(".hidden.jpg", "")
        try daemon.drop("half.jpg.part", "")
        try FileManager.default.createSymbolicLink(
            atPath: daemon.inbox("link.jpg").path, withDestinationPath: "/etc/passwd")
        let madeFIFO = unsafe mkfifo(daemon.inbox("fifo.jpg").path, 0o600)
        #expect(madeFIFO == 0)
        try FileManager.default.createDirectory(at: daemon.inbox("directory.jpg"), withIntermediateDirectories: false)
        try daemon.movePhoto("two.jpg")
        try daemon.movePhoto("two.jpeg")
        let odd = "odd (1)\n'ü'"
        try daemon.movePhoto("\(odd).jpg")
        try daemon.movePhoto("-dash.jpg")

        let codes = [
            "empty": "empty_file", "text": "unsupported_type", "truncated": "corrupt_image",
            "drawing": "unsupported_type", "disguised": "unsupported_type", "signature": "corrupt_image",
            "zero": "empty_file", "unknown": "spec_invalid", "escape": "spec_invalid",
            "bomb": "spec_invalid", "large": "spec_invalid", "huge": "image_too_large", "link": "not_regular_file",
            "fifo": "not_regular_file",
        ]
        let answered = ["two", "two-2", odd, "-dash"]
        try await daemon.wait(for: Array(codes.keys) + answered)
        for (name, code) in codes {
            let outcome = try daemon.outcome(name)
            #expect(outcome.status == "error" && outcome.answers.isEmpty, "\(name)")
            #expect(outcome.error?.code == code, "\(name): \(outcome.error?.message ?? "no error")")
            #expect(outcome.image?.file.hasPrefix(name) == true, "\(name)")
        }
        for name in answered { #expect(try daemon.outcome(name).status == "ok") }
        #expect(try daemon.outcome("unknown").error?.message.contains("line 3, column 1") == true)

        // One outcome each and no more; the daemon is well and names the directory that it left.
        try daemon.dropPhoto("after.jpg")
        try await daemon.wait(for: ["after"])
        #expect(daemon.outcomes.count == codes.count + answered.count + 1)
        let status = try daemon.control("status", "--json").output
        #expect(status.contains("directory.jpg") && status.contains(#""ignored":{"dot_file":1,"partial":1}"#))
        #expect(try daemon.stop() == 0)
    }

    @Test("A photo that was closed without its end waits; written anew and whole it gets one answer, and no error")
    func rewritten() async throws {
        let daemon = try RunningDaemon()
        try daemon.configure(settle: "1h")
        try daemon.start()
        try await daemon.waitForControl()
        let photo = try Data(contentsOf: Build.photo)
        try photo.prefix(photo.count / 2).write(to: daemon.inbox("rewritten.jpg"))
        try await daemon.wait("sight of the half photo, closed") {
            try daemon.status().waiting["rewritten.jpg"] == "must stand unchanged for a while"
        }
        try photo.write(to: daemon.inbox("rewritten.jpg"))
        try await daemon.wait(for: ["rewritten"])
        #expect(try daemon.outcome("rewritten").status == "ok")
        #expect(daemon.outcomes == ["rewritten.json"])
        #expect(try daemon.stop() == 0)
    }

    @Test(
        "With log.names: hide neither good nor bad drops leave their names in the log, at any level",
        arguments: [true, false])
    func hidesNames(hides: Bool) async throws {
        let daemon = try RunningDaemon()
        try daemon.configure(extra: "log: {level: trace, names: \(hides ? "hide" : "show")}")
        let log = daemon.root.appending(path: "run/log")
        try Data().write(to: log)
        try daemon.start(errors: try FileHandle(forWritingTo: log))
        try daemon.dropPhoto("Meier-good.jpg")
        try daemon.drop("Meier-empty.jpg", "")
        try daemon.drop("Meier-spec.yaml", "version: 1\ntask: caption\ncolour: Meier\n")
        try daemon.dropPhoto("Meier-spec.jpg")
        try FileManager.default.createSymbolicLink(
            atPath: daemon.inbox("Meier-link.jpg").path, withDestinationPath: "/etc/passwd")
        try await daemon.wait(for: ["good", "empty", "spec", "link"].map { "Meier-\($0)" })
        let failed = try daemon.control("queue", "--state", "failed", "--json")
        #expect(failed.output.contains("Meier"))
        for verb in ["show", "hold", "retry"] { try daemon.control(verb, "Meier-good.jpg") }
        #expect(try daemon.stop() == 0)
        let text = try String(contentsOf: log, encoding: .utf8)
        #expect(text.contains("answered") && text.contains("[empty_file]") && text.contains("stopped"))
        #expect(text.contains("Meier") == !hides, "\(text)")
    }

    /// The photo with a frame header that says 65,535 × 65,535.
    static func withLargestHeader(_ photo: Data) throws -> Data {
        var bytes = [UInt8](photo)
        let frame = try #require(
            (0..<bytes.count - 9).first { bytes[$0] == 0xFF && [0xC0, 0xC2].contains(bytes[$0 + 1]) })
        for offset in 5..<9 { bytes[frame + offset] = 0xFF }
        return Data(bytes)
    }
}

@Suite struct StartTests {
    @Test("Without a model the start ends with 78 and says how to install one; a wrong command line with 64")
    func exits() throws {
        let daemon = try RunningDaemon()
        try daemon.configure(model: "\(daemon.root.path)/nothing")
        let file = "\(daemon.root.path)/memvpd.yaml"
        #expect(try daemon.run("memvpd", ["--config", file]).code == 78)
        #expect(try daemon.run("memvpd", ["--nonsense"]).code == 64)
        #expect(try daemon.run("memvpd", ["--config", "\(file).none"]).code == 78)
        #expect(try daemon.run("memvpd", ["--config", file, "--check-config"]).code == 0)
        #expect(try daemon.control("status").code == 69)
        #expect(try daemon.run("memvpctl", ["retry"]).code == 64)
        let metrics = try daemon.control("metrics", "--json")
        #expect(metrics.code == 64 && metrics.errors.contains("have no JSON form"), "\(metrics)")
    }
}
