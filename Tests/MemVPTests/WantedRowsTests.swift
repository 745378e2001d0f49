// Rows whose logits nobody asks for do not go through the last feed-forward layer; that changes no bit of the others.

import Language
import Tensor
import Testing

@testable import MemVP

@Suite("Wanted rows")
struct WantedRowsTests {
    private static let tokens: [Int32] = [3, 1, 4, 1, 5, 2, 6]
    private static let lengths = [5, 3, 7, 1, 4]
    private static let slots = [3, 0, 2, 2, 0]

    /// What a pass is to say of each wanted row.
    private struct Pass {
        let model: LlamaModel
        let compute: Compute
        let memories: [FeedForwardMemory?]
        let state: LlamaState
        let rows = TokenRows(capacity: 20)

        init(_ model: LlamaModel, _ compute: Compute) throws {
            (self.model, self.compute) = (model, compute)
            let width = model.configuration.width
            // The third and fourth sequences are of one image, the second and the last of none.
            var known: [Int: FeedForwardMemory] = [:]
            memories = try WantedRowsTests.slots.map { slots in
                guard slots > 0 else { return nil }
                if let memory = known[slots] { return memory }
                func matrix(_ rows: Int, _ columns: Int) throws -> WeightMatrix {
                    let values = (0..<rows * columns).map { Float(($0 * 37 + slots) % 23 - 11) / 8 }
                    return try WeightMatrix(
                        name: "memory", precision: model.configuration.precision, rows: rows, columns: columns,
                        values: values.span)
                }
                let memory = FeedForwardMemory(keys: try matrix(slots, width), values: try matrix(width, slots))
                known[slots] = memory
                return memory
            }
            state = LlamaState(
                model.configuration, compute: compute, rows: 20, logitRows: 20, positions: 16, slots: 4)
        }

        /// Logits of rows `wanted`, by a pass that knows of it or by one that computes all rows.
        func logits(of wanted: [Int], isTold: Bool) -> [[Float]] {
            rows.removeAll()
            for (length, memory) in zip(WantedRowsTests.lengths, memories) {
                _ = rows.append(
                    WantedRowsTests.tokens[..<length], cache: model.makeCache(capacity: 16), memory: memory)
            }
            model.forward(rows, wanted: isTold ? wanted : nil, state: state, compute: compute)
            let places = isTold ? Array(wanted.indices) : wanted
            guard !places.isEmpty else { return [] }
            let logits = model.logits(of: places[...], state: state, compute: compute)
            return places.indices.map { logits.array(row: $0) }
        }
    }

    @Test("every choice of rows has the logits of a pass over all of them", arguments: Kernels.available)
    func sameLogits(kernels: Kernels) throws {
        let workshop = try Workshop()
        for precision in [Precision.int8, .float32] {
            let path = try workshop.bundle("w-\(precision.rawValue)", TinyLlama(), precision: precision, adapter: true)
            let model = try ModelBundle(path: path).language
            let pass = try Pass(model, Compute(kernels: kernels, threads: 2))
            let all = Array(0..<Self.lengths.reduce(0, +))
            let expected = pass.logits(of: all, isTold: false)
            #expect(Set(expected.map { $0.map(\.bitPattern) }).count > 10)
            for wanted in [all, [], [0], [4, 7, 14, 15, 19], [2, 3, 8], [15], [5, 6, 7], [0, 19]] {
                #expect(pass.logits(of: wanted, isTold: true) == wanted.map { expected[$0] })
                #expect(pass.rows.count == wanted.count)
            }
        }
    }
}
