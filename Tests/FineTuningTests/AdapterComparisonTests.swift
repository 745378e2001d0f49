// When a new adapter may take the present one's place.

import Diagnostics
import Testing

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
}
