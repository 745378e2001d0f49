// What the programs print: that it arrives, or that they say so, and what programs read of it.

import Foundation
import Testing

@Suite("Results on standard output")
struct ResultTests {
    @Test("a result that cannot be written ends each program with 74 and a message")
    func fullDisk() throws {
        let daemon = try RunningDaemon()
        let folder = daemon.root.appending(path: "run").path
        try daemon.aside("photo.jpg")
        try Data("task: caption\n".utf8).write(to: URL(filePath: "\(folder)/spec.yaml"))
        try Data(#"{"image": "photo.jpg", "caption": "A dog ."}"#.utf8).write(to: URL(filePath: "\(folder)/rows.jsonl"))
        let (rows, out) = ("\(folder)/rows.jsonl", "\(folder)/out.jsonl")
        let split = ["data", "split", "--data", rows, "--out", out, "--part", "0.999"]
        for (program, arguments) in [
            ("memvpd", ["--config", daemon.configurationFile, "--check-config"]),
            ("memvpctl", ["check", "\(folder)/spec.yaml"]), ("memvpctl", ["check", "\(folder)/spec.yaml", "--json"]),
            ("memvp", split), ("memvp", split + ["--json"]), ("memvp", ["data", "--help"]),
        ] {
            let path = Build.programs.appending(path: program).path
            let end = try daemon.run("/bin/sh", ["-c", #"exec "$0" "$@" > /dev/full"#, path] + arguments)
            #expect(end.code == 74, "\(program) \(arguments): \(end)")
            #expect(end.errors.contains("standard output: cannot be written"), "\(program) \(arguments): \(end)")
        }
        #expect(FileManager.default.fileExists(atPath: out))
    }

    @Test(
        "report and average say in JSON what they wrote",
        .enabled(if: Build.hasModel, "needs a model bundle with an adapter: make models, or MEMVP_TEST_BUNDLE"))
    func written() throws {
        let daemon = try RunningDaemon()
        let folder = daemon.root.appending(path: "run").path
        try daemon.aside("photo.jpg")
        let rows = """
            {"image": "photo.jpg", "caption": "A woman in a suit ."}
            {"image": "./photo.jpg", "caption": "An astronaut ."}
            {"image": "photo.jpg", "question": "Is it raining?", "answer": "no"}
            {"image": "gone.jpg", "caption": "Nothing ."}
            """
        try Data(rows.utf8).write(to: URL(filePath: "\(folder)/rows.jsonl"))
        func said(_ arguments: [String]) throws -> [String: Any] {
            let end = try daemon.run("memvp", arguments + ["--json"])
            #expect(end.code == 0, "\(end.errors)")
            let object = try JSONSerialization.jsonObject(with: Data(end.output.utf8))
            return try #require(object as? [String: Any])
        }
        let page = "\(folder)/page.html"
        let report = try said([
            "report", "--model", Build.model.path, "--data", "\(folder)/rows.jsonl", "--out", page,
        ])
        #expect(report.keys.sorted() == ["answers", "bytes", "captions", "kernels", "precision", "report"])
        #expect(report["report"] as? String == page)
        #expect(try report["bytes"] as? Int == Data(contentsOf: URL(filePath: page)).count)
        let captions = try #require((report["captions"] as? [[String: Any]])?.first)
        #expect(
            captions.keys.sorted() == [
                "bad_rows", "bleu", "blind", "cider_d", "count", "data", "references", "rouge_l",
            ])
        #expect(captions["count"] as? Int == 1 && captions["references"] as? Int == 2)
        #expect(captions["bad_rows"] as? Int == 1)
        let answers = try #require((report["answers"] as? [[String: Any]])?.first)
        #expect(
            answers.keys.sorted() == [
                "accuracy", "bad_rows", "blind", "by_type", "count", "data", "exact", "majority", "majority_answer",
            ])
        #expect(answers["majority_answer"] as? String == "no")

        let adapter = Build.model.appending(path: "adapters/captions.gguf").path
        let mean = try said(["average", adapter, adapter, "--base", Build.model.path, "--out", "\(folder)/mean.gguf"])
        #expect(mean.keys.sorted() == ["adapter", "base", "from", "sha256"])
        #expect(mean["adapter"] as? String == "\(folder)/mean.gguf" && mean["from"] as? [String] == [adapter, adapter])
        #expect((mean["sha256"] as? String)?.count == 64)
    }
}
