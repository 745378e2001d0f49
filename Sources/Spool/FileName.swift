// The name of a file as Linux has it: bytes, not text. Names from the inbox are arbitrary: spaces, line feeds, a leading
// dash, bytes that are no UTF-8. They are compared and passed on as they are, and escaped only where people read them.
//
// Invariant: 1 to 255 bytes, no "/" and no NUL, never "." or ".."; so a FileName can never leave its directory.

internal import FoundationEssentials

/// One component of a path, byte for byte.
public struct FileName: Hashable, Sendable {
    /// The name's bytes, as the file system has them.
    public let bytes: [UInt8]

    /// The longest name that Linux file systems accept, in bytes (NAME_MAX).
    public static let maximumLength = 255

    /// Makes a name of bytes; nil when they cannot be one component of a path.
    public init?(_ bytes: [UInt8]) {
        guard !bytes.isEmpty, bytes.count <= FileName.maximumLength, !bytes.contains(0), !bytes.contains(0x2F),
            bytes != [0x2E], bytes != [0x2E, 0x2E]
        else { return nil }
        self.bytes = bytes
    }

    /// Makes a name of text; nil when it cannot be one component of a path.
    public init?(_ text: String) {
        self.init(Array(text.utf8))
    }

    /// The name as text, or nil when its bytes are not UTF-8.
    public var text: String? { String(validating: bytes, as: UTF8.self) }

    /// The bytes in base64 (RFC 4648, section 4), for documents whose strings must be text.
    public var base64: String { Data(bytes).base64EncodedString() }

    /// Position of the dot before the last extension; nil without one. A leading dot begins no extension.
    private var extensionDot: Int? {
        guard let dot = bytes.lastIndex(of: 0x2E), dot > 0, dot < bytes.count - 1 else { return nil }
        return dot
    }

    /// The name without its last extension: what pairs a photo with its spec and names the answer.
    public var stem: FileName {
        guard let dot = extensionDot, let stem = FileName(Array(bytes[..<dot])) else { return self }
        return stem
    }

    /// The last extension in lower case, empty without one.
    public var lowercasedExtension: String {
        guard let dot = extensionDot else { return "" }
        return String(decoding: bytes[(dot + 1)...], as: UTF8.self).lowercased()
    }

    /// Whether the name ends in these bytes.
    public func hasSuffix(_ suffix: String) -> Bool { bytes.suffix(suffix.utf8.count).elementsEqual(suffix.utf8) }

    /// Whether the name begins with a dot.
    public var isHidden: Bool { bytes[0] == 0x2E }
}

extension FileName: Comparable {
    /// Byte order.
    public static func < (left: FileName, right: FileName) -> Bool {
        left.bytes.lexicographicallyPrecedes(right.bytes)
    }
}

extension FileName: CustomStringConvertible {
    /// The name for people and logs, always one line: control characters and bytes that are no UTF-8 as `\xNN`,
    /// a backslash as `\\`.
    public var description: String {
        var escaped = ""
        var rest = bytes[...]
        while !rest.isEmpty {
            // The longest UTF-8 sequence is four bytes: take the first character that decodes, else one raw byte.
            let character = (1...min(4, rest.count)).lazy
                .compactMap { String(validating: rest.prefix($0), as: UTF8.self) }.first
            if let character, let scalar = character.unicodeScalars.first {
                switch scalar.value {
                case 0x5C: escaped += "\\\\"
                case 0..<0x20, 0x7F..<0xA0, 0x2028, 0x2029: escaped += FileName.hexadecimal(character.utf8)
                default: escaped += character
                }
                rest = rest.dropFirst(character.utf8.count)
            } else {
                escaped += FileName.hexadecimal(rest.prefix(1))
                rest = rest.dropFirst()
            }
        }
        return escaped
    }

    private static func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { "\\x" + ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}

extension FileName: Codable {
    private enum Key: String, CodingKey { case base64 }

    /// Reads what `encode(to:)` writes.
    public init(from decoder: any Decoder) throws {
        if let container = try? decoder.singleValueContainer(), let text = try? container.decode(String.self),
            let name = FileName(text)
        {
            self = name
            return
        }
        let container = try decoder.container(keyedBy: Key.self)
        let encoded = try container.decode(String.self, forKey: .base64)
        guard let data = Data(base64Encoded: encoded), let name = FileName(Array(data)) else {
            throw DecodingError.dataCorruptedError(forKey: .base64, in: container, debugDescription: "not a file name")
        }
        self = name
    }

    /// A string where the name is UTF-8, else `{"base64": …}`.
    public func encode(to encoder: any Encoder) throws {
        if let text {
            var container = encoder.singleValueContainer()
            try container.encode(text)
        } else {
            var container = encoder.container(keyedBy: Key.self)
            try container.encode(base64, forKey: .base64)
        }
    }
}
