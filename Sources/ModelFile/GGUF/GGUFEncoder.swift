// Metadata values to bytes: the inverse of `GGUFValueParser`.

/// Collects the bytes of a GGUF header.
struct GGUFEncoder {
    /// What was appended so far.
    private(set) var bytes: [UInt8] = []

    /// Appends an integer, little-endian.
    mutating func append<T: FixedWidthInteger>(_ value: T) {
        for shift in stride(from: 0, to: T.bitWidth, by: 8) { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
    }

    /// Appends a length and the text's bytes.
    mutating func append(text: String) {
        append(UInt64(text.utf8.count))
        bytes.append(contentsOf: text.utf8)
    }

    /// Appends a value with its type.
    mutating func append(_ value: GGUFValue) {
        append(value.scalarType.rawValue)
        if let element = value.elementType { append(element.rawValue) }
        switch value {
        case .uint8(let value): append(value)
        case .int8(let value): append(value)
        case .uint16(let value): append(value)
        case .int16(let value): append(value)
        case .uint32(let value): append(value)
        case .int32(let value): append(value)
        case .float32(let value): append(value.bitPattern)
        case .bool(let value): append(value ? 1 : 0 as UInt8)
        case .string(let text): append(text: text)
        case .uint64(let value): append(value)
        case .int64(let value): append(value)
        case .float64(let value): append(value.bitPattern)
        case .strings(let strings): append(strings)
        case .uint8s(let values): append(values)
        case .int8s(let values): append(values)
        case .uint16s(let values): append(values)
        case .int16s(let values): append(values)
        case .uint32s(let values): append(values)
        case .int32s(let values): append(values)
        case .float32s(let values): append(values.map(\.bitPattern))
        case .bools(let values): append(values.map { $0 ? 1 : 0 as UInt8 })
        case .uint64s(let values): append(values)
        case .int64s(let values): append(values)
        case .float64s(let values): append(values.map(\.bitPattern))
        }
    }

    private mutating func append(_ values: [some FixedWidthInteger]) {
        append(UInt64(values.count))
        for value in values { append(value) }
    }

    private mutating func append(_ strings: ByteStrings) {
        append(UInt64(strings.count))
        for index in 0..<strings.count {
            let string = strings[index]
            append(UInt64(string.count))
            bytes.append(contentsOf: string)
        }
    }
}
