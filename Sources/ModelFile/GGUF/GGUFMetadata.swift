// The metadata of a GGUF file: keys in order, each with a typed value. Reader and writer share it.

public import Diagnostics

/// Metadata keys and values in file order; keys are unique.
public struct GGUFMetadata: Sendable, Equatable, Sequence {
    /// The keys in file order.
    public private(set) var keys: [String] = []
    private var values: [String: GGUFValue] = [:]

    /// Metadata without keys.
    public init() {}

    /// The keys with their values in file order.
    public func makeIterator() -> some IteratorProtocol<(String, GGUFValue)> {
        keys.lazy.compactMap { key in values[key].map { (key, $0) } }.makeIterator()
    }

    /// The value of a key; setting nil removes the key, setting an existing key keeps its place.
    public subscript(key: String) -> GGUFValue? {
        get { values[key] }
        set {
            let previous = values[key]
            values[key] = newValue
            if previous == nil, newValue != nil { keys.append(key) }
            if previous != nil, newValue == nil { keys.removeAll { $0 == key } }
        }
    }

    /// Whether a key is there.
    public func has(_ key: String) -> Bool { values[key] != nil }

    /// The text of `key`.
    ///
    /// - Throws: `model_missing` when the key is not there, `model_invalid` when it is of another type; both name it.
    public func string(_ key: String) throws(Failure) -> String { try required(key, optionalString(key)) }

    /// The text of `key`, or nil when it is not there.
    ///
    /// - Throws: `model_invalid` when the key is of another type.
    public func optionalString(_ key: String) throws(Failure) -> String? {
        try convert(key, "a string") { if case .string(let text) = $0 { text } else { nil } }
    }

    /// The integer of `key`, whatever its width.
    ///
    /// - Throws: as `string(_:)`.
    public func integer(_ key: String) throws(Failure) -> Int { try required(key, optionalInteger(key)) }

    /// The integer of `key`, or nil when it is not there.
    ///
    /// - Throws: as `optionalString(_:)`.
    public func optionalInteger(_ key: String) throws(Failure) -> Int? { try convert(key, "an integer", \.integer) }

    /// The float of `key`.
    ///
    /// - Throws: as `string(_:)`.
    public func float(_ key: String) throws(Failure) -> Float { try required(key, optionalFloat(key)) }

    /// The float of `key`, or nil when it is not there.
    ///
    /// - Throws: as `optionalString(_:)`.
    public func optionalFloat(_ key: String) throws(Failure) -> Float? { try convert(key, "a float", \.float) }

    /// The truth value of `key`.
    ///
    /// - Throws: as `string(_:)`.
    public func bool(_ key: String) throws(Failure) -> Bool { try required(key, optionalBool(key)) }

    /// The truth value of `key`, or nil when it is not there.
    ///
    /// - Throws: as `optionalString(_:)`.
    public func optionalBool(_ key: String) throws(Failure) -> Bool? {
        try convert(key, "a truth value") { if case .bool(let truth) = $0 { truth } else { nil } }
    }

    /// The byte strings of `key`.
    ///
    /// - Throws: as `string(_:)`.
    public func strings(_ key: String) throws(Failure) -> ByteStrings { try required(key, optionalStrings(key)) }

    /// The byte strings of `key`, or nil when it is not there.
    ///
    /// - Throws: as `optionalString(_:)`.
    public func optionalStrings(_ key: String) throws(Failure) -> ByteStrings? {
        try convert(key, "an array of strings") { if case .strings(let strings) = $0 { strings } else { nil } }
    }

    /// The integers of `key`, whatever their width.
    ///
    /// - Throws: as `string(_:)`.
    public func integers(_ key: String) throws(Failure) -> [Int] { try required(key, optionalIntegers(key)) }

    /// The integers of `key`, or nil when it is not there.
    ///
    /// - Throws: as `optionalString(_:)`.
    public func optionalIntegers(_ key: String) throws(Failure) -> [Int]? {
        try convert(key, "an array of integers", \.integers)
    }

    /// The floats of `key`.
    ///
    /// - Throws: as `string(_:)`.
    public func floats(_ key: String) throws(Failure) -> [Float] { try required(key, optionalFloats(key)) }

    /// The floats of `key`, or nil when it is not there.
    ///
    /// - Throws: as `optionalString(_:)`.
    public func optionalFloats(_ key: String) throws(Failure) -> [Float]? {
        try convert(key, "an array of floats", \.floats)
    }

    private func required<T>(_ key: String, _ value: T?) throws(Failure) -> T {
        guard let value else {
            throw Failure(
                .modelMissing, "metadata \(key)", "is not there",
                hint: "Check that this is the right model, or convert it again.")
        }
        return value
    }

    private func convert<T>(_ key: String, _ wanted: String, _ read: (GGUFValue) -> T?) throws(Failure) -> T? {
        guard let value = values[key] else { return nil }
        guard let result = read(value) else {
            throw Failure(
                .modelInvalid, "metadata \(key)", "is of type \(value.typeName), not \(wanted) in range",
                hint: "Check that this is the right model, or convert it again.")
        }
        return result
    }
}
