// A GGUF file open for reading: the container of language models and of our own bundles (docs/FORMAT.md).
//
// Invariant: what `init` accepts is checked as a whole; later reads can fail only for names, keys and types that the caller
// asks for and the file has not.

public import Diagnostics
public import Tensor

/// A GGUF file of version 2 or 3, mapped; metadata is read at once, tensors when asked for.
public final class GGUFFile: TensorContainer {
    /// The mapped file.
    public let mapping: MappedFile
    /// The container's version, 2 or 3.
    public let version: Int
    /// What tensor offsets are multiples of, in bytes.
    public let alignment: Int
    /// The metadata in file order.
    public let metadata: GGUFMetadata
    /// The tensors in file order and by name.
    public let tensors: TensorTable

    /// Opens and checks a file.
    ///
    /// - Throws: `model_missing`, `permission_denied` or `input_output` when it cannot be opened; `model_invalid` when
    ///   it is damaged; `model_unsupported` for another version, byte order or tensor type.
    public init(path: String) throws(Failure) {
        let mapping = try MappedFile(path: path)
        let contents = try GGUFContents(parsing: mapping.bytes, path: path)
        self.mapping = mapping
        version = contents.version
        alignment = contents.alignment
        metadata = contents.metadata
        tensors = try TensorTable(contents.entries, path: path)
    }

    /// Whether the file at `path` begins as GGUF files do; what else is in it, `init` checks.
    ///
    /// - Throws: as `init` when it cannot be opened.
    public static func begins(_ path: String) throws(Failure) -> Bool {
        let mapping = try MappedFile(path: path)
        return mapping.count >= 4 && mapping.bytes.load(0, as: UInt32.self) == GGUFContents.magic
    }

    /// Reads metadata through `read`, so that its errors name this file: `try file.value { try $0.integer("a.b") }`.
    ///
    /// - Throws: what `read` throws, about this file.
    public func value<T>(_ read: (GGUFMetadata) throws(Failure) -> T) throws(Failure) -> T {
        do { return try read(metadata) } catch { throw error.about(path) }
    }

    /// The text of a key that must be there.
    ///
    /// - Throws: `model_missing` or `model_invalid`, naming file and key.
    public func string(_ key: String) throws(Failure) -> String { try value { m throws(Failure) in try m.string(key) } }

    /// The integer of a key that must be there, whatever its width.
    ///
    /// - Throws: as `string(_:)`.
    public func integer(_ key: String) throws(Failure) -> Int { try value { m throws(Failure) in try m.integer(key) } }

    /// The float of a key that must be there.
    ///
    /// - Throws: as `string(_:)`.
    public func float(_ key: String) throws(Failure) -> Float { try value { m throws(Failure) in try m.float(key) } }

    /// The truth value of a key that must be there.
    ///
    /// - Throws: as `string(_:)`.
    public func bool(_ key: String) throws(Failure) -> Bool { try value { m throws(Failure) in try m.bool(key) } }

    /// The byte strings of a key that must be there.
    ///
    /// - Throws: as `string(_:)`.
    public func strings(_ key: String) throws(Failure) -> ByteStrings {
        try value { m throws(Failure) in try m.strings(key) }
    }

    /// The integers of a key that must be there, whatever their width.
    ///
    /// - Throws: as `string(_:)`.
    public func integers(_ key: String) throws(Failure) -> [Int] {
        try value { m throws(Failure) in try m.integers(key) }
    }

    /// The text of a key, or nil when it is not there.
    ///
    /// - Throws: `model_invalid` when it is of another type.
    public func optionalString(_ key: String) throws(Failure) -> String? {
        try value { m throws(Failure) in try m.optionalString(key) }
    }

    /// The integer of a key, or nil when it is not there.
    ///
    /// - Throws: as `optionalString(_:)`.
    public func optionalInteger(_ key: String) throws(Failure) -> Int? {
        try value { m throws(Failure) in try m.optionalInteger(key) }
    }

    /// The float of a key, or nil when it is not there.
    ///
    /// - Throws: as `optionalString(_:)`.
    public func optionalFloat(_ key: String) throws(Failure) -> Float? {
        try value { m throws(Failure) in try m.optionalFloat(key) }
    }

    /// The truth value of a key, or nil when it is not there.
    ///
    /// - Throws: as `optionalString(_:)`.
    public func optionalBool(_ key: String) throws(Failure) -> Bool? {
        try value { m throws(Failure) in try m.optionalBool(key) }
    }

    /// The byte strings of a key, or nil when it is not there.
    ///
    /// - Throws: as `optionalString(_:)`.
    public func optionalStrings(_ key: String) throws(Failure) -> ByteStrings? {
        try value { m throws(Failure) in try m.optionalStrings(key) }
    }
}
