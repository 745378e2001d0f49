// What a command is asked for may be larger than there is room for, or not be there: it says so, with the right code.

import ArgumentParser
import Diagnostics
import Foundation
import MemVP
import ModelFile
import Specification
import Tensor
import Testing
import Text
import Vision

@testable import Commands
@testable import FineTuning

extension OfficialModel {
    /// Changes model.yaml.
    fileprivate func describe(_ change: (inout ModelDescription) throws -> Void) throws {
        var description = try ModelBundle.description(in: out)
        try change(&description)
        try Data(description.yaml.utf8).write(to: URL(fileURLWithPath: "\(out)/model.yaml"))
    }

    /// Takes the adapter out of the bundle; returns its file.
    fileprivate func takeAdapter() throws -> String {
        let file = "\(path)/taken.gguf"
        try FileManager.default.moveItem(atPath: "\(out)/adapters/official.gguf", toPath: file)
        try describe {
            $0.files["adapters/official.gguf"] = nil
            $0.adapters = [:]
        }
        return file
    }

    /// Gives the language model another context.
    fileprivate func setContext(_ positions: Int) throws {
        let language = "\(out)/language.gguf"
        let file = try GGUFFile(path: language)
        var metadata = file.metadata
        metadata["llama.context_length"] = .uint32(UInt32(positions))
        let writer = try GGUFWriter(
            path: language, metadata: metadata,
            tensors: file.tensors.entries.map { TensorDeclaration(name: $0.name, type: $0.type, shape: $0.shape) },
            alignment: 64)
        for tensor in file.tensors.entries {
            let bytes = file.mapping.copy(tensor.byteRange)
            try writer.write(bytes.span)
        }
        try writer.finish()
        try describe { $0.files["language.gguf"] = try ModelBundle.sha256(ofFile: language) }
    }

    /// A file beside the bundle.
    fileprivate func file(_ bytes: Data, _ name: String) throws -> String {
        try bytes.write(to: URL(fileURLWithPath: "\(path)/\(name)"))
        return "\(path)/\(name)"
    }
}

@Suite("Commands and what does not fit")
struct ToolboxLimitTests {
    private let photo = OfficialModel.fixture("rocket.jpg")

    private func model() throws -> OfficialModel {
        let model = try OfficialModel()
        try #require(model.convert() == 0)
        return model
    }

    @Test("trace runs an adapter from a file on a bundle that has none; a prompt file has a limit")
    func trace() throws {
        let model = try model()
        let prompt = try model.file(Data("Caption:".utf8), "prompt")
        let out = "\(model.path)/trace"
        let arguments = ["--model", model.out, "--out", out, "--steps", "2", "--threads", "2", "--image", photo]
        func logits(_ more: [String]) throws -> [Float] {
            try #require(MemvpCommand.execute(["trace", "--prompt-file", prompt] + arguments + more) == 0)
            return try SafetensorsFile(path: out).floats(named: "logits")
        }
        let expected = try logits([])
        let adapter = try model.takeAdapter()
        #expect(try logits(["--adapter", adapter]) == expected)
        #expect(try logits([]) != expected)

        let large = try model.file(Data(repeating: 0x61, count: (1 << 20) + 1), "large")
        let failure = #expect(throws: Failure.self) {
            try ToolboxTrace.parse(["--prompt-file", large] + arguments).run()
        }
        #expect(failure?.code == .promptTooLong && failure?.object == large)
    }

    @Test("pixels that are no numbers are refused by their file and tensor", arguments: [Float.nan, .infinity])
    func pixels(value: Float) throws {
        let model = try model()
        let prompt = try model.file(Data("Caption:".utf8), "prompt")
        let file = "\(model.path)/pixels"
        func trace(_ last: Float) throws {
            let side = try ModelBundle(path: model.out).vision.side
            var values = [Float](repeating: 0, count: 3 * side * side)
            values[values.count - 1] = last
            let writer = try SafetensorsWriter(
                path: file, tensors: [TensorDeclaration(name: "pixels", type: .float32, shape: [1, 3, side, side])])
            try writer.write(values.span)
            try writer.finish()
            let arguments = ["--model", model.out, "--out", "\(model.path)/trace", "--steps", "1", "--threads", "2"]
            try ToolboxTrace.parse(arguments + ["--prompt-file", prompt, "--pixels", file]).run()
        }
        try trace(1)
        let failure = #expect(throws: Failure.self) { try trace(value) }
        #expect(failure?.code == .modelInvalid && failure?.object == "\(file): tensor pixels")
    }

    @Test("an adapter that computes no number fails its requests by photo and adapter, in commands and evaluations")
    func numbers() throws {
        let model = try model()
        let bundle = try ModelBundle(path: model.out)
        var (configuration, tensors) = try AdapterFile.tensors(
            path: "\(model.out)/adapters/official.gguf", base: bundle.base)
        configuration.scale = 1e6
        tensors.e2 = tensors.e2?.map { _ in 3e38 }
        let wild = try Adapter(configuration, tensors: tensors, precision: bundle.precision)
        let answerer = try Answerer(
            bundle: bundle, compute: Compute(kernels: Kernels.choose(forced: nil), threads: 2), batch: 4,
            additional: ["wild": wild])
        let tasks = ["wild", "official"].map { TaskSpec.Task(id: "c", adapter: $0, work: .caption(.caption)) }
        var rest = tasks.map { ToolboxRequest(image: photo, task: .success($0)) }[...]
        var failures: [Failure?] = []
        let first = try ToolboxAnswering(answerer: answerer, window: 4).run({ rest.popFirst() }) {
            _, outcome throws(Failure) in
            if case .failure(let failure) = outcome { failures.append(failure) } else { failures.append(nil) }
        }
        #expect(failures.count == 2 && failures[0]?.code == .modelInvalid && failures[1] == nil)
        #expect(first?.object == "\(photo): \(model.out): adapter wild" && first == failures[0])

        let photos = tasks.map { PhotoTasks(image: photo, tasks: [$0]) }
        let outcomes = BatchedAnswers(answerer: answerer).run(photos) { _ in }
        let failure = #expect(throws: Failure.self) { try outcomes[0][0].get() }
        #expect(failure?.code == .modelInvalid && failure?.object == "\(model.out): adapter wild")
        #expect((try? outcomes[1][0].get()) != nil)

        let file = "\(model.path)/wild.gguf"
        try AdapterFile.write(configuration, tensors: tensors, base: bundle.base, name: "wild", to: file)
        let compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 2)
        let scorer = try ToolboxCaptionScorer(bundle: bundle, compute: compute, adapter: file)
        #expect(try scorer.score(captions: ["A rocket ."], image: photo) == [nil])
        let unscored = #expect(throws: Failure.self) { try scorer.perplexity() }
        #expect(unscored?.code == .modelInvalid && unscored?.object == "\(model.out): adapter \(file)")
        let sane = try ToolboxCaptionScorer(bundle: bundle, compute: compute, adapter: nil)
        _ = try sane.score(captions: ["A rocket ."], image: photo)
        #expect(try sane.perplexity() > 1)
    }

    @Test("a caption beyond the model's context costs itself alone")
    func scorer() throws {
        let model = try model()
        let compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 2)
        let whole = try ModelBundle(path: model.out)
        let template = try whole.taskTemplate(.caption)
        let (form, parts) = (template.form, try template.prompt.parts())
        let captions = ["A man .", "A rocket on its stand ."]
        let lengths = captions.map { form.example($0, after: parts, whole.tokenizer).tokens.count - 1 }
        try #require(lengths[0] < lengths[1])
        for missing in [0, 1] {
            let bundle = try ModelBundle(path: model.out, positions: lengths[1] - missing)
            let scorer = try ToolboxCaptionScorer(bundle: bundle, compute: compute, adapter: nil)
            let failures = try scorer.score(captions: captions, image: photo)
            #expect(failures.map { $0?.code } == [nil, missing == 0 ? nil : FailureCode.promptTooLong])
            let alone = try ToolboxCaptionScorer(bundle: whole, compute: compute, adapter: nil)
            _ = try alone.score(captions: Array(captions.prefix(2 - missing)), image: photo)
            #expect(scorer.total == alone.total && scorer.tokens == alone.tokens)
        }
    }

    @Test("a prompt that is too long names its photo, and advises nothing that only the daemon has")
    func longPrompt() throws {
        let model = try model()
        let compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 2)
        let answerer = try Answerer(bundle: try ModelBundle(path: model.out), compute: compute, batch: 1)
        let question = String(repeating: "word ", count: 1_500)
        let task = TaskSpec.Task(id: "ask", work: .ask(question: question, answer: .free(.answer)))
        var requests = [ToolboxRequest(image: photo, task: .success(task))]
        let failure = try ToolboxAnswering(answerer: answerer, window: 1).run({ requests.popLast() }) {
            _, _ throws(Failure) in
        }
        #expect(failure?.code == .promptTooLong && failure?.object == "\(photo): task ask")
        #expect(failure?.hint == "Shorten the question, or what is given with it.")
    }

    @Test("the benchmark measures in a context of one position more than its longest prompt, and refuses a shorter one")
    func benchmark() throws {
        let model = try model()
        let bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: photo)))
        let options = try ToolboxModelOptions.parse(["--model", model.out, "--threads", "2"])
        let benchmark = ToolboxBenchmark(options: options, photo: bytes, photoPath: photo, runs: 1)
        try model.setContext(321)
        #expect(try benchmark.run().tokensPerSecond["prefill_320"] ?? 0 > 0)
        try model.setContext(320)
        let failure = #expect(throws: Failure.self) { try benchmark.run() }
        #expect(failure?.code == .modelUnsupported && failure?.object == model.out)
        #expect(failure?.cause.contains("has 320 positions; 320 prompt tokens are measured") == true)
    }

    @Test("an adapter that is not there ends every command with 78")
    func missingAdapter() throws {
        let model = try model()
        let lines = [
            #"{"image": "\#(photo)", "caption": "A rocket ."}"#,
            #"{"image": "\#(photo)", "question": "Is it raining?", "answer": "no"}"#,
        ]
        let rows = try model.file(Data(lines.joined(separator: "\n").utf8), "rows.jsonl")
        let science = OfficialModel.fixture("scienceqa")
        let commands: [[String]] = [
            ["caption", photo], ["ask", "--question", "Is it raining?", photo],
            ["report", "--data", rows, "--out", "\(model.path)/page.html"], ["eval", "captions", "--data", rows],
            ["eval", "vqa", "--data", rows], ["eval", "perplexity", "--data", rows],
            [
                "eval", "scienceqa", "--problems", "\(science)/problems.json", "--splits",
                "\(science)/pid_splits.json", "--images", "\(science)/images", "--limit", "1",
            ],
        ]
        for command in commands {
            #expect(MemvpCommand.execute(command + ["--model", model.out, "--adapter", "nosuch"]) == 78, "\(command)")
        }
        _ = try model.takeAdapter()
        for command in commands {
            #expect(MemvpCommand.execute(command + ["--model", model.out]) == 78, "\(command)")
        }
        #expect(!FileManager.default.fileExists(atPath: "\(model.path)/page.html"))
    }

    @Test("specs and configurations are read within their limits, with the codes of what they are")
    func limits() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("memvp-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let file = "\(folder)/file.yaml"
        func check(_ spec: String) throws -> Int32 {
            do {
                try CheckCommand.parse([spec]).run()
            } catch let code as ArgumentParser.ExitCode { return code.rawValue }
            return 0
        }
        try Data("task: caption\n".utf8).write(to: URL(fileURLWithPath: file))
        #expect(try check(file) == 0)
        #expect(try check("\(folder)/missing.yaml") == 66)
        #expect(try check(folder) == 65)
        try Data(repeating: 0x20, count: 65_537).write(to: URL(fileURLWithPath: file))
        #expect(try check(file) == 65)
        let failure = #expect(throws: Failure.self) { try ToolboxModelsInstall.configured(file) }
        #expect(failure?.code == .configurationInvalid && failure?.cause.contains("at most 65536 are read") == true)
    }

    @Test("memvpctl waits for a retry of all jobs longer than the daemon takes at most, for one not")
    func patience() throws {
        #expect(try RetryCommand.parse(["--all"]).patience > .seconds(120))
        #expect(try RetryCommand.parse(["job"]).patience == .seconds(30))
    }
}
