// The float32 bundle against numbers that independent code made (Fixtures/default-base.json says how), and int8 against it.

import Foundation
import Language
import MemVP
import ModelFile
import Tensor
import Testing
import Text
import Vision

@Suite("Parity with independent references")
struct ParityTests {
    struct TextRow: Decodable, Sendable {
        let text: String
        let token_ids: [Int32]
        let greedy_ids: [Int32]
    }

    struct Golden: Decodable { let text: [TextRow] }

    static func rows() throws -> [TextRow] {
        try JSONDecoder().decode(Golden.self, from: Data(Fixture.bytes("default-base.json"))).text
    }

    @Test(
        "float32: states after blocks 0 and 14, logits and greedy ids",
        .enabled(if: Bundles.exists(Bundles.float32), Comment(rawValue: Bundles.missing)))
    func languageModel() throws {
        let bundle = try ModelBundle(path: Bundles.path(Bundles.float32), verify: false)
        let compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 2)
        let golden = try Fixture.golden()
        let model = bundle.language
        let state = LlamaState(
            model.configuration, compute: compute, rows: 64, logitRows: 1, positions: 128, slots: 1)
        for (index, row) in try Self.rows().enumerated() {
            #expect(bundle.tokenizer.encode(row.text, parsingControlTokens: true) == row.token_ids)
            let rows = TokenRows(capacity: 64)
            let cache = model.makeCache(capacity: 64)
            _ = try #require(rows.append(row.token_ids[...], cache: cache, memory: nil))
            var found: [Int: [Float]] = [:]
            model.forward(rows, state: state, compute: compute) { layer, output in
                if layer == 0 || layer == 14 {
                    found[layer] = (0..<rows.count).flatMap { output.array(row: $0) }
                }
            }
            for layer in [0, 14] {
                let expected = try golden.floats(named: "text\(index).layer\(layer)")
                #expect(Distance.relativeL2(found[layer] ?? [], expected) < 1e-3, "text\(index).layer\(layer)")
            }
            let logits = model.logits(of: [rows.count - 1], state: state, compute: compute)
            if golden.has(tensor: "text\(index).logits") {
                let expected = try golden.floats(named: "text\(index).logits")
                #expect(Distance.relativeL2(logits.array(row: 0), expected) < 1e-3)
            }
            let engine = Engine(
                model: model, compute: compute, limits: EngineLimits(rows: 64, positions: 128, slots: 1))
            let goal = TokenTask.Goal.generate(maximumTokens: row.greedy_ids.count, end: -1, sampling: .greedy)
            _ = engine.submit([TokenTask(prompt: row.token_ids, goal: goal, image: nil)])
            var ids: [Int32] = []
            while !engine.isIdle { for ended in engine.step() { ids = ended.result.tokens } }
            #expect(ids == row.greedy_ids, "\(row.text)")
        }
    }

    @Test(
        "vision features: float32 within 1e-3, int8 cosine at least 0.98",
        .enabled(
            if: Bundles.exists(Bundles.float32) && Bundles.exists(Bundles.int8), Comment(rawValue: Bundles.missing)),
        arguments: [Bundles.float32, Bundles.int8])
    func vision(_ name: String) throws {
        let bundle = try ModelBundle(path: Bundles.path(name), verify: false)
        let compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 2)
        let image = try bundle.prepare(photo: Fixture.bytes("rocket.jpg"))
        let features = VisionWorker(bundle.vision, compute: compute).encode(image.pixels.span)
        let found = (0..<features.capacity).flatMap { features.array(row: $0) }
        let expected = try Fixture.golden().floats(named: "lite2.rocket.features")
        if name == Bundles.float32 {
            #expect(Distance.relativeL2(found, expected) < 1e-3)
        } else {
            #expect(Distance.cosine(found, expected) >= 0.98)
        }
    }

    @Test("the comparer refuses NaN, a wrong sign, a wrong shape and a wrong scale")
    func comparer() {
        let right: [Float] = [1, -2, 3]
        #expect(Distance.relativeL2(right, right) == 0)
        #expect(Distance.relativeL2([.nan, -2, 3], right) > 1e-3)
        #expect(Distance.relativeL2([1, 2, 3], right) > 1e-3)
        #expect(Distance.relativeL2([1, -2], right) > 1e-3)
        #expect(Distance.relativeL2([2, -4, 6], right) > 1e-3)
        #expect(Distance.cosine([-1, 2, -3], right) < 0.98)
        #expect(Distance.cosine([.nan, -2, 3], right) < 0.98)
    }
}
