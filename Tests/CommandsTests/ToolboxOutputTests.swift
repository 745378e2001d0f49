// What commands write: results that do not arrive are told, and nothing that is read or served is overwritten.

import ArgumentParser
import Diagnostics
import FineTuning
import Foundation
import Testing

@testable import Commands

/// A folder with a photo, rows about it and what looks like a bundle.
private final class Desk {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("memvp-\(UUID().uuidString)").path
    var rows: String { "\(path)/rows.jsonl" }
    let text = #"{"image": "images/a.jpg", "caption": "A dog .", "id": 7}"# + "\n"

    init() throws {
        for folder in ["images", "bundle/adapters"] {
            try FileManager.default.createDirectory(
                atPath: "\(path)/\(folder)", withIntermediateDirectories: true)
        }
        for file in ["images/a.jpg", "bundle/model.yaml", "bundle/language.gguf"] { try write("x", file) }
        try write(text, "rows.jsonl")
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func write(_ text: String, _ file: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: "\(path)/\(file)"))
    }

    func link(_ name: String, to target: String) throws {
        try FileManager.default.createSymbolicLink(
            atPath: "\(path)/\(name)", withDestinationPath: "\(path)/\(target)")
    }

    func read(_ file: String) throws -> String {
        try String(contentsOfFile: "\(path)/\(file)", encoding: .utf8)
    }
}

@Suite("Standard output")
struct OutputTests {
    @Test("a full disk is told, with the code of it; a text ends with one line feed, no text is no line")
    func full() throws {
        let device = try #require(FileHandle(forWritingAtPath: "/dev/full"))
        let failure = #expect(throws: Failure.self) { try Output.write("result", to: device.fileDescriptor) }
        try device.close()
        #expect(failure?.code == .noSpace && failure?.object == "standard output")
        let closed = #expect(throws: Failure.self) { try Output.write("result", to: -1) }
        #expect(closed?.code == .inputOutput && closed?.code.exitCode.rawValue == 74)

        let pipe = Pipe()
        for text in ["one", "two\n", ""] { try Output.write(text, to: pipe.fileHandleForWriting.fileDescriptor) }
        try pipe.fileHandleForWriting.close()
        #expect(try pipe.fileHandleForReading.readToEnd() == Data("one\ntwo\n".utf8))
    }

    @Test("a reader who has gone ends the program by SIGPIPE, and is no failure where that is ignored")
    func gone() async {
        await #expect(processExitsWith: .signal(SIGPIPE)) {
            signal(SIGPIPE, SIG_DFL)
            try OutputTests.writeToNobody()
        }
        await #expect(processExitsWith: .success) {
            signal(SIGPIPE, SIG_IGN)
            try OutputTests.writeToNobody()
        }
    }

    @Test("no command prints past Output, which alone notices that a result did not arrive")
    func alone() throws {
        let folder = Material.root.appendingPathComponent("Sources/Commands").path
        let files = try FileManager.default.subpathsOfDirectory(atPath: folder).filter { $0.hasSuffix(".swift") }
        #expect(files.count > 20)
        for file in files {
            let text = try String(contentsOfFile: "\(folder)/\(file)", encoding: .utf8)
            #expect(!text.contains("print("), "\(file)")
        }
    }

    static func writeToNobody() throws {
        let pipe = Pipe()
        try pipe.fileHandleForReading.close()
        try Output.write("result", to: pipe.fileHandleForWriting.fileDescriptor)
        try pipe.fileHandleForWriting.close()
    }

    @Test("a pipe that does not block is waited for until all has gone through")
    func patient() throws {
        let (input, output) = (Pipe(), Pipe())
        let descriptor = input.fileHandleForWriting.fileDescriptor
        #expect(fcntl(descriptor, F_SETFL, O_NONBLOCK) == 0)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/wc")
        process.arguments = ["-c"]
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        try Output.write(String(repeating: "x", count: 1 << 20), to: descriptor)
        try input.fileHandleForWriting.close()
        let counted = String(decoding: try output.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        process.waitUntilExit()
        #expect(Int(counted.trimmingCharacters(in: .whitespacesAndNewlines)) == (1 << 20) + 1)
    }
}

@Suite("What --out may name")
struct ToolboxOutputTests {
    private func refusal(
        _ path: String, reading inputs: [String] = [], bundle: String? = nil
    ) -> Failure? {
        do throws(Failure) {
            try ToolboxOutput.check(path, reading: inputs, bundle: bundle)
        } catch { return error }
        return nil
    }

    @Test("never what the command reads, however it is spelled; but a copy, a hard link and anything else")
    func inputs() throws {
        let desk = try Desk()
        try desk.link("link.jsonl", to: "rows.jsonl")
        try desk.link("folder", to: "images")
        let input = desk.rows
        for out in ["rows.jsonl", "./rows.jsonl", "images/../rows.jsonl", "link.jsonl", "folder/../rows.jsonl"] {
            let failure = refusal("\(desk.path)/\(out)", reading: ["/nonexistent", input])
            #expect(failure?.code == .cannotCreate && failure?.cause.contains(input) == true, "\(out)")
        }
        #expect(refusal(desk.rows, reading: ["\(desk.path)/link.jsonl"])?.code == .cannotCreate)
        try FileManager.default.copyItem(atPath: input, toPath: "\(desk.path)/copy.jsonl")
        try FileManager.default.linkItem(atPath: input, toPath: "\(desk.path)/hard.jsonl")
        for out in ["copy.jsonl", "hard.jsonl", "new.jsonl", "folder/rows.jsonl"] {
            #expect(refusal("\(desk.path)/\(out)", reading: [input]) == nil, "\(out)")
        }
        #expect(refusal("")?.code == .usage)
    }

    @Test("never a file of the bundle, by whatever path or link; beside it is well")
    func bundles() throws {
        let desk = try Desk()
        let bundle = "\(desk.path)/bundle"
        try desk.write("x", "elsewhere.gguf")
        try desk.link("bundle/vision.gguf", to: "elsewhere.gguf")
        try desk.link("inside", to: "bundle/adapters")
        try desk.link("bundle.too", to: "bundle")
        for out in [
            "bundle/model.yaml", "bundle/new.gguf", "bundle/adapters/new.gguf", "bundle/new/new.gguf",
            "inside/new.gguf", "bundle.too/../bundle/x", "elsewhere.gguf", "bundle/vision.gguf",
        ] {
            for name in [bundle, "\(desk.path)/bundle.too/"] {
                let failure = refusal("\(desk.path)/\(out)", bundle: name)
                #expect(failure?.code == .cannotCreate && failure?.hint.contains("promote") == true, "\(out)")
            }
        }
        #expect(refusal("\(desk.path)/bundle.gguf", bundle: bundle) == nil)
        // What is no bundle is named by whoever opens it.
        #expect(refusal("\(desk.path)/images/new.gguf", bundle: desk.path) == nil)
    }

    @Test("never what is no file: a pipe or a device would be replaced by one")
    func oddFiles() throws {
        let desk = try Desk()
        let made = unsafe mkfifo("\(desk.path)/pipe", 0o600)
        try #require(made == 0)
        #expect(refusal("\(desk.path)/pipe")?.code == .cannotCreate)
        #expect(refusal("/dev/null")?.cause.contains("no regular file") == true)
        // Standard output that leads to a regular file: the link itself would be replaced.
        let open = try FileHandle(forWritingTo: URL(filePath: desk.rows))
        try FileManager.default.createSymbolicLink(
            atPath: "\(desk.path)/out", withDestinationPath: "/proc/self/fd/\(open.fileDescriptor)")
        for device in ["\(desk.path)/out", "/dev/stdout", "/proc/self/fd/\(open.fileDescriptor)"] {
            #expect(refusal(device)?.cause.contains("no regular file") == true, "\(device)")
        }
        #expect(try desk.read("rows.jsonl") == desk.text)
        let directory = refusal("\(desk.path)/images")
        #expect(directory?.code == .cannotCreate && directory?.cause == "is a directory")
        #expect(refusal("\(desk.path)/missing/new")?.code == .cannotCreate)
    }

    @Test("commands refuse before they read, and their inputs stand as they did")
    func commands() throws {
        let desk = try Desk()
        try desk.link("link.jsonl", to: "rows.jsonl")
        let (rows, bundle) = (desk.rows, "\(desk.path)/bundle")
        let link = "\(desk.path)/link.jsonl"
        let log = "\(desk.path)/images/log.jsonl"
        try desk.write("", "images/log.jsonl")
        let inside = "\(bundle)/adapters/new.gguf"
        let questions = "\(desk.path)/questions.jsonl"
        try desk.write(#"{"image": "images/a.jpg", "question": "is it?", "answer": "yes"}"#, "questions.jsonl")
        let adapter = "\(desk.path)/mine.gguf"
        try desk.write("x", "mine.gguf")
        // Rows that stand where a run writes its log, and a run's directory that leads into the bundle.
        let run = "\(desk.path)/run.train/log.jsonl"
        try FileManager.default.createDirectory(atPath: "\(desk.path)/run.train", withIntermediateDirectories: true)
        try desk.write(desk.text.replacing("images/", with: "../images/"), "run.train/log.jsonl")
        try desk.link("linked.train", to: "bundle/adapters")
        for arguments in [
            ["eval", "captions", "--model", bundle, "--data", rows, "--adapter", adapter, "--answers", adapter],
            ["eval", "vqa", "--model", bundle, "--data", questions, "--adapter", adapter, "--answers", adapter],
            ["train", "--base", bundle, "--data", run, "--out", "\(desk.path)/run.gguf"],
            ["train", "--base", bundle, "--data", rows, "--out", "\(desk.path)/linked.gguf"],
            ["train", "--base", bundle, "--data", rows, "--out", "\(desk.path)/new.gguf/"],
            ["data", "split", "--data", rows, "--out", link, "--part", "0.9"],
            ["data", "derive", "--data", rows, "--out", rows],
            ["data", "split", "--data", rows, "--out", "\(desk.path)/images/a.jpg", "--part", "0.9"],
            ["report", "--model", bundle, "--data", rows, "--out", rows],
            ["report", "--model", bundle, "--data", rows, "--run", "\(desk.path)/images", "--out", log],
            ["report", "--model", bundle, "--data", rows, "--out", "\(bundle)/page.html"],
            ["report", "--model", bundle, "--data", rows, "--out", "\(desk.path)/images"],
            ["eval", "captions", "--model", bundle, "--data", rows, "--answers", link],
            ["eval", "captions", "--model", bundle, "--data", rows, "--answers", "\(desk.path)/images/a.jpg"],
            ["eval", "vqa", "--model", bundle, "--data", questions, "--answers", questions],
            ["eval", "vqa", "--model", bundle, "--data", questions, "--answers", inside],
            ["average", link, rows, "--base", bundle, "--out", rows],
            ["average", link, rows, "--base", bundle, "--out", inside],
            ["train", "--base", bundle, "--data", rows, "--out", rows],
            ["train", "--base", bundle, "--data", rows, "--validation", link, "--out", rows],
            ["train", "--base", bundle, "--data", rows, "--out", inside],
            ["train", "--base", bundle, "--data", rows, "--out", "\(desk.path)/images/a.jpg"],
            ["models", "pack", bundle, "--out", inside],
            ["convert", "gguf", "--export", bundle, "--out", inside],
            ["trace", "--model", bundle, "--prompt-file", rows, "--no-image", "--out", link],
        ] {
            #expect(MemvpCommand.execute(arguments) == 73, "\(arguments)")
        }
        #expect(try desk.read("rows.jsonl") == desk.text && desk.read("images/a.jpg") == "x")
        #expect(try desk.read("mine.gguf") == "x" && desk.read("run.train/log.jsonl").contains("A dog"))
        #expect(!FileManager.default.fileExists(atPath: "\(desk.path)/new.gguf"))
        #expect(try FileManager.default.contentsOfDirectory(atPath: "\(bundle)/adapters").isEmpty)
    }

    @Test("the commonest answer is that of all training rows, also of those whose photos are elsewhere")
    func majority() throws {
        let desk = try Desk()
        let row = #"{"image": "images/PHOTO.jpg", "question": "is it?", "answer": "ANSWER", "split": "SPLIT"}"#
        func rows(_ photo: String, _ answer: String, _ split: String) -> String {
            row.replacing("PHOTO", with: photo).replacing("ANSWER", with: answer).replacing("SPLIT", with: split) + "\n"
        }
        try desk.write(
            rows("gone", "no", "train") + rows("./gone", "no", "train") + rows("a", "yes", "train")
                + rows("a", "yes", "dev") + "{broken\n", "rows.jsonl")
        #expect(Set(ToolboxEvalVQA.training(desk.rows).map(\.image)).count == 2)
        let answers = ToolboxEvalVQA.training(desk.rows).map { row -> String in
            if case .question(_, let answer) = row.task { return answer }
            return ""
        }
        #expect(answers == ["no", "no", "yes"])
        // Everything else needs the photo.
        #expect(try ExampleRows.read(path: desk.rows, splits: ["train"]).count == 1)
    }

    @Test("data split keeps what it does not know, and both kinds of data command count bad rows")
    func badRows() throws {
        let desk = try Desk()
        try desk.write(desk.text + "{\"image\": \n" + desk.text + "[]\n", "rows.jsonl")
        let out = "\(desk.path)/images/out.jsonl"
        #expect(MemvpCommand.execute(["data", "split", "--data", desk.rows, "--out", out, "--part", "0.999"]) == 0)
        let line = #"{"caption":"A dog .","id":7,"image":"a.jpg","split":"dev"}"# + "\n"
        #expect(try desk.read("images/out.jsonl") == line + line)
        let report = ToolboxDataReport([], badRows: 2)
        #expect(report.text == "0 rows, 2 bad rows left out")
        #expect(try ToolboxJSON.line(report) == #"{"bad_rows":2,"rows":0,"splits":{}}"#)
        #expect(try ToolboxJSON.line(ToolboxDataReport([])) == #"{"rows":0,"splits":{}}"#)
        var bad = 0
        let options = try ToolboxDataOptions.parse(["--data", desk.rows, "--out", out])
        #expect(try options.lines(&bad).rows.count == 2)
        #expect(bad == 2)
    }

    @Test("data import asked writes rows relative to their file, counts what it leaves out, and spares what it reads")
    func asked() throws {
        let desk = try Desk()
        for photo in ["b", "d", "e", "f", "g"] { try desk.write("x", "images/\(photo).jpg") }
        try desk.write(
            #"{"question": "On?", "answers": {"yes": ["a"], "no": ["b", "c"]}}"# + "\n"
                + #"{"question": "Off?", "answers": {"no": ["d"]}}"# + "\n"
                + #"{"question": "Up?", "answers": {"yes": ["e", "f"], "no": ["f", "g"]}}"# + "\n", "questions.jsonl")
        let questions = "\(desk.path)/questions.jsonl"
        let out = "\(desk.path)/images/out.jsonl"
        let images = ["--images", "\(desk.path)/images/{}.jpg"]
        #expect(MemvpCommand.execute(["data", "import", "asked", questions, "--out", out, "--balance"] + images) == 0)
        let rows = [("no", "b", "On"), ("yes", "a", "On"), ("no", "g", "Up"), ("yes", "e", "Up")].map {
            answer, photo, what in
            #"{"answer":"\#(answer)","image":"\#(photo).jpg","question":"\#(what)?","split":"train"}"# + "\n"
        }
        #expect(try desk.read("images/out.jsonl") == rows.joined())
        let command = try ToolboxDataImportAsked.parse([questions, "--out", out, "--balance"] + images)
        #expect(try command.made().report.badRows == 2 && command.made().report.oneSided == 1)
        let report = ToolboxDataReport([], badRows: 1, oneSided: 1)
        #expect(report.text == "0 rows, 1 bad rows left out, 1 questions with one answer only left out")
        #expect(try ToolboxJSON.line(report) == #"{"bad_rows":1,"one_sided":1,"rows":0,"splits":{}}"#)
        // A photo of a row, one of a wording that is left out, one of answers that do not count, the questions.
        for place in ["images/a.jpg", "images/d.jpg", "images/f.jpg", "questions.jsonl"] {
            let before = try desk.read(place)
            #expect(
                MemvpCommand.execute(
                    ["data", "import", "asked", questions, "--balance", "--out", "\(desk.path)/\(place)"] + images)
                    == 73)
            #expect(try desk.read(place) == before)
        }
        #expect(throws: (any Error).self) {
            try ToolboxDataImportAsked.parse([questions, "--out", out, "--images", "no place for names"])
        }
    }

    @Test("data of the other kind is refused before the model is opened, with the command that takes it")
    func otherKind() throws {
        let desk = try Desk()
        let model = ["--model", "/nonexistent", "--data", desk.rows]
        let questions = #expect(throws: Failure.self) { try ToolboxEvalVQA.parse(model).run() }
        #expect(questions?.cause == "has no question" && questions?.hint.contains("memvp eval captions") == true)
        try desk.write(#"{"image": "images/a.jpg", "question": "What?", "answer": "x"}"#, "rows.jsonl")
        let captions = #expect(throws: Failure.self) { try ToolboxEvalCaptions.parse(model).run() }
        #expect(captions?.cause == "has no caption" && captions?.hint.contains("memvp eval vqa") == true)
        let likely = #expect(throws: Failure.self) { try ToolboxEvalPerplexity.parse(model).run() }
        #expect(likely?.cause == "has no caption" && likely?.hint.contains("memvp eval vqa") == true)
    }
}
