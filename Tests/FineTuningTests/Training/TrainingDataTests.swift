// What a run takes for its data: photos by their bytes, wherever they lie, and rows that stand or fall by themselves.

import Diagnostics
import Foundation
import MemVP
import Specification
import Tensor
import Testing

@testable import FineTuning

@Suite("What a run learns from")
struct TrainingDataTests {
    private let bundle = Result { try OfficialBundle(.int8) }

    /// What a run did, and when it is to stop.
    private final class Watch {
        var bad: [String] = []
        var step = 0
        var stopAfter = Int.max

        func see(_ event: Trainer.Event) {
            if case .step(let record, _) = event { step = record.step }
            if case .badRow(let text) = event { bad.append(text) }
        }

        func stop() -> Bool { step >= stopAfter }
    }

    @discardableResult
    private func run(
        _ name: String, _ rows: [ExampleRow], _ watch: Watch = Watch(), views: Int = 3, consensus: Bool = false,
        frozen: Bool, resume: Bool = false
    ) throws -> Bool {
        let official = try bundle.get()
        let folder = official.folder.path
        // Views and dropout: both must follow from a photo's bytes, not from its path.
        var configuration = TrainingConfiguration(
            batch: 2, steps: 6, learningRate: 0.01, warmUp: 2, slots: 18, hidden: 16, freezesVision: frozen,
            visionRank: 4, views: views, dropout: 0.25, validateEvery: 0, checkpointEvery: 3)
        configuration.weighsConsensus = consensus
        let trainer = try Trainer(
            bundle: ModelBundle(path: official.path),
            compute: Compute(kernels: .choose(forced: nil), threads: 2), configuration: configuration,
            files: Trainer.Files(
                output: "\(folder)/\(name).gguf", run: "\(folder)/\(name).train", cache: "\(folder)/cache"),
            watch: watch.see)
        return try trainer.run(training: rows, validation: [], badRows: .skip, resume: resume, stop: watch.stop)
    }

    @Test("where the encoder is trained, too, replaced photos are other data, and photos that moved are the same")
    func photos() throws {
        let folder = try bundle.get().folder
        let files = FileManager.default
        let photos = ["rocket", "chelsea", "astronaut"]
        func rows(_ place: URL) -> [ExampleRow] {
            photos.map { ExampleRow(image: place.appendingPathComponent("\($0).jpg").path, task: .caption("a \($0)")) }
        }
        func adapter(_ name: String) throws -> Data {
            try Data(contentsOf: folder.appendingPathComponent("\(name).gguf"))
        }
        let (here, there) = (folder.appendingPathComponent("here"), folder.appendingPathComponent("there"))
        try files.createDirectory(at: here, withIntermediateDirectories: false)
        for photo in photos {
            let copy = here.appendingPathComponent("\(photo).jpg").path
            try files.copyItem(atPath: OfficialBundle.photo(photo), toPath: copy)
        }
        #expect(try run("whole", rows(here), frozen: false))
        let watch = Watch()
        watch.stopAfter = 3
        #expect(try !run("parts", rows(here), watch, frozen: false))

        let rocket = here.appendingPathComponent("rocket.jpg")
        let before = try Data(contentsOf: rocket)
        try Data(contentsOf: here.appendingPathComponent("chelsea.jpg")).write(to: rocket)
        let replaced = #expect(throws: Failure.self) { try run("parts", rows(here), frozen: false, resume: true) }
        #expect(replaced?.code == .configurationInvalid && replaced?.cause.contains("other data") == true)

        try before.write(to: rocket)
        try files.moveItem(at: here, to: there)
        #expect(try run("parts", rows(there), frozen: false, resume: true))
        #expect(try adapter("parts") == adapter("whole"))
    }

    @Test("rows of one view alone are shown in it and no other, and are other data than rows of all views")
    func oneView() throws {
        let folder = try bundle.get().folder
        func rows(_ view: Int?) -> [ExampleRow] {
            ["rocket", "chelsea"].map {
                ExampleRow(image: OfficialBundle.photo($0), task: .caption("a \($0)"), view: view)
            }
        }
        func adapter(_ name: String) throws -> Data {
            try Data(contentsOf: folder.appendingPathComponent("\(name).gguf"))
        }
        #expect(try run("single", rows(nil), views: 1, frozen: true))
        for (name, view) in [("all", nil), ("first", 0), ("second", 1)] {
            #expect(try run(name, rows(view), frozen: true))
        }
        let written = try ["all", "first", "second"].map(adapter)
        #expect(Set(written).count == 3)
        #expect(try written[1] == adapter("single"))

        let resumed = #expect(throws: Failure.self) { try run("all", rows(0), frozen: true, resume: true) }
        #expect(resumed?.cause.contains("other data") == true)
        let watch = Watch()
        #expect(try run("some", rows(nil) + rows(3), watch, frozen: true))
        #expect(watch.bad.count == 2 && watch.bad.allSatisfy { $0.contains("is true of view 3 alone") }, "\(watch.bad)")
        // Captions of a photo are weighed by what they have in common, and a view's are those of another photo.
        watch.bad = []
        #expect(try run("weighed", rows(nil) + rows(1), watch, consensus: true, frozen: true))
        #expect(watch.bad.count == 2 && watch.bad.allSatisfy { $0.contains("--reward compares") }, "\(watch.bad)")
    }

    @Test("a row that the bundle has no template for costs itself alone, not the other rows of its photo")
    func templates() throws {
        let official = try bundle.get()
        var description = try ModelBundle.description(in: official.path)
        description.templates[.ask] = nil
        description.adapters[.ask] = nil
        try Data(description.yaml.utf8).write(to: URL(fileURLWithPath: "\(official.path)/model.yaml"))
        let photo = OfficialBundle.photo("rocket")
        let rows = [
            ExampleRow(image: photo, task: .question("what is it", answer: "a rocket"), file: "a.jsonl", line: 1),
            ExampleRow(image: photo, task: .caption("a rocket"), file: "a.jsonl", line: 2),
        ]
        let watch = Watch()
        #expect(try run("captions", rows, watch, frozen: true))
        #expect(watch.bad.count == 1 && watch.bad.first?.hasPrefix("a.jsonl:1: ") == true, "\(watch.bad)")
        let log = try Data(contentsOf: official.folder.appendingPathComponent("captions.train/log.jsonl"))
        let start = try JSONDecoder().decode(TrainingRecord.self, from: try #require(log.split(separator: 10).first))
        #expect(start.note?.hasPrefix("1 examples, ") == true)
    }
}
