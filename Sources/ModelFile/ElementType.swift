// The element types of all containers in one table: name, elements in a block, bytes of a block.
//
// A type that is not here is refused by its name when a file is opened, never skipped or guessed.

/// How a tensor's elements are stored.
public enum ElementType: String, Sendable, CaseIterable {
    /// IEEE 754 binary32.
    case float32 = "F32"
    /// IEEE 754 binary16.
    case float16 = "F16"
    /// The upper half of a binary32.
    case bfloat16 = "BF16"
    /// IEEE 754 binary64.
    case float64 = "F64"
    /// Signed 64-bit integers.
    case int64 = "I64"
    /// Signed 32-bit integers.
    case int32 = "I32"
    /// Signed 16-bit integers.
    case int16 = "I16"
    /// Signed bytes.
    case int8 = "I8"
    /// Unsigned bytes.
    case uint8 = "U8"
    /// Bytes that are 0 or 1.
    case bool = "BOOL"
    /// ggml's blocks of 32: binary16 scale d, 32 signed bytes q; x = d q.
    case q8_0 = "Q8_0"
    /// ggml's blocks of 32: binary16 scale d, 32 nibbles q; x = d (q − 8).
    case q4_0 = "Q4_0"
    /// ggml's blocks of 32: binary16 scale d and minimum m, 32 nibbles q; x = d q + m.
    case q4_1 = "Q4_1"

    /// Elements that are stored together; 1 where each stands alone.
    public var blockElements: Int {
        switch self {
        case .q8_0, .q4_0, .q4_1: return 32
        default: return 1
        }
    }

    /// Bytes of one block.
    public var blockBytes: Int {
        switch self {
        case .float64, .int64: return 8
        case .float32, .int32: return 4
        case .float16, .bfloat16, .int16: return 2
        case .int8, .uint8, .bool: return 1
        case .q8_0: return 34
        case .q4_0: return 18
        case .q4_1: return 20
        }
    }

    /// Whether elements are numbers with a fraction, which `floats(of:)` gives; others are read by `integers(of:)`.
    public var isFloatingPoint: Bool {
        switch self {
        case .float32, .float16, .bfloat16, .float64, .q8_0, .q4_0, .q4_1: return true
        case .int64, .int32, .int16, .int8, .uint8, .bool: return false
        }
    }

    /// Bytes of a tensor of this type; nil when the last dimension splits a block, a dimension is negative or the
    /// product does not fit in an `Int`.
    public func byteCount(shape: [Int]) -> Int? {
        guard (shape.last ?? 1) % blockElements == 0, let count = ElementType.elementCount(shape: shape) else {
            return nil
        }
        let (bytes, overflow) = (count / blockElements).multipliedReportingOverflow(by: blockBytes)
        return overflow ? nil : bytes
    }

    /// Elements of a tensor, 1 for a scalar; nil when a dimension is negative or the product does not fit in an `Int`.
    public static func elementCount(shape: [Int]) -> Int? {
        var count = 1
        for dimension in shape {
            let (product, overflow) = count.multipliedReportingOverflow(by: dimension)
            guard dimension >= 0, !overflow else { return nil }
            count = product
        }
        return count
    }
}
