// Foreign text where people read it: names, keys and values of files may hold what a terminal obeys, and what looks like a line of its
// own.

extension String {
    /// The text with control characters, and those that part lines or turn the writing direction, as `\n`, `\t` or `\u{…}`.
    public var harmless: String { unicodeScalars.reduce(into: "") { $0 += Self.shown($1) } }

    /// The same, but for its line feeds: for texts that have lines of ours.
    public var harmlessLines: String {
        unicodeScalars.reduce(into: "") { $0 += $1 == "\n" ? "\n" : Self.shown($1) }
    }

    private static func shown(_ scalar: Unicode.Scalar) -> String {
        switch (scalar, scalar.properties.generalCategory) {
        case ("\n", _): "\\n"
        case ("\t", _): "\\t"
        case (_, .control), (_, .format), (_, .lineSeparator), (_, .paragraphSeparator), (_, .privateUse):
            "\\u{\(String(scalar.value, radix: 16))}"
        default: String(scalar)
        }
    }
}
