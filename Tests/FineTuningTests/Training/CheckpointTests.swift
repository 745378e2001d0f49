// Checkpoints on a disk that changes bits, those of earlier revisions, and what a refused one says. No model is needed.

import Diagnostics
import Foundation
import MemVP
import ModelFile
import Testing

@testable import FineTuning

@Suite("Checkpoints")
struct CheckpointTests {
    /// A directory that goes away with the value.
    private final class Folder {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("memvp-\(UUID().uuidString)").path
        deinit { try? FileManager.default.removeItem(atPath: path) }
    }

    private let folder = Folder()
    private let directory: RunDirectory
    private let file: URL

    init() throws {
        directory = try RunDirectory(path: "\(folder.path)/run.train")
        file = URL(fileURLWithPath: directory.checkpointPath)
    }

    private static let shape = Adapter.Configuration(
        features: 3, hidden: 2, width: 4, slots: 5, lambda: 0.1, scale: 0.1)

    private func adapter(seed: UInt64 = 1) -> TrainableAdapter { TrainableAdapter(Self.shape, seed: seed) }

    private static let rows = [
        RunRows(role: "training", file: "a.jsonl", rows: 5, sha256: "aa"),
        RunRows(role: "training", file: "b.jsonl", rows: 7, sha256: "bb"),
        RunRows(role: "validation", file: "v.jsonl", rows: 2, sha256: "vv"),
    ]

    private func identity(
        _ configuration: TrainingConfiguration = TrainingConfiguration(), precision: String = "int8",
        rows: [RunRows] = rows, data: String = "d", constants: String? = nil, kernels: String? = "scalar",
        initial: String? = nil
    ) -> RunIdentity {
        RunIdentity(
            configuration: configuration,
            base: RunBase(name: "tiny", language: "l", vision: "v", precision: precision, kernels: kernels),
            dataHash: data, rows: rows, constants: constants ?? adapter().constants, initial: initial)
    }

    private func save(_ identity: RunIdentity) throws -> TrainableAdapter {
        let adapter = adapter(seed: 7)
        try Checkpoint.save(adapter, step: 12, identity: identity, to: directory.checkpointPath)
        return adapter
    }

    private func refusal(_ identity: RunIdentity) -> Failure? {
        let failure = #expect(throws: Failure.self) {
            try Checkpoint.restore(adapter(), identity: identity, from: directory)
        }
        return failure
    }

    /// The checkpoint as earlier revisions would have written it.
    private func makeOld() throws {
        let found = try SafetensorsFile(path: directory.checkpointPath)
        let kept = ["memvp.step", "memvp.configuration", "memvp.data", "memvp.adapter"]
        let tensors = found.tensors.entries
        let writer = try SafetensorsWriter(
            path: directory.checkpointPath, metadata: found.metadata.filter { kept.contains($0.key) },
            tensors: tensors.map { TensorDeclaration(name: $0.name, type: $0.type, shape: $0.shape) })
        for tensor in tensors {
            let values = try found.floats(of: tensor)
            try writer.write(values.span)
        }
        try writer.finish()
    }

    @Test("what was saved comes back, and any flipped bit of it is refused by name", arguments: [Float(0), 0.9])
    func bits(averaging: Float) throws {
        let identity = identity(TrainingConfiguration(averaging: averaging))
        let saved = adapter(seed: 7)
        saved.average(decay: averaging, step: 1)
        try Checkpoint.save(saved, step: 12, identity: identity, to: directory.checkpointPath)
        let restored = adapter()
        #expect(try Checkpoint.restore(restored, identity: identity, from: directory) == 12)
        for (one, other) in zip(saved.parameters, restored.parameters) {
            #expect(one.values == other.values && one.average == other.average)
        }
        let bytes = try Data(contentsOf: file)
        for place in bytes.indices {
            var damaged = bytes
            damaged[place] ^= UInt8(1) << UInt8(place % 8)
            try damaged.write(to: file)
            let failure = refusal(identity)
            #expect(failure?.code == .modelInvalid, "byte \(place)")
            #expect(failure?.object.hasPrefix(directory.checkpointPath) == true, "byte \(place)")
            #expect(failure?.hint == "Begin again with another --out.", "byte \(place)")
        }
        try bytes.prefix(bytes.count - 4).write(to: file)
        #expect(refusal(identity)?.code == .modelInvalid)
    }

    @Test("an empty checkpoint is refused with advice that names what is there: the adapter beside it, if it is")
    func empty() throws {
        try Data().write(to: file)
        let bare = refusal(identity())
        #expect(bare?.code == .modelInvalid && bare?.cause == "has no bytes")
        #expect(bare?.hint == "Begin again with another --out.")
        try Data("x".utf8).write(to: URL(fileURLWithPath: directory.adapterPath))
        #expect(refusal(identity())?.hint.contains("(--initial \(directory.adapterPath))") == true)
        try Data("{}".utf8).write(to: file)
        #expect(refusal(identity())?.hint.contains("Copy or convert") == false)
    }

    @Test("a checkpoint of an earlier revision has no checksum and is gone on from")
    func earlier() throws {
        let saved = try save(identity())
        try makeOld()
        let restored = adapter()
        #expect(try Checkpoint.restore(restored, identity: identity(), from: directory) == 12)
        #expect(restored.e1.values == saved.e1.values)
        // Nothing tells a flipped bit of its last tensor there.
        var bytes = try Data(contentsOf: file)
        bytes[bytes.count - 1] ^= 0x40
        try bytes.write(to: file)
        #expect(try Checkpoint.restore(adapter(), identity: identity(), from: directory) == 12)
        // It says what it can: options it has, files it has not.
        try makeOld()
        let settings = refusal(identity(TrainingConfiguration(batch: 32)))
        #expect(settings?.cause == "belongs to a run with other settings: --batch was 64 and is 32")
        let data = refusal(identity(data: "other"))
        #expect(data?.cause == "belongs to a run with other settings or other data")
    }

    @Test("a refused checkpoint names each option that differs, with both values")
    func options() throws {
        _ = try save(identity(TrainingConfiguration(lambda: 0.5, featureBlocks: [20, 3])))
        let changed = TrainingConfiguration(
            learningRate: 0.5, seed: 2, featureBlocks: [], dropout: 0.25, weighsConsensus: true)
        let failure = refusal(identity(changed))
        #expect(failure?.code == .configurationInvalid && failure?.object == directory.checkpointPath)
        #expect(
            failure?.cause
                == "belongs to a run with other settings: --learning-rate was 0.012 and is 0.5; --feature-blocks was "
                + "20,3 and is result; --lambda was 0.5 and is left out; --dropout was 0.0 and is 0.25; --reward was "
                + "words and is consensus; --seed was 1 and is 2")
    }

    @Test("every setting that a run is made of is an option by name")
    func allOptions() throws {
        let fields = Mirror(reflecting: TrainingConfiguration()).children.count
        // All but the number of validation rows that are scored.
        #expect(TrainingConfiguration().options.count == fields - 1)
        let names = TrainingConfiguration().options.map(\.name)
        #expect(Set(names).count == names.count)
    }

    @Test("a refused checkpoint names the file whose rows differ")
    func files() throws {
        _ = try save(identity())
        func cause(_ change: (inout [RunRows]) -> Void) -> String? {
            var rows = Self.rows
            change(&rows)
            return refusal(identity(rows: rows, data: "other"))?.cause
        }
        let start = "belongs to a run with other data: "
        let others = cause { $0[1].sha256 = "cc" }
        #expect(others == start + "of --data b.jsonl (7 rows) some have other photos, other words or another place")
        let fewer = cause { rows in
            rows[0].sha256 = "cc"
            rows[0].rows = 4
        }
        #expect(fewer == start + "--data was a.jsonl (5 rows) and is a.jsonl (4 rows)")
        let without = cause { rows in rows = Array(rows.dropLast()) }
        #expect(without == start + "--validation had v.jsonl (2 rows) too")
        let more = cause { $0.append(RunRows(role: "validation", file: "w.jsonl", rows: 1, sha256: "ww")) }
        #expect(more == start + "--validation has w.jsonl (1 rows) too")
        // The same rows under another name are the same data.
        var moved = Self.rows
        moved[0].file = "elsewhere/a.jsonl"
        #expect(try Checkpoint.restore(adapter(), identity: identity(rows: moved), from: directory) == 12)
    }

    @Test("a refused checkpoint names what differs of the base and of what the run began with")
    func beginnings() throws {
        _ = try save(identity())
        let base = refusal(identity(precision: "f32"))
        #expect(base?.cause == "belongs to a run with another base: the base's precision was int8 and is f32")
        let path = refusal(identity(kernels: "avx2"))
        #expect(path?.cause == "belongs to a run with another base: the kernel path was scalar and is avx2")
        let other = refusal(identity(initial: "0123456789abcdef0123"))
        #expect(
            other?.cause
                == "belongs to a run with another beginning: --initial was random values and is 0123456789ab…")
        var shape = Self.shape
        shape.lambda = 0.2
        let brighter = TrainableAdapter(shape, seed: 1)
        let constants = refusal(identity(constants: brighter.constants))
        #expect(constants?.code == .configurationInvalid && constants?.hint.contains("--initial") == true)
        #expect(constants?.cause.hasSuffix(": --lambda was 0.1 and is 0.2") == true)
    }

    @Test("a checkpoint of before the kernel path was kept is gone on from")
    func withoutPath() throws {
        _ = try save(identity(kernels: nil))
        #expect(try Checkpoint.restore(adapter(), identity: identity(), from: directory) == 12)
    }

    @Test("of a file's rows, photos, words and order are the data; its name is not")
    func data() {
        func gathered(_ files: [String], _ photos: [String], from validation: Int = 9) -> RunData {
            var data = RunData()
            for (index, (file, photo)) in zip(files, photos).enumerated() {
                if index == validation { data.beginValidation() }
                let row = ExampleRow(image: photo, task: .caption("a"), file: file)
                data.add(PreparedExample(tokens: [1, 2, 3], promptCount: 1, photo: photo), of: row)
            }
            return data
        }
        let one = gathered(["a", "a", "b"], ["p", "q", "r"])
        #expect(one.rows.map(\.file) == ["a", "b"] && one.rows.map(\.rows) == [2, 1])
        let renamed = gathered(["c", "c", "d"], ["p", "q", "r"])
        #expect(renamed.hash == one.hash && renamed.rows.map(\.sha256) == one.rows.map(\.sha256))
        let turned = gathered(["a", "a", "b"], ["q", "p", "r"])
        #expect(turned.hash != one.hash && turned.rows[0].sha256 != one.rows[0].sha256)
        #expect(turned.rows[1] == one.rows[1])
        let moved = gathered(["a", "a", "b"], ["p", "q", "r"], from: 2)
        #expect(moved.hash != one.hash && moved.rows.map(\.role) == ["training", "validation"])
    }
}

@Suite("Directories of runs")
struct RunDirectoryTests {
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("memvp-\(UUID())").path

    @Test("what killed saves have left goes when the next run opens the directory, and nothing else")
    func leftovers() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = "\(folder)/run.train"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        for name in [".memvp-1a2b.partial", ".memvp-.partial", ".memvp-notes", "mine.partial", "adapter.gguf"] {
            try Data("x".utf8).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
        }
        let outside = "\(folder)/.memvp-1.partial"
        try Data("x".utf8).write(to: URL(fileURLWithPath: outside))
        let directory = try RunDirectory(path: path)
        try directory.open(keepingUpTo: nil)
        let left = try FileManager.default.contentsOfDirectory(atPath: path).sorted()
        #expect(left == [".memvp-notes", "adapter.gguf", "log.jsonl", "mine.partial"])
        #expect(FileManager.default.fileExists(atPath: outside))
    }

    @Test("a directory that cannot be made, and a drawing that cannot be put in place, say why in words")
    func words() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try Data().write(to: URL(fileURLWithPath: "\(folder)/file"))
        for path in ["\(folder)/file", "\(folder)/file/run.train"] {
            let failure = #expect(throws: Failure.self) { try RunDirectory(path: path) }
            #expect(failure?.code == .cannotCreate && failure?.object == path)
            #expect(failure?.cause == "cannot hold the run: Not a directory")
        }
        let directory = try RunDirectory(path: "\(folder)/run.train")
        try FileManager.default.createDirectory(
            atPath: "\(directory.path)/loss.svg", withIntermediateDirectories: false)
        let failure = #expect(throws: Failure.self) { try directory.draw() }
        #expect(failure?.object == "\(directory.path)/loss.svg")
        #expect(failure?.cause.contains("Is a directory") == true)
    }
}

@Suite("Warnings of a run")
struct RunWarningsTests {
    private static let vocabulary = 1_000

    /// What is said after steps of such losses and norms.
    private func said(_ steps: [(loss: Double, norm: Double)]) -> [Int] {
        var warnings = RunWarnings(vocabulary: Self.vocabulary)
        return steps.indices.filter { index in
            let result = StepResult(loss: steps[index].loss, tokens: 1, targets: 1, gradientNorm: steps[index].norm)
            return warnings.after(result) != nil
        }
    }

    @Test("steps without a gradient at the loss of guessing are told once, others never")
    func still() {
        let guessing = 6.9078  // ln 1,000
        let dead: (loss: Double, norm: Double) = (guessing, 0)
        #expect(said([(guessing, 1), dead, dead, dead, dead, (2, 1), dead, dead, dead]) == [3])
        // Losses of a dead run go up and down; one of guessing is enough.
        #expect(said([(5, 0), (guessing, 0), (5, 0)]) == [2])
        #expect(said([dead, dead, (guessing, 1e-9), dead, dead]) == [2])
        #expect(said([dead, dead, (guessing, 1e-3), dead, dead]) == [])
        // A step whose captions are all rewarded alike.
        #expect(said([(0, 0), (0, 0), (0, 0), (0, 0)]) == [])
    }

    @Test("questions that begin with random values are warned of rates that captions bear")
    func questions() {
        let question = ExampleRow.Task.question("what is it", answer: "a cat")
        func note(_ tasks: [ExampleRow.Task], initial: String? = nil, rate: Float = 0.012) -> String? {
            RunWarnings.ofBeginning(tasks, initial: initial, rate: rate)
        }
        #expect(note([question, question])?.contains("--learning-rate is 0.012") == true)
        #expect(note([question, question], rate: 0.002) == nil)
        #expect(note([question], initial: "a.gguf") == nil)
        #expect(note([question, .caption("a cat")]) == nil)
    }

    @Test("a consensus of captions where there are none is warned of")
    func consensus() {
        let question = ExampleRow.Task.question("what is it", answer: "a cat")
        func note(_ tasks: [ExampleRow.Task], weighs: Bool) -> String? {
            RunWarnings.ofBeginning(tasks, initial: "a.gguf", rate: 0.001, weighsConsensus: weighs)
        }
        #expect(note([question], weighs: true)?.hasPrefix("--reward consensus weighs captions") == true)
        #expect(note([question], weighs: false) == nil && note([question, .caption("a cat")], weighs: true) == nil)
    }
}
