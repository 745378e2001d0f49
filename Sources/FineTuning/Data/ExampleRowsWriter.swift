// Writes rows as JSON Lines, whole or not at all, with image paths relative to the new file.

public import Diagnostics
internal import FoundationEssentials

extension ExampleRows {
    /// Writes rows to a file.
    ///
    /// - Throws: `cannot_create` when the file cannot be written.
    public static func write(_ rows: [ExampleRow], to path: String) throws(Failure) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        var bytes: [UInt8] = []
        do {
            for row in rows {
                bytes += try encoder.encode(WrittenRow(row, image: relative(row.image, to: folder)))
                bytes.append(UInt8(ascii: "\n"))
            }
        } catch { throw Failure(.internalError, path, "a row has no form in JSON: \(error)") }
        do {
            try Data(bytes).write(to: URL(filePath: path), options: .atomic)
        } catch { throw Failure(.cannotCreate, path, "cannot be written: \(error)", hint: "Check its directory.") }
    }

    /// The path of a file as seen from a folder; both relative to the working directory or absolute.
    static func relative(_ path: String, to folder: String) -> String {
        let here = FileManager.default.currentDirectoryPath
        let target = components(path, here)
        let base = components(folder, here)
        let common = zip(target, base).prefix { $0 == $1 }.count
        return (Array(repeating: "..", count: base.count - common) + target[common...]).joined(separator: "/")
    }

    private static func components(_ path: String, _ here: String) -> [String] {
        let whole = path.hasPrefix("/") ? path : "\(here)/\(path)"
        return whole.split(separator: "/").reduce(into: []) { parts, part in
            if part == ".." { _ = parts.popLast() } else if part != "." { parts.append(String(part)) }
        }
    }
}

/// A row as files have it.
private struct WrittenRow: Encodable {
    var image: String
    var caption: String?
    var question: String?
    var answer: String?
    var answers: [String]?
    var split: String
    var kind: String?
    var derived: Bool?

    init(_ row: ExampleRow, image: String) {
        self.image = image
        switch row.task {
        case .caption(let text): caption = text
        case .question(let text, let right):
            question = text
            answer = right
            answers = row.answers.count > 1 ? row.answers : nil
        }
        split = row.split
        kind = row.kind
        derived = row.isDerived ? true : nil
    }
}
