// Which shapes of a convolutional encoder are believed: those whose maps fit, whatever a small file announces.

import Diagnostics
import Tensor
import Testing

@testable import Vision

@Suite("Encoder shapes")
struct EncoderShapeTests {
    /// What a block does beside its input.
    private struct Step {
        var stride = 1
        var expanded = 16
        var output = 16
    }

    private func configuration(
        side: Int, stem: Int = 16, _ steps: [Step], head: Int = 16
    ) throws -> EfficientNetConfiguration {
        var blocks: [EfficientNetBlock] = []
        var input = stem
        for step in steps {
            blocks.append(
                EfficientNetBlock(
                    kernel: 3, stride: step.stride, input: input, expanded: step.expanded, output: step.output))
            input = step.output
        }
        return try EfficientNetConfiguration(side: side, stem: stem, blocks: blocks, head: head, precision: .int8)
    }

    private func refused(_ object: String, _ cause: String, _ make: () throws -> EfficientNetConfiguration) {
        let failure = #expect(throws: Failure.self) { try make() }
        #expect(failure?.code == .modelInvalid && failure?.object == object, "\(String(describing: failure))")
        #expect(failure?.cause.contains(cause) == true, "\(String(describing: failure))")
    }

    @Test("EfficientNet-Lite4, the largest of its family, fits at the largest side", arguments: [300, 1_024])
    func largest(side: Int) throws {
        let stages = [(1, 1, 24, 1), (4, 2, 32, 6), (4, 2, 56, 6), (6, 2, 112, 6), (6, 1, 160, 6), (8, 2, 272, 6)]
        var steps: [Step] = []
        var width = 32
        for (count, stride, output, expansion) in stages {
            for index in 0..<count {
                steps.append(Step(stride: index == 0 ? stride : 1, expanded: width * expansion, output: output))
                width = output
            }
        }
        steps.append(Step(expanded: width * 6, output: 448))
        let found = try configuration(side: side, stem: 32, steps, head: 1_280)
        #expect(found.blocks.count == 30 && found.gridSide == (side + 31) / 32)
    }

    @Test("a map of one pixel is not halved again")
    func halving() throws {
        let halving = [Step](repeating: Step(stride: 2), count: 4)
        #expect(try configuration(side: 32, halving).gridSide == 1)
        #expect(try configuration(side: 32, halving + [Step()]).gridSide == 1)
        refused("vision block 4", "one pixel") { try configuration(side: 32, halving + [Step(stride: 2)]) }
    }

    @Test("a map of more than 64 Mi values is refused, whichever width makes it so, and so are many that are less")
    func sizes() throws {
        // 512 × 512 pixels of 256 channels are 64 Mi values.
        _ = try configuration(side: 1_024, [Step(expanded: 256)])
        _ = try configuration(side: 1_023, stem: 256, [Step(output: 256)], head: 256)
        refused("vision block 0", "272 channels") { try configuration(side: 1_024, [Step(expanded: 272)]) }
        refused("vision block 0", "257 channels") { try configuration(side: 1_024, [Step(output: 257)]) }
        refused("vision block 0", "257 channels") { try configuration(side: 1_024, stem: 257, [Step()]) }
        refused("vision head", "257 channels") { try configuration(side: 1_024, [Step()], head: 257) }
        _ = try configuration(side: 1_024, [Step](repeating: Step(expanded: 256), count: 4))
        refused("vision block 4", "too large") {
            try configuration(side: 1_024, [Step](repeating: Step(expanded: 256), count: 4) + [Step()])
        }
    }

    @Test("a side out of range is refused before anything is made of it", arguments: [Int.min, 0, 1_025, .max])
    func sides(side: Int) {
        refused("vision configuration", "out of range") { try configuration(side: side, [Step()]) }
    }
}
