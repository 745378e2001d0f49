// A pickle machine that can only build tables of tensors: a stack, a memo and a closed list of opcodes and constructors
// (`PickleOpcode`, `PickleGlobal`). It executes nothing; whatever is not on the lists ends in `model_unsupported`.
//
// Invariants: every step consumes at least one byte and makes at most one value, so time and memory are bounded by the
// bytes read, which are themselves bounded; containers are arena indices, so nothing recurses. What two bytes call back
// from the memo may be long, so what is copied or hashed of it, shapes and storage keys, has bounds of its own.
// Failure modes: `model_invalid` for damage, `model_unsupported` naming an opcode or global, both with the byte.

import Diagnostics

/// One run over one pickle.
struct PickleMachine: ~Escapable {
    /// Pickles of tensor tables are small (250 bytes a tensor); the bound keeps a hostile one from filling memory, since a
    /// byte can make a value of up to a hundred bytes.
    static let largestPickle = 1 << 22
    /// Dimensions of a tensor: thousands of tensors may share one memoised tuple, of which each makes a copy.
    static let highestRank = 16
    /// Bytes of a storage's key, which is looked up once for each tensor; PyTorch writes a few digits.
    static let longestKey = 256

    var cursor: ByteCursor
    var arena = PickleArena()
    private let isScript: Bool
    private let start: Int
    private var stack: [PickleValue] = []
    private var marks: [Int] = []
    private var memo: [UInt32: PickleValue] = [:]

    /// Prepares a run from the cursor's position.
    ///
    /// - Parameter isScript: whether TorchScript's module classes are allowed.
    @_lifetime(copy cursor)
    init(_ cursor: ByteCursor, isScript: Bool) {
        self.cursor = cursor
        self.isScript = isScript
        start = cursor.position
    }

    /// Runs up to STOP; the cursor then stands behind it.
    mutating func run() throws(Failure) -> PickleValue {
        while true {
            guard cursor.position - start < PickleMachine.largestPickle else {
                throw cursor.unsupported("is longer than \(PickleMachine.largestPickle) bytes", hint: "")
            }
            let byte = try cursor.integer(UInt8.self)
            guard let opcode = PickleOpcode(rawValue: byte) else {
                throw unsupported("has the opcode \(PickleOpcode.name(byte)) at byte \(cursor.position - 1)")
            }
            if opcode == .stop { return try pop() }
            try step(opcode)
        }
    }

    private mutating func step(_ opcode: PickleOpcode) throws(Failure) {
        switch opcode {
        case .protocol: try checkProtocol()
        case .mark: marks.append(stack.count)
        case .stop: break  // ends `run`
        case .none: stack.append(.none)
        case .true: stack.append(.bool(true))
        case .false: stack.append(.bool(false))
        case .integer1: stack.append(.integer(Int(try cursor.integer(UInt8.self))))
        case .integer2: stack.append(.integer(Int(try cursor.integer(UInt16.self))))
        case .integer4: stack.append(.integer(Int(try cursor.integer(Int32.self))))
        case .long1: try pushLong()
        case .float: stack.append(.float(Double(bitPattern: try cursor.integer(UInt64.self).byteSwapped)))
        case .text: stack.append(.text(try cursor.text(cursor.integer(UInt32.self), "string")))
        case .emptyTuple: pushTuple([])
        case .tuple1: pushTuple(try pop(last: 1))
        case .tuple2: pushTuple(try pop(last: 2))
        case .tuple3: pushTuple(try pop(last: 3))
        case .tuple: pushTuple(try popToMark())
        case .emptyList: pushList()
        case .append: try appendToList(pop(last: 1))
        case .appends: try appendToList(popToMark())
        case .emptyDictionary: pushDictionary()
        case .setItem: try setItems(pop(last: 2))
        case .setItems: try setItems(popToMark())
        case .put1: try remember(UInt32(cursor.integer(UInt8.self)))
        case .put4: try remember(cursor.integer(UInt32.self))
        case .get1: try recall(UInt32(cursor.integer(UInt8.self)))
        case .get4: try recall(cursor.integer(UInt32.self))
        case .global: try pushGlobal()
        case .persistentID: try pushStorage()
        case .reduce: try reduce()
        case .newObject: try newObject()
        case .build: try build()
        }
    }

    // MARK: Stack

    private mutating func pop() throws(Failure) -> PickleValue { try pop(last: 1)[0] }

    /// The topmost values, lowest first; none may lie below the topmost mark.
    private mutating func pop(last count: Int) throws(Failure) -> [PickleValue] {
        guard stack.count - (marks.last ?? 0) >= count else { throw damaged("takes more from its stack than it holds") }
        defer { stack.removeLast(count) }
        return Array(stack.suffix(count))
    }

    /// The items of the tuple on top. In two steps: in one, `tuple(pop())`, the machine would be copied before it is popped, stack and
    /// all, and each call would cost as much as the stack is high.
    private mutating func popTuple() throws(Failure) -> [PickleValue] {
        let value = try pop()
        return try tuple(value)
    }

    private mutating func popToMark() throws(Failure) -> [PickleValue] {
        guard let mark = marks.popLast() else { throw damaged("closes a group it never opened") }
        defer { stack.removeLast(stack.count - mark) }
        return Array(stack[mark...])
    }

    private func top() throws(Failure) -> PickleValue {
        guard let value = stack.last, stack.count > marks.last ?? 0 else { throw damaged("uses an empty stack") }
        return value
    }

    // MARK: Plain values

    private mutating func checkProtocol() throws(Failure) {
        let version = try cursor.integer(UInt8.self)
        guard version == 2 else { throw unsupported("has the pickle protocol \(version), not 2") }
    }

    /// A little-endian two's complement integer of up to eight bytes.
    private mutating func pushLong() throws(Failure) {
        let range = try cursor.take(cursor.integer(UInt8.self))
        guard range.count <= 8 else { throw unsupported("has an integer of \(range.count) bytes") }
        var value: UInt64 = 0
        for (index, offset) in range.enumerated() {
            value |= UInt64(cursor.bytes.load(offset, as: UInt8.self)) << (8 * index)
        }
        let shift = 64 - 8 * range.count
        stack.append(.integer(range.isEmpty ? 0 : Int(Int64(bitPattern: value << shift) >> shift)))
    }

    private mutating func remember(_ index: UInt32) throws(Failure) { memo[index] = try top() }

    private mutating func recall(_ index: UInt32) throws(Failure) {
        guard let value = memo[index] else { throw damaged("recalls entry \(index), which it never stored") }
        stack.append(value)
    }

    // MARK: Containers

    private mutating func pushTuple(_ items: [PickleValue]) {
        arena.sequences.append(items)
        stack.append(.tuple(arena.sequences.count - 1))
    }

    private mutating func pushList() {
        arena.sequences.append([])
        stack.append(.list(arena.sequences.count - 1))
    }

    private mutating func pushDictionary() {
        arena.dictionaries.append([])
        stack.append(.dictionary(arena.dictionaries.count - 1))
    }

    private mutating func appendToList(_ items: [PickleValue]) throws(Failure) {
        guard case .list(let list) = try top() else { throw damaged("appends to \(try top().kind)") }
        arena.sequences[list].append(contentsOf: items)
    }

    private mutating func setItems(_ items: [PickleValue]) throws(Failure) {
        guard case .dictionary(let dictionary) = try top(), items.count % 2 == 0 else {
            throw damaged("sets items of \(try top().kind)")
        }
        for index in stride(from: 0, to: items.count, by: 2) {
            arena.dictionaries[dictionary].append((items[index], items[index + 1]))
        }
    }

    // MARK: Constructors

    private mutating func pushGlobal() throws(Failure) {
        let module = try line()
        let name = try line()
        guard let global = PickleGlobal(module: module, name: name, isScript: isScript) else {
            throw unsupported("names the global \(module).\(name)")
        }
        stack.append(.global(global))
    }

    /// A name ended by a line feed; names are short, so the search is bounded.
    private mutating func line() throws(Failure) -> String {
        let window = cursor.position..<cursor.position + min(cursor.remaining, 1024)
        guard let end = cursor.bytes.firstIndex(of: UInt8(ascii: "\n"), in: window) else {
            throw damaged("has an unended name")
        }
        let text = try cursor.text(end - cursor.position, "name")
        _ = try cursor.take(1)
        return text
    }

    /// ('storage', class, key, location, element count[, view]).
    private mutating func pushStorage() throws(Failure) {
        let fields = try popTuple()
        guard fields.count == 5 || fields.count == 6, case .text("storage") = fields[0],
            case .global(.storage(let type)) = fields[1], case .text(let key) = fields[2],
            case .integer(let count) = fields[4], count >= 0
        else { throw damaged("has a persistent id that is not a storage") }
        if fields.count == 6, case .none = fields[5] {
        } else if fields.count == 6 {
            throw unsupported("has a view of a storage")
        }
        guard key.utf8.count <= PickleMachine.longestKey else {
            throw damaged("names a storage by a key of \(key.utf8.count) bytes")
        }
        arena.storages.append(PickleStorage(key: key, type: type, elementCount: count))
        stack.append(.storage(arena.storages.count - 1))
    }

    private mutating func reduce() throws(Failure) {
        let arguments = try popTuple()
        guard case .global(let global) = try pop() else { throw damaged("calls what is not a function") }
        switch global {
        case .orderedDictionary:
            guard arguments.isEmpty else { throw unsupported("calls \(global.name) with arguments") }
            pushDictionary()
        case .rebuildTensor:
            guard arguments.count == 4 else { throw wrongArguments(global) }
            try pushTensor(arguments, global)
        case .rebuildTensorV2:
            guard arguments.count == 6 || arguments.count == 7 else { throw wrongArguments(global) }
            try pushTensor(arguments, global)
        case .rebuildParameter:
            guard arguments.count == 3, case .tensor = arguments[0] else { throw wrongArguments(global) }
            stack.append(arguments[0])
        case .scriptValue:
            guard let value = arguments.first else { throw wrongArguments(global) }
            stack.append(value)
        case .storage, .scriptClass, .namespace: throw unsupported("calls \(global.name)")
        }
    }

    /// (storage, offset, shape, strides, …): what follows the strides concerns gradients.
    private mutating func pushTensor(_ arguments: [PickleValue], _ global: PickleGlobal) throws(Failure) {
        guard case .storage(let storage) = arguments[0], case .integer(let offset) = arguments[1],
            let shape = try integers(arguments[2]), let strides = try integers(arguments[3])
        else { throw wrongArguments(global) }
        arena.tensors.append(
            PickleTensor(storage: arena.storages[storage], offset: offset, shape: shape, strides: strides))
        stack.append(.tensor(arena.tensors.count - 1))
    }

    private mutating func newObject() throws(Failure) {
        let arguments = try popTuple()
        let callee = try pop()
        guard case .global(let global) = callee, arguments.isEmpty else {
            throw unsupported("makes an object of \(callee.kind)")
        }
        switch global {
        case .namespace: return stack.append(.inert)
        case .scriptClass: break
        default: throw unsupported("makes an object of \(callee.kind)")
        }
        arena.objects.append(.none)
        stack.append(.object(arena.objects.count - 1))
    }

    /// Sets a module's attributes; an ordered dictionary's attributes (`_metadata`) hold no tensors and are
    /// dropped, as are a namespace's.
    private mutating func build() throws(Failure) {
        let state = try pop()
        switch try top() {
        case .object(let object): arena.objects[object] = state
        case .dictionary, .inert: break
        case let other: throw unsupported("sets attributes of \(other.kind)")
        }
    }

    // MARK: Helpers

    private func tuple(_ value: PickleValue) throws(Failure) -> [PickleValue] {
        guard case .tuple(let index) = value else { throw damaged("has \(value.kind) where a tuple belongs") }
        return arena.sequences[index]
    }

    /// A shape or strides; nil where an item is no integer.
    private func integers(_ value: PickleValue) throws(Failure) -> [Int]? {
        let items = try tuple(value)
        guard items.count <= PickleMachine.highestRank else {
            throw unsupported("has a tensor of \(items.count) dimensions")
        }
        var result: [Int] = []
        for item in items {
            guard case .integer(let integer) = item else { return nil }
            result.append(integer)
        }
        return result
    }

    private func wrongArguments(_ global: PickleGlobal) -> Failure {
        damaged("calls \(global.name) with wrong arguments")
    }

    private func damaged(_ cause: String) -> Failure { cursor.invalid("\(cause) (before byte \(cursor.position))") }

    private func unsupported(_ cause: String) -> Failure {
        cursor.unsupported(cause, hint: "Only tables of tensors are read, and nothing in the file is executed.")
    }
}
