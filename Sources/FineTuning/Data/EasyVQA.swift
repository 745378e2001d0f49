// The data of PyPI's easy-vqa: `data/train` and `data/test`, each with questions.json, a list of [question, answer, image
// number], and images/NUMBER.png.

public import Diagnostics
internal import Files
internal import FoundationEssentials

/// Reads easy-vqa.
public enum EasyVQA {
    private struct Entry: Decodable {
        let question: String
        let answer: String
        let image: Int

        init(from decoder: any Decoder) throws {
            var values = try decoder.unkeyedContainer()
            question = try values.decode(String.self)
            answer = try values.decode(String.self)
            image = try values.decode(Int.self)
        }
    }

    /// Its questions, with the splits `train` and `test` and the kinds `yes/no`, `shape` and `colour`.
    ///
    /// - Parameters:
    ///   - folder: the package's folder `data`.
    ///   - suffix: what image names end in; `png` as they come.
    /// - Throws: `not_found` for a file that is not there, `spec_invalid` for one that is too large or of another form.
    public static func rows(folder: String, suffix: String = "png") throws(Failure) -> [ExampleRow] {
        var rows: [ExampleRow] = []
        for split in ["train", "test"] {
            let path = "\(folder)/\(split)/questions.json"
            let bytes = try InputFile.read(path, limit: ExampleRows.fileLimit, tooLarge: .specInvalid)
            guard let entries = try? JSONDecoder().decode([Entry].self, from: Data(bytes)) else {
                throw Failure(
                    .specInvalid, path, "is no list of [question, answer, image number]",
                    hint: "Name the folder data of the package easy-vqa.")
            }
            rows += entries.enumerated().map { index, entry in
                ExampleRow(
                    image: "\(folder)/\(split)/images/\(entry.image).\(suffix)",
                    task: .question(entry.question, answer: entry.answer), split: split, line: index + 1,
                    kind: kind(of: entry.answer))
            }
        }
        return rows
    }

    private static func kind(of answer: String) -> String {
        switch answer {
        case "yes", "no": "yes/no"
        case "circle", "rectangle", "triangle": "shape"
        default: "colour"
        }
    }
}
