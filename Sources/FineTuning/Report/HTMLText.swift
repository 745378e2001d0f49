// Text and photos as parts of an HTML page. What comes from data, models or file names is hostile until it has been here.

internal import FoundationEssentials

/// Makes values safe to stand in a page.
enum HTMLText {
    /// Text for element content and quoted attributes. Control characters become spaces; the caller isolates its direction.
    static func escaped(_ text: String) -> String {
        var safe = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": safe += "&amp;"
            case "<": safe += "&lt;"
            case ">": safe += "&gt;"
            case "\"": safe += "&quot;"
            case "'": safe += "&#39;"
            case "\n": safe += "\n"
            default:
                let isControl = scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
                safe.unicodeScalars.append(isControl ? " " : scalar)
            }
        }
        return safe
    }

    /// Text in an element of its own, whose direction of writing does not reach its neighbours.
    static func isolated(_ text: String) -> String { "<bdi>\(escaped(text))</bdi>" }

    /// A number with so many decimals, zeros kept.
    static func number(_ value: Double, _ places: Int) -> String {
        guard value.isFinite, abs(value) < 1e12 else { return "–" }
        var factor = 1.0
        for _ in 0..<places { factor *= 10 }
        let scaled = Int((abs(value) * factor).rounded())
        let digits = "\(scaled)"
        let padded = String(repeating: "0", count: max(0, places + 1 - digits.count)) + digits
        let sign = value < 0 && scaled != 0 ? "−" : ""
        return places == 0 ? sign + padded : "\(sign)\(padded.dropLast(places)).\(padded.suffix(places))"
    }

    /// A photo's bytes as a `data:` address; nil for what is neither JPEG nor PNG.
    static func address(ofPhoto bytes: [UInt8]) -> String? {
        let type: String
        if bytes.starts(with: [0xFF, 0xD8, 0xFF]) {
            type = "image/jpeg"
        } else if bytes.starts(with: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) {
            type = "image/png"
        } else {
            return nil
        }
        return "data:\(type);base64,\(Data(bytes).base64EncodedString())"
    }
}
