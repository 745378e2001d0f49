// What the adapter answers at this moment: a few validation rows, generated as serving would.

internal import Diagnostics
internal import Language
internal import MemVP
internal import Tensor
internal import Text
internal import Vision

/// Generates answers with an adapter in training.
final class SampleWriter {
    private let bundle: ModelBundle
    private let compute: Compute
    private let photos: PhotoSource
    private let builder: ExampleBuilder
    private let features: FloatRows

    /// Room for one photo.
    init(
        bundle: ModelBundle, compute: Compute, photos: PhotoSource, builder: ExampleBuilder
    ) throws(Failure) {
        self.bundle = bundle
        self.compute = compute
        self.photos = photos
        self.builder = builder
        features = FloatRows(capacity: bundle.patches, columns: bundle.vision.features)
    }

    /// One record a row: photo, prompt, answer, reference.
    func answers(
        _ adapter: TrainableAdapter, _ rows: [(row: ExampleRow, example: PreparedExample)], step: Int
    ) throws(Failure) -> [TrainingRecord] {
        let present = try Adapter(adapter.configuration, tensors: adapter.tensors, precision: bundle.precision)
        let projector = try VisualProjector(adapter: present, patches: bundle.patches)
        var memories: [FeedForwardMemory] = []
        var prompts: [[Int32]] = []
        var forms: [AnswerForm] = []
        for (row, example) in rows {
            try photos.features(example.photo, into: features, at: 0, compute: compute)
            memories.append(try projector.memory(of: features, compute: compute))
            let (prompt, form) = try builder.prompt(row.task)
            prompts.append(prompt)
            forms.append(form)
        }
        let decoder = BatchDecoder(
            model: bundle.language, compute: compute, capacity: rows.count,
            promptTokens: prompts.map(\.count).max() ?? 1, slots: adapter.configuration.slots)
        let answers = decoder.generate(prompts, memories: memories, end: forms.first?.endToken ?? 0, limit: 40)
        return zip(rows, zip(answers, forms)).map { row, result in
            var record = TrainingRecord("sample", step: step)
            record.image = row.row.imageName
            record.answer = result.1.answer(in: bundle.tokenizer.decode(result.0))
            switch row.row.task {
            case .caption(let caption): (record.prompt, record.reference) = ("caption", caption)
            case .question(let question, let answer): (record.prompt, record.reference) = (question, answer)
            }
            return record
        }
    }
}
