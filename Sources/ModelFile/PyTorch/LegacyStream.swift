// torch.save's stream before the zip format: magic number, protocol, system information and the object as four pickles,
// the list of storage keys as a fifth, then each storage's element count and raw elements (torch/serialization.py,
// `_legacy_save`).

import Diagnostics

/// A parsed legacy stream.
struct LegacyStream {
    /// The pickle of LONG1 0x1950a86a20f9469cfc6c in protocol 2.
    static let magic: [UInt8] = [
        0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e,
    ]

    let root: PickleValue
    let arena: PickleArena
    /// Where each storage's elements stand in the file, by key.
    private(set) var storages: [String: Range<Int>] = [:]

    /// Parses a whole file's bytes, which begin with `magic`.
    init(parsing bytes: RawSpan, path: String) throws(Failure) {
        var cursor = ByteCursor(bytes, path: path, part: "protocol version", position: LegacyStream.magic.count)
        guard case .integer(1001) = try LegacyStream.unpickle(&cursor).root else {
            throw cursor.unsupported("is not 1001", hint: "Load and save the file with a current PyTorch.")
        }
        cursor.part = "system information"
        try LegacyStream.checkByteOrder(&cursor)
        cursor.part = "object pickle"
        (root, arena) = try LegacyStream.unpickle(&cursor)
        cursor.part = "storage keys"
        let keys = try LegacyStream.unpickle(&cursor)
        guard case .list(let list) = keys.root else { throw cursor.invalid("are not a list") }
        let announced = try LegacyStream.announced(arena.storages, cursor)
        for key in keys.arena.sequences[list] {
            guard case .text(let key) = key, let storage = announced[key] else {
                throw cursor.invalid("name a storage that no tensor uses")
            }
            cursor.part = "storage \(key)"
            try place(storage, &cursor)
        }
        guard cursor.remaining == 0 else {
            throw cursor.invalid("is followed by \(cursor.remaining) bytes that belong to nothing")
        }
    }

    private static func unpickle(_ cursor: inout ByteCursor) throws(Failure) -> (root: PickleValue, arena: PickleArena)
    {
        var machine = PickleMachine(cursor, isScript: false)
        let root = try machine.run()
        _ = try cursor.take(machine.cursor.position - cursor.position)
        return (root, machine.arena)
    }

    private static func checkByteOrder(_ cursor: inout ByteCursor) throws(Failure) {
        let (root, arena) = try unpickle(&cursor)
        guard case .dictionary(let index) = root else { throw cursor.invalid("is not a dictionary") }
        for (key, value) in arena.dictionaries[index] {
            if case .text("little_endian") = key, case .bool(true) = value { return }
        }
        throw cursor.unsupported("does not say little-endian", hint: "Save the file on a little-endian machine.")
    }

    /// What the tensors say of each storage; all that name one must agree.
    private static func announced(
        _ storages: [PickleStorage], _ cursor: ByteCursor
    ) throws(Failure) -> [String: PickleStorage] {
        var result: [String: PickleStorage] = [:]
        for storage in storages {
            guard result.updateValue(storage, forKey: storage.key) ?? storage == storage else {
                throw cursor.invalid("name storage \(storage.key), which is used with two types or sizes")
            }
        }
        return result
    }

    private mutating func place(_ storage: PickleStorage, _ cursor: inout ByteCursor) throws(Failure) {
        let count = try cursor.integer(Int64.self)
        guard count == storage.elementCount else {
            throw cursor.invalid("has \(count) elements where its tensors say \(storage.elementCount)")
        }
        guard count <= cursor.remaining / storage.type.blockBytes else {
            throw cursor.invalid("announces \(count) elements, but only \(cursor.remaining) bytes are left")
        }
        let range = try cursor.take(storage.elementCount * storage.type.blockBytes)
        guard storages.updateValue(range, forKey: storage.key) == nil else { throw cursor.invalid("is there twice") }
    }
}
