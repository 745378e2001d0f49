// What a report says, for programs. Names are those of `memvp eval captions` and `memvp eval vqa`, and a contract (memvp(1)).

internal import FineTuning

/// What `report --json` prints.
struct ToolboxReportSummary: Encodable {
    /// A file's captions.
    struct Captions: Encodable {
        /// Their scores without images.
        struct Blind: Encodable {
            var ciderD: Double
            var bleu: [Double]
            var rougeL: Double

            enum CodingKeys: String, CodingKey {
                case ciderD = "cider_d"
                case bleu
                case rougeL = "rouge_l"
            }
        }

        var data: String
        var ciderD: Double
        var bleu: [Double]
        var rougeL: Double
        var count: Int
        var references: Int
        var badRows: Int
        var blind: Blind?

        enum CodingKeys: String, CodingKey {
            case data
            case ciderD = "cider_d"
            case bleu
            case rougeL = "rouge_l"
            case count
            case references
            case badRows = "bad_rows"
            case blind
        }

        init(_ captions: ReportContents.Captions) {
            data = captions.name
            ciderD = captions.seeing.scores.ciderD
            bleu = captions.seeing.scores.bleu
            rougeL = captions.seeing.scores.rougeL
            count = captions.seeing.scores.count
            references = captions.seeing.photos.reduce(0) { $0 + $1.references.count }
            badRows = captions.unreadRows + captions.seeing.badRows.count
            blind = captions.blind.map {
                Blind(ciderD: $0.scores.ciderD, bleu: $0.scores.bleu, rougeL: $0.scores.rougeL)
            }
        }
    }

    /// A file's questions.
    struct Answers: Encodable {
        /// Their scores without images.
        struct Blind: Encodable {
            var accuracy: Double
            var exact: Double
        }

        var data: String
        var accuracy: Double
        var exact: Double
        var majority: Double
        var majorityAnswer: String
        var byType: [String: ToolboxAnswerReport.Part]
        var count: Int
        var badRows: Int
        var blind: Blind?

        enum CodingKeys: String, CodingKey {
            case data
            case accuracy
            case exact
            case majority
            case majorityAnswer = "majority_answer"
            case byType = "by_type"
            case count
            case badRows = "bad_rows"
            case blind
        }

        init(_ answers: ReportContents.Answers) {
            let all = answers.seeing.scores.all
            data = answers.name
            accuracy = all.accuracy
            exact = all.exact
            majority = all.majority
            majorityAnswer = all.majorityAnswer
            byType = answers.seeing.scores.byType.mapValues { ToolboxAnswerReport.Part($0) }
            count = all.count
            badRows = answers.unreadRows + answers.seeing.badRows.count
            blind = answers.blind.map { Blind(accuracy: $0.scores.all.accuracy, exact: $0.scores.all.exact) }
        }
    }

    /// The file that was written.
    var report: String
    var bytes: Int
    var captions: [Captions]
    var answers: [Answers]
    var kernels: String
    var precision: String

    init(_ contents: ReportContents, report: String, bytes: Int, kernels: String, precision: String) {
        self.report = report
        self.bytes = bytes
        captions = contents.captions.map { Captions($0) }
        answers = contents.answers.map { Answers($0) }
        self.kernels = kernels
        self.precision = precision
    }
}
