// Runs that are stopped while they validate, what a run tells of itself, and how it ends where it cannot go on.

import Diagnostics
import Foundation
import Language
import MemVP
import ModelFile
import Tensor
import Testing

@testable import FineTuning

@Suite("Validations that are stopped, and what a run tells")
struct StoppedValidationTests {
    private let bundle = Result { try OfficialBundle(.int8) }

    private static let rows: [ExampleRow] = [
        ("rocket", "A rocket stands in the sky."), ("chelsea", "a cat looks up"), ("astronaut", "A woman smiles ."),
        ("rocket", "white smoke"),
    ].map { ExampleRow(image: OfficialBundle.photo($0.0), task: .caption($0.1), file: "rows.jsonl") }

    /// What a run told, and when it is to stop.
    private final class Watch {
        enum Stop {
            case never
            case afterStep(Int)
            /// When a validation after this step is under way.
            case inValidation(Int)
        }

        var events: [TrainingRecord] = []
        var progress: [(step: Int, done: Int, all: Int)] = []
        var stopping = Stop.never
        /// Called with each event, before anything else happens in the run.
        var aside: (Trainer.Event) throws -> Void = { _ in }

        var step: Int { events.last?.step ?? 0 }

        func see(_ event: Trainer.Event) {
            do { try aside(event) } catch { Issue.record(error) }
            switch event {
            case .step(let record, _), .record(let record): events.append(record)
            case .validation(let done, let all): progress.append((step: step, done: done, all: all))
            case .features, .badRow: break
            }
        }

        func stop() -> Bool {
            switch stopping {
            case .never: false
            case .afterStep(let last): step >= last
            case .inValidation(let of): progress.contains { $0.step == of && $0.done > 0 }
            }
        }
    }

    @discardableResult
    private func run(
        _ name: String, _ watch: Watch, checkpointEvery: Int = 3, resume: Bool = false, lambda: Float? = nil,
        slots: Int = 18, output: String? = nil, rows: [ExampleRow] = rows, unread: (Int, Int) = (0, 0)
    ) throws -> Bool {
        let official = try bundle.get()
        let folder = official.folder.path
        let configuration = TrainingConfiguration(
            batch: 2, steps: 6, learningRate: 0.01, warmUp: 2, slots: slots, hidden: 16, lambda: lambda,
            freezesVision: true, visionRank: 4, averaging: 0.9, validateEvery: 3, checkpointEvery: checkpointEvery)
        let trainer = try Trainer(
            bundle: ModelBundle(path: official.path),
            compute: Compute(kernels: .choose(forced: nil), threads: 2), configuration: configuration,
            files: Trainer.Files(
                output: output ?? "\(folder)/\(name).gguf", run: "\(folder)/\(name).train",
                cache: "\(folder)/cache"),
            watch: watch.see)
        return try trainer.run(
            training: rows, validation: Array(Self.rows.prefix(3)), badRows: .skip, resume: resume, unread: unread,
            stop: watch.stop)
    }

    private func bytes(_ name: String) throws -> Data {
        try Data(contentsOf: try bundle.get().folder.appendingPathComponent(name))
    }

    private func records(_ name: String) throws -> [TrainingRecord] {
        try bytes("\(name).train/log.jsonl").split(separator: 10).map {
            try JSONDecoder().decode(TrainingRecord.self, from: $0)
        }
    }

    /// Steps with what happened after them, but for the beginnings of processes.
    private func story(_ name: String) throws -> [String] {
        try records(name).filter { $0.event != "start" }.map { record in
            let loss = record.loss ?? record.validationLoss ?? 0
            return "\(record.step) \(record.event) \(loss) \(record.answer ?? "")"
        }
    }

    private func checkpointStep(_ name: String) throws -> String? {
        let path = try bundle.get().folder.appendingPathComponent("\(name).train/checkpoint.safetensors").path
        return try SafetensorsFile(path: path).metadata["memvp.step"]
    }

    @Test(
        "a run that is stopped in or before a validation saves that step, and goes on with that validation",
        arguments: [3, 4], [true, false])
    func stopped(checkpointEvery: Int, isUnderWay: Bool) throws {
        #expect(try run("whole", Watch(), checkpointEvery: checkpointEvery))
        let watch = Watch()
        watch.stopping = isUnderWay ? .inValidation(3) : .afterStep(3)
        #expect(try !run("parts", watch, checkpointEvery: checkpointEvery))
        #expect(try checkpointStep("parts") == "3")
        #expect(try !records("parts").contains { ["validation", "sample", "warning"].contains($0.event) })

        let next = Watch()
        #expect(try run("parts", next, checkpointEvery: checkpointEvery, resume: true))
        #expect(next.events.prefix(2).map(\.event) == ["start", "validation"])
        #expect(next.events.prefix(2).map(\.step) == [3, 3])
        #expect(try story("parts") == story("whole"))
        #expect(try bytes("parts.gguf") == bytes("whole.gguf"))
    }

    @Test("a run that is stopped in its last validation is finished by the run that goes on, and not before")
    func last() throws {
        #expect(try run("whole", Watch()))
        let watch = Watch()
        watch.stopping = .inValidation(6)
        #expect(try !run("parts", watch))
        #expect(throws: (any Error).self) { try bytes("parts.gguf") }
        #expect(try checkpointStep("parts") == "6")
        #expect(try run("parts", Watch(), resume: true))
        #expect(try story("parts") == story("whole"))
        #expect(try bytes("parts.gguf") == bytes("whole.gguf"))
    }

    @Test("a validation that was made is not made again, and its progress runs up to the whole of it")
    func once() throws {
        let watch = Watch()
        watch.stopping = .afterStep(4)
        #expect(try !run("parts", watch))
        let done = watch.progress.filter { $0.step == 3 }.map(\.done)
        #expect(done.first == 0 && done.last == watch.progress.first?.all && done == done.sorted())
        // Two losses and an answer for each of three rows.
        #expect(watch.progress.first?.all == 9 && Set(done).count > 3)
        let next = Watch()
        #expect(try run("parts", next, resume: true))
        #expect(try records("parts").filter { $0.event == "validation" }.map(\.step) == [3, 6])
        #expect(next.events.prefix(2).map(\.event) == ["start", "step"])
    }

    @Test("a step's checkpoint is there before its validation, and a run killed after both does not validate again")
    func killed() throws {
        let folder = try bundle.get().folder
        let whole = folder.appendingPathComponent("whole.train")
        let parts = folder.appendingPathComponent("parts.train")
        let watch = Watch()
        var steps: [String?] = []
        watch.aside = { [self] event in
            switch event {
            case .validation(0, _): steps.append(try checkpointStep("whole"))
            // What a kill at this moment leaves.
            case .record(let record) where record.event == "sample" && record.step == 3:
                try? FileManager.default.removeItem(at: parts)
                try FileManager.default.copyItem(at: whole, to: parts)
            default: break
            }
        }
        #expect(try run("whole", watch))
        #expect(steps == ["3", "6"])
        #expect(try checkpointStep("parts") == "3")
        #expect(try run("parts", Watch(), resume: true))
        #expect(try records("parts").filter { $0.event == "validation" }.map(\.step) == [3, 6])
        #expect(try bytes("parts.gguf") == bytes("whole.gguf"))
    }

    @Test("whoever watches is told every event of the log; the first says what the run is made of")
    func told() throws {
        let broken = try bundle.get().folder.appendingPathComponent("broken.jpg")
        try Data("text".utf8).write(to: broken)
        let rows = Self.rows + [ExampleRow(image: broken.path, task: .caption("nothing"), file: "rows.jsonl", line: 9)]
        let watch = Watch()
        #expect(try run("told", watch, rows: rows, unread: (2, 1)))
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let lines = try watch.events.map { String(decoding: try encoder.encode($0), as: UTF8.self) }
        #expect(try String(decoding: bytes("told.train/log.jsonl"), as: UTF8.self) == lines.map { $0 + "\n" }.joined())
        #expect(Set(watch.events.map(\.event)).isSuperset(of: ["start", "step", "validation", "sample", "end"]))

        let start = try #require(watch.events.first)
        #expect(start.event == "start" && start.badRows == 3 && start.badValidationRows == 1)
        #expect(start.options?["learning_rate"] == "0.01" && start.options?["seed"] == "1")
        #expect(start.options?["lambda"] == nil && start.initial == nil)
        #expect(start.data?.map(\.role) == ["training", "validation"] && start.data?.map(\.rows) == [4, 3])
        #expect(start.data?.allSatisfy { $0.file == "rows.jsonl" && $0.sha256.count == 64 } == true)
        #expect(start.base?.precision == "int8" && start.base?.vision.count == 64)
    }

    @Test("a run whose numbers are none any more ends by its settings' fault, and names no file that is not there")
    func diverges() throws {
        let failure = #expect(throws: Failure.self) { try run("wild", Watch(), lambda: 1e30) }
        #expect(failure?.code == .usage && failure?.object == "step 1")
        #expect(failure?.hint == "Begin again with a lower --learning-rate, --lambda or --scale and another --out.")
        // Where there is a checkpoint, its adapter is named.
        let folder = try bundle.get().folder
        let adapter = folder.appendingPathComponent("wild.train/adapter.gguf")
        try Data("x".utf8).write(to: adapter)
        let again = #expect(throws: Failure.self) { try run("wild", Watch(), lambda: 1e30) }
        #expect(
            again?.hint == "Begin again with a lower --learning-rate and another --out, "
                + "perhaps with the adapter of the last checkpoint (--initial \(adapter.path)).")
    }

    @Test("an output in whose place a directory stands is one that cannot be created; too few slots are a wrong option")
    func options() throws {
        let folder = try bundle.get().folder.path
        let output = #expect(throws: Failure.self) { try run("nowhere", Watch(), output: folder) }
        #expect(output?.code == .cannotCreate && output?.object == folder && output?.hint == "Name a file in it.")
        let slots = #expect(throws: Failure.self) { try run("few", Watch(), slots: 2) }
        #expect(slots?.code == .usage && slots?.object == "--slots 2")
    }
}
