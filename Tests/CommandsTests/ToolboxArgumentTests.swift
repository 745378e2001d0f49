// What the command line accepts, what it refuses with 64, and which exit code a failure becomes. No model is needed.

import ArgumentParser
import Diagnostics
import Foundation
import ModelFile
import Specification
import Testing

@testable import Commands
@testable import MemVP

@Suite("memvp: arguments and exit codes")
struct ToolboxArgumentTests {
    @Test(
        "a wrong command line exits with 64",
        arguments: [
            ["frobnicate"],
            ["caption", "photo.jpg"],
            ["caption", "--model", "b"],
            ["caption", "--model", "b", "--threads", "0", "photo.jpg"],
            ["caption", "--model", "b", "--threads", "two", "photo.jpg"],
            ["caption", "--model", "b", "--precision", "fp16", "photo.jpg"],
            ["caption", "--model", "b", "--max-tokens", "257", "photo.jpg"],
            ["caption", "--model", "b", "-", "photo.jpg"],
            ["ask", "--model", "b", "photo.jpg"],
            ["ask", "--model", "b", "--question", " ", "photo.jpg"],
            ["ask", "--model", "b", "--question", "Q?", "--choices", "yes", "photo.jpg"],
            ["ask", "--model", "b", "--question", "Q?", "--choices", "yes,,no", "photo.jpg"],
            ["ask", "--model", "b", "--question", "Q?", "--choices", "yes, yes", "photo.jpg"],
            ["convert", "default", "--language", "l"],
            ["convert", "adapter", "a", "--base", "b", "--name", "../a", "--tasks", "caption"],
            ["convert", "adapter", "a", "--base", "b", "--name", "", "--tasks", "caption"],
            ["convert", "adapter", "a", "--base", "b", "--name=-a", "--tasks", "caption"],
            ["convert", "adapter", "a", "--base", "b", "--name", "_a", "--tasks", "caption"],
            ["convert", "adapter", "a.gguf", "--base", "b", "--name", "a", "--tasks", "caption", "--scale", "1"],
            ["convert", "adapter", "a", "--base", "b", "--name", "a", "--tasks", "caption,dance"],
            ["convert", "adapter", "a", "--base", "b", "--name", "a", "--tasks", ""],
            ["convert", "adapter", "a", "--base", "b", "--name", "a", "--tasks", "ask", "--lambda", "nan"],
            ["data", "derive", "--data", "d", "--out", "o", "--kinds", "is-it"],
            ["data", "derive", "--data", "d", "--out", "o", "--kinds", ""],
            ["data", "derive", "--data", "d", "--out", "o", "--kinds", "is-this,,doing"],
            ["data", "derive", "--data", "d", "--out", "o", "--things", "0"],
            ["data", "derive", "--data", "d", "--out", "o", "--agreeing", "6"],
            ["convert", "gguf", "--out", "o"],
            ["convert", "gguf", "--export", "b", "--import", "f", "--out", "o"],
            ["convert", "gguf", "--import", "f", "--out", "o"],
            ["convert", "gguf", "--export", "b", "--vision", "v", "--out", "o"],
            ["convert", "gguf", "--import", "f", "--vision", "v", "--side", "16", "--out", "o"],
            ["promote", "--model", "b", "--as", "a", "--evaluate", "d", "--at-least", "cider_d"],
            ["promote", "n", "--model", "b", "--as", "a", "--at-least", "cider_d"],
            ["promote", "n", "--model", "b", "--as", "a", "--evaluate", "d"],
            ["promote", "n", "--model", "b", "--evaluate", "d", "--at-least", "cider_d"],
            ["promote", "n", "--model", "b", "--as", "../a", "--evaluate", "d", "--at-least", "cider_d"],
            ["promote", "n", "--model", "b", "--as", ".a", "--evaluate", "d", "--at-least", "cider_d"],
            ["promote", "n", "--model", "b", "--as", "a~2", "--evaluate", "d", "--at-least", "cider_d"],
            ["promote", "n", "--model", "b", "--as", "", "--evaluate", "d", "--at-least", "cider_d"],
            ["promote", "n", "--model", "b", "--as", "a", "--evaluate", "d", "--at-least", "cider"],
            ["promote", "n", "--model", "b", "--as", "a", "--evaluate", "d", "--at-least", "cider_d=high"],
            ["promote", "n", "--model", "b", "--as", "a", "--evaluate", "d", "--at-least", "cider_d=nan"],
            [
                "promote", "n", "--model", "b", "--as", "a", "--evaluate", "d", "--at-least", "exact", "--at-least",
                "exact=1",
            ],
            ["promote", "n", "--model", "b", "--as", "a", "--evaluate", "d", "--at-least", "exact", "--by=-1"],
            ["promote", "n", "--model", "b", "--as", "a", "--evaluate", "d", "--at-least", "exact", "--limit", "0"],
            ["promote", "n", "--model", "b", "--as", "a", "--evaluate", "d", "--at-least", "exact", "--for", "dance"],
            ["promote", "n", "--model", "b", "--as", "a", "--evaluate", "d", "--at-least", "accuracy=101"],
            ["promote", "n", "--model", "b", "--as", "a", "--evaluate", "d", "--at-least", "bleu_4=-0.1"],
            ["promote", "n", "--model", "b", "--as", "a", "--evaluate", "d", "--at-least", "cider_d=10.5"],
            ["promote", "n", "--model", "b", "--as", "a", "--evaluate", "d", "--at-least", "exact", "--by", "2"],
            ["data", "split", "--data", "d", "--out", "o", "--from", "dev"],
            ["data", "split", "--data", "d", "--out", "o", "--to", "all"],
            ["data", "split", "--data", "d", "--out", "o", "--to", ""],
            ["data", "split", "--data", "d", "--out", "o", "--from", "all", "--to", "all"],
            ["data", "split", "--data", "d", "--out", ""],
            ["promote", "n", "--model", "b", "--as", "a", "--rollback"],
            ["promote", "--model", "b", "--as", "a", "--rollback", "--at-least", "exact"],
            ["promote", "--model", "b", "--as", "a", "--rollback", "--split", "dev"],
            ["promote", "--model", "b", "--as", "a", "--rollback", "--threads", "1"],
            ["promote", "--model", "b", "--as", "a", "--rollback", "--on-bad-row", "stop"],
            ["models", "pack", "b"],
            ["models", "install"],
            ["bench", "--model", "b", "--photo", "p", "--runs", "0"],
            ["bench", "foo"],
            ["bench", "--model", "b", "--photo", "p", "foo"],
            ["bench", "serving", "--model", "b", "--photo", "p", "--runs", "0"],
            ["bench", "prompting", "--model", "b", "--runs", "0"],
            ["bench", "prompting", "--model", "b", "--slots", "0"],
            ["bench", "prompting", "--model", "b", "--slots", "49,,81"],
            ["bench", "prompting", "--model", "b", "--slots", "1024"],
            ["train", "--base", "b", "--data", "d", "--out", "o", "--prompting", "dream"],
            ["train", "--base", "b", "--data", "d", "--out", "o", "--projector-rate", "0"],
            ["train", "--base", "b", "--data", "d", "--out", "o", "--feature-blocks", "20,x"],
            ["train", "--base", "b", "--data", "d", "--out", "o", "--feature-blocks", ""],
            ["train", "--base", "b", "--data", "d", "--out", "o", "--feature-blocks=-1"],
            ["train", "--base", "b", "--data", "d", "--out", "o", "--steps", "0"],
            ["train", "--base", "b", "--data", "d", "--out", "o", "--batch", "0"],
            ["train", "--base", "b", "--data", "d", "--out", "o", "--views", "0"],
            ["train", "--base", "b", "--data", "d", "--out", "o", "--slots", "0"],
            ["train", "--base", "b", "--data", "d", "--out", "o", "--dropout", "1"],
            ["train", "--base", "b", "--data", "d", "--out", "o", "--average", "1"],
            ["train", "--base", "b", "--data", "d", "--out", "o", "--learning-rate", "nan"],
            ["train", "--base", "b", "--data", "d", "--out", "o", "--lambda", "nan"],
            ["train", "--base", "b", "--data", "d", "--out", "o", "--scale", "inf"],
            ["train", "--base", "b", "--data", "d", "--out", "o", "--weight-decay", "inf"],
            ["trace", "--model", "b", "--prompt-file", "p", "--out", "o"],
            ["trace", "--model", "b", "--prompt-file", "p", "--out", "o", "--image", "i", "--no-image"],
            ["trace", "--model", "b", "--prompt-file", "p", "--out", "o", "--no-image", "--steps", "0"],
            ["eval", "perplexity", "--model", "b", "--data", "d", "--limit", "0"],
            ["eval", "captions", "--model", "b"],
            ["eval", "captions", "--model", "b", "--data", "d", "--limit", "0"],
            ["eval", "vqa", "--model", "b", "--data", "d", "--limit=-1"],
            ["eval", "vqa", "--model", "b", "--data", "d", "--on-bad-row", "ignore"],
            ["eval", "scienceqa", "--model", "b", "--problems", "p", "--splits", "s"],
            ["eval", "scienceqa", "--model", "b", "--problems", "p", "--splits", "s", "--images", "i", "--limit", "0"],
            [
                "eval", "scienceqa", "--model", "b", "--problems", "p", "--splits", "s", "--images", "i", "--format",
                "QCM",
            ],
            ["ask", "--model", "b", "--question", "Q?", "--choices", "a,b", "--format", "MCQ-A", "photo.jpg"],
            ["ask", "--model", "b", "--question", "Q?", "--choices", "a,b", "--format", "QCML-A", "photo.jpg"],
        ])
    func usage(arguments: [String]) {
        #expect(MemvpCommand.execute(arguments) == 64)
    }

    @Test(
        "a failure exits with its own code",
        arguments: [
            (["caption", "--model", "/nonexistent", "p.jpg"], FailureCode.modelMissing),
            (["inspect", "/nonexistent"], .notFound),
            (["inspect", #filePath], .modelInvalid),
            (["convert", "default", "--language", "/nonexistent", "--vision", "v", "--out", #filePath], .cannotCreate),
            (["convert", "adapter", "a", "--base", "/nonexistent", "--name", "a", "--tasks", "ask"], .modelMissing),
            (["convert", "gguf", "--export", "/nonexistent", "--out", "/nonexistent/o"], .modelMissing),
            (["convert", "gguf", "--export", "/nonexistent", "--out", #filePath], .cannotCreate),
            (["promote", "--rollback", "--model", "/nonexistent", "--as", "a"], .modelMissing),
            (
                [
                    "promote", "n", "--model", "/nonexistent", "--as", "a", "--evaluate", "/nonexistent",
                    "--at-least", "exact=.5",
                ], .notFound
            ),
            (["report", "--model", "/nonexistent", "--data", "d", "--out", "/nonexistent/r.html"], .cannotCreate),
            (["data", "derive", "--data", "/nonexistent", "--out", "/nonexistent/o"], .cannotCreate),
            (["data", "split", "--data", "/nonexistent", "--out", "/nonexistent/o"], .cannotCreate),
            (["models", "pack", "/nonexistent", "--out", "/nonexistent/o"], .modelMissing),
            (["models", "pack", "b", "--out", #filePath], .cannotCreate),
            (["models", "install", "/nonexistent", "--to", "/nonexistent/model"], .modelMissing),
            (["models", "install", #filePath, "--to", "/nonexistent/model"], .modelInvalid),
            (["eval", "perplexity", "--model", "/nonexistent", "--data", "/nonexistent"], .notFound),
            (["eval", "captions", "--model", "/nonexistent", "--data", "/nonexistent"], .notFound),
            (["eval", "vqa", "--model", "/nonexistent", "--data", #filePath], .specInvalid),
            (
                [
                    "eval", "scienceqa", "--model", "/nonexistent", "--problems", "/nonexistent", "--splits",
                    "/nonexistent",
                    "--images", "/nonexistent",
                ], .notFound
            ),
        ])
    func failures(arguments: [String], code: FailureCode) {
        #expect(MemvpCommand.execute(arguments) == code.exitCode.rawValue)
    }

    @Test("a score of a hundred is told from a per cent; CIDEr-D may pass 1")
    func scoreRanges() throws {
        func parse(_ demand: String) throws -> Int {
            let arguments = ["n", "--model", "b", "--as", "a", "--evaluate", "d", "--at-least", demand]
            return try ToolboxPromote.parse(arguments).demands().count
        }
        for demand in ["accuracy=1", "exact=0", "cider_d=1.2", "cider_d=10"] {
            #expect(try parse(demand) == 1)
        }
        let failure = #expect(throws: (any Error).self) { try parse("accuracy=62") }
        let text = failure.map { ToolboxPromote.message(for: $0) } ?? ""
        #expect(text.contains("asks for 62.0 of accuracy, which is 0 to 1: scores are fractions"), "\(text)")
    }

    @Test(
        "help and the version exit with 0",
        arguments: [
            ["--help"], ["help", "convert"], ["bench", "--help"], ["bench", "prompting", "--help"], ["--version"],
        ])
    func help(arguments: [String]) {
        #expect(MemvpCommand.execute(arguments) == 0)
    }

    @Test("what cannot be measured is named, not what the measurement by default would lack")
    func benchWord() async throws {
        let failure = #expect(throws: Failure.self) { try ToolboxBench.check(["bench", "foo"]) }
        #expect(failure?.code == .usage && failure?.cause == "does not measure 'foo'")
        #expect(failure?.hint == "It measures serving or prompting.")
        for fine in [["bench"], ["bench", "--runs", "3"], ["bench", "prompting"], ["inspect", "foo"], []] {
            try ToolboxBench.check(fine)
        }
        // Where the repository's photo is not there, which used to be complained of first.
        await #expect(processExitsWith: .success) {
            try #require(FileManager.default.changeCurrentDirectoryPath("/"))
            let error = #expect(throws: (any Error).self) {
                try MemvpCommand.parseAsRoot(["bench", "--model", "b", "foo"])
            }
            let text = error.map { MemvpCommand.message(for: $0) } ?? ""
            try #require(text.contains("foo"), "\(text)")
        }
    }

    @Test("the version is the daemon's")
    func version() {
        #expect(MemvpCommand.configuration.version == memvpdVersion)
    }

    @Test("the forms that scripts call are understood")
    func scripts() throws {
        let bench = ["bench", "--model", "b", "--photo", "p", "--threads", "2", "--json"]
        #expect(try MemvpCommand.parseAsRoot(bench) is ToolboxBenchServing)
        let compared = try #require(
            try MemvpCommand.parseAsRoot(["bench", "prompting", "--model", "b", "--slots", "4,9"])
                as? ToolboxBenchPrompting)
        #expect(compared.slots == "4,9" && !compared.json)
        let made = try #require(
            try MemvpCommand.parseAsRoot([
                "convert", "default", "--language", "l", "--vision", "v", "--precision", "f32", "--out", "o",
            ]) as? ToolboxConvertDefault)
        #expect(made.precision == .f32)
        let adapter = try #require(
            try MemvpCommand.parseAsRoot([
                "convert", "adapter", "a.safetensors", "--base", "b", "--name", "captions", "--tasks", "caption,ask",
            ]) as? ToolboxConvertAdapter)
        #expect(adapter.source == "a.safetensors")
        let standardInput = try #require(
            try MemvpCommand.parseAsRoot(["caption", "--model", "b", "-"]) as? ToolboxCaption)
        #expect(standardInput.options.readsRecords)
    }
}

@Suite("memvp: parts that need no model")
struct ToolboxPartsTests {
    @Test("a bundle's directory appears whole or not at all")
    func bundleDirectory() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("memvp-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let bundle = "\(folder)/bundle"
        func fill(_ directory: String) {
            _ = try? FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            _ = FileManager.default.createFile(atPath: "\(directory)/model.yaml", contents: Data("x".utf8))
        }
        let broken = Failure(.modelInvalid, "source", "is broken")
        #expect(throws: broken) {
            try ToolboxBundleDirectory.make(bundle) { partial throws(Failure) in
                fill(partial)
                throw broken
            }
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder).isEmpty)

        try ToolboxBundleDirectory.make("\(bundle)/") { partial throws(Failure) in
            fill(partial)
            #expect(!FileManager.default.fileExists(atPath: bundle))
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["bundle"])

        var wasCalled = false
        let refused = #expect(throws: Failure.self) {
            try ToolboxBundleDirectory.make(bundle) { _ throws(Failure) in wasCalled = true }
        }
        #expect(refused?.code == .cannotCreate)
        #expect(!wasCalled)
        #expect(try FileManager.default.contentsOfDirectory(atPath: bundle) == ["model.yaml"])
    }

    @Test("pixels change their order and come back")
    func pixelOrder() {
        let interleaved = (0..<27).map(Float.init)
        let planes = ToolboxTrace.planes(interleaved, side: 3)
        #expect(planes.prefix(3) == [0, 3, 6])
        #expect(planes[9] == 1)
        #expect(ToolboxTrace.interleaved(planes, side: 3) == interleaved)
    }

    @Test("records are read, and what is null is not there")
    func records() throws {
        let line = ToolboxInputLine.read(
            #"{"image": "a b.jpg", "choices": ["x", "y"], "lecture": "L", "context": null}"#, 1, for: .ask)
        #expect(line.image == "a b.jpg")
        #expect(try line.record.get() == ToolboxInputRecord(image: "a b.jpg", choices: ["x", "y"], lecture: "L"))
        #expect(try ToolboxInputLine.read(#"{"image": "a"}"#, 1, for: .caption).record.get().image == "a")
    }

    @Test(
        "a line that is no record is named with what is wrong, and keeps its photo",
        arguments: [
            ("photo.jpg", "", "is no JSON object"), ("[]", "", "is no JSON object"), (" ", "", "is blank"),
            ("{}", "", "has no image"), (#"{"image": ""}"#, "", "has no image"),
            (#"{"image": 7}"#, "", "image is no text"),
            (#"{"image": "P", "question": ["x"]}"#, "P", "question is no text"),
            (#"{"image": "P", "question": "x", "choices": "a,b"}"#, "P", "choices is no list of texts"),
            (#"{"image": "P", "choices": ["a", 7]}"#, "P", "choices is no list of texts"),
            (#"{"image": "P", "choises": ["a", "b"]}"#, "P", "has the unknown key \"choises\""),
            (#"{"image": "P", "image": "P"}"#, "P", "has the key image twice"),
            (#"{"image": "P", "question": "x", "qu\u0065stion": "y"}"#, "P", "has the key question twice"),
            (#"{"image": "P",}"#, "", "is no JSON object"), (#"{"image": "P"},"#, "", "is no JSON object"),
        ])
    func badRecords(text: String, image: String, cause: String) {
        let line = ToolboxInputLine.read(text, 3, for: .ask)
        #expect(line.image == image)
        let failure = #expect(throws: Failure.self) { try line.record.get() }
        #expect(failure?.code == .specInvalid && failure?.object == "standard input:3")
        #expect(failure?.cause == cause)
        // The line of output has the photo too.
        let request = line.request { _ in .failure(Failure(.usage, "", "")) }
        #expect(request.image == image)
    }

    @Test("a key that only questions have is refused of captions, with those that are known")
    func captionKeys() {
        let line = ToolboxInputLine.read(#"{"image": "P", "question": "x"}"#, 1, for: .caption)
        let failure = #expect(throws: Failure.self) { try line.record.get() }
        #expect(failure?.cause == "has the unknown key \"question\"" && failure?.hint == "Known here: id, image.")
    }

    @Test(
        "a record's id, a text or a whole number, comes back with the answer and with the error",
        arguments: [
            (#""r 7""#, #""id":"r 7""#), ("9007199254740993", #""id":9007199254740993"#), ("-1", #""id":-1"#),
        ])
    func identifiers(id: String, written: String) throws {
        for (line, isGood) in [(#"{"image": "P", "id": \#(id)}"#, true), (#"{"id": \#(id)}"#, false)] {
            let read = ToolboxInputLine.read(line, 1, for: .ask)
            #expect((try? read.record.get()) != nil || !isGood)
            let request = read.request { _ in .failure(Failure(.usage, "", "")) }
            let record = ToolboxRecord(image: request.image, id: request.id, failure: Failure(.usage, "", "c"))
            #expect(try ToolboxJSON.line(record).contains(written))
        }
    }

    @Test("an id that is neither is refused; null and none are none", arguments: ["1.5", "[]", "true", "{}"])
    func badIdentifiers(id: String) throws {
        let refused = ToolboxInputLine.read(#"{"image": "P", "id": \#(id)}"#, 1, for: .ask)
        let failure = #expect(throws: Failure.self) { try refused.record.get() }
        #expect(failure?.cause == "id is neither a text nor a whole number" && refused.id == nil)
        let absent = ToolboxInputLine.read(#"{"image": "P", "id": null}"#, 1, for: .ask)
        #expect(absent.id == nil && (try? absent.record.get()) != nil)
    }

    @Test("a blank line has a line of output, so that positions stay, and so has one that could not be taken")
    func blankLines() {
        let blank = ToolboxInputLine.read(.success(""), 2, for: .caption)
        let failure = #expect(throws: Failure.self) { try blank.record.get() }
        #expect(failure?.object == "standard input:2" && failure?.cause == "is blank")
        let refused = ToolboxInputLine.read(.failure(Failure(.specInvalid, "o", "c")), 3, for: .caption)
        #expect(throws: Failure(.specInvalid, "o", "c")) { try refused.record.get() }
    }

    @Test("an error without advice has no hint, as in outcome documents")
    func noHint() throws {
        let bare = ToolboxRecord(image: "i", failure: Failure(.specInvalid, "o", "c"))
        #expect(try ToolboxJSON.line(bare) == #"{"error":{"code":"spec_invalid","message":"o: c"},"image":"i"}"#)
        let advised = ToolboxRecord(image: "i", failure: Failure(.specInvalid, "o", "c", hint: "h"))
        #expect(try ToolboxJSON.line(advised).contains(#""hint":"h""#))
    }

    @Test("a format that needs a lecture or a solution is refused without, and gets it from options and records")
    func formats() throws {
        let ask = ["--model", "b", "--question", "Q?", "--choices", "a,b"]
        func refusal(_ more: [String]) -> String {
            do { _ = try ToolboxAsk.parse(ask + more) } catch { return ToolboxAsk.message(for: error) }
            return ""
        }
        let lacking = refusal(["--format", "QCML-A", "p"])
        #expect(lacking.contains("--format QCML-A needs a lecture: give it with --lecture"))
        #expect(refusal(["--format", "QCEM-A", "--solution", " ", "p"]).contains("needs a solution"))
        #expect(refusal(["--format", "QCM-A", "p"]).isEmpty)
        let given = try ToolboxAsk.parse(ask + ["--format", "QCMLE-A", "--lecture", "L", "--solution", "S", "p"])
        guard case .problem(let problem) = try given.task(for: nil).work else {
            Issue.record("no problem")
            return
        }
        #expect(problem.lecture == "L" && problem.solution == "S" && problem.format?.name == "QCMLE-A")

        let lines = try ToolboxAsk.parse(ask + ["--format", "QCML-A", "-"])
        let bare = #expect(throws: Failure.self) { try lines.task(for: ToolboxInputRecord(image: "P")) }
        #expect(bare?.object == "P" && bare?.cause == "has the format QCML-A, which needs a lecture")
        let own = try lines.task(for: ToolboxInputRecord(image: "P", lecture: "L"))
        guard case .problem(let asked) = own.work else {
            Issue.record("no problem")
            return
        }
        #expect(asked.lecture == "L")
    }

    @Test("metadata is JSON as what it is, and of arrays the beginning with the count")
    func metadata() throws {
        let values: [(GGUFValue, String)] = [
            (.string("a \"b\""), #""type":"STRING","value":"a \"b\"""#),
            (.bool(true), #""type":"BOOL","value":true"#), (.int16(-3), #""type":"INT16","value":-3"#),
            (.uint64(.max), #""type":"UINT64","value":18446744073709551615"#),
            (.float32(0.5), #""type":"FLOAT32","value":0.5"#), (.float64(.nan), #""type":"FLOAT64","value":"nan""#),
            (.float32(-.infinity), #""type":"FLOAT32","value":"-inf""#),
            (.strings(["a", "b"]), #""count":2,"key":"k","type":"[STRING]","value":["a","b"]"#),
            (.strings((0..<5).map(String.init)), #""count":5,"key":"k","type":"[STRING]","value":["0","1","2","3"]"#),
            (.bools([true]), #""count":1,"key":"k","type":"[BOOL]","value":[true]"#),
            (.int32s(Array(0..<9)), #""count":9,"key":"k","type":"[INT32]","value":[0,1,2,3,4,5,6,7]"#),
            (.float32s([]), #""count":0,"key":"k","type":"[FLOAT32]","value":[]"#),
        ]
        for (value, json) in values {
            let line = try ToolboxJSON.line(ToolboxFileReport.Entry(key: "k", value))
            #expect(line == (json.hasPrefix("\"count\"") ? "{\(json)}" : "{\"key\":\"k\",\(json)}"))
        }
        #expect(ToolboxMetadataValue(.string("a\u{1B}")).text == #""a\u{1B}""#)
        #expect(ToolboxMetadataValue(.int32s(Array(0..<9))).text == "[0, 1, 2, 3, 4, 5, 6, 7, … 9 in all]")
    }

    @Test("the benchmark's JSON has the names that scripts rely on")
    func benchmarkNames() throws {
        let line = try ToolboxJSON.line(ToolboxBenchReport(kernels: "scalar", threads: 2))
        let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
        let names = [
            "captions_per_second", "kernels", "milliseconds", "rss_megabytes", "threads", "tokens_per_second",
        ]
        #expect(object.keys.sorted() == names)
    }

    @Test("models are installed where the daemon's configuration says, or its default")
    func installTarget() throws {
        #expect(try ToolboxModelsInstall.configured("/nonexistent") == "/var/lib/memvpd/model")
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID().uuidString).yaml").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Data("model: /srv/model\n".utf8).write(to: URL(fileURLWithPath: path))
        #expect(try ToolboxModelsInstall.configured(path) == "/srv/model")
        try Data("modell: /srv/model\n".utf8).write(to: URL(fileURLWithPath: path))
        let failure = #expect(throws: Failure.self) { try ToolboxModelsInstall.configured(path) }
        #expect(failure?.code == .configurationInvalid)
    }

    @Test("progress shows part, rate and time left, once there is something to reckon with")
    func progress() {
        let half = ToolboxProgress.line("language model", 0.5, of: 100, "MB", after: 4)
        #expect(half == "language model [##########----------] 50 %, 12.5 MB/s, 4 s left")
        #expect(ToolboxProgress.line("x", 0, of: 100, "%", after: 0) == "x [--------------------] 0 %")
        #expect(ToolboxProgress.line("x", 1.5, of: 100, "%", after: 9) == "x [####################] 100 %")
    }

    @Test("probabilities have the shape of the daemon's answers: an object, choice by choice")
    func probabilities() throws {
        let answer = Answer(
            id: "ask", task: .ask, prompt: "p", text: "no", confidence: 0.75,
            probabilities: [
                ChoiceProbability(choice: "yes", probability: 0.25), ChoiceProbability(choice: "no", probability: 0.75),
            ], finish: "choice", adapter: "a", tokens: [])
        let line = try ToolboxJSON.line(ToolboxRecord(image: "i", answer: answer, kernels: "scalar", warnings: []))
        #expect(line.contains(#""probabilities":{"no":0.75,"yes":0.25}"#))
    }

    @Test("medians take the lower middle; numbers are rounded for people")
    func numbers() {
        #expect(ToolboxTime.median([3, 1, 2]) == 2)
        #expect(ToolboxTime.median([4, 1, 3, 2]) == 2)
        #expect(ToolboxTime.rounded(1.23456, 2) == 1.23)
    }

    @Test("data derive makes the kinds that are asked for, and no others", arguments: ["is-this", "is-there,doing"])
    func derivedKinds(kinds: String) throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("memvp-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        var lines: [String] = []
        for photo in 0..<28 {
            try Data().write(to: URL(fileURLWithPath: "\(folder)/\(photo).jpg"))
            let text = photo % 2 == 0 ? "A man riding a horse , a dog ." : "A boy sitting on a bench , a cat ."
            lines += Array(repeating: #"{"image": "\#(photo).jpg", "caption": "\#(text)"}"#, count: 3)
        }
        try lines.joined(separator: "\n").write(toFile: "\(folder)/c.jsonl", atomically: true, encoding: .utf8)
        let command = try ToolboxDataDerive.parse([
            "--data", "\(folder)/c.jsonl", "--out", "\(folder)/out.jsonl", "--kinds", kinds,
        ])
        try command.run()
        let written = try String(contentsOfFile: "\(folder)/out.jsonl", encoding: .utf8)
        let found = Set(
            try written.split(separator: "\n").map { line in
                let row = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
                return try #require(row?["kind"] as? String)
            })
        #expect(found == Set(kinds.split(separator: ",").map { "derived:\($0)" }))
    }
}
