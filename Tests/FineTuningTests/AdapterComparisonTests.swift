// When a new adapter may take the present one's place.

import Diagnostics
import Foundation
import Language
import MemVP
import Specification
import Tensor
import Testing
import Vision

@testable import FineTuning

@Suite("Comparison of adapters")
struct AdapterComparisonTests {
    @Test("scores are parts of 1, but for CIDEr-D, which goes to 10")
    func ranges() {
        for metric in AdapterMetric.allCases {
            #expect(metric.range == (metric == .ciderD ? 0...10 : 0...1))
        }
        // As near as can be: a caption that is the only reference of its photo, beside another photo.
        let same = CaptionSample(caption: "a b c d e", references: ["a b c d e"])
        let other = CaptionSample(caption: "v w x y z", references: ["v w x y z"])
        #expect(abs(CaptionScores([same, other]).ciderD - 10) < 1e-9)
    }

    @Test(
        "no worse, better by a margin, above a floor; a number in any case",
        arguments: [
            (0.5, 0.5, nil, 0.0, true), (0.49, 0.5, nil, 0, false), (0.5, 0.5, nil, 0.01, false),
            (0.52, 0.5, nil, 0.01, true), (0.1, nil, nil, 0, true), (0.1, nil, 0.2, 0, false), (0.2, nil, 0.2, 9, true),
            (0.5, 0.4, 0.6, 0, false), (0.6, 0.7, 0.6, 0, false), (.nan, nil, nil, 0, false),
            (.nan, 0.5, nil, 0, false),
            (.infinity, nil, nil, 0, false), (0.5, .nan, nil, 0, false),
        ] as [(Double, Double?, Double?, Double, Bool)])
    func verdicts(new: Double, present: Double?, floor: Double?, margin: Double, isMet: Bool) {
        let demand = AdapterDemand(metric: .ciderD, floor: floor, margin: margin)
        #expect(AdapterComparison(demand: demand, new: new, present: present, count: 1).isMet == isMet)
    }

    @Test("a present adapter that computes no number scores nothing, and does not keep the new one out")
    func brokenPresent() throws {
        let official = try OfficialBundle(.float32)
        let bundle = try ModelBundle(path: official.path)
        var (shape, tensors) = try AdapterFile.tensors(
            path: "\(official.path)/adapters/official.gguf", base: bundle.base)
        // Numbers themselves; what they make of features is none.
        shape.scale = Adapter.largestConstant
        tensors.e2 = tensors.e2?.map { _ in 3e38 }
        let file = "\(official.folder.path)/wild.gguf"
        try AdapterFile.write(shape, tensors: tensors, base: bundle.base, name: "wild", to: file)
        let answerer = try Answerer(
            bundle: bundle, compute: Compute(kernels: Kernels.choose(forced: nil), threads: 2), batch: 2,
            additional: ["wild": bundle.openAdapter(path: file)])
        let rows = ["rocket", "chelsea"].enumerated().map { line, name in
            ExampleRow(
                image: OfficialBundle.photo(name), task: .question("what is it?", answer: "no"), file: "rows",
                line: line + 1)
        }
        var told: [String] = []
        func compare(new: String, present: String) throws -> [AdapterComparison] {
            try AdapterComparison.run(
                [AdapterDemand(metric: .exact)], new: new, present: { _ in present }, rows: rows,
                options: EvaluationOptions(file: "rows"), answerer: answerer,
                broken: { name, failure in told.append("\(name) \(failure.code.rawValue)") }
            ).comparisons
        }
        let comparison = try #require(try compare(new: "official", present: "wild").first)
        #expect(comparison.present == nil && comparison.isMet && told == ["wild model_invalid"])
        // The other way round it stays where it is.
        let failure = #expect(throws: Failure.self) { try compare(new: "wild", present: "official") }
        #expect(failure?.code == .modelInvalid && told.count == 1)
    }

    @Test("nothing is compared on one photo's rarity of words, nor on other rows of the one adapter than of the other")
    func incomparable() throws {
        let official = try OfficialBundle(.float32)
        let base = try ModelBundle(path: official.path)
        // The same projector before the prompt: less room for the question.
        var (shape, tensors) = try AdapterFile.tensors(path: "\(official.path)/adapters/official.gguf", base: base.base)
        (shape.prompting, shape.lambda, tensors.e2) = (.input, 1, nil)
        let file = "\(official.folder.path)/input.gguf"
        try AdapterFile.write(shape, tensors: tensors, base: base.base, name: "input", to: file)
        let hash = try ModelBundle.sha256(ofFile: file)
        #expect(try BundleBuilder.promote(file, hash: hash, name: "input", kinds: [.ask], to: base))
        let bundle = try ModelBundle(path: official.path, positions: 256)
        let answerer = try Answerer(
            bundle: bundle, compute: Compute(kernels: Kernels.choose(forced: nil), threads: 2), batch: 2)

        let photo = OfficialBundle.photo("rocket")
        func question(_ words: Int, line: Int) -> ExampleRow {
            let text = Array(repeating: "smoke", count: words).joined(separator: " ")
            return ExampleRow(image: photo, task: .question(text, answer: "no"), file: "rows", line: line)
        }
        let builder = try ExampleBuilder(bundle)
        func tokens(_ words: Int) throws -> Int {
            try builder.example(question(words, line: 0), photo: "").tokens.count
        }
        // The first that does not fit with an answer behind the image tokens, and does without them.
        let room = bundle.language.positions - bundle.vision.patches - TaskSpec.Generation.answer.maximumTokens
        let words = try #require((1...max(1, room)).first { (try? tokens($0) > room + 2) ?? false })
        func compare(_ metric: AdapterMetric, _ rows: [ExampleRow]) throws -> [AdapterComparison] {
            try AdapterComparison.run(
                [AdapterDemand(metric: metric)], new: metric == .exact ? "input" : "official",
                present: { _ in "official" }, rows: rows, options: EvaluationOptions(file: "rows"), answerer: answerer
            ).comparisons
        }
        #expect(try compare(.exact, [question(1, line: 1), question(2, line: 2)]).map(\.count) == [2])
        let longer = #expect(throws: Failure.self) {
            try compare(.exact, [question(1, line: 1), question(words, line: 2)])
        }
        #expect(longer?.code == .specInvalid && longer?.object == "rows")
        #expect(longer?.cause.hasPrefix("gives 1 answers of the new adapter and 2 of the present one") == true)
        #expect(longer?.hint.contains("rows:2: ") == true)

        let captions = [ExampleRow(image: photo, task: .caption("smoke"), file: "rows", line: 1)]
        let one = #expect(throws: Failure.self) { try compare(.ciderD, captions) }
        #expect(one?.code == .specInvalid && one?.cause.hasPrefix("has one photo") == true)
        #expect(try compare(.rougeL, captions).map(\.count) == [1])
    }
}
