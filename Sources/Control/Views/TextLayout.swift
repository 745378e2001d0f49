// Plain text in columns for a terminal of 80: widths, cutting, wrapping. Foreign text comes made harmless (`String.harmless`).
//
// Invariants: nothing that comes from a file name or a daemon reaches the terminal as a control sequence; no number, however
// odd, traps.

/// Helpers of the views.
enum TextLayout {
    /// The width that no line exceeds, but for a path that is longer.
    static let columns = 80

    // MARK: Text

    /// Terminal columns of `text`: East Asian wide characters and pictures take two, combining marks none.
    static func width(_ text: String) -> Int { text.reduce(0) { $0 + width($1) } }

    private static func width(_ character: Character) -> Int {
        guard let scalar = character.unicodeScalars.first else { return 0 }
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .enclosingMark: return 0
        default: break
        }
        switch scalar.value {
        case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F,
            0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1FAFF, 0x20000...0x3FFFD:
            return 2
        default: return 1
        }
    }

    /// `text` cut in its middle to at most `limit` columns: the ends of paths and names tell most.
    static func cut(_ text: String, to limit: Int) -> String {
        guard width(text) > limit else { return text }
        guard limit > 1 else { return limit == 1 ? "…" : "" }
        let head = prefix(text, (limit - 1) / 2)
        let tail = String(prefix(String(text.reversed()), limit - 1 - width(head)).reversed())
        return head + "…" + tail
    }

    private static func prefix(_ text: String, _ limit: Int) -> String {
        var used = 0
        return String(
            text.prefix { character in
                used += width(character)
                return used <= limit
            })
    }

    /// `text` filled with spaces to `columns`, on the right or, for numbers, on the left.
    static func pad(_ text: String, _ columns: Int, left: Bool = false) -> String {
        let space = String(repeating: " ", count: max(0, columns - width(text)))
        return left ? space + text : text + space
    }

    /// `text` in lines of at most 80 columns: the first after `label`, filled to `indent`, the others below it. A path is there to be
    /// copied, and stays whole on a line of its own, however long.
    static func paragraph(_ label: String, _ text: String, indent: Int = 11) -> String {
        var lines: [String] = []
        var line = ""
        let limit = columns - indent
        for word in text.split(separator: " ") {
            let word = word.hasPrefix("/") ? String(word) : cut(String(word), to: limit)
            if line.isEmpty {
                line = word
            } else if width(line) + 1 + width(word) <= limit {
                line += " " + word
            } else {
                lines.append(line)
                line = word
            }
        }
        lines.append(line)
        return lines.enumerated().map { index, line in
            trimmed(pad(index == 0 ? label : "", indent) + line) + "\n"
        }.joined()
    }

    static func trimmed(_ line: String) -> String {
        guard let last = line.lastIndex(where: { $0 != " " }) else { return "" }
        return String(line[...last])
    }

    // MARK: Tables

    /// Rows as aligned columns two spaces apart; `right` names the columns that hold numbers. What is too wide for 80
    /// columns is taken from the last column, and if that is not enough from the line.
    static func table(_ rows: [[String]], right: Set<Int> = []) -> String {
        let count = rows.map(\.count).max() ?? 0
        var widths = (0..<count).map { column in rows.map { column < $0.count ? width($0[column]) : 0 }.max() ?? 0 }
        guard count > 0 else { return "" }
        let fixed = widths.dropLast().reduce(0, +) + 2 * (count - 1)
        widths[count - 1] = min(widths[count - 1], max(1, columns - fixed))
        return rows.map { row in
            let cells = row.enumerated().map { column, text in
                pad(cut(text, to: widths[column]), widths[column], left: right.contains(column))
            }
            return cut(trimmed(cells.joined(separator: "  ")), to: columns) + "\n"
        }.joined()
    }

    // MARK: Numbers

    /// A count with commas: 1,204.
    static func count(_ value: some BinaryInteger) -> String {
        let digits = String(value.magnitude)
        var result = ""
        for (index, digit) in digits.enumerated() {
            if index > 0 && (digits.count - index) % 3 == 0 { result += "," }
            result.append(digit)
        }
        return value < 0 ? "-" + result : result
    }

    /// `1 job`, `2 jobs`.
    static func plural(_ value: some BinaryInteger, _ noun: String) -> String {
        "\(count(value)) \(noun)\(value == 1 ? "" : "s")"
    }

    /// A number with `decimals` digits after the point; one too large for that as the language writes it.
    static func fixed(_ value: Double, _ decimals: Int) -> String {
        let scale = decimals == 0 ? 1 : decimals == 1 ? 10 : 100.0
        guard let scaled = Int64(exactly: (value * scale).rounded()), scaled.magnitude < 1 << 53 else {
            return "\(value)"
        }
        let whole = scaled.magnitude / UInt64(scale)
        let sign = scaled < 0 ? "-" : ""
        guard decimals > 0 else { return sign + "\(whole)" }
        let rest = String(scaled.magnitude % UInt64(scale))
        return sign + "\(whole)." + String(repeating: "0", count: decimals - rest.count) + rest
    }

    /// A time with a unit that fits: `0.42 ms`, `12.3 ms`, `1.23 s`, `2 min 5 s`, `3 h 4 min`, `2 d 3 h`.
    static func time(seconds: Double) -> String {
        guard seconds.isFinite, seconds >= 0, seconds < 1e12 else { return "?" }
        if seconds < 0.001 { return fixed(seconds * 1000, 2) + " ms" }
        if seconds < 0.9995 { return fixed(seconds * 1000, 1) + " ms" }
        if seconds < 9.995 { return fixed(seconds, 2) + " s" }
        if seconds < 59.95 { return fixed(seconds, 1) + " s" }
        let whole = Int64(seconds.rounded())
        switch whole {
        case ..<3600: return "\(whole / 60) min \(whole % 60) s"
        case ..<86400: return "\(whole / 3600) h \(whole % 3600 / 60) min"
        default: return "\(whole / 86400) d \(whole % 86400 / 3600) h"
        }
    }

    /// Bytes in powers of 1,000: `3.2 GB`.
    static func bytes(_ value: Int64) -> String {
        var amount = Double(value)
        for unit in ["B", "kB", "MB", "GB"] {
            if amount.magnitude < 999.5 { return fixed(amount, unit == "B" ? 0 : 1) + " " + unit }
            amount /= 1000
        }
        return fixed(amount, 1) + " TB"
    }
}
