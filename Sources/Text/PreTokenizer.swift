// Cuts text into the words within which byte-level BPE merges, written out by hand: the pattern is fixed, and a regular
// expression engine would cost more than all the merges.
//
// Pattern, in two passes as llama.cpp's pre-tokenizer "smollm" has it: every numeric character (\p{N}) stands alone;
// then in each stretch between them GPT-2's
//     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// Contractions are lower-case only. Categories are the Swift standard library's: the same as llama.cpp's for
// every character that Unicode 14 assigns, newer for some that came later.

import Diagnostics

/// How text is cut into words before merging.
enum PreTokenizer: Sendable {
    case smolLM

    /// The pre-tokenizer of that name in GGUF's `tokenizer.ggml.pre`; other names are refused.
    init(name: String) throws(Failure) {
        guard name == "smollm" else {
            throw Failure(
                .modelUnsupported, "tokenizer.ggml.pre", "the pre-tokenizer '\(name)' is not supported",
                hint: "models with the pre-tokenizer 'smollm' are")
        }
        self = .smolLM
    }

    /// Calls `body` with each word of `text[range]`, which must be valid UTF-8, from left to right without a gap.
    func split(_ text: [UInt8], _ range: Range<Int>, _ body: (Range<Int>) -> Void) {
        var position = range.lowerBound
        while position < range.upperBound {
            let end = Self.endOfWord(text, position, range.upperBound)
            body(position..<end)
            position = end
        }
    }

    private static func endOfWord(_ text: [UInt8], _ start: Int, _ limit: Int) -> Int {
        let (kind, length) = scalar(text, start)
        switch kind {
        case .number: return start + length
        case .letter, .other:
            if let end = endOfContraction(text, start, limit) { return end }
            return endOfRun(of: kind, text, start + length, limit)
        case .space:
            let next = start + length
            if text[start] == UInt8(ascii: " "), next < limit {
                let following = scalar(text, next).kind
                if following == .letter || following == .other { return endOfRun(of: following, text, next, limit) }
            }
            return endOfSpace(text, start, limit)
        }
    }

    /// `'s|'t|'re|'ve|'m|'ll|'d`, or nil.
    private static func endOfContraction(_ text: [UInt8], _ start: Int, _ limit: Int) -> Int? {
        guard text[start] == UInt8(ascii: "'"), start + 1 < limit else { return nil }
        let second = start + 2 < limit ? text[start + 2] : 0
        switch (text[start + 1], second) {
        case (UInt8(ascii: "s"), _), (UInt8(ascii: "t"), _), (UInt8(ascii: "m"), _), (UInt8(ascii: "d"), _):
            return start + 2
        case (UInt8(ascii: "r"), UInt8(ascii: "e")), (UInt8(ascii: "v"), UInt8(ascii: "e")),
            (UInt8(ascii: "l"), UInt8(ascii: "l")):
            return start + 3
        default: return nil
        }
    }

    private static func endOfRun(of kind: ScalarKind, _ text: [UInt8], _ start: Int, _ limit: Int) -> Int {
        var position = start
        while position < limit {
            let (next, length) = scalar(text, position)
            guard next == kind else { break }
            position += length
        }
        return position
    }

    /// `\s+(?!\S)|\s+`: all white space, but the last of several before a word of the same stretch is left to it.
    private static func endOfSpace(_ text: [UInt8], _ start: Int, _ limit: Int) -> Int {
        var (position, last) = (start, start)
        while position < limit {
            let (kind, length) = scalar(text, position)
            guard kind == .space else {
                return kind == .number || last == start ? position : last
            }
            last = position
            position += length
        }
        return position
    }
}

/// What the pattern asks of a scalar.
private enum ScalarKind {
    case letter, number, space, other

    init(_ scalar: Unicode.Scalar) {
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: self = .letter
        case .decimalNumber, .letterNumber, .otherNumber: self = .number
        default: self = scalar.properties.isWhitespace ? .space : .other
        }
    }

    /// The kinds of the ASCII characters, by code.
    static let ascii: [ScalarKind] = (0..<128).map { ScalarKind(Unicode.Scalar(UInt8($0))) }
}

/// The scalar at `start` of valid UTF-8 and its length in bytes.
private func scalar(_ text: [UInt8], _ start: Int) -> (kind: ScalarKind, length: Int) {
    let lead = text[start]
    guard lead >= 0x80 else { return (ScalarKind.ascii[Int(lead)], 1) }
    let length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2
    var value = UInt32(lead) & (0x7F >> UInt32(length))
    for index in (start + 1)..<(start + length) { value = value << 6 | UInt32(text[index] & 0x3F) }
    guard let scalar = Unicode.Scalar(value) else { return (.other, length) }
    return (ScalarKind(scalar), length)
}
