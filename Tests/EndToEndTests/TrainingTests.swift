// The trainer as a program among limits.

import Foundation
import Testing

@Suite(
    "memvp train as a program",
    .enabled(if: Build.hasModel, "needs a model bundle with an adapter: make models, or MEMVP_TEST_BUNDLE"))
struct TrainingTests {
    /// One row of one photo, and the arguments of a run on it.
    private func job(_ daemon: RunningDaemon) throws -> (folder: String, arguments: [String]) {
        let folder = daemon.root.appending(path: "run").path
        try daemon.aside("photo.jpg")
        let rows = "\(folder)/rows.jsonl"
        try Data(#"{"image": "photo.jpg", "caption": "A woman in a suit ."}"#.utf8).write(to: URL(filePath: rows))
        return (
            folder,
            [
                "train", "--base", Build.model.path, "--data", rows, "--out", "\(folder)/a.gguf", "--cache",
                "\(folder)/cache", "--threads", "2",
            ]
        )
    }

    @Test("a file that may grow no further (ulimit -f) ends the program with 74 and a message, not by a signal")
    func limit() throws {
        let daemon = try RunningDaemon()
        let (folder, arguments) = try job(daemon)
        let program = Build.programs.appending(path: "memvp").path
        // Less than the features of one photo; and the signal as a shell of its own would have it, whatever these tests run under.
        let script = #"ulimit -f 64; exec env --default-signal=XFSZ "$0" "$@""#
        let end = try daemon.run("/bin/sh", ["-c", script, program] + arguments)
        #expect(end.code == 74, "\(end)")
        #expect(end.errors.contains("\(folder)/cache/") && end.errors.contains("File too large"), "\(end)")
        #expect(!FileManager.default.fileExists(atPath: "\(folder)/a.train"))
    }

    @Test("who reads a run's lines may go: the run goes on to its end")
    func reader() throws {
        let daemon = try RunningDaemon()
        let (folder, arguments) = try job(daemon)
        let program = Build.programs.appending(path: "memvp").path
        let options = ["--json", "--steps", "4", "--batch", "1", "--hidden", "8", "--warm-up", "0"]
        let script = #"end="$1"; shift; { "$0" "$@"; echo $? > "$end"; } | head -n 1 > /dev/null; cat "$end""#
        let end = try daemon.run("/bin/sh", ["-c", script, program, "\(folder)/end"] + arguments + options)
        #expect(end.output == "0\n", "\(end)")
        #expect(FileManager.default.fileExists(atPath: "\(folder)/a.gguf"))
    }
}
