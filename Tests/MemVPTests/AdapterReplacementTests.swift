// An adapter replaces another: at every moment the bundle opens, with the old one or with the new one.

import Diagnostics
import Foundation
import Specification
import Testing

@testable import MemVP

@Suite("Adapters change hands")
struct AdapterReplacementTests {
    let workshop: Workshop
    let bundle: String

    init() throws {
        workshop = try Workshop()
        bundle = try workshop.bundle("b", TinyLlama(), adapter: true)
    }

    private func add(_ mark: Float, name: String = "a", failingAfter step: BundleBuilder.AddingStep? = nil) throws {
        let path = "\(workshop.path)/next.safetensors"
        try TinyAdapter.write(to: path, mark: mark)
        try BundleBuilder.addAdapter(path, name: name, kinds: [.caption], to: bundle) { done throws(Failure) in
            if done == step { throw Failure(.temporary, "test", "fails here") }
        }
    }

    /// The first value of E₁ of the adapter that the bundle opens with.
    private func mark(_ name: String = "a") throws -> Float? { try ModelBundle(path: bundle).adapters[name]?.e1.first }

    @Test("a failure after any step leaves a whole bundle, and the next adding tidies up")
    func failures() throws {
        #expect(try mark() == 1)
        #expect(throws: Failure.self) { try add(2, failingAfter: .written) }
        #expect(try mark() == 1)
        #expect(throws: Failure.self) { try add(3, failingAfter: .described) }
        #expect(try mark() == 3)
        try add(4)
        #expect(try mark() == 4)
        #expect(try workshop.contents("b/adapters").count == 1)
        try add(5, name: "other")
        #expect(try mark() == 4)
        #expect(try mark("other") == 5)
        #expect(try ModelBundle.description(in: bundle).adapters == [.caption: "other", .ask: "a"])
        #expect(try workshop.contents("b/adapters").count == 2)
    }

    @Test("adding one adapter does not vouch for the other files")
    func hashes() throws {
        let file = "\(bundle)/adapters/a.gguf"
        var bytes = try workshop.bytes("b/adapters/a.gguf")
        bytes[bytes.count - 8] ^= 1
        try Data(bytes).write(to: URL(fileURLWithPath: file))
        try add(2, name: "other")
        let failure = #expect(throws: Failure.self) { try ModelBundle(path: bundle) }
        #expect(failure?.code == .modelInvalid)
        #expect(failure?.object == file)
    }

    @Test("an opening during which an adapter changes hands opens with the new one")
    func opening() throws {
        let opened = try ModelBundle(path: bundle) { try? add(2) }
        #expect(opened.adapters["a"]?.e1.first == 2)
        #expect(try opened.description == ModelBundle.description(in: bundle))
        // One that fails for itself says so, once.
        try FileManager.default.removeItem(atPath: "\(bundle)/vision.gguf")
        let failure = #expect(throws: Failure.self) { try ModelBundle(path: bundle) }
        #expect(failure?.code == .modelMissing)
    }

    @Test("a file's name tells its adapter")
    func names() {
        #expect(ModelBundle.adapterName(ofFile: "adapters/a-b_1.gguf") == "a-b_1")
        #expect(ModelBundle.adapterName(ofFile: "adapters/a~2.gguf") == "a")
        #expect(ModelBundle.adapterName(ofFile: "adapters/a.v1.2.gguf") == "a.v1.2")
        #expect(ModelBundle.adapterName(ofFile: "adapters/a.b.gguf") == "a.b")
        #expect(ModelBundle.adapterName(ofFile: "language.gguf") == nil)
        #expect(ModelBundle.adapterName(ofFile: "adapters/a.txt") == nil)
    }
}
