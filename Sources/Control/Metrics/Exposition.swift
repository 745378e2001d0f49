// Prometheus text exposition format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats).

/// Writes families as text that Prometheus, node_exporter and `promtool check metrics` read.
enum Exposition {
    /// The media type of the text.
    static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    static func render(_ families: [any MetricFamily]) -> String {
        var text = ""
        for family in families {
            let samples = family.samples()
            // A family without samples is left out whole: a HELP line alone would claim a metric that is not there.
            guard !samples.isEmpty else { continue }
            let descriptor = family.descriptor
            text += "# HELP \(descriptor.name) \(escapeHelp(descriptor.help))\n"
            text += "# TYPE \(descriptor.name) \(descriptor.kind.rawValue)\n"
            for sample in samples {
                text += descriptor.name + sample.suffix
                if !sample.labels.isEmpty {
                    let labels = sample.labels.map { "\($0.name)=\"\(escapeLabel($0.value))\"" }
                    text += "{" + labels.joined(separator: ",") + "}"
                }
                text += " " + Self.text(sample.value) + "\n"
            }
        }
        return text
    }

    /// A value as Go's ParseFloat reads it, whole numbers without a point.
    static func text(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        if let whole = Int64(exactly: value), whole.magnitude < 1 << 53 { return String(whole) }
        return value.description
    }

    static func escapeHelp(_ text: String) -> String { escape(text, quote: false) }

    static func escapeLabel(_ text: String) -> String { escape(text, quote: true) }

    private static func escape(_ text: String, quote: Bool) -> String {
        var result = ""
        // By scalar: "\r\n" is one Character, and its line feed must be seen.
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\"" where quote: result += "\\\""
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
