// Bundles packed and installed: whole and verified, or not at all.

import Diagnostics
import Foundation
import ModelFile
import Specification
import Testing

@testable import MemVP

@Suite("Model packs")
struct ModelPackTests {
    let workshop: Workshop
    let bundle: String
    let archive: String

    init() throws {
        workshop = try Workshop()
        bundle = try workshop.bundle("b", TinyLlama(), adapter: true)
        archive = "\(workshop.path)/b.tar"
        try ModelPack.pack(bundle, to: archive) { _ in }
        try FileManager.default.createDirectory(atPath: "\(workshop.path)/place", withIntermediateDirectories: true)
    }

    private var target: String { "\(workshop.path)/place/model" }

    /// An archive of these files.
    private func tar(_ files: [(String, [UInt8])]) throws -> String {
        let path = "\(workshop.path)/made.tar"
        let writer = try TarWriter(path: path)
        for (name, bytes) in files { try writer.add(name, RawSpan(_elements: bytes.span)) }
        try writer.finish()
        return path
    }

    /// The bundle's files, to be tampered with.
    private func files() throws -> [(String, [UInt8])] {
        try ["adapters/a.gguf", "language.gguf", "model.yaml", "vision.gguf"].map {
            ($0, try workshop.bytes("b/\($0)"))
        }
    }

    @discardableResult
    private func install(_ path: String, replace: Bool = false) throws -> ModelPack.Installed {
        try ModelPack.install(path, to: target, replace: replace) { _ in }
    }

    private func refused(_ path: String, _ code: FailureCode, _ part: String, replace: Bool = false) throws {
        let before = try workshop.contents("place")
        let failure = #expect(throws: Failure.self) { try install(path, replace: replace) }
        #expect(failure?.code == code)
        #expect(failure?.description.contains(part) == true, "\(String(describing: failure))")
        // What is named must be there to be looked at.
        #expect(failure?.object.contains("partial") == false, "\(String(describing: failure))")
        #expect(try workshop.contents("place") == before)
    }

    @Test("equal bundles give equal archives, whatever their directory and times")
    func deterministic() throws {
        let copy = "\(workshop.path)/copy"
        try FileManager.default.copyItem(atPath: bundle, toPath: copy)
        try FileManager.default.setAttributes(
            [.modificationDate: Date(timeIntervalSince1970: 1)], ofItemAtPath: "\(copy)/vision.gguf")
        try Data("stray".utf8).write(to: URL(fileURLWithPath: "\(copy)/notes.txt"))
        try ModelPack.pack(copy, to: "\(workshop.path)/copy.tar") { _ in }
        #expect(try workshop.bytes("copy.tar") == workshop.bytes("b.tar"))
        let names = try TarArchive(path: archive).entries.map(\.name)
        #expect(names == names.sorted() && names.count == 4)
    }

    @Test("what was packed is installed, byte for byte, readable by all, and opens")
    func installs() throws {
        let installed = try install(archive)
        #expect(installed == ModelPack.Installed(name: "tiny", path: target, backup: nil))
        #expect(try workshop.contents("place") == ["model"])
        for (name, bytes) in try files() {
            #expect(try workshop.bytes("place/model/\(name)") == bytes)
            let mode = try FileManager.default.attributesOfItem(atPath: "\(target)/\(name)")[.posixPermissions] as? Int
            #expect(mode == 0o644)
        }
        #expect(try ModelBundle(path: target).adapters.keys.sorted() == ["a"])
    }

    @Test("files without a folder, and in a folder of any name, are a bundle too; the parent is made")
    func folders() throws {
        try install(tar(try files()))
        let other = try tar(try files().map { ("some/where/\($0.0)", $0.1) })
        _ = try ModelPack.install(other, to: "\(workshop.path)/new/deep/model/", replace: false) { _ in }
        #expect(try workshop.contents("new/deep") == ["model"])
    }

    @Test("a model that is there stays unless it is to be replaced, and then it is kept")
    func replacing() throws {
        try install(archive)
        try refused(archive, .cannotCreate, "--replace")
        #expect(try install(archive, replace: true).backup == "\(target).old")
        // The advice names the place that is free.
        try refused(archive, .cannotCreate, "as \(target).old-2;")
        #expect(try install(archive, replace: true).backup == "\(target).old-2")
        #expect(try workshop.contents("place") == ["model", "model.old", "model.old-2"])
        for name in try workshop.contents("place") { _ = try ModelBundle(path: "\(workshop.path)/place/\(name)") }
        // A bad archive does not touch the model that it was to replace.
        try refused(tar(Array(try files().dropLast())), .modelInvalid, "vision.gguf", replace: true)
        _ = try ModelBundle(path: target)
    }

    @Test("where the old one finds no name to be kept under, it is put back; a name that leads nowhere is taken too")
    func replacingFails() throws {
        try install(archive)
        let mark = "\(target)/mark"
        try Data().write(to: URL(fileURLWithPath: mark))
        try FileManager.default.createSymbolicLink(atPath: "\(target).old", withDestinationPath: "/nonexistent")
        #expect(try install(archive, replace: true).backup == "\(target).old-2")
        #expect(FileManager.default.fileExists(atPath: "\(target).old-2/mark"))
        try Data().write(to: URL(fileURLWithPath: mark))
        let before = try workshop.contents("place")
        let place = try InstallPlace(target, replace: true)
        try Data().write(to: URL(fileURLWithPath: "\(place.partial)/new"))
        #expect(throws: Failure.self) {
            try place.settle(exchanged: { () throws(Failure) in throw Failure(.inputOutput, "test", "fails here") })
        }
        #expect(FileManager.default.fileExists(atPath: mark))
        #expect(try workshop.contents("place") == before)
        // Where names cannot be exchanged, the old one goes aside first.
        let plain = try InstallPlace(target, replace: true)
        for name in ["new", "model.yaml"] { try Data().write(to: URL(fileURLWithPath: "\(plain.partial)/\(name)")) }
        let backup = try #require(try plain.settle(exchange: { _, _ in false }))
        #expect(FileManager.default.fileExists(atPath: "\(backup)/mark"))
        #expect(FileManager.default.fileExists(atPath: "\(target)/new"))
        let lost = try InstallPlace(target, replace: true)
        lost.clear()
        #expect(throws: Failure.self) { _ = try lost.settle(exchange: { _, _ in false }) }
        #expect(FileManager.default.fileExists(atPath: "\(target)/new"))
    }

    @Test("a bundle that another program changes is not replaced meanwhile")
    func replacingWhileChanged() throws {
        try install(archive)
        let lock = try DirectoryBridge.lock(target)
        try refused(archive, .temporary, target, replace: true)
        DirectoryBridge.unlock(lock)
        #expect(try install(archive, replace: true).backup == "\(target).old")
    }

    @Test("an empty directory is filled; a file in the way is not replaced")
    func obstacles() throws {
        try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
        try install(archive)
        try FileManager.default.removeItem(atPath: target)
        try Data("x".utf8).write(to: URL(fileURLWithPath: target))
        try refused(archive, .cannotCreate, "no directory", replace: true)
    }

    @Test("a directory of something else is nobody's model, and stays", arguments: [false, true])
    func strangers(replace: Bool) throws {
        try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
        try Data("x".utf8).write(to: URL(fileURLWithPath: "\(target)/thesis.txt"))
        try refused(archive, .cannotCreate, "holds something else than a model", replace: replace)
        #expect(try workshop.contents("place/model") == ["thesis.txt"])
    }

    @Test("archives that are not one whole bundle are refused and leave nothing")
    func hostile() throws {
        let good = try files()
        try refused(tar(good.filter { $0.0 != "model.yaml" }), .modelInvalid, "no model.yaml")
        try refused(tar(good + [("other/model.yaml", [1])]), .modelInvalid, "more than one")
        try refused(tar(good + [("stray.sh", [1])]), .modelInvalid, "stray.sh")
        try refused(tar(good.map { ("in/\($0.0)", $0.1) } + [("out", [1])]), .modelInvalid, "entry out")
        try refused(tar(good.filter { $0.0 != "language.gguf" }), .modelInvalid, "language.gguf")
        let changed = good.map {
            ($0.0, $0.0 == "language.gguf" ? $0.1.dropLast() + [$0.1.last.map { $0 ^ 1 } ?? 0] : $0.1)
        }
        try refused(tar(changed), .modelInvalid, "language.gguf: is not the file")
        let yaml = good.map { ($0.0, $0.0 == "model.yaml" ? Array("version: 1".utf8) : $0.1) }
        try refused(tar(yaml), .modelInvalid, "model.yaml")
        let large = good.map { ($0.0, $0.0 == "model.yaml" ? $0.1 + [UInt8](repeating: 10, count: 65_536) : $0.1) }
        try refused(tar(large), .modelInvalid, "65536")
        try refused(tar(good + [("../escape", [1])]), .modelInvalid, "upwards")
        try refused(tar(good + [good[0]]), .modelInvalid, "twice")
        #expect(!FileManager.default.fileExists(atPath: "\(workshop.path)/escape"))
    }

    @Test("hashes may be right and the bundle still wrong: it is opened before it is put in place")
    func mismatched() throws {
        let other = try workshop.bundle("o", TinyLlama(seed: 2), adapter: true)
        var files = try ["adapters/a.gguf", "language.gguf", "vision.gguf"].map { ($0, try workshop.bytes("o/\($0)")) }
        files[0].1 = try workshop.bytes("b/adapters/a.gguf")
        var description = try ModelBundle.description(in: other)
        description.files["adapters/a.gguf"] = ModelBundle.sha256(of: files[0].1)
        try refused(tar(files + [("model.yaml", Array(description.yaml.utf8))]), .adapterMismatch, "another base")
    }

    @Test("what is packed is the bundle of one moment, whatever happens to model.yaml meanwhile")
    func changingWhilePacked() throws {
        var changed = try ModelBundle.description(in: bundle)
        changed.name = "another"
        var isFirst = true
        try ModelPack.pack(bundle, to: archive) { _ in
            if isFirst { try? Data(changed.yaml.utf8).write(to: URL(fileURLWithPath: "\(bundle)/model.yaml")) }
            isFirst = false
        }
        #expect(try ModelBundle.description(in: bundle).name == "another")
        #expect(try install(archive).name != "another")
    }

    @Test("a template that no answer could end with is found before the bundle is in place")
    func templates() throws {
        var wrong = try ModelBundle.description(in: bundle)
        wrong.templates[.ask]?.end = "<|nope|>"
        let made = try tar(files().map { $0.0 == "model.yaml" ? ($0.0, Array(wrong.yaml.utf8)) : $0 })
        try refused(made, .modelInvalid, "\(made): model.yaml: templates.ask")
    }

    @Test("a bundle that names an adapter without a file is neither packed nor installed, and replaces none")
    func missingAdapters() throws {
        try install(archive)
        var wrong = try ModelBundle.description(in: bundle)
        wrong.adapters[.caption] = "no"
        let made = try tar(files().map { $0.0 == "model.yaml" ? ($0.0, Array(wrong.yaml.utf8)) : $0 })
        try refused(made, .modelInvalid, "\(made): model.yaml: adapters.caption: names the adapter no", replace: true)
        _ = try ModelBundle(path: target)
        try Data(wrong.yaml.utf8).write(to: URL(fileURLWithPath: "\(bundle)/model.yaml"))
        let failure = #expect(throws: Failure.self) {
            try ModelPack.pack(bundle, to: "\(workshop.path)/x.tar") { _ in }
        }
        #expect(failure?.code == .modelInvalid && failure?.object == "\(bundle)/model.yaml: adapters.caption")
        #expect(failure?.hint == "There are a.")
        #expect(!(try workshop.contents().contains { $0.contains("x.tar") }))
    }

    @Test("a name that a terminal would obey is not installed")
    func names() throws {
        var wrong = try ModelBundle.description(in: bundle)
        wrong.name = "a\u{1B}[2Jb"
        let made = try tar(files().map { $0.0 == "model.yaml" ? ($0.0, Array(wrong.yaml.utf8)) : $0 })
        try refused(made, .modelInvalid, "\(made): model.yaml: name")
    }

    @Test("a bundle that is not what its model.yaml says is not packed")
    func damaged() throws {
        try Data("x".utf8).write(to: URL(fileURLWithPath: "\(bundle)/vision.gguf"))
        let failure = #expect(throws: Failure.self) {
            try ModelPack.pack(bundle, to: "\(workshop.path)/x.tar") { _ in }
        }
        #expect(failure?.code == .modelInvalid)
        #expect(!(try workshop.contents().contains { $0.contains("x.tar") || $0.contains("partial") }))
    }
}
