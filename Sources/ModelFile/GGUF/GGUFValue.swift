// Metadata values of GGUF with the exact type they are stored as, so that a file can be rewritten unchanged.

/// A typed metadata value (GGUF specification, `gguf_metadata_value_type`).
public enum GGUFValue: Sendable, Equatable {
    /// Type 0.
    case uint8(UInt8)
    /// Type 1.
    case int8(Int8)
    /// Type 2.
    case uint16(UInt16)
    /// Type 3.
    case int16(Int16)
    /// Type 4.
    case uint32(UInt32)
    /// Type 5.
    case int32(Int32)
    /// Type 6.
    case float32(Float)
    /// Type 7.
    case bool(Bool)
    /// Type 8: UTF-8 text.
    case string(String)
    /// Type 10.
    case uint64(UInt64)
    /// Type 11.
    case int64(Int64)
    /// Type 12.
    case float64(Double)
    /// Type 9 of type 8: byte strings, which need not be UTF-8 (a vocabulary's pieces).
    case strings(ByteStrings)
    /// Type 9 of type 0.
    case uint8s([UInt8])
    /// Type 9 of type 1.
    case int8s([Int8])
    /// Type 9 of type 2.
    case uint16s([UInt16])
    /// Type 9 of type 3.
    case int16s([Int16])
    /// Type 9 of type 4.
    case uint32s([UInt32])
    /// Type 9 of type 5.
    case int32s([Int32])
    /// Type 9 of type 6.
    case float32s([Float])
    /// Type 9 of type 7.
    case bools([Bool])
    /// Type 9 of type 10.
    case uint64s([UInt64])
    /// Type 9 of type 11.
    case int64s([Int64])
    /// Type 9 of type 12.
    case float64s([Double])

    /// An array of text strings.
    public static func strings(_ strings: [String]) -> GGUFValue { .strings(ByteStrings(strings.map(\.utf8))) }

    /// The value as an integer, where it is one that fits.
    public var integer: Int? {
        switch self {
        case .uint8(let value): return Int(value)
        case .int8(let value): return Int(value)
        case .uint16(let value): return Int(value)
        case .int16(let value): return Int(value)
        case .uint32(let value): return Int(value)
        case .int32(let value): return Int(value)
        case .uint64(let value): return Int(exactly: value)
        case .int64(let value): return Int(value)
        default: return nil
        }
    }

    /// The value as a float, where it is stored as one (a float64 is rounded).
    public var float: Float? {
        switch self {
        case .float32(let value): return value
        case .float64(let value): return Float(value)
        default: return nil
        }
    }

    /// The value as a list of integers, where it is an array of integers that all fit.
    public var integers: [Int]? {
        switch self {
        case .uint8s(let values): return values.map(Int.init)
        case .int8s(let values): return values.map(Int.init)
        case .uint16s(let values): return values.map(Int.init)
        case .int16s(let values): return values.map(Int.init)
        case .uint32s(let values): return values.map(Int.init)
        case .int32s(let values): return values.map(Int.init)
        case .int64s(let values): return values.map(Int.init)
        case .uint64s(let values): return values.allSatisfy { $0 <= UInt64(Int.max) } ? values.map(Int.init) : nil
        default: return nil
        }
    }

    /// The value as a list of floats, where it is an array of floats.
    public var floats: [Float]? {
        switch self {
        case .float32s(let values): return values
        case .float64s(let values): return values.map { Float($0) }
        default: return nil
        }
    }

    /// The type's name as `gguf-dump` spells it, arrays in brackets.
    public var typeName: String {
        let type = elementType ?? scalarType
        return elementType == nil ? type.name : "[\(type.name)]"
    }

    /// The stored type of a scalar; `array` for arrays.
    var scalarType: GGUFValueType {
        switch self {
        case .uint8: return .uint8
        case .int8: return .int8
        case .uint16: return .uint16
        case .int16: return .int16
        case .uint32: return .uint32
        case .int32: return .int32
        case .float32: return .float32
        case .bool: return .bool
        case .string: return .string
        case .uint64: return .uint64
        case .int64: return .int64
        case .float64: return .float64
        default: return .array
        }
    }

    /// The stored type of an array's elements; nil for scalars.
    var elementType: GGUFValueType? {
        switch self {
        case .strings: return .string
        case .uint8s: return .uint8
        case .int8s: return .int8
        case .uint16s: return .uint16
        case .int16s: return .int16
        case .uint32s: return .uint32
        case .int32s: return .int32
        case .float32s: return .float32
        case .bools: return .bool
        case .uint64s: return .uint64
        case .int64s: return .int64
        case .float64s: return .float64
        default: return nil
        }
    }
}

/// The type numbers of metadata values.
enum GGUFValueType: UInt32 {
    case uint8 = 0
    case int8, uint16, int16, uint32, int32, float32, bool, string, array, uint64, int64, float64

    var name: String { "\(self)".uppercased() }
}
