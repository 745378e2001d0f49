// The pickle opcodes that torch.save and TorchScript write (protocol 2), and the names of the others, for messages.
// Numbers and meanings: CPython's Lib/pickletools.py.

/// An allowed opcode.
enum PickleOpcode: UInt8 {
    case mark = 0x28  // (
    case stop = 0x2e  // .
    case float = 0x47  // G
    case integer4 = 0x4a  // J
    case integer1 = 0x4b  // K
    case integer2 = 0x4d  // M
    case none = 0x4e  // N
    case persistentID = 0x51  // Q
    case reduce = 0x52  // R
    case text = 0x58  // X
    case append = 0x61  // a
    case build = 0x62  // b
    case global = 0x63  // c
    case appends = 0x65  // e
    case get1 = 0x68  // h
    case get4 = 0x6a  // j
    case put1 = 0x71  // q
    case put4 = 0x72  // r
    case setItem = 0x73  // s
    case tuple = 0x74  // t
    case setItems = 0x75  // u
    case emptyTuple = 0x29  // )
    case emptyList = 0x5d  // ]
    case emptyDictionary = 0x7d  // }
    case `protocol` = 0x80
    case newObject = 0x81
    case tuple1 = 0x85
    case tuple2 = 0x86
    case tuple3 = 0x87
    case `true` = 0x88
    case `false` = 0x89
    case long1 = 0x8a

    private static let refused: [UInt8: String] = [
        0x30: "POP", 0x31: "POP_MARK", 0x32: "DUP", 0x42: "BINBYTES", 0x43: "SHORT_BINBYTES", 0x46: "FLOAT",
        0x49: "INT", 0x4c: "LONG", 0x50: "PERSID", 0x53: "STRING", 0x54: "BINSTRING", 0x55: "SHORT_BINSTRING",
        0x56: "UNICODE", 0x64: "DICT", 0x67: "GET", 0x69: "INST", 0x6c: "LIST", 0x6f: "OBJ", 0x70: "PUT",
        0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4", 0x8b: "LONG4", 0x8c: "SHORT_BINUNICODE", 0x8d: "BINUNICODE8",
        0x8e: "BINBYTES8", 0x8f: "EMPTY_SET", 0x90: "ADDITEMS", 0x91: "FROZENSET", 0x92: "NEWOBJ_EX",
        0x93: "STACK_GLOBAL", 0x94: "MEMOIZE", 0x95: "FRAME", 0x96: "BYTEARRAY8", 0x97: "NEXT_BUFFER",
        0x98: "READONLY_BUFFER",
    ]

    /// What to call a refused byte in a message.
    static func name(_ byte: UInt8) -> String { refused[byte] ?? "0x\(String(byte, radix: 16))" }
}
