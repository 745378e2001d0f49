// The scores of generated captions, in the definitions of the field's reference code (pycocoevalcap on PyPI), on the
// project's own tokens. Tests hold them against that code's numbers (scripts/caption-metrics.py).
//
// Invariant: no score is ever NaN; a caption without words scores 0.

/// A generated caption and what people wrote about the same photo, in words.
public struct CaptionSample: Sendable, Equatable {
    /// The generated caption.
    public var hypothesis: [String]
    /// The references; none scores 0.
    public var references: [[String]]

    /// A caption and its references in words.
    public init(hypothesis: [String], references: [[String]]) {
        self.hypothesis = hypothesis
        self.references = references
    }

    /// A caption and its references as text.
    public init(caption: String, references: [String]) {
        self.init(
            hypothesis: CaptionTokens.words(caption), references: references.map(CaptionTokens.words))
    }
}

/// What the captions of a data set score.
public struct CaptionScores: Sendable, Equatable {
    /// BLEU-1 to BLEU-4 over the whole set, brevity by the closest reference.
    public var bleu: [Double]
    /// ROUGE-L, the mean over captions.
    public var rougeL: Double
    /// CIDEr-D, the mean over captions.
    public var ciderD: Double
    /// Captions.
    public var count: Int
    /// CIDEr-D of each caption, in the order of the samples.
    public var ciderDOfEach: [Double]

    /// Scores captions. Document frequencies are those of the samples' own references.
    public init(_ samples: [CaptionSample]) {
        var numbers = WordNumbers()
        let numbered = samples.map { sample in
            NumberedSample(
                hypothesis: numbers.number(sample.hypothesis), references: sample.references.map { numbers.number($0) })
        }
        count = samples.count
        bleu = BLEU.corpus(numbered)
        rougeL = ROUGE.mean(numbered)
        ciderDOfEach = CIDErD.scores(numbered)
        ciderD = samples.isEmpty ? 0 : ciderDOfEach.reduce(0, +) / Double(samples.count)
    }
}
