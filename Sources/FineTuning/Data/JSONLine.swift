// A line of JSON Lines by its bytes: what keeps it from being JSON, and the members of the object that it is. Whether it is
// JSON at all is for the decoder to say, which gives no reasons.

internal import FoundationEssentials

/// A line of a file.
public struct JSONLine {
    /// A key with its value, as the line spells them.
    struct Member {
        /// The key as it is meant.
        let key: String
        /// The key in its quotation marks.
        let spelledKey: ArraySlice<UInt8>
        /// The value.
        let value: ArraySlice<UInt8>
    }

    let bytes: ArraySlice<UInt8>

    /// A line without its line feed, and without a byte order mark: files that were put together have such in their midst.
    public init(bytes: ArraySlice<UInt8>) {
        self.bytes = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? bytes.dropFirst(3) : bytes
    }

    /// Whether the line has a zero byte, which no JSON in UTF-8 has: a decoder might take it for UTF-16.
    var hasZero: Bool { bytes.contains(0) }

    /// What is seen to be wrong with a line that is no JSON, in words; nil where it is something else.
    var fault: String? {
        guard String(validating: bytes, as: UTF8.self) != nil else { return "it is not UTF-8" }
        var isText = false
        var isEscaped = false
        var open = 0
        for byte in bytes {
            if isText {
                if byte < 0x20 { return "it has a control character within a text, where JSON wants an escape" }
                if !isEscaped, byte == UInt8(ascii: "\"") { isText = false }
                isEscaped = !isEscaped && byte == UInt8(ascii: "\\")
                continue
            }
            switch byte {
            case UInt8(ascii: "\""): isText = true
            case UInt8(ascii: "{"), UInt8(ascii: "["): open += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"): open -= 1
            default: break
            }
        }
        if isText { return "it ends within a text: it is cut off, or lacks a quotation mark" }
        return open > 0 ? "it ends before its last bracket: it is cut off, or lacks one" : nil
    }

    /// The members of the object that the line is, in its order; nil for a line that is none.
    func members() -> [Member]? {
        var cursor = Cursor(bytes: bytes)
        var members: [Member] = []
        guard cursor.takes(UInt8(ascii: "{")) else { return nil }
        while !cursor.takes(UInt8(ascii: "}")) {
            guard let spelled = cursor.text(), let key = Self.decoded(spelled), cursor.takes(UInt8(ascii: ":")),
                let value = cursor.value()
            else { return nil }
            members.append(Member(key: key, spelledKey: spelled, value: value))
            // The decoder takes a comma behind the last member, too: `memberFault` does not.
            if !cursor.takes(UInt8(ascii: ",")), !cursor.isAt(UInt8(ascii: "}")) { return nil }
        }
        return members
    }

    /// Whether the line is one value of JSON, to the letter: the decoder takes a comma too many.
    public var isJSON: Bool { JSONGrammar.isValue(bytes) }

    /// What the decoder passes over in an object, in words: a value of no JSON that nobody asks for, and rows are written again with
    /// such; a key that stands twice, of whose values it takes one without a word; a comma behind the last. Nil where there is
    /// nothing, and where the line is not even so much of an object that keys can be told.
    public var memberFault: String? {
        guard let members = members() else { return nil }
        var keys: Set<String> = []
        for member in members {
            guard JSONGrammar.isValue(member.value) else {
                return "is not an object in JSON: what stands for \(member.key) is no value"
            }
            guard keys.insert(member.key).inserted else { return "has the key \(member.key) twice" }
        }
        return isJSON ? nil : "is not an object in JSON: it has a comma too many"
    }

    /// The value that the line is.
    ///
    /// - Throws: what keeps it from being an object of these keys.
    func object<Value: Decodable>(_ type: Value.Type, _ decoder: JSONDecoder) throws(RowFault) -> Value {
        guard !hasZero else { throw RowFault(reason: "is not an object in JSON: it has a zero byte") }
        let value: Value
        do {
            value = try decoder.decode(type, from: Data(bytes))
        } catch let error as DecodingError {
            if case .typeMismatch(_, let context) = error, let key = context.codingPath.first {
                throw RowFault(reason: "has a \(key.stringValue) of the wrong type")
            }
            if case .valueNotFound(_, let context) = error, let key = context.codingPath.first {
                throw RowFault(reason: "has a null in \(key.stringValue)")
            }
            throw RowFault(reason: "is not an object in JSON" + (fault.map { ": \($0)" } ?? ""))
        } catch { throw RowFault(reason: "is not an object in JSON") }
        if let memberFault { throw RowFault(reason: memberFault) }
        return value
    }

    /// A text without its quotation marks and escapes.
    private static func decoded(_ text: ArraySlice<UInt8>) -> String? {
        guard text.contains(UInt8(ascii: "\\")) else {
            return String(decoding: text.dropFirst().dropLast(), as: UTF8.self)
        }
        return try? JSONDecoder().decode(String.self, from: Data(text))
    }
}

/// A place in a line of JSON.
private struct Cursor {
    let bytes: ArraySlice<UInt8>
    private var place: Int

    init(bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        place = bytes.startIndex
    }

    private var byte: UInt8? { place < bytes.endIndex ? bytes[place] : nil }

    /// Whether the next byte that is no space is this one.
    mutating func isAt(_ expected: UInt8) -> Bool {
        while byte == 0x20 || byte == 0x09 || byte == 0x0D { place += 1 }
        return byte == expected
    }

    /// Goes behind the next byte that is no space, if it is this one.
    mutating func takes(_ expected: UInt8) -> Bool {
        guard isAt(expected) else { return false }
        place += 1
        return true
    }

    /// The text that comes next, in its quotation marks; nil for anything else.
    mutating func text() -> ArraySlice<UInt8>? {
        guard isAt(UInt8(ascii: "\"")) else { return nil }
        let start = place
        place += 1
        while let next = byte {
            place += 1
            if next == UInt8(ascii: "\"") { return bytes[start..<place] }
            if next == UInt8(ascii: "\\") { place += 1 }
        }
        return nil
    }

    /// The value that comes next, up to the comma or bracket behind it; nil where the line ends before that.
    mutating func value() -> ArraySlice<UInt8>? {
        while byte == 0x20 || byte == 0x09 || byte == 0x0D { place += 1 }
        let start = place
        var end = place
        var open = 0
        while let next = byte {
            switch next {
            case UInt8(ascii: "\""):
                guard text() != nil else { return nil }
                end = place
                continue
            case UInt8(ascii: "{"), UInt8(ascii: "["): open += 1
            case UInt8(ascii: ","), UInt8(ascii: "}"), UInt8(ascii: "]"):
                if open == 0 { return start < end ? bytes[start..<end] : nil }
                if next != UInt8(ascii: ",") { open -= 1 }
            default: break
            }
            place += 1
            if next != 0x20, next != 0x09, next != 0x0D { end = place }
        }
        return nil
    }
}
