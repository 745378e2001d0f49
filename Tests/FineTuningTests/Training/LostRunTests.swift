// Runs that have lost something: their numbers, their checkpoint, what they began with, a folder. What is left of them stays.

import Diagnostics
import Foundation
import Testing

@testable import FineTuning

extension ResumeTests {
    @Test("parameters that are no numbers are saved neither as a checkpoint nor as an adapter")
    func noNumbers() throws {
        let folder = try bundle.get().folder.path
        // The step before it finds nothing wrong: its loss and gradient were numbers.
        let failure = #expect(throws: Failure.self) {
            try run("wild", frozen: true, steps: 1, rate: 1e20, decay: 1e20)
        }
        #expect(failure?.code == .usage && failure?.object == "step 1")
        #expect(failure?.cause == "has left parameters that are not numbers")
        #expect(failure?.hint == "Begin again with a lower --learning-rate, --lambda or --scale and another --out.")
        for name in ["wild.gguf", "wild.train/checkpoint.safetensors", "wild.train/adapter.gguf"] {
            #expect(!FileManager.default.fileExists(atPath: "\(folder)/\(name)"), "\(name)")
        }
    }

    @Test("a run whose checkpoint is gone is not begun anew over its log, but for one that never had one")
    func withoutCheckpoint() throws {
        let folder = try bundle.get().folder.path
        let checkpoint = "\(folder)/lost.train/checkpoint.safetensors"
        #expect(try run("lost", frozen: true))
        try FileManager.default.removeItem(atPath: checkpoint)
        let log = try bytes("lost.train/log.jsonl")
        let failure = #expect(throws: Failure.self) { try run("lost", resume: true, frozen: true) }
        #expect(failure?.code == .notFound && failure?.object == checkpoint)
        #expect(failure?.cause == "is gone, and the log beside it tells of 9 steps")
        #expect(failure?.hint.contains("--initial \(folder)/lost.train/adapter.gguf") == true)
        #expect(try bytes("lost.train/log.jsonl") == log)
        // Killed while it saved the first checkpoint, that of the third step.
        let early = log.split(separator: 10).filter { line in
            (try? JSONDecoder().decode(TrainingRecord.self, from: line)).map { $0.step <= 3 } ?? false
        }
        try Data(early.joined(separator: [10])).write(to: URL(filePath: "\(folder)/lost.train/log.jsonl"))
        #expect(try run("lost", resume: true, frozen: true))
        #expect(try records("lost").filter { $0.event == "step" }.map(\.step) == Array(1...9))
    }

    @Test("a run that begins with the adapter in its own directory is gone on from, though that is another by then")
    func ownBeginning() throws {
        let folder = try bundle.get().folder.path
        #expect(try run("own", frozen: true))
        for name in ["checkpoint.safetensors", "log.jsonl"] {
            try FileManager.default.removeItem(atPath: "\(folder)/own.train/\(name)")
        }
        let initial = "\(folder)/own.train/adapter.gguf"
        let before = try bytes("own.train/adapter.gguf")
        let watch = Watch()
        watch.stopAfter = 5
        #expect(try !run("own", watch, frozen: true, initial: initial))
        #expect(try bytes("own.train/adapter.gguf") != before)
        watch.stopAfter = nil
        #expect(try run("own", watch, resume: true, frozen: true, initial: initial))
        #expect(watch.steps == Array(1...9))
    }

    @Test("a log that counts more tokens than there are costs itself alone")
    func countlessTokens() throws {
        let watch = Watch()
        watch.stopAfter = 3
        #expect(try !run("countless", watch, frozen: true))
        let log = try bundle.get().folder.appendingPathComponent("countless.train/log.jsonl")
        let text = try String(contentsOf: log, encoding: .utf8)
        let most = text.replacing(/"tokens":[0-9]+/, with: #""tokens":9223372036854775807"#)
        #expect(most != text)
        try Data(most.utf8).write(to: log)
        watch.stopAfter = nil
        #expect(try run("countless", watch, resume: true, frozen: true))
        #expect(watch.steps == Array(1...9))
    }

    @Test("an output in a folder that is not there is refused before anything is made")
    func nowhere() throws {
        let folder = try bundle.get().folder.path
        let failure = #expect(throws: Failure.self) {
            try run("no/where", frozen: true, output: "\(folder)/no/where.gguf")
        }
        #expect(failure?.code == .cannotCreate && failure?.hint == "Make the directory first.")
        #expect(!FileManager.default.fileExists(atPath: "\(folder)/no"))
    }
}
