// A file's name in a document: text for people, with the very bytes where the name is not UTF-8.

import FoundationEssentials

/// A file name as given by the file system.
public struct FileLabel: Sendable, Hashable {
    /// The name as text; where it is not UTF-8, with the bytes that are not replaced by U+FFFD.
    public let text: String
    /// The name's bytes, only where it is not UTF-8.
    public let bytes: [UInt8]?

    /// Makes a name from its bytes.
    public init(_ bytes: [UInt8]) {
        if let text = String(validating: bytes, as: UTF8.self) {
            self.text = text
            self.bytes = nil
        } else {
            text = String(decoding: bytes, as: UTF8.self)
            self.bytes = bytes
        }
    }

    /// Makes a name from text.
    public init(_ text: String) {
        self.text = text
        bytes = nil
    }
}

extension FileLabel: Codable {
    private enum CodingKeys: String, CodingKey {
        case text = "name"
        case bytes = "name_bytes"
    }

    /// Reads `{"name": …, "name_bytes": base64?}`.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        text = try container.decode(String.self, forKey: .text)
        bytes = try container.decodeIfPresent(Data.self, forKey: .bytes).map(Array.init)
    }

    /// Writes `{"name": …, "name_bytes": base64?}`.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(text, forKey: .text)
        try container.encodeIfPresent(bytes.map { Data($0) }, forKey: .bytes)
    }
}
