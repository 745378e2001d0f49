// Writes rows as JSON Lines, whole or not at all, with image paths relative to the new file.
//
// Invariant: a path that is written leads to the photo that was read, links on the way notwithstanding.

public import Diagnostics
internal import FoundationEssentials

extension ExampleRows {
    /// Writes rows to a file.
    ///
    /// - Throws: `cannot_create`, `permission_denied`, `no_space`, `input_output`.
    public static func write(_ rows: [ExampleRow], to path: String) throws(Failure) {
        let folder = RealPath.folder(of: path)
        var bytes: [UInt8] = []
        for row in rows {
            bytes += try json(WrittenRow(row, image: name(of: row.image, in: folder)), of: row)
            bytes.append(UInt8(ascii: "\n"))
        }
        try DataFile.write(bytes, to: path)
    }

    /// Writes rows with all that their lines have: only `image` and `split` are the rows' own. Keys are sorted.
    ///
    /// - Parameter lines: what the rows were read from, as many and in the same order.
    /// - Throws: as above.
    public static func write(_ rows: [ExampleRow], in lines: RowLines, to path: String) throws(Failure) {
        precondition(rows.count == lines.lines.count, "every row has its line")
        let folder = RealPath.folder(of: path)
        var bytes: [UInt8] = []
        for (row, line) in zip(rows, lines.lines) {
            guard let members = JSONLine(bytes: line).members() else {
                throw Failure(.internalError, "\(row.file):\(row.line)", "is an object whose parts were not found")
            }
            var parts: [(key: String, text: [UInt8])] = [
                ("image", member("\"image\"".utf8, try json(name(of: row.image, in: folder), of: row))),
                ("split", member("\"split\"".utf8, try json(row.split, of: row))),
            ]
            for part in members where part.key != "image" && part.key != "split" {
                parts.append((part.key, member(part.spelledKey, part.value)))
            }
            parts.sort { $0.key < $1.key }
            for (place, part) in parts.enumerated() {
                bytes.append(place == 0 ? UInt8(ascii: "{") : UInt8(ascii: ","))
                bytes += part.text
            }
            bytes += Array("}\n".utf8)
        }
        try DataFile.write(bytes, to: path)
    }

    private static func member(_ key: some Sequence<UInt8>, _ value: some Sequence<UInt8>) -> [UInt8] {
        var text = Array(key)
        text.append(UInt8(ascii: ":"))
        text.append(contentsOf: value)
        return text
    }

    /// A value in JSON.
    private static func json(_ value: some Encodable, of row: ExampleRow) throws(Failure) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do {
            return [UInt8](try encoder.encode(value))
        } catch { throw Failure(.internalError, "\(row.file):\(row.line)", "has no form in JSON: \(error)") }
    }

    /// The path under which a file in a folder names a photo.
    static func name(of image: String, in folder: String) -> String {
        let name = relative(image, to: folder)
        // The file system goes up from where a link leads, not from where it stands.
        guard name.hasPrefix("../") || image.split(separator: "/").contains(".."),
            RealPath.existing("\(folder)/\(name)") != RealPath.existing(image)
        else { return name }
        return relative(RealPath.identity(image), to: RealPath.place(folder))
    }

    /// The path of a file as seen from a folder; both relative to the working directory or absolute.
    static func relative(_ path: String, to folder: String) -> String {
        let target = RealPath.absolute(path).split(separator: "/").map(String.init)
        let base = RealPath.absolute(folder).split(separator: "/").map(String.init)
        let common = zip(target, base).prefix { $0 == $1 }.count
        return (Array(repeating: "..", count: base.count - common) + target[common...]).joined(separator: "/")
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
    var view: Int?

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
        view = row.view
    }
}
