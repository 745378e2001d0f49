// GPT-2's way of writing any bytes as printable text: 188 bytes stand for themselves as characters, the other 68
// (controls, space, 0x7F … 0xA0, 0xAD) for U+0100 … U+0143 in order. Vocabularies and merges are written in it.
// Source: openai/gpt-2, encoder.py, `bytes_to_unicode`.

/// Between bytes and the characters that stand for them.
enum ByteAlphabet {
    /// The byte of each character from U+0000 to U+0143, -1 where the character stands for none.
    private static let byteOfCharacter: [Int16] = {
        var table = [Int16](repeating: -1, count: 0x144)
        var next = 0x100
        for byte in 0..<256 {
            switch byte {
            case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: table[byte] = Int16(byte)
            default:
                table[next] = Int16(byte)
                next += 1
            }
        }
        return table
    }()

    /// Appends the bytes that `text[range]` stands for to `bytes`; false if a character of it stands for none.
    static func decode(_ text: [UInt8], _ range: Range<Int>, into bytes: inout [UInt8]) -> Bool {
        let table = byteOfCharacter
        var position = range.lowerBound
        while position < range.upperBound {
            var character = Int(text[position])
            position += 1
            if character >= 0x80 {
                // Every character of the alphabet beyond ASCII takes two bytes.
                guard character & 0xE0 == 0xC0, position < range.upperBound, text[position] & 0xC0 == 0x80 else {
                    return false
                }
                character = (character & 0x1F) << 6 | Int(text[position] & 0x3F)
                position += 1
            }
            guard character < table.count, table[character] >= 0 else { return false }
            bytes.append(UInt8(table[character]))
        }
        return true
    }
}
