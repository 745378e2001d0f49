// Metadata values out of foreign bytes: scalars, strings and arrays of them. Arrays of arrays, which no writer in the field
// produces for language models, are refused by name.

import Diagnostics

/// Parsing of typed metadata values.
enum GGUFValueParser {
    /// The value at the cursor, beginning with its type number.
    static func value(_ cursor: inout ByteCursor) throws(Failure) -> GGUFValue {
        switch try type(&cursor) {
        case .uint8: return .uint8(try cursor.integer(UInt8.self))
        case .int8: return .int8(try cursor.integer(Int8.self))
        case .uint16: return .uint16(try cursor.integer(UInt16.self))
        case .int16: return .int16(try cursor.integer(Int16.self))
        case .uint32: return .uint32(try cursor.integer(UInt32.self))
        case .int32: return .int32(try cursor.integer(Int32.self))
        case .float32: return .float32(Float(bitPattern: try cursor.integer(UInt32.self)))
        case .bool: return .bool(try bool(&cursor))
        case .string: return .string(try cursor.text(cursor.integer(UInt64.self), "string"))
        case .uint64: return .uint64(try cursor.integer(UInt64.self))
        case .int64: return .int64(try cursor.integer(Int64.self))
        case .float64: return .float64(Double(bitPattern: try cursor.integer(UInt64.self)))
        case .array: return try array(&cursor)
        }
    }

    private static func type(_ cursor: inout ByteCursor) throws(Failure) -> GGUFValueType {
        let number = try cursor.integer(UInt32.self)
        guard let type = GGUFValueType(rawValue: number) else {
            throw cursor.invalid("has the unknown value type \(number)")
        }
        return type
    }

    private static func bool(_ cursor: inout ByteCursor) throws(Failure) -> Bool {
        let byte = try cursor.integer(UInt8.self)
        guard byte <= 1 else { throw cursor.invalid("holds \(byte) where a truth value is 0 or 1") }
        return byte == 1
    }

    private static func array(_ cursor: inout ByteCursor) throws(Failure) -> GGUFValue {
        switch try type(&cursor) {
        case .uint8: return .uint8s(try numbers(&cursor))
        case .int8: return .int8s(try numbers(&cursor))
        case .uint16: return .uint16s(try numbers(&cursor))
        case .int16: return .int16s(try numbers(&cursor))
        case .uint32: return .uint32s(try numbers(&cursor))
        case .int32: return .int32s(try numbers(&cursor))
        case .float32: return .float32s(try numbers(&cursor).map { (bits: UInt32) in Float(bitPattern: bits) })
        case .bool: return .bools(try bools(&cursor))
        case .string: return .strings(try strings(&cursor))
        case .uint64: return .uint64s(try numbers(&cursor))
        case .int64: return .int64s(try numbers(&cursor))
        case .float64: return .float64s(try numbers(&cursor).map { (bits: UInt64) in Double(bitPattern: bits) })
        case .array: throw cursor.unsupported("is an array of arrays", hint: "Remove the key or flatten it.")
        }
    }

    private static func numbers<T: FixedWidthInteger & BitwiseCopyable>(
        _ cursor: inout ByteCursor
    ) throws(Failure) -> [T] {
        let size = MemoryLayout<T>.size
        let count = try cursor.count(of: "array elements", minimumBytes: size)
        let range = try cursor.take(count * size)
        var values: [T] = []
        values.reserveCapacity(count)
        for index in 0..<count { values.append(cursor.bytes.load(range.lowerBound + index * size, as: T.self)) }
        return values
    }

    private static func bools(_ cursor: inout ByteCursor) throws(Failure) -> [Bool] {
        let count = try cursor.count(of: "array elements", minimumBytes: 1)
        var values: [Bool] = []
        values.reserveCapacity(count)
        for _ in 0..<count { values.append(try bool(&cursor)) }
        return values
    }

    /// Strings are copied end to end: one pass finds them, a second copies, so that nothing grows step by step.
    private static func strings(_ cursor: inout ByteCursor) throws(Failure) -> ByteStrings {
        let count = try cursor.count(of: "strings", minimumBytes: 8)
        var ends: [Int] = []
        ends.reserveCapacity(count)
        var total = 0
        var position = cursor.position
        for _ in 0..<count {
            total += try cursor.take(cursor.integer(UInt64.self)).count
            ends.append(total)
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(total)
        for end in ends {
            let length = end - bytes.count
            cursor.bytes.append(position + 8..<position + 8 + length, to: &bytes)
            position += 8 + length
        }
        guard let strings = ByteStrings(bytes: bytes, ends: ends) else { throw cursor.invalid("has unordered strings") }
        return strings
    }
}
