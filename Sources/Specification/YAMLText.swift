// The characters of a document, before YAML is thought of: valid UTF-8, and printable as YAML means it.
//
// libyaml checks the same, but names a byte offset and stops with the words of a reader error; here every breach has
// a line and a column. Source: YAML 1.1, section 5.1 (character set), and 4.1.1 for line breaks.
// Failure modes: the first breach is a `Faults`.

enum YAMLText {
    /// The text without a leading byte order mark, which editors on Windows add unasked.
    static func check(_ bytes: [UInt8]) throws(Faults) -> ArraySlice<UInt8> {
        let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
        let text = bytes.starts(with: mark) ? bytes.dropFirst(mark.count) : bytes[...]
        var line = 1
        var column = 1
        var afterReturn = false
        var decoder = UTF8()
        var source = text.makeIterator()
        while true {
            switch decoder.decode(&source) {
            case .emptyInput: return text
            case .error:
                throw Faults(
                    Fault(
                        at: Position(line: line, column: column), "a byte that is not UTF-8",
                        hint: "Save the file as UTF-8."))
            case .scalarValue(let scalar):
                guard isPrintable(scalar) else {
                    let code = "U+" + String(scalar.value, radix: 16, uppercase: true)
                    throw Faults(
                        Fault(at: Position(line: line, column: column), "the control character \(code) is not allowed"))
                }
                switch scalar {
                case "\n" where afterReturn: break
                case "\n", "\r", "\u{85}", "\u{2028}", "\u{2029}":
                    line += 1
                    column = 1
                default: column += 1
                }
                afterReturn = scalar == "\r"
            }
        }
    }

    private static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x09, 0x0A, 0x0D, 0x85: true
        case 0x20...0x7E, 0xA0...0xD7FF, 0xE000...0xFFFD, 0x10000...0x10FFFF: true
        default: false
        }
    }
}
