// A run that was stopped, killed or given bad data: what it leaves, and that going on gives the bytes of a run never stopped.

import Diagnostics
import Foundation
import Language
import MemVP
import ModelFile
import Tensor
import Testing

@testable import FineTuning

@Suite("Training runs")
struct ResumeTests {
    let bundle = Result { try OfficialBundle(.int8) }

    static let rows: [ExampleRow] = [
        ("rocket", "A rocket stands in the sky."), ("chelsea", "a cat looks up"), ("astronaut", "A woman smiles ."),
        ("rocket", "white smoke"), ("chelsea", "an orange cat"),
    ].map { ExampleRow(image: OfficialBundle.photo($0.0), task: .caption($0.1)) }

    /// What a run did, for the tests.
    final class Watch {
        var steps: [Int] = []
        var bad: [String] = []
        var warnings: [String] = []
        var stopAfter: Int?
        var whenDone: (Int) -> Void = { _ in }
        func see(_ event: Trainer.Event) {
            if case .step(let record, _) = event {
                steps.append(record.step)
                whenDone(record.step)
            }
            if case .badRow(let text) = event { bad.append(text) }
            if case .record(let record) = event, record.event == "warning" { warnings.append(record.note ?? "") }
        }
        func stop() -> Bool { stopAfter.map { steps.last ?? 0 >= $0 } ?? false }
    }

    @discardableResult
    func run(
        _ name: String, _ watch: Watch = Watch(), rows: [ExampleRow] = rows, resume: Bool = false, frozen: Bool,
        steps: Int = 9, badRows: BadRowPolicy = .skip, rate: Float = 0.01, initial: String? = nil,
        prompting: Adapter.Prompting = .memory, slots: Int = 18, averaging: Float = 0, lambda: Float? = nil,
        validation: [ExampleRow]? = nil, output: String? = nil, decay: Float = 0.02
    ) throws -> Bool {
        let official = try bundle.get()
        let model = try ModelBundle(path: official.path)
        let configuration = TrainingConfiguration(
            batch: 3, steps: steps, learningRate: rate, warmUp: 2, adamW: AdamWConfiguration(weightDecay: decay),
            prompting: prompting,
            slots: initial == nil ? slots : nil, hidden: initial == nil ? 16 : nil, lambda: lambda,
            freezesVision: frozen, visionRank: initial == nil ? 4 : nil, averaging: averaging, validateEvery: 4,
            checkpointEvery: 3)
        let folder = official.folder.path
        let trainer = try Trainer(
            bundle: model, compute: Compute(kernels: .choose(forced: nil), threads: 2), configuration: configuration,
            files: Trainer.Files(
                output: output ?? "\(folder)/\(name).gguf", run: "\(folder)/\(name).train", cache: "\(folder)/cache",
                initial: initial),
            watch: watch.see)
        return try trainer.run(
            training: rows, validation: validation ?? Array(Self.rows.prefix(3)), badRows: badRows, resume: resume,
            stop: watch.stop)
    }

    func bytes(_ name: String) throws -> Data {
        try Data(contentsOf: try bundle.get().folder.appendingPathComponent(name))
    }

    func records(_ name: String) throws -> [TrainingRecord] {
        try bytes("\(name).train/log.jsonl").split(separator: 10).map {
            try JSONDecoder().decode(TrainingRecord.self, from: $0)
        }
    }

    @Test(
        "a run that was stopped and resumed ends in the same bytes", arguments: [true, false],
        Adapter.Prompting.allCases)
    func resumes(frozen: Bool, prompting: Adapter.Prompting) throws {
        let averaging: Float = frozen ? 0 : 0.9
        #expect(try run("whole", frozen: frozen, prompting: prompting, averaging: averaging))
        let watch = Watch()
        watch.stopAfter = 5
        #expect(try !run("parts", watch, frozen: frozen, prompting: prompting, averaging: averaging))
        #expect(watch.steps == [1, 2, 3, 4, 5])
        #expect(throws: (any Error).self) { try bytes("parts.gguf") }
        // The adapter so far can be tried meanwhile.
        let (soFar, whole) = try (bytes("parts.train/adapter.gguf"), bytes("whole.gguf"))
        #expect(soFar.count == whole.count && soFar != whole)
        #expect(try bytes("whole.train/adapter.gguf") == whole)
        // As if the process had been killed later: lines of steps that no checkpoint holds, and half a line.
        let log = try bundle.get().folder.appendingPathComponent("parts.train/log.jsonl")
        let late = #"{"event":"step","loss":1,"step":6}"# + "\n" + #"{"event":"st"#
        try (Data(contentsOf: log) + Data(late.utf8)).write(to: log)
        watch.stopAfter = nil
        #expect(try run("parts", watch, resume: true, frozen: frozen, prompting: prompting, averaging: averaging))
        #expect(watch.steps == Array(1...9))
        #expect(try bytes("whole.gguf") == bytes("parts.gguf"))
        #expect(try records("parts").filter { $0.event == "step" }.map(\.step) == Array(1...9))
        let losses = try records("parts").compactMap { $0.event == "step" ? $0.loss : nil }
        let expected = try records("whole").compactMap { $0.event == "step" ? $0.loss : nil }
        #expect(losses == expected)
        let seconds = try records("parts").compactMap { $0.event == "step" ? $0.seconds : nil }
        #expect(seconds.count == 9 && seconds == seconds.sorted())
        #expect(try records("whole").contains { $0.event == "validation" && $0.blindLoss != nil })
        #expect(try records("whole").filter { $0.event == "sample" }.count == 9)
        #expect(try String(decoding: bytes("whole.train/loss.svg"), as: UTF8.self).hasPrefix("<svg"))
    }

    @Test(
        "a photo that goes away or changes in a run that trains the encoder ends it by name; it goes on when the photo is back",
        arguments: [true, false])
    func photoGone(changed: Bool) throws {
        let folder = try bundle.get().folder.path
        let (copy, kept) = ("\(folder)/gone.jpg", "\(folder)/kept.jpg")
        try FileManager.default.copyItem(atPath: OfficialBundle.photo("chelsea"), toPath: copy)
        let rows = ["a cat", "a cat looks"].map { ExampleRow(image: copy, task: .caption($0)) }
        #expect(try run("kept", rows: rows, frozen: false, steps: 4, validation: []))
        let watch = Watch()
        watch.whenDone = { step in
            guard step == 3 else { return }
            try? FileManager.default.moveItem(atPath: copy, toPath: kept)
            if changed { try? FileManager.default.copyItem(atPath: OfficialBundle.photo("rocket"), toPath: copy) }
        }
        let failure = #expect(throws: Failure.self) {
            try run("gone", watch, rows: rows, frozen: false, steps: 4, validation: [])
        }
        #expect(failure?.object == copy)
        #expect(failure?.cause == (changed ? "has changed since the run began" : "does not exist"))
        watch.whenDone = { _ in }
        try? FileManager.default.removeItem(atPath: copy)
        try FileManager.default.moveItem(atPath: kept, toPath: copy)
        #expect(try run("gone", watch, rows: rows, resume: true, frozen: false, steps: 4, validation: []))
        #expect(try bytes("gone.gguf") == bytes("kept.gguf"))
    }

    @Test("with averaging, the finished adapter is the running mean of the parameters and training goes on as without")
    func averages() throws {
        #expect(try run("last", frozen: true, steps: 3))
        #expect(try run("mean", frozen: true, steps: 3, averaging: 0.5))
        let official = try bundle.get()
        let model = try ModelBundle(path: official.path)
        let checkpoint = try SafetensorsFile(
            path: "\(official.folder.path)/mean.train/checkpoint.safetensors")
        func written(_ name: String) throws -> Adapter.Tensors {
            try AdapterFile.tensors(path: "\(official.folder.path)/\(name).gguf", base: model.base).1
        }
        func kept(_ name: String) throws -> [Float] { try checkpoint.floats(of: try checkpoint.tensor(named: name)) }
        let (mean, last) = try (written("mean"), written("last"))
        #expect(try mean.e1 == kept("e1.average") && mean.fc1Weight == kept("fc1.weight.average"))
        #expect(try last.e1 == kept("e1") && last.e1 != mean.e1)
        func validated(_ name: String) throws -> Double? {
            try records(name).last { $0.event == "validation" }?.validationLoss
        }
        #expect(try validated("mean") != validated("last"))
        // Early means forget sooner: after step 2 the decay is 3/12, whatever was asked.
        let shape = Adapter.Configuration(features: 1, hidden: 1, width: 1, slots: 1, lambda: 1, scale: 1)
        let young = TrainableAdapter(shape, seed: 1)
        young.average(decay: 0.9, step: 1)
        let before = young.e1.values[0]
        young.e1.restore(values: [before + 4], moments: AdamWMoments(count: 1), average: young.e1.average)
        young.average(decay: 0.9, step: 2)
        #expect(abs(young.e1.average[0] - (before + 3)) < 1e-6)
        let parameter = Parameter(name: "e1", shape: [2], values: [1, 2])
        parameter.average(decay: 0.9)
        #expect(parameter.average == [1, 2])
        parameter.restore(values: [3, 4], moments: AdamWMoments(count: 2), average: parameter.average)
        parameter.average(decay: 0.25)
        #expect(parameter.average == [2.5, 3.5])
        parameter.exchangeAverage()
        #expect(parameter.values == [2.5, 3.5] && parameter.rows.array(row: 0) == [2.5, 3.5])
        parameter.exchangeAverage()
        #expect(parameter.values == [3, 4] && parameter.rows.array(row: 0) == [3, 4])
    }

    @Test("the loss falls, and the trained adapter serves", arguments: Adapter.Prompting.allCases)
    func learns(prompting: Adapter.Prompting) throws {
        #expect(try run("long", frozen: false, steps: 40, rate: 0.05, prompting: prompting))
        let losses = try records("long").compactMap { $0.event == "step" ? $0.loss : nil }
        let (first, last) = (losses.prefix(5).reduce(0, +), losses.suffix(5).reduce(0, +))
        #expect(last < 0.8 * first)
        let official = try bundle.get()
        let model = try ModelBundle(path: official.path)
        let (shape, tensors) = try AdapterFile.tensors(
            path: "\(official.folder.path)/long.gguf", base: model.base)
        #expect(shape.slots == 18 && tensors.vision?.rank == 4)
        #expect(shape.prompting == prompting && (tensors.e2 == nil) == (prompting == .input))
        let moved = tensors.vision?.fc2.joined().contains { $0 != 0 }
        #expect(moved == true)
    }

    @Test("a run that answers everything alike says so, in its log too; one that does not says nothing")
    func warns() throws {
        let watch = Watch()
        // Without λ no photo is seen, and captions have no other prompt that would tell them apart.
        #expect(try run("wild", watch, frozen: true, steps: 8, lambda: 0))
        let warnings = try records("wild").filter { $0.event == "warning" }
        #expect(!warnings.isEmpty && warnings.allSatisfy { $0.note?.contains("--learning-rate") == true })
        #expect(watch.warnings == warnings.compactMap(\.note))
        #expect(ValidationScore.onlyAnswer(among: ["yes", "yes"], to: ["yes", "no"]) == "yes")
        #expect(ValidationScore.onlyAnswer(among: ["yes", "yes"], to: ["yes", "yes"]) == nil)
        #expect(try run("tame", watch, frozen: true, steps: 40, rate: 0.05))
        #expect(try records("tame").last { $0.event == "validation" }?.step == 40)
        #expect(try !records("tame").contains { $0.event == "warning" && $0.step == 40 })
    }

    @Test("a checkpoint of other settings or other data is refused")
    func refuses() throws {
        let watch = Watch()
        watch.stopAfter = 3
        try run("other", watch, frozen: true)
        let failure = #expect(throws: Failure.self) { try run("other", resume: true, frozen: true, rate: 0.02) }
        #expect(failure?.code == .configurationInvalid)
        let data = #expect(throws: Failure.self) {
            try run("other", rows: Self.rows.reversed(), resume: true, frozen: true)
        }
        #expect(data?.code == .configurationInvalid)
        let kind = #expect(throws: Failure.self) { try run("other", resume: true, frozen: true, prompting: .input) }
        #expect(kind?.code == .configurationInvalid)
        // The same rows in the same order, but learned from instead of validated on.
        let moved = #expect(throws: Failure.self) {
            try run(
                "other", rows: Self.rows + Self.rows.prefix(3), resume: true, frozen: true, validation: [])
        }
        #expect(moved?.code == .configurationInvalid && moved?.cause.contains("data") == true)
    }

    @Test(
        "a checkpoint is refused where the run would begin with other constants, or with other matrices that stay frozen"
    )
    func refusesOtherBeginnings() throws {
        let official = try bundle.get()
        let model = try ModelBundle(path: official.path)
        let (shape, tensors) = try AdapterFile.tensors(
            path: "\(official.path)/adapters/official.gguf", base: model.base)
        func written(_ name: String, _ shape: Adapter.Configuration, _ tensors: Adapter.Tensors) throws -> String {
            let path = official.folder.appendingPathComponent("\(name).gguf").path
            try AdapterFile.write(shape, tensors: tensors, base: model.base, name: name, to: path)
            return path
        }
        var (brighter, stronger) = (shape, shape)
        brighter.lambda *= 2
        stronger.scale *= 2
        var beside = tensors
        beside.vision?.fc2[0][0] += 1
        let paths = [
            try written("as-it-is", shape, tensors), try written("brighter", brighter, tensors),
            try written("stronger", stronger, tensors), try written("beside", shape, beside),
        ]
        let watch = Watch()
        watch.stopAfter = 3
        try run("begun", watch, frozen: true, initial: paths[0])
        for path in paths.dropFirst() {
            let failure = #expect(throws: Failure.self) { try run("begun", resume: true, frozen: true, initial: path) }
            #expect(failure?.code == .configurationInvalid && failure?.hint.contains("--initial") == true)
        }
        #expect(try run("begun", resume: true, frozen: true, initial: paths[0]))
        let constant = #expect(throws: Failure.self) {
            try run("asked", frozen: true, initial: paths[0], lambda: shape.lambda * 2)
        }
        #expect(constant?.code == .configurationInvalid && constant?.object.hasPrefix("--lambda") == true)
        #expect(try run("agreed", frozen: true, steps: 1, initial: paths[0], lambda: shape.lambda))
    }

    @Test("one run at a time has a directory, and an output that can be no file is refused before the work")
    func directory() throws {
        let folder = try bundle.get().folder.path
        do {
            let held = try RunDirectory(path: "\(folder)/held.train")
            let failure = #expect(throws: Failure.self) { try run("held", frozen: true) }
            #expect(failure?.code == .temporary && failure?.object == held.path)
            #expect(FileManager.default.fileExists(atPath: held.path))
        }
        #expect(try run("held", frozen: true, steps: 1))
        let watch = Watch()
        let failure = #expect(throws: Failure.self) { try run("nowhere", watch, frozen: true, output: folder) }
        #expect(failure?.code == .cannotCreate && failure?.object == folder && watch.steps.isEmpty)
        // What was refused leaves nothing behind, and takes nothing away that was there before.
        #expect(!FileManager.default.fileExists(atPath: "\(folder)/nowhere.train"))
        let own = "\(folder)/own.train"
        try FileManager.default.createDirectory(atPath: own, withIntermediateDirectories: false)
        #expect(throws: Failure.self) { try run("own", frozen: true, output: folder) }
        #expect(FileManager.default.fileExists(atPath: own))
    }

    @Test("validation rows are those of photos spread evenly over all files, whole photos, in their order")
    func spread() {
        func rows(_ file: String, _ photos: Int, _ each: Int) -> [ExampleRow] {
            (0..<photos * each).map {
                ExampleRow(image: "\(file)\($0 / each)", task: .caption("\($0)"), file: file, line: $0 + 1)
            }
        }
        let all = rows("a", 100, 5) + rows("b", 50, 1)
        let chosen = ValidationRows.spread(all, limit: 55)
        #expect(chosen.filter { $0.file == "a" }.map(\.line).prefix(6) == [1, 2, 3, 4, 5, 51])
        #expect(chosen.count { $0.file == "a" } == 50 && chosen.count { $0.file == "b" } == 5)
        #expect(ValidationRows.spread(all, limit: 550) == all)
        #expect(ValidationRows.spread(rows("a", 2, 5), limit: 1).map(\.line) == [1, 2, 3, 4, 5])
    }

    @Test("image tokens that leave no room for text are refused before the first step")
    func noRoom() throws {
        let positions = try ModelBundle(path: try bundle.get().path).language.positions
        let failure = #expect(throws: Failure.self) {
            try run("none", frozen: true, prompting: .input, slots: min(positions, 1_024) - 1)
        }
        #expect(failure?.code == .usage && failure?.object.hasPrefix("--slots") == true)
    }

    @Test("a new run does not overwrite another's checkpoint and log")
    func overwrites() throws {
        let watch = Watch()
        watch.stopAfter = 3
        try run("first", watch, frozen: true)
        let (checkpoint, log) = try (bytes("first.train/checkpoint.safetensors"), bytes("first.train/log.jsonl"))
        let failure = #expect(throws: Failure.self) { try run("first", frozen: true) }
        #expect(failure?.code == .cannotCreate && failure?.hint.contains("--resume") == true)
        #expect(try bytes("first.train/checkpoint.safetensors") == checkpoint)
        #expect(try bytes("first.train/log.jsonl") == log)
    }

    @Test("an adapter to begin with that holds no number is refused", arguments: [true, false])
    func initial(frozen: Bool) throws {
        let official = try bundle.get()
        let model = try ModelBundle(path: official.path)
        var (shape, tensors) = try AdapterFile.tensors(
            path: "\(official.path)/adapters/official.gguf", base: model.base)
        let path = official.folder.appendingPathComponent("initial.gguf").path
        try AdapterFile.write(shape, tensors: tensors, base: model.base, name: "good", to: path)
        #expect(try run("good", frozen: frozen, initial: path))
        let other = #expect(throws: Failure.self) { try run("other", frozen: frozen, initial: path, prompting: .input) }
        #expect(other?.code == .configurationInvalid && other?.object == "--prompting input")
        #expect(other?.hint.contains("Leave --prompting out or give memory") == true)
        tensors.e1[3] = .nan
        shape.lambda = 0.02
        try AdapterFile.write(shape, tensors: tensors, base: model.base, name: "bad", to: path)
        let watch = Watch()
        let failure = #expect(throws: Failure.self) { try run("nan", watch, frozen: frozen, initial: path) }
        #expect(failure?.code == .modelInvalid && failure?.object.contains("e1") == true && watch.steps.isEmpty)
        // Features that do not fit the encoder would be read beyond their end.
        tensors.e1[3] = 0
        shape.features -= 1
        tensors.fc1Weight.removeLast(shape.hidden)
        tensors.vision = nil
        try AdapterFile.write(shape, tensors: tensors, base: model.base, name: "narrow", to: path)
        let narrow = #expect(throws: Failure.self) { try run("narrow", watch, frozen: frozen, initial: path) }
        #expect(narrow?.code == .adapterMismatch && narrow?.object == path && watch.steps.isEmpty)
    }

    @Test("a photo that does not decode is named and left out, or stops the run")
    func badPhoto() throws {
        let folder = try bundle.get().folder
        let broken = folder.appendingPathComponent("broken.jpg")
        try Data("text".utf8).write(to: broken)
        let rows =
            Self.rows + [
                ExampleRow(image: broken.path, task: .caption("nothing"), file: "bad.jsonl", line: 7)
            ]
        let watch = Watch()
        #expect(try run("bad", watch, rows: rows, frozen: true))
        #expect(watch.bad.count == 1 && watch.bad[0].hasPrefix("bad.jsonl:7: \(broken.path)"))
        let failure = #expect(throws: Failure.self) { try run("worse", rows: rows, frozen: true, badRows: .stop) }
        #expect(failure?.code == .specInvalid && failure?.object == "bad.jsonl:7")
        #expect(failure?.cause.contains(broken.path) == true && failure?.hint.contains("--on-bad-row skip") == true)
    }

    @Test("a row whose photo is larger than serving takes is left out, and nothing of it is read")
    func hugePhoto() throws {
        let huge = try bundle.get().folder.appendingPathComponent("huge.jpg")
        try Data([0xFF, 0xD8, 0xFF]).write(to: huge)
        let file = try FileHandle(forWritingTo: huge)
        try file.truncate(atOffset: 1 << 40)  // no disk holds it: all of it is a hole
        try file.close()
        let watch = Watch()
        let rows = Self.rows + [ExampleRow(image: huge.path, task: .caption("nothing"), file: "rows.jsonl", line: 6)]
        #expect(try run("huge", watch, rows: rows, frozen: true, steps: 1))
        #expect(watch.bad.count == 1 && watch.bad[0].contains("\(huge.path): has \(1 << 40) bytes"))
    }

    @Test("a checkpoint that cannot be saved ends the run with its name, and the last one stays whole")
    func saveFails() throws {
        let watch = Watch()
        watch.stopAfter = 3
        try run("full", watch, frozen: true)
        let folder = try bundle.get().folder
        let (place, aside) = (folder.appendingPathComponent("full.train"), folder.appendingPathComponent("aside.train"))
        let before = try bytes("full.train/checkpoint.safetensors")
        // The directory goes away under the run, as a disk might; root may write anywhere, so rights would not do.
        let leaving = Watch()
        leaving.whenDone = { step in if step == 5 { try? FileManager.default.moveItem(at: place, to: aside) } }
        let failure = #expect(throws: Failure.self) { try run("full", leaving, resume: true, frozen: true) }
        #expect(failure?.code == .cannotCreate && failure?.object == "\(place.path)/checkpoint.safetensors")
        #expect(leaving.steps == [4, 5, 6])
        #expect(try bytes("aside.train/checkpoint.safetensors") == before)
        try FileManager.default.moveItem(at: aside, to: place)
        #expect(try run("full", resume: true, frozen: true) && run("never", frozen: true))
        #expect(try bytes("full.gguf") == bytes("never.gguf"))
    }

    @Test("a full disk under the log ends the run with its name")
    func fullDisk() throws {
        // /dev/full stands for the full disk.
        let directory = try RunDirectory(path: try bundle.get().folder.appendingPathComponent("disk.train").path)
        try directory.open(keepingUpTo: nil)
        let log = URL(fileURLWithPath: "\(directory.path)/log.jsonl")
        try FileManager.default.removeItem(at: log)
        try FileManager.default.createSymbolicLink(atPath: log.path, withDestinationPath: "/dev/full")
        try directory.reopen()
        let failure = #expect(throws: Failure.self) { try directory.append(TrainingRecord("start", step: 0)) }
        #expect(failure?.code == .noSpace && failure?.object == log.path)
    }
}

@Suite("Features on disk")
struct FeatureStoreTests {
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("store-\(UUID().uuidString)")

    private func rows(_ seed: UInt64) -> FloatRows {
        var random = TrainingRandom(seed: seed)
        let rows = FloatRows(capacity: 3, columns: 20)
        for row in 0..<3 {
            let values = (0..<20).map { _ in Float(random.normal()) }
            rows.setRow(row, values.span)
        }
        return rows
    }

    @Test("features come back as half-precision numbers; what a crash tears is cut off")
    func torn() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        let compute = try Compute(kernels: .choose(forced: nil), threads: 1)
        let hashes = (0..<3).map { String(repeating: "\($0)", count: 64) }
        func open() throws -> FeatureStore {
            try FeatureStore(directory: folder.path, encoder: "e", patches: 3, width: 20)
        }
        do {
            let store = try open()
            for (index, hash) in hashes.prefix(2).enumerated() { try store.append(hash, features: rows(UInt64(index))) }
            #expect(throws: Failure.self) { try open() }  // one process fills it at a time
        }
        let index = folder.appendingPathComponent("e.index")
        try (Data(contentsOf: index) + Data(hashes[2].prefix(40).utf8)).write(to: index)
        let store = try open()
        #expect(store.holds(hashes[0]) && store.holds(hashes[1]) && !store.holds(hashes[2]))
        try store.append(hashes[2], features: rows(2))
        let back = FloatRows(capacity: 6, columns: 20)
        for (number, hash) in hashes.enumerated() {
            try store.read(hash, into: back, at: 3, compute: compute)
            let expected = rows(UInt64(number))
            for row in 0..<3 {
                let rounded = expected.array(row: row).map { Float(Float16($0)) }
                #expect(back.array(row: 3 + row) == rounded)
            }
        }
        #expect(throws: Failure.self) {
            try store.read(String(repeating: "f", count: 64), into: back, at: 0, compute: compute)
        }
    }

    @Test("a record that the data file lacks does not count")
    func short() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        let hash = String(repeating: "a", count: 64)
        do {
            let store = try FeatureStore(directory: folder.path, encoder: "e", patches: 3, width: 20)
            try store.append(hash, features: rows(1))
        }
        try Data(count: 100).write(to: folder.appendingPathComponent("e.f16"))
        let store = try FeatureStore(directory: folder.path, encoder: "e", patches: 3, width: 20)
        #expect(!store.holds(hash))
    }

    @Test("half-precision numbers of every kind expand exactly")
    func halves() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let all = (0..<UInt16.max).filter { Float16(bitPattern: $0).isFinite }
        let path = folder.appendingPathComponent("halves").path
        try Data(all.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8($0 >> 8)] }).write(to: URL(fileURLWithPath: path))
        let rows = FloatRows(capacity: 1, columns: all.count)
        let compute = try Compute(kernels: .choose(forced: nil), threads: 1)
        #expect(compute.expandHalf(try MappedFile(path: path), offset: 0, rows: 1, into: rows, at: 0))
        let expected = all.map { Float(Float16(bitPattern: $0)).bitPattern }
        #expect(rows.array(row: 0).map(\.bitPattern) == expected)
        #expect(!compute.expandHalf(try MappedFile(path: path), offset: 2, rows: 1, into: rows, at: 0))
    }
}
