// `memvp promote` on a real bundle: MEMVP_TEST_BUNDLE or build/models/default. The new adapters are the bundle's own with
// another scale, so that they answer otherwise.

import ArgumentParser
import Diagnostics
import Foundation
import MemVP
import Specification
import Testing

@testable import Commands

/// A bundle of links to the real one, adapters and model.yaml copied.
private final class Place {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("memvp-\(UUID().uuidString)").path
    var bundle: String { "\(path)/bundle" }

    init() throws {
        try FileManager.default.createDirectory(atPath: bundle, withIntermediateDirectories: true)
        for file in ["language.gguf", "vision.gguf"] {
            try FileManager.default.createSymbolicLink(
                atPath: "\(bundle)/\(file)", withDestinationPath: "\(Material.bundle)/\(file)")
        }
        for file in ["adapters", "model.yaml"] {
            try FileManager.default.copyItem(atPath: "\(Material.bundle)/\(file)", toPath: "\(bundle)/\(file)")
        }
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    var description: ModelDescription { get throws { try ModelBundle.description(in: bundle) } }

    /// The adapter that captions, with another scale.
    func variant(scale: Float) throws -> String {
        let name = try #require(try description.adapters[.caption])
        let file = try #require(try BundleBuilder.file(of: name, in: description))
        let base = try ModelBundle(path: bundle).base
        var (configuration, tensors) = try AdapterFile.tensors(path: "\(bundle)/\(file.path)", base: base)
        configuration.scale *= scale
        let target = "\(path)/scale-\(scale).gguf"
        try AdapterFile.write(configuration, tensors: tensors, base: base, name: "variant", to: target)
        return target
    }

    func rows(_ rows: [[String: String]]) throws -> String {
        let file = "\(path)/rows.jsonl"
        let lines = try rows.map { String(decoding: try JSONEncoder().encode($0), as: UTF8.self) }
        try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: URL(fileURLWithPath: file))
        return file
    }

    /// Rows whose references are what the bundle says now of two photos.
    func ownCaptions() throws -> String {
        let bundle = try ModelBundle(path: self.bundle)
        let options = try ToolboxModelOptions.parse(["--model", self.bundle])
        let answerer = try Answerer(bundle: bundle, compute: options.compute(), batch: 2)
        var said: [[String: String]] = []
        let task = TaskSpec.Task(id: "c", work: .caption(.caption))
        let photos = ["rocket.jpg", "chelsea.jpg"].map(Material.photo)
        var rest = photos[...]
        _ = try ToolboxAnswering(answerer: answerer, window: 1).run({
            rest.popFirst().map { ToolboxRequest(image: $0, task: .success(task)) }
        }) { request, outcome throws(Failure) in
            if case .success(let result) = outcome {
                said.append(["image": request.image, "caption": result.answer.text, "split": "dev"])
            }
        }
        try #require(said.count == 2)
        return try rows(said)
    }

    func promote(_ arguments: [String]) throws -> Failure? {
        let command = try ToolboxPromote.parse(["--model", bundle] + arguments)
        do { try command.run() } catch let failure as Failure { return failure }
        return nil
    }
}

@Suite("memvp promote", .enabled(if: Material.hasBundle, "no bundle: run `make models` or set MEMVP_TEST_BUNDLE"))
struct PromoteTests {
    @Test("one that is worse is refused with both figures, and nothing changes")
    func worse() throws {
        let place = try Place()
        let rows = try place.ownCaptions()
        let new = try place.variant(scale: 0)
        let before = try place.description
        let name = try #require(before.adapters[.caption])
        for extra in [[], ["--json"], ["--split", "dev", "--limit", "1"]] {
            let failure = try #require(
                try place.promote([new, "--as", name, "--evaluate", rows, "--at-least", "rouge_l"] + extra))
            #expect(failure.code == .adapterWorse && failure.code.exitCode == .dataError && failure.object == new)
            #expect(failure.cause.contains("scores rouge_l 0."), "\(failure.cause)")
            #expect(failure.cause.contains("the present adapter 1.0"), "\(failure.cause)")
        }
        // Taking the task over under another name is held against the adapter that answers it now.
        let other = try place.promote(
            [new, "--as", "other", "--for", "caption", "--evaluate", rows, "--at-least", "rouge_l"])
        #expect(other?.code == .adapterWorse)
        #expect(try place.description == before)
        #expect(try FileManager.default.contentsOfDirectory(atPath: "\(place.bundle)/adapters").count == 2)
        #expect(
            MemvpCommand.execute(
                [
                    "promote", new, "--model", place.bundle, "--as", name, "--evaluate", rows, "--at-least", "bleu_4",
                ]) == 65)
    }

    @Test("one that is as good is installed, and rolled back; a floor and a margin are asked of it too")
    func asGood() throws {
        let place = try Place()
        // Words that no adapter says: everyone scores 0.
        let rows = try place.rows(
            ["rocket.jpg", "astronaut.jpg"].map { ["image": Material.photo($0), "caption": "zyx wvu"] })
        let new = try place.variant(scale: 0.5)
        let before = try place.description
        let name = try #require(before.adapters[.caption])
        let arguments = [new, "--as", name, "--evaluate", rows, "--at-least"]
        let floor = try place.promote(arguments + ["cider_d=0.4"])
        #expect(floor?.cause.contains("at least 0.4 was asked for") == true, "\(String(describing: floor))")
        let margin = try place.promote(arguments + ["cider_d", "--by", "0.01"])
        #expect(margin?.cause.contains("must have 0.01 more") == true, "\(String(describing: margin))")
        #expect(try place.description == before)

        #expect(try place.promote(arguments + ["cider_d", "--at-least", "rouge_l=0"]) == nil)
        let after = try place.description
        #expect(try BundleBuilder.file(of: name, in: after)?.sha256 == ModelBundle.sha256(ofFile: new))
        #expect(after.adapters == before.adapters)
        #expect(try place.promote(arguments + ["cider_d"]) == nil)
        #expect(try place.description == after)
        #expect(MemvpCommand.execute(["promote", "--rollback", "--model", place.bundle, "--as", name, "--json"]) == 0)
        #expect(try place.description.files == before.files)
    }

    @Test("a new name needs no present adapter but for its tasks; questions are judged by accuracy")
    func newName() throws {
        let place = try Place()
        let rows = try place.rows([
            ["image": Material.photo("rocket.jpg"), "question": "Is it raining?", "answer": "zyx"]
        ])
        let new = try place.variant(scale: 0.5)
        #expect(try place.promote([new, "--as", "vqa.2", "--evaluate", rows, "--at-least", "accuracy"]) == nil)
        let after = try place.description
        #expect(after.adapters[.ask] == "vqa.2" && after.adapters[.caption] != "vqa.2")
        #expect(try ModelBundle(path: place.bundle).adapters.count == 3)
        let none = try place.promote([new, "--as", "other", "--evaluate", rows, "--at-least", "cider_d"])
        #expect(none?.cause.contains("no caption") == true, "\(String(describing: none))")
    }

    @Test("what is told names the tasks that use it, those that it had before too, and says so where none does")
    func users() throws {
        let place = try Place()
        func report(_ name: String, _ kinds: [TaskKind]) throws -> ToolboxPromotionReport {
            let promotion = PromotionPlace(name: name, kinds: kinds, bundle: try ModelBundle(path: place.bundle))
            var report = ToolboxPromotionReport(promotion, [], hash: "x")
            report.promoted = true
            report.tasks = promotion.tasks.map(\.rawValue)
            return report
        }
        let caption = try #require(try place.description.adapters[.caption])
        let ask = try #require(try place.description.adapters[.ask])
        try #require(caption != ask)
        #expect(try report(caption, []).tasks == ["caption"])
        #expect(try report(caption, [.ask]).tasks == ["caption", "ask"])
        let end = "is in place, for caption. A running memvpd takes it with memvpctl reload; --rollback undoes it."
        #expect(try report(caption, []).text.hasSuffix(end))

        // One that the bundle has and no task uses: the name keeps what it has, which is nothing.
        let new = try place.variant(scale: 0.5)
        try BundleBuilder.addAdapter(new, name: "spare", kinds: [], to: place.bundle)
        #expect(try report("spare", []).tasks.isEmpty)
        #expect(try report("spare", []).text.contains("is in place, but no task uses it by default: --for gives it"))
        let rows = try place.rows([
            ["image": Material.photo("rocket.jpg"), "question": "Is it raining?", "answer": "zyx"]
        ])
        #expect(try place.promote([new, "--as", "spare", "--evaluate", rows, "--at-least", "accuracy"]) == nil)
        #expect(try ToolboxPromote.tasks(of: "spare", in: place.description).isEmpty)
    }

    @Test("that the bundle cannot be changed is said before anything is evaluated")
    func checkedFirst() throws {
        let place = try Place()
        let rows = try place.rows([
            ["image": Material.photo("rocket.jpg"), "question": "Is it raining?", "answer": "zyx"]
        ])
        // Evaluated, it falls short of this floor.
        let arguments = [
            try place.variant(scale: 0.5), "--as", "vqa.2", "--evaluate", rows, "--at-least", "exact=1",
        ]
        let lock = unsafe open(place.bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        try #require(flock(lock, LOCK_EX | LOCK_NB) == 0)
        let failure = try place.promote(arguments)
        close(lock)
        #expect(failure?.code == .temporary, "\(String(describing: failure))")
        #expect(try place.promote(arguments)?.code == .adapterWorse)
    }

    @Test("nothing gets a task on which it is not judged, by --for or by its name; one photo is none for CIDEr-D")
    func everyTask() throws {
        let place = try Place()
        let rows = try place.rows([
            ["image": Material.photo("rocket.jpg"), "question": "Is it raining?", "answer": "zyx"],
            ["image": Material.photo("rocket.jpg"), "caption": "zyx wvu"],
        ])
        let new = try place.variant(scale: 0)
        let before = try place.description
        let name = try #require(before.adapters[.caption])
        for (extra, missing) in [
            (["--at-least", "accuracy"], "caption"), (["--at-least", "accuracy", "--for", "ask"], "caption"),
            (["--at-least", "rouge_l", "--for", "caption,ask"], "ask"),
            (["--at-least", "rouge_l", "--at-least", "exact", "--for", "caption"], nil),
        ] as [([String], String?)] {
            let arguments = ["--model", place.bundle, new, "--as", name, "--evaluate", rows] + extra
            let error = #expect(throws: ValidationError.self) { try ToolboxPromote.parse(arguments).run() }
            let expected = missing.map { "would answer \($0) tasks too" } ?? "exact judges ask, which --for leaves out"
            #expect(error?.message.contains(expected) == true)
            #expect(MemvpCommand.execute(["promote"] + arguments) == 64)
        }
        // For a task more than its name has, both are judged.
        let both = try place.promote(
            [
                new, "--as", name, "--evaluate", rows, "--for", "ask", "--at-least", "exact=1", "--at-least", "rouge_l",
            ])
        #expect(both?.code == .adapterWorse, "\(String(describing: both))")
        let one = try place.promote([new, "--as", name, "--evaluate", rows, "--at-least", "cider_d"])
        #expect(one?.code == .specInvalid && one?.object == rows && one?.cause.contains("one photo") == true)
        #expect(try place.description == before)
    }

    @Test("data of which no row can be answered judges nothing")
    func nothingToJudge() throws {
        let place = try Place()
        let rows = try place.rows([["image": #filePath, "caption": "a source file"]])
        let before = try place.description
        let name = try #require(before.adapters[.caption])
        let failure = try place.promote(
            [try place.variant(scale: 0.5), "--as", name, "--evaluate", rows, "--at-least", "cider_d"])
        #expect(failure?.code == .specInvalid && failure?.cause == "has no row that could be evaluated")
        #expect(failure?.hint.contains("rows.jsonl:1") == true, "\(String(describing: failure))")
        #expect(try place.description == before)
    }
}
