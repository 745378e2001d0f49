// What an evaluation found, photo by photo or question by question, as JSON Lines with sorted keys: `memvp eval … --answers FILE`.
// Image paths are relative to the new file, as in data.

public import Diagnostics
internal import FoundationEssentials

extension CaptionEvaluation {
    /// Writes the captions with what people wrote and each one's CIDEr-D, in the order of the data.
    ///
    /// - Throws: `cannot_create`, `permission_denied`, `no_space`, `input_output`.
    public func write(to path: String) throws(Failure) {
        let folder = RealPath.folder(of: path)
        try EvaluationFile.write(
            photos.map { photo in
                CaptionLine(
                    image: ExampleRows.name(of: photo.image, in: folder), caption: photo.caption,
                    references: photo.references, ciderD: photo.ciderD)
            }, to: path)
    }
}

extension AnswerEvaluation {
    /// Writes the questions with what was answered, what is right and the accuracy of each, in the order of the data.
    ///
    /// - Throws: as for captions.
    public func write(to path: String) throws(Failure) {
        let folder = RealPath.folder(of: path)
        try EvaluationFile.write(
            questions.map { question in
                AnswerLine(
                    image: ExampleRows.name(of: question.image, in: folder), question: question.question,
                    answer: question.given, expected: question.expected, accuracy: question.accuracy,
                    type: question.type)
            }, to: path)
    }
}

private enum EvaluationFile {
    static func write(_ lines: [some Encodable], to path: String) throws(Failure) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        var bytes: [UInt8] = []
        for line in lines {
            do {
                bytes += try encoder.encode(line)
            } catch { throw Failure(.internalError, path, "has a line that has no form in JSON: \(error)") }
            bytes.append(UInt8(ascii: "\n"))
        }
        try DataFile.write(bytes, to: path)
    }
}

private struct CaptionLine: Encodable {
    var image: String
    var caption: String
    var references: [String]
    var ciderD: Double

    enum CodingKeys: String, CodingKey {
        case image
        case caption
        case references
        case ciderD = "cider_d"
    }
}

private struct AnswerLine: Encodable {
    var image: String
    var question: String
    var answer: String
    var expected: String
    var accuracy: Double
    var type: String
}
