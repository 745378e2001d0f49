// Values of GGUF metadata as `memvp inspect` shows them: for people in one line, for programs as JSON.
//
// Invariant: the beginning of an array stands for it, since a vocabulary has tens of thousands of elements; how many
// there are is said beside it.

internal import ModelFile

/// One scalar, or the beginning of an array.
struct ToolboxMetadataValue {
    /// A value that JSON has.
    enum Scalar: Encodable, Equatable {
        case text(String)
        case truth(Bool)
        case integer(Int)
        case unsigned(UInt64)
        case single(Float)
        case double(Double)

        func encode(to encoder: any Encoder) throws {
            var value = encoder.singleValueContainer()
            switch self {
            case .text(let text): try value.encode(text)
            case .truth(let truth): try value.encode(truth)
            case .integer(let number): try value.encode(number)
            case .unsigned(let number): try value.encode(number)
            // JSON has no infinity and nothing that is no number; a foreign file may have either.
            case .single(let number) where !number.isFinite: try value.encode("\(number)")
            case .double(let number) where !number.isFinite: try value.encode("\(number)")
            case .single(let number): try value.encode(number)
            case .double(let number): try value.encode(number)
            }
        }

        /// In one line: control characters escaped, since files are foreign text.
        var shown: String {
            switch self {
            case .text(let text):
                let shown = text.unicodeScalars.prefix(200).map { $0.escaped(asASCII: false) }.joined()
                return "\"\(shown)\(text.unicodeScalars.count > 200 ? "…" : "")\""
            case .truth(let truth): return "\(truth)"
            case .integer(let number): return "\(number)"
            case .unsigned(let number): return "\(number)"
            case .single(let number): return "\(number)"
            case .double(let number): return "\(number)"
            }
        }
    }

    /// The scalar, or the first elements of the array: 4 texts or 8 others.
    let scalars: [Scalar]
    /// How many elements the array has; nil for a scalar.
    let count: Int?

    /// What is shown of a value.
    init(_ value: GGUFValue) {
        let shown = Self.beginning(of: value)
        scalars = shown.scalars
        count = shown.count
    }

    private static func beginning(of value: GGUFValue) -> (scalars: [Scalar], count: Int?) {
        switch value {
        case .string(let text): return ([.text(text)], nil)
        case .bool(let truth): return ([.truth(truth)], nil)
        case .float32(let number): return ([.single(number)], nil)
        case .float64(let number): return ([.double(number)], nil)
        case .uint64(let number): return ([.unsigned(number)], nil)
        case .strings(let texts):
            let first = (0..<min(4, texts.count)).map { Scalar.text(String(decoding: texts[$0], as: UTF8.self)) }
            return (first, texts.count)
        case .bools(let values): return (values.prefix(8).map { Scalar.truth($0) }, values.count)
        case .float32s(let values): return (values.prefix(8).map { Scalar.single($0) }, values.count)
        case .float64s(let values): return (values.prefix(8).map { Scalar.double($0) }, values.count)
        case .uint64s(let values): return (values.prefix(8).map { Scalar.unsigned($0) }, values.count)
        default:
            // All that is left are integers that `Int` holds.
            guard let values = value.integers else { return ([.integer(value.integer ?? 0)], nil) }
            return (values.prefix(8).map { Scalar.integer($0) }, values.count)
        }
    }

    /// The value for people.
    var text: String {
        let first = scalars.map(\.shown).joined(separator: ", ")
        guard let count else { return first }
        return scalars.count < count ? "[\(first), … \(count) in all]" : "[\(first)]"
    }
}
