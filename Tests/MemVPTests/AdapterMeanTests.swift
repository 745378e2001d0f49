// The mean of adapters, and what has none.

import Diagnostics
import Foundation
import Tensor
import Testing

@testable import MemVP

@Suite("Means of adapters")
struct AdapterMeanTests {
    private let workshop: Workshop
    private let base: BaseIdentity

    init() throws {
        workshop = try Workshop()
        base = try ModelBundle(path: try workshop.bundle("b", TinyLlama(), adapter: true)).base
    }

    /// An adapter whose values count up from `start`.
    private func adapter(
        _ name: String, from start: Float, prompting: Adapter.Prompting = .memory, vision: Float? = 0.1,
        rank: Int = 1, base: BaseIdentity? = nil, change: (inout Adapter.Configuration) -> Void = { _ in }
    ) throws -> String {
        var c = Adapter.Configuration(
            features: 3, hidden: 2, width: 4, slots: 5, lambda: 1, scale: 1, prompting: prompting)
        change(&c)
        var next = start
        func values(_ count: Int) -> [Float] {
            defer { next += Float(count) }
            return (0..<count).map { next + Float($0) }
        }
        let tensors = Adapter.Tensors(
            fc1Weight: values(c.hidden * 3), fc1Bias: values(c.hidden), fc2Weight: values(4 * c.hidden),
            fc2Bias: values(4), e1: values(20), e2: prompting == .memory ? values(20) : nil,
            vision: vision.map {
                Adapter.VisionTensors(
                    rank: rank, scale: $0, fc1: [values(3 * rank), values(3 * rank)],
                    fc2: [values(3 * rank), values(3 * rank)])
            })
        let path = "\(workshop.path)/\(name).gguf"
        try AdapterFile.write(c, tensors: tensors, base: base ?? self.base, name: name, to: path)
        return path
    }

    @Test("every value is the mean of its likes", arguments: Adapter.Prompting.allCases)
    func means(prompting: Adapter.Prompting) throws {
        let paths = try [(-3, "a"), (4, "b"), (8, "c")].map {
            try adapter($0.1, from: $0.0, prompting: prompting)
        }
        let (shape, mean) = try AdapterFile.mean(of: paths, base: base)
        let middle = try adapter("d", from: 3, prompting: prompting)
        let written = "\(workshop.path)/e.gguf"
        try AdapterFile.write(shape, tensors: mean, base: base, name: "d", to: written)
        #expect(try workshop.bytes("e.gguf") == workshop.bytes("d.gguf"))
        let (_, alone) = try AdapterFile.mean(of: [middle], base: base)
        #expect(alone.fc1Weight == mean.fc1Weight && alone.vision?.fc2 == mean.vision?.fc2)
        let plain = try ["f", "g"].map { try adapter($0, from: $0 == "f" ? 0 : 2, vision: nil) }
        #expect(try AdapterFile.mean(of: plain, base: base).1.vision == nil)
    }

    @Test("an adapter with values that are not finite is named, wherever it stands")
    func divergence() throws {
        let (good, bad) = (try adapter("good", from: 0), try adapter("bad", from: .nan))
        for paths in [[good, bad], [bad, good]] {
            let failure = #expect(throws: Failure.self) { try AdapterFile.mean(of: paths, base: base) }
            #expect(failure?.code == .modelInvalid && failure?.object == bad)
        }
    }

    @Test("adapters of other bases, shapes or constants have no mean")
    func misfits() throws {
        let first = try adapter("first", from: 0)
        let others = try [
            adapter("base", from: 0, base: BaseIdentity(language: "x", vision: "y")),
            adapter("hidden", from: 0) { $0.hidden = 7 },
            adapter("lambda", from: 0) { $0.lambda = 0.5 },
            adapter("kind", from: 0, prompting: .input),
            adapter("without", from: 0, vision: nil),
            adapter("vision", from: 0, vision: 0.2),
            adapter("rank", from: 0, rank: 2),
        ]
        for other in others {
            let failure = #expect(throws: Failure.self) { try AdapterFile.mean(of: [first, other], base: base) }
            #expect(failure?.code == .adapterMismatch && failure?.object == other)
        }
        #expect(throws: Failure.self) { try AdapterFile.mean(of: [], base: base) }
    }
}
