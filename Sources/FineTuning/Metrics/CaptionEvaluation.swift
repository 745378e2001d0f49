// Captions every photo of a data set once and scores them; all rows of a photo are its references.

public import Diagnostics
public import MemVP
internal import Specification

/// Generated captions with their scores.
public struct CaptionEvaluation: Sendable {
    /// A photo with what was said about it.
    public struct Photo: Sendable, Equatable {
        /// The photo's path.
        public var image: String
        /// Its path as the data has it.
        public var imageName: String
        /// The generated caption.
        public var caption: String
        /// What people wrote.
        public var references: [String]
        /// Its CIDEr-D.
        public var ciderD: Double
    }

    /// BLEU, ROUGE-L and CIDEr-D.
    public let scores: CaptionScores
    /// The photos, in the order of the data.
    public let photos: [Photo]
    /// Rows that could not be evaluated, a row for each photo.
    public let badRows: [BadRow]

    /// Photos that were captioned and scored elsewhere.
    init(scores: CaptionScores, photos: [Photo], badRows: [BadRow]) {
        self.scores = scores
        self.photos = photos
        self.badRows = badRows
    }

    /// Captions the photos of `rows`; questions among the rows are passed over.
    ///
    /// - Throws: `model_missing` for an adapter that is not there, before a photo is opened; `spec_invalid` when there
    ///   is no caption or no photo that could be captioned, or for a bad row under `stop`.
    public init(
        _ rows: [ExampleRow], options: EvaluationOptions, answerer: Answerer, progress: EvaluationProgress = { _, _ in }
    ) throws(Failure) {
        let captions = rows.compactMap { row in row.task.caption.map { (row: row, text: $0) } }
        let groups = captions.grouped { $0.row.image }
        guard !groups.isEmpty else { throw Failure(.specInvalid, options.file, "has no caption to compare with") }
        try answerer.requireAdapter(options.adapter, for: .caption)
        let task = TaskSpec.Task(id: "caption", adapter: options.adapter, work: .caption(.caption))
        // Blind, every photo gets the same caption.
        let photos =
            options.isBlind
            ? [PhotoTasks(image: nil, tasks: [task])]
            : groups.map { PhotoTasks(image: $0[0].row.image, tasks: [task]) }
        let outcomes = BatchedAnswers(answerer: answerer).run(photos) { progress($0, photos.count) }
        var found: [Photo] = []
        var bad: [BadRow] = []
        for (index, group) in groups.enumerated() {
            let row = group[0].row
            switch outcomes[options.isBlind ? 0 : index][0] {
            case .success(let answer):
                found.append(
                    Photo(
                        image: row.image, imageName: row.imageName, caption: answer.text,
                        references: group.map(\.text), ciderD: 0))
            case .failure(let failure): bad.append(try options.bad(row, failure))
            }
        }
        guard !found.isEmpty else { throw options.nothing(bad) }
        scores = CaptionScores(found.map { CaptionSample(caption: $0.caption, references: $0.references) })
        for index in found.indices { found[index].ciderD = scores.ciderDOfEach[index] }
        self.photos = found
        badRows = bad
    }
}
