// The grammar of JSON values (RFC 8259), to the letter: for values that are copied from one file to another unread. The decoder
// passes over the values of keys that nobody asks for, whatever they are.

/// A walk along a value.
struct JSONGrammar {
    private let bytes: ArraySlice<UInt8>
    private var place: Int

    /// Deeper values are refused, as by the decoder.
    private static let deepest = 512

    private init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        place = bytes.startIndex
    }

    /// Whether these bytes are one value, with spaces around it or not.
    static func isValue(_ bytes: ArraySlice<UInt8>) -> Bool {
        var walk = JSONGrammar(bytes)
        guard walk.value(0) else { return false }
        walk.spaces()
        return walk.place == bytes.endIndex
    }

    private var byte: UInt8? { place < bytes.endIndex ? bytes[place] : nil }

    private mutating func takes(_ expected: Character) -> Bool {
        guard let byte, byte == expected.asciiValue else { return false }
        place += 1
        return true
    }

    private mutating func spaces() {
        while let byte, byte == 0x20 || (0x09...0x0A).contains(byte) || byte == 0x0D { place += 1 }
    }

    private mutating func value(_ depth: Int) -> Bool {
        guard depth < Self.deepest else { return false }
        spaces()
        switch byte.map({ Character(Unicode.Scalar($0)) }) {
        case "{": return list(closing: "}", depth, isObject: true)
        case "[": return list(closing: "]", depth, isObject: false)
        case "\"": return text()
        case "t": return word("true")
        case "f": return word("false")
        case "n": return word("null")
        default: return number()
        }
    }

    private mutating func list(closing end: Character, _ depth: Int, isObject: Bool) -> Bool {
        place += 1
        spaces()
        if takes(end) { return true }
        repeat {
            if isObject {
                spaces()
                guard text() else { return false }
                spaces()
                guard takes(":") else { return false }
            }
            guard value(depth + 1) else { return false }
            spaces()
        } while takes(",")
        return takes(end)
    }

    private mutating func word(_ word: String) -> Bool {
        guard bytes[place...].starts(with: word.utf8) else { return false }
        place += word.utf8.count
        return true
    }

    private mutating func digits() -> Bool {
        let start = place
        while let byte, (0x30...0x39).contains(byte) { place += 1 }
        return place > start
    }

    private mutating func number() -> Bool {
        _ = takes("-")
        if !takes("0"), !digits() { return false }
        if takes("."), !digits() { return false }
        if takes("e") || takes("E") {
            if !takes("+") { _ = takes("-") }
            return digits()
        }
        return true
    }

    private mutating func text() -> Bool {
        guard takes("\"") else { return false }
        while let next = byte {
            place += 1
            switch next {
            case 0x22: return true
            case 0x5C: guard escape() else { return false }
            case 0..<0x20: return false
            default: break
            }
        }
        return false
    }

    /// What follows a backslash; a surrogate only with its other half.
    private mutating func escape() -> Bool {
        guard let kind = byte else { return false }
        place += 1
        guard kind == UInt8(ascii: "u") else { return Array("\"\\/bfnrt".utf8).contains(kind) }
        guard let unit = unit() else { return false }
        switch unit {
        case 0xD800..<0xDC00:
            guard takes("\\"), takes("u"), let low = self.unit() else { return false }
            return (0xDC00..<0xE000).contains(low)
        case 0xDC00..<0xE000: return false
        default: return true
        }
    }

    private mutating func unit() -> UInt16? {
        guard bytes.endIndex - place >= 4 else { return nil }
        let digits = bytes[place..<place + 4]
        guard digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }) else { return nil }
        place += 4
        return UInt16(String(decoding: digits, as: UTF8.self), radix: 16)
    }
}
