// The hot path allocates nothing: a decoded token costs no memory, greedy or drawn, whatever runs beside it.

import CAllocations
import Language
import MemVP
import Specification
import Tensor
import Testing
import Vision

@Suite("Allocations")
struct AllocationTests {
    @Test("the counter counts")
    func counter() {
        func made(_ count: Int) -> Int {
            allocations_begin()
            for size in 0..<count {
                let memory = UnsafeMutableRawPointer.allocate(byteCount: 1_000 + size, alignment: 8)
                unsafe memory.deallocate()
            }
            return allocations_end()
        }
        #expect(made(0) == 0)
        #expect(made(5) == 5)
    }

    @Test(
        "a decoding pass allocates nothing",
        .enabled(if: Bundles.exists(Bundles.int8), Comment(rawValue: Bundles.missing)),
        arguments: [.greedy, Sampling(temperature: 1, seed: 1), Sampling(temperature: 0.9, topP: 0.9, seed: 2)])
    func decoding(sampling: Sampling) throws {
        let bundle = try ModelBundle(path: Bundles.path(Bundles.int8), verify: false)
        let compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 2)
        let engine = Engine(
            model: bundle.language, compute: compute, limits: EngineLimits(streams: 3, rows: 64, positions: 128))
        let adapter = try #require(bundle.adapters.values.first { $0.configuration.prompting == .memory })
        let projector = try VisualProjector(adapter: adapter, patches: bundle.vision.patches)
        let features = FloatRows(capacity: bundle.vision.patches, columns: adapter.configuration.features)
        let image = try projector.visualPrompt(of: features, compute: compute)
        // Two of them see an image, one does not.
        let tasks = [[1, 2, 3], [4, 5], [6, 7, 8, 9]].enumerated().map { index, prompt in
            TokenTask(
                prompt: prompt, goal: .generate(maximumTokens: 100, end: -1, sampling: sampling),
                image: index < 2 ? image : nil)
        }
        for task in tasks { _ = engine.submit([task]) }
        // The first passes are prefill's, and what a choice needs has its memory after one.
        for _ in 0..<3 { _ = engine.step() }
        allocations_begin()
        for _ in 0..<20 { _ = engine.step() }
        #expect(allocations_end() == 0)
        #expect(!engine.isIdle)
    }

    @Test(
        "an answerer adds nothing of its own to a pass that ends nothing",
        .enabled(if: Bundles.exists(Bundles.int8), Comment(rawValue: Bundles.missing)))
    func answering() throws {
        let bundle = try ModelBundle(path: Bundles.path(Bundles.int8), verify: false)
        let compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 2)
        let answerer = try Answerer(bundle: bundle, compute: compute, batch: 4)
        let task = TaskSpec.Task(id: "c", work: .caption(.caption))
        for _ in 0..<3 { _ = try answerer.submit(image: nil, tasks: [task], contentSeed: 0) }
        for _ in 0..<3 { _ = answerer.step() }
        var passes = 0
        while !answerer.isIdle {
            allocations_begin()
            let ended = answerer.step()
            let made = allocations_end()
            guard ended.isEmpty else { break }
            #expect(made == 0)
            passes += 1
        }
        #expect(passes > 0)
    }
}
