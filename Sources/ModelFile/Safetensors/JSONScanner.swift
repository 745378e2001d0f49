// The little of JSON (RFC 8259) that a safetensors header needs: objects, strings, unsigned integers, and skipping the
// rest. Own rather than a library's because repeated keys must be refused, which decoders into dictionaries hide.
//
// Invariant: every step consumes at least one byte; nesting is bounded. Failure modes: `model_invalid` with the byte.

import Diagnostics

/// A reading position in JSON text.
struct JSONScanner {
    private static let deepest = 16

    private let text: [UInt8]
    private let path: String
    private var position = 0
    private var depth = 0

    init(_ text: [UInt8], path: String) {
        self.text = text
        self.path = path
    }

    /// Whether only white space is left.
    var isAtEnd: Bool { text[position...].allSatisfy(JSONScanner.isSpace) }

    /// Reads an object, calling `member` at each value; keys that occur twice are refused.
    mutating func object(
        _ member: (_ key: String, _ scanner: inout JSONScanner) throws(Failure) -> Void
    ) throws(Failure) {
        try list(UInt8(ascii: "{"), UInt8(ascii: "}")) {
            (scanner: inout JSONScanner, seen: inout Set<String>) throws(Failure) in
            let key = try scanner.string()
            guard seen.insert(key).inserted else { throw scanner.invalid("has the key \(key) twice") }
            try scanner.expect(UInt8(ascii: ":"))
            try member(key, &scanner)
        }
    }

    /// Reads an array, calling `element` at each value.
    mutating func array(_ element: (_ scanner: inout JSONScanner) throws(Failure) -> Void) throws(Failure) {
        try list(UInt8(ascii: "["), UInt8(ascii: "]")) { (scanner: inout JSONScanner, _) throws(Failure) in
            try element(&scanner)
        }
    }

    /// An array of unsigned integers: a shape or a pair of offsets, so a long one is refused.
    mutating func integers() throws(Failure) -> [Int] {
        var result: [Int] = []
        try array { (scanner: inout JSONScanner) throws(Failure) in
            guard result.count < 64 else { throw scanner.invalid("has a list of more than 64 numbers") }
            result.append(try scanner.integer())
        }
        return result
    }

    /// An unsigned integer without fraction or exponent.
    mutating func integer() throws(Failure) -> Int {
        skipSpace()
        let start = position
        var value = 0
        while let byte = peek, byte >= 0x30, byte <= 0x39 {
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(Int(byte - 0x30))
            guard !overflow, !carry, position == start || value > 0 else { throw invalid("has a number out of range") }
            value = sum
            position += 1
        }
        guard position > start, peek != UInt8(ascii: "."), peek != UInt8(ascii: "e"), peek != UInt8(ascii: "E") else {
            throw invalid("needs an unsigned integer")
        }
        return value
    }

    /// A string with its escapes resolved.
    mutating func string() throws(Failure) -> String {
        try expect(UInt8(ascii: "\""))
        var bytes: [UInt8] = []
        while true {
            guard let byte = peek else { throw invalid("ends inside a string") }
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let result = String(validating: bytes, as: UTF8.self) else {
                    throw invalid("has a string that is not UTF-8")
                }
                return result
            case UInt8(ascii: "\\"): try appendEscape(to: &bytes)
            case 0..<0x20: throw invalid("has a control character in a string")
            default: bytes.append(byte)
            }
        }
    }

    /// Passes over a value of any kind.
    mutating func skipValue() throws(Failure) {
        skipSpace()
        switch peek {
        case UInt8(ascii: "{"):
            try object { (_, scanner: inout JSONScanner) throws(Failure) in try scanner.skipValue() }
        case UInt8(ascii: "["): try array { (scanner: inout JSONScanner) throws(Failure) in try scanner.skipValue() }
        case UInt8(ascii: "\""): _ = try string()
        default:
            let start = position
            while let byte = peek, JSONScanner.isPlain(byte) { position += 1 }
            guard position > start else { throw invalid("needs a value") }
        }
    }

    /// An error at the present byte.
    func invalid(_ cause: String) -> Failure {
        Failure(
            .modelInvalid, "\(path): header", "\(cause) at byte \(8 + position)",
            hint: "Copy or convert the file again.")
    }

    // MARK: Parts

    private var peek: UInt8? { position < text.count ? text[position] : nil }

    private mutating func list(
        _ open: UInt8, _ close: UInt8,
        _ item: (inout JSONScanner, inout Set<String>) throws(Failure) -> Void
    ) throws(Failure) {
        try expect(open)
        depth += 1
        guard depth <= JSONScanner.deepest else { throw invalid("is nested deeper than \(JSONScanner.deepest)") }
        defer { depth -= 1 }
        skipSpace()
        if peek == close {
            position += 1
            return
        }
        var seen: Set<String> = []
        while true {
            try item(&self, &seen)
            skipSpace()
            if peek == close {
                position += 1
                return
            }
            try expect(UInt8(ascii: ","))
        }
    }

    private mutating func expect(_ byte: UInt8) throws(Failure) {
        skipSpace()
        guard peek == byte else { throw invalid("needs \(Character(UnicodeScalar(byte)))") }
        position += 1
    }

    private mutating func appendEscape(to bytes: inout [UInt8]) throws(Failure) {
        guard let byte = peek else { throw invalid("ends inside a string") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): bytes.append(byte)
        case UInt8(ascii: "b"): bytes.append(0x08)
        case UInt8(ascii: "f"): bytes.append(0x0c)
        case UInt8(ascii: "n"): bytes.append(0x0a)
        case UInt8(ascii: "r"): bytes.append(0x0d)
        case UInt8(ascii: "t"): bytes.append(0x09)
        case UInt8(ascii: "u"): bytes.append(contentsOf: Array(String(Character(try unicodeEscape())).utf8))
        default: throw invalid("has an unknown escape")
        }
    }

    /// The scalar of \uXXXX, or of a pair of surrogates.
    private mutating func unicodeEscape() throws(Failure) -> UnicodeScalar {
        let unit = try codeUnit()
        if let scalar = UnicodeScalar(unit) { return scalar }
        guard unit < 0xdc00, peek == UInt8(ascii: "\\") else { throw invalid("has half of a surrogate pair") }
        position += 1
        guard peek == UInt8(ascii: "u") else { throw invalid("has half of a surrogate pair") }
        position += 1
        let low = try codeUnit()
        guard (0xdc00...0xdfff).contains(low),
            let scalar = UnicodeScalar(0x10000 + (UInt32(unit) - 0xd800) << 10 + UInt32(low) - 0xdc00)
        else { throw invalid("has half of a surrogate pair") }
        return scalar
    }

    private mutating func codeUnit() throws(Failure) -> UInt16 {
        var value: UInt16 = 0
        for _ in 0..<4 {
            guard let byte = peek, let digit = Character(UnicodeScalar(byte)).hexDigitValue else {
                throw invalid("has a broken \\u escape")
            }
            value = value << 4 | UInt16(digit)
            position += 1
        }
        return value
    }

    private mutating func skipSpace() {
        while let byte = peek, JSONScanner.isSpace(byte) { position += 1 }
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 }

    /// Bytes of numbers and of true, false, null.
    private static func isPlain(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x61...0x7a).contains(byte) || [0x2b, 0x2d, 0x2e, 0x45].contains(byte)
    }
}
