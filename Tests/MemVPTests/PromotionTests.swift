// Promotion and the way back: at every moment the bundle opens, and what was replaced is still there.

import Diagnostics
import Foundation
import ModelFile
import Specification
import Tensor
import Testing

@testable import MemVP

@Suite("Promotion of adapters")
struct PromotionTests {
    let workshop: Workshop
    let path: String

    init() throws {
        workshop = try Workshop()
        path = try workshop.bundle("b", TinyLlama(), adapter: true)
    }

    /// An adapter file whose E₁ begins with `mark`.
    private func adapter(
        _ mark: Float, width: Int = 32, base: BaseIdentity? = nil, vision: Adapter.VisionTensors? = nil
    ) throws -> String {
        let file = "\(workshop.path)/new-\(mark).gguf"
        func values(_ count: Int) -> [Float] { [mark] + [Float](repeating: 0.5, count: count - 1) }
        try AdapterFile.write(
            Adapter.Configuration(
                features: TinyVision.features, hidden: 8, width: width, slots: TinyVision.patches, lambda: 1, scale: 1),
            tensors: Adapter.Tensors(
                fc1Weight: values(8 * TinyVision.features), fc1Bias: values(8), fc2Weight: values(width * 8),
                fc2Bias: values(width), e1: values(TinyVision.patches * width), e2: values(TinyVision.patches * width),
                vision: vision),
            base: try base ?? ModelBundle(path: path).base, name: "new", to: file)
        return file
    }

    @discardableResult
    private func promote(
        _ mark: Float, as name: String = "a", for kinds: [TaskKind] = [],
        failingAfter step: BundleBuilder.AddingStep? = nil
    ) throws -> Bool {
        let file = try adapter(mark)
        return try BundleBuilder.promote(
            file, hash: ModelBundle.sha256(ofFile: file), name: name, kinds: kinds, to: ModelBundle(path: path)
        ) { done throws(Failure) in
            if done == step { throw Failure(.temporary, "test", "fails here") }
        }
    }

    private func mark(_ name: String = "a") throws -> Float? { try ModelBundle(path: path).adapters[name]?.e1.first }
    private var description: ModelDescription { get throws { try ModelBundle.description(in: path) } }

    private func refused(_ code: FailureCode, _ cause: String, _ work: () throws -> Void) throws {
        let before = try description
        let files = try workshop.contents("b/adapters")
        let failure = #expect(throws: Failure.self) { try work() }
        #expect(failure?.code == code && failure?.cause.contains(cause) == true, "\(String(describing: failure))")
        #expect(try description == before)
        #expect(try workshop.contents("b/adapters") == files)
    }

    @Test("a failure after any step leaves a whole bundle; one adapter is kept, and none beyond it")
    func steps() throws {
        #expect(throws: Failure.self) { try promote(2, failingAfter: .written) }
        #expect(try mark() == 1)
        #expect(try description.previous.isEmpty)
        #expect(try promote(3))
        #expect(try mark() == 3)
        #expect(try workshop.contents("b/adapters") == ["a.gguf", "a~2.gguf"])
        #expect(throws: Failure.self) { try promote(4, failingAfter: .described) }
        #expect(try mark() == 4)
        #expect(try workshop.contents("b/adapters").count == 3)
        #expect(try promote(5))
        #expect(try mark() == 5)
        #expect(try workshop.contents("b/adapters").count == 2)
        #expect(try description.adapters == [.caption: "a", .ask: "a"])
    }

    @Test("what is installed is the file itself; the same one again changes nothing, not even what is kept")
    func identity() throws {
        let file = try adapter(2)
        try promote(2)
        let stored = try #require(try BundleBuilder.file(of: "a", in: description))
        #expect(try workshop.bytes("b/\(stored.path)") == [UInt8](Data(contentsOf: URL(fileURLWithPath: file))))
        let before = try description
        #expect(try promote(2) == false)
        #expect(try description == before)
        #expect(before.previous["a"]?.file?.path == "adapters/a.gguf")
    }

    @Test("rolling back swaps the two, rolling back again swaps them once more")
    func rollingBack() throws {
        let before = try description
        try promote(2)
        let after = try description
        #expect(try BundleBuilder.rollBack("a", in: path).files == before.files)
        #expect(try mark() == 1)
        #expect(try BundleBuilder.rollBack("a", in: path) == after)
        #expect(try mark() == 2)
        try refused(.modelMissing, "keeps nothing") { _ = try BundleBuilder.rollBack("b", in: path) }
    }

    @Test("a new name takes its tasks over and gives them back; a task that a third one has taken stays there")
    func tasks() throws {
        try promote(2, as: "new", for: [.ask])
        #expect(try description.adapters == [.caption: "a", .ask: "new"])
        #expect(try ModelBundle(path: path).adapters.keys.sorted() == ["a", "new"])
        _ = try BundleBuilder.rollBack("new", in: path)
        #expect(try description.adapters == [.caption: "a", .ask: "a"])
        #expect(try ModelBundle(path: path).adapters.keys.sorted() == ["a"])
        _ = try BundleBuilder.rollBack("new", in: path)
        #expect(try description.adapters == [.caption: "a", .ask: "new"])

        try promote(3, as: "third", for: [.ask])
        _ = try BundleBuilder.rollBack("new", in: path)
        #expect(try description.adapters == [.caption: "a", .ask: "third"])
        #expect(try mark("new") == nil)
        // The third would give the task back to one that is no longer there.
        try refused(.modelMissing, "adapter new") { _ = try BundleBuilder.rollBack("third", in: path) }
    }

    @Test("the same file for more tasks takes those alone: what is kept stays kept, and the way back gives them back")
    func moreTasks() throws {
        var only = try description
        only.adapters[.ask] = nil
        try BundleBuilder.write(only, in: path)
        try promote(2)
        let promoted = try description
        #expect(try promote(2, for: [.caption, .ask]))
        #expect(try description.adapters == [.caption: "a", .ask: "a"])
        #expect(try description.files == promoted.files)
        #expect(try description.previous["a"]?.file == promoted.previous["a"]?.file)
        #expect(try promote(2, for: [.caption, .ask]) == false)
        _ = try BundleBuilder.rollBack("a", in: path)
        #expect(try mark() == 1)
        #expect(try description.adapters == [.caption: "a"])
    }

    @Test("one that was rolled back is not the way back from a later promotion of what stands there")
    func moreTasksAfterRollingBack() throws {
        var only = try description
        only.adapters[.ask] = nil
        try BundleBuilder.write(only, in: path)
        try BundleBuilder.addAdapter(adapter(2), name: "x", kinds: [.ask], to: path)
        try promote(3, as: "x", for: [.caption, .ask])
        let rolledBack = try BundleBuilder.rollBack("x", in: path)
        #expect(rolledBack.previous["x"]?.isRolledBack == true)
        #expect(rolledBack.adapters == [.caption: "a", .ask: "x"])
        #expect(try promote(2, as: "x", for: [.caption, .ask]))
        #expect(try workshop.contents("b/adapters").filter { $0.hasPrefix("x") } == ["x.gguf"])
        _ = try BundleBuilder.rollBack("x", in: path)
        #expect(try description.adapters == [.caption: "a", .ask: "x"])
        #expect(try mark("x") == 2)
    }

    @Test("a file that was never promoted can take more tasks and give them back; another then keeps it")
    func moreTasksOfTheFirst() throws {
        try BundleBuilder.addAdapter(adapter(2), name: "b", kinds: [], to: path)
        let before = try description
        #expect(try promote(2, as: "b", for: [.ask]))
        #expect(try description.adapters == [.caption: "a", .ask: "b"])
        #expect(try description.files == before.files)
        _ = try BundleBuilder.rollBack("b", in: path)
        #expect(try description.adapters == before.adapters)
        #expect(try mark("b") == 2)
        try promote(3, as: "b")
        _ = try BundleBuilder.rollBack("b", in: path)
        #expect(try mark("b") == 2)
        try BundleBuilder.addAdapter(adapter(4), name: "b", kinds: [], to: path)
        #expect(try mark("b") == 4)
    }

    @Test("one that was rolled back and comes again does not take a task that has been given to another since")
    func comingAgain() throws {
        for byPromotion in [true, false] {
            let name = byPromotion ? "new" : "newer"
            try promote(2, as: name, for: [.ask])
            _ = try BundleBuilder.rollBack(name, in: path)
            if byPromotion {
                try promote(3, as: "third", for: [.ask])
            } else {
                try BundleBuilder.addAdapter(adapter(4), name: "fourth", kinds: [.ask], to: path)
            }
            let others = try description.adapters
            #expect(others[.ask] == (byPromotion ? "third" : "fourth"))
            _ = try BundleBuilder.rollBack(name, in: path)
            #expect(try description.adapters == others)
            #expect(try mark(name) == 2)
        }
    }

    @Test("what was judged is what is installed: neither file nor bundle may have changed since")
    func changed() throws {
        let bundle = try ModelBundle(path: path)
        let (first, second) = (try adapter(2), try adapter(3))
        let hash = try ModelBundle.sha256(ofFile: first)
        try refused(.temporary, "since it was evaluated") {
            _ = try BundleBuilder.promote(second, hash: hash, name: "a", kinds: [], to: bundle)
        }
        try promote(4)
        try refused(.temporary, "since the adapters") {
            _ = try BundleBuilder.promote(first, hash: hash, name: "a", kinds: [], to: bundle)
        }
    }

    @Test("an adapter of another base, of other widths or none at all is refused")
    func misfits() throws {
        let bundle = try ModelBundle(path: path)
        let other = BaseIdentity(language: "x", vision: bundle.base.vision)
        for (file, cause) in [
            (try adapter(2, base: other), "another base"), (try adapter(3, width: 48), "does not fit"),
        ] {
            let hash = try ModelBundle.sha256(ofFile: file)
            try refused(.adapterMismatch, cause) {
                _ = try BundleBuilder.promote(file, hash: hash, name: "a", kinds: [], to: bundle)
            }
            try refused(.adapterMismatch, cause) { _ = try bundle.openAdapter(path: file) }
        }
        let vision = "\(path)/vision.gguf"
        let hash = try ModelBundle.sha256(ofFile: vision)
        try refused(.modelUnsupported, "architecture") {
            _ = try BundleBuilder.promote(vision, hash: hash, name: "a", kinds: [], to: bundle)
        }
    }

    @Test("a kept file that is damaged or no adapter is not put back; nothing but the adapter's own files ever goes")
    func damage() throws {
        try promote(2)
        let kept = "\(path)/adapters/a.gguf"
        var bytes = try workshop.bytes("b/adapters/a.gguf")
        bytes[bytes.count - 8] ^= 1
        try Data(bytes).write(to: URL(fileURLWithPath: kept))
        try refused(.modelInvalid, "not the adapter that was kept") { _ = try BundleBuilder.rollBack("a", in: path) }
        // The bundle itself does not look at it.
        #expect(try mark() == 2)

        var forged = try description
        let vision = try ModelBundle.sha256(ofFile: "\(path)/vision.gguf")
        forged.previous["a"]?.file = FormerAdapter.File(path: "vision.gguf", sha256: vision)
        try BundleBuilder.write(forged, in: path)
        try refused(.modelInvalid, "not the adapter that was kept") { _ = try BundleBuilder.rollBack("a", in: path) }
        try promote(3)
        #expect(try mark() == 3)
    }

    @Test("whether a bundle can take an adapter is known beforehand, and asking leaves nothing behind")
    func checkedBefore() throws {
        let files = try workshop.contents("b")
        try BundleBuilder.checkPromotion(of: "a", to: path)
        #expect(try workshop.contents("b") == files && workshop.contents("b/adapters") == ["a.gguf"])
        // A bundle whose folder of adapters leads nowhere: no file can be made there, even by root.
        try FileManager.default.moveItem(atPath: "\(path)/adapters", toPath: "\(path)/away")
        try FileManager.default.createSymbolicLink(atPath: "\(path)/adapters", withDestinationPath: "/nonexistent")
        let failure = #expect(throws: Failure.self) { try BundleBuilder.checkPromotion(of: "a", to: path) }
        #expect(failure?.code == .cannotCreate && failure?.object.hasSuffix("adapters/a~2.gguf") == true)
        // One without such a folder gets it with its first adapter.
        let bare = try workshop.bundle("bare", TinyLlama(), adapter: false)
        try BundleBuilder.checkPromotion(of: "a", to: bare)
        let none = #expect(throws: Failure.self) { try BundleBuilder.checkPromotion(of: "a", to: "/nonexistent") }
        #expect(none?.code == .modelMissing)
    }

    @Test("a kept adapter is not put back on a base that has become another")
    func exchangedBase() throws {
        try promote(2)
        var other = TinyLlama()
        other.seed = 2
        let source = try workshop.bundle("other", other, adapter: true)
        try Data(workshop.bytes("other/language.gguf")).write(to: URL(fileURLWithPath: "\(path)/language.gguf"))
        var exchanged = try description
        exchanged.files["language.gguf"] = try ModelBundle.sha256(ofFile: "\(source)/language.gguf")
        try BundleBuilder.write(exchanged, in: path)
        try refused(.adapterMismatch, "base") { _ = try BundleBuilder.rollBack("a", in: path) }
    }

    @Test("new files may be read by whom the old ones were")
    func access() throws {
        func mode(_ file: String) throws -> Int? {
            (try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions] as? NSNumber)?.intValue
        }
        let bare = try workshop.bundle("bare", TinyLlama(), adapter: false)
        try FileManager.default.setAttributes([.posixPermissions: 0o750], ofItemAtPath: bare)
        try FileManager.default.setAttributes([.posixPermissions: 0o604], ofItemAtPath: "\(bare)/model.yaml")
        let file = try adapter(3, base: ModelBundle(path: bare).base)
        try BundleBuilder.addAdapter(file, name: "a", kinds: [.caption], to: bare)
        #expect(try mode("\(bare)/adapters") == 0o750)
        #expect(try mode("\(bare)/adapters/a.gguf") == 0o604)
        #expect(try mode("\(bare)/model.yaml") == 0o604)
        let yaml = "\(path)/model.yaml"
        try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: yaml)
        try promote(2)
        for file in [yaml, "\(path)/adapters/a~2.gguf"] {
            #expect(try mode(file) == 0o640, "\(file)")
        }
    }

    @Test("adding an adapter leaves alone what is kept")
    func adding() throws {
        try promote(2)
        try TinyAdapter.write(to: "\(workshop.path)/next.safetensors", mark: 7)
        try BundleBuilder.addAdapter("\(workshop.path)/next.safetensors", name: "a", kinds: [.caption], to: path)
        #expect(try mark() == 7)
        _ = try BundleBuilder.rollBack("a", in: path)
        #expect(try mark() == 1)
    }

    @Test("an adapter of memvp train is added as it is, of another base not at all")
    func addingGGUF() throws {
        let file = try adapter(6)
        try BundleBuilder.addAdapter(file, name: "mine", kinds: [.ask], lambda: 9, scale: 9, to: path)
        let bundle = try ModelBundle(path: path)
        #expect(bundle.description.adapters == [.caption: "a", .ask: "mine"])
        let added = try #require(bundle.adapters["mine"])
        #expect(added.e1.first == 6 && added.configuration.lambda == 1)
        #expect(try ModelBundle.sha256(ofFile: "\(path)/adapters/mine.gguf") == ModelBundle.sha256(ofFile: file))
        for (identity, part) in [
            (BaseIdentity(language: "x", vision: "y"), "another language model"),
            (BaseIdentity(language: bundle.base.language, vision: "y"), "another vision encoder"),
        ] {
            let other = try adapter(7, base: identity)
            try refused(.adapterMismatch, part) {
                try BundleBuilder.addAdapter(other, name: "mine", kinds: [], to: path)
            }
        }
        // Matrices for a vision transformer, which this base has not: the bundle would not open with them.
        let beside = Adapter.VisionTensors(rank: 1, scale: 1, fc1: [], fc2: [])
        let odd = try adapter(8, vision: beside)
        try refused(.adapterMismatch, "does not fit") {
            try BundleBuilder.addAdapter(odd, name: "a", kinds: [], to: path)
        }
    }

    @Test("while one changes the bundle, others are turned away; afterwards they are not")
    func locked() throws {
        let (file, second) = (try adapter(2), try adapter(3))
        let bundle = try ModelBundle(path: path)
        let hash = try ModelBundle.sha256(ofFile: second)
        func others() -> [FailureCode?] {
            let path = path
            let attempts: [() throws -> Void] = [
                { _ = try BundleBuilder.promote(second, hash: hash, name: "b", kinds: [], to: bundle) },
                { try BundleBuilder.addAdapter(second, name: "b", kinds: [], to: path) },
                { _ = try BundleBuilder.rollBack("a", in: path) },
                { try BundleBuilder.checkPromotion(of: "b", to: path) },
            ]
            return attempts.map { attempt in #expect(throws: Failure.self) { try attempt() }?.code }
        }
        var codes: [FailureCode?] = []
        _ = try BundleBuilder.promote(file, hash: ModelBundle.sha256(ofFile: file), name: "a", kinds: [], to: bundle) {
            _ throws(Failure) in codes += others()
        }
        #expect(codes == [FailureCode?](repeating: .temporary, count: 8))
        #expect(try mark() == 2)
        _ = try BundleBuilder.rollBack("a", in: path)
        #expect(try mark() == 1)
        #expect(try ModelBundle(path: path).adapters["b"] == nil)
    }

    @Test("an archive is the model alone: the same one with and without a way back; one of tar(1) keeps it")
    func archives() throws {
        try promote(2)
        let archive = "\(workshop.path)/one.tar"
        try ModelPack.pack(path, to: archive) { _ in }
        let there = "\(workshop.path)/there"
        _ = try ModelPack.install(archive, to: there, replace: false) { _ in }
        #expect(try ModelBundle(path: there).adapters["a"]?.e1.first == 2)
        #expect(try ModelBundle.description(in: there).previous.isEmpty)
        #expect(try workshop.contents("there/adapters") == ["a~2.gguf"])
        try ModelPack.pack(there, to: "\(workshop.path)/two.tar") { _ in }
        #expect(try workshop.bytes("one.tar") == workshop.bytes("two.tar"))

        let writer = try TarWriter(path: "\(workshop.path)/all.tar")
        for name in ["adapters/a.gguf", "adapters/a~2.gguf", "language.gguf", "model.yaml", "vision.gguf"] {
            let bytes = try workshop.bytes("b/\(name)")
            try writer.add(name, RawSpan(_elements: bytes.span))
        }
        try writer.finish()
        let all = "\(workshop.path)/all"
        _ = try ModelPack.install("\(workshop.path)/all.tar", to: all, replace: false) { _ in }
        _ = try BundleBuilder.rollBack("a", in: all)
        #expect(try ModelBundle(path: all).adapters["a"]?.e1.first == 1)
    }
}
