// `memvp inspect`: what a GGUF file or a bundle holds, read without running it.

internal import ArgumentParser
internal import Diagnostics
internal import FoundationEssentials
internal import MemVP
internal import ModelFile
internal import Specification

/// `memvp inspect`
struct ToolboxInspect: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect", abstract: "List the metadata and tensors of a GGUF file, or the files of a bundle.")

    @Argument(help: ArgumentHelp("A GGUF file or a bundle.", valueName: "file or directory"))
    var path: String

    @Flag(help: "Write JSON.")
    var json = false

    func run() throws {
        var isDirectory = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
            throw Failure(.notFound, path, "does not exist", hint: "Check the path.")
        }
        if isDirectory {
            let report = try ToolboxBundleReport(path)
            try Output.write(json ? ToolboxJSON.line(report) : report.text)
        } else {
            let report = try ToolboxFileReport(path)
            try Output.write(json ? ToolboxJSON.line(report) : report.text)
        }
    }
}

/// A GGUF file's content.
struct ToolboxFileReport: Encodable {
    /// A key with its value, which JSON has as what it is; arrays have their `count` beside their beginning.
    struct Entry: Encodable {
        let key: String
        let type: String
        let value: ToolboxMetadataValue

        init(key: String, _ value: GGUFValue) {
            self.key = key
            type = value.typeName
            self.value = ToolboxMetadataValue(value)
        }

        private enum CodingKeys: String, CodingKey { case key, type, value, count }

        func encode(to encoder: any Encoder) throws {
            var fields = encoder.container(keyedBy: CodingKeys.self)
            try fields.encode(key, forKey: .key)
            try fields.encode(type, forKey: .type)
            if let count = value.count {
                try fields.encode(value.scalars, forKey: .value)
                try fields.encode(count, forKey: .count)
            } else {
                try fields.encode(value.scalars.first, forKey: .value)
            }
        }
    }

    struct Tensor: Encodable {
        var name: String
        var type: String
        var shape: [Int]
        var bytes: Int
    }

    var file: String
    var version: Int
    var alignment: Int
    var metadata: [Entry]
    var tensors: [Tensor]

    /// Reads headers; no tensor's data is touched.
    ///
    /// - Throws: the reader's failures.
    init(_ path: String) throws(Failure) {
        let gguf = try GGUFFile(path: path)
        file = path
        version = gguf.version
        alignment = gguf.alignment
        metadata = gguf.metadata.map { Entry(key: $0.0, $0.1) }
        tensors = gguf.tensors.entries.map {
            Tensor(name: $0.name, type: $0.type.rawValue, shape: $0.shape, bytes: $0.byteRange.count)
        }
    }

    /// The listing for people.
    var text: String {
        var lines = ["\(file): GGUF v\(version), \(metadata.count) keys, \(tensors.count) tensors"]
        lines += metadata.map { "  \($0.key) = \($0.value.text)  [\($0.type)]" }
        lines += tensors.map {
            "  \($0.name)  \($0.type) \($0.shape.map(String.init).joined(separator: "×"))  \($0.bytes) bytes"
        }
        // Keys and names are foreign text.
        return lines.map(\.harmless).joined(separator: "\n")
    }
}

/// A bundle's content.
struct ToolboxBundleReport: Encodable {
    struct Template: Encodable {
        var prompt: String
        var separator: String
        var end: String
        var style: String
    }

    var bundle: String
    var name: String
    var licence: String
    var side: Int
    var adapters: [String: String]
    var templates: [String: Template]
    var hashes: [String: String]
    var files: [ToolboxFileReport]

    /// Reads model.yaml and the headers of the files that it names.
    ///
    /// - Throws: `model_missing`, `model_invalid`.
    init(_ path: String) throws(Failure) {
        let description = try ModelBundle.description(in: path)
        bundle = path
        name = description.name
        licence = description.licence
        side = description.image.side
        adapters = [:]
        for (kind, adapter) in description.adapters { adapters[kind.rawValue] = adapter }
        templates = [:]
        for (kind, t) in description.templates {
            templates[kind.rawValue] = Template(prompt: t.prompt, separator: t.separator, end: t.end, style: t.style)
        }
        hashes = description.files
        files = []
        for file in description.files.keys.sorted() { files.append(try ToolboxFileReport("\(path)/\(file)")) }
    }

    /// The listing for people.
    var text: String {
        var lines = ["\(bundle): \(name)", "  licence: \(licence)", "  image: \(side) × \(side)"]
        for (kind, template) in templates.sorted(by: { $0.key < $1.key }) {
            let adapter = adapters[kind].map { "adapter \($0)" } ?? "no adapter"
            lines.append("  \(kind): \(adapter), \"\(template.prompt)\", \(template.style), ends in \(template.end)")
        }
        for (file, hash) in hashes.sorted(by: { $0.key < $1.key }) { lines.append("  \(file): SHA-256 \(hash)") }
        return (lines.map(\.harmless) + files.map(\.text)).joined(separator: "\n")
    }
}
