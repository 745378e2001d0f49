// What a pickle of tensors can hold, as flat values: containers live in the machine's arena and are named by index, so
// no nesting however deep, and no cycle, can exhaust the call stack or leak.

/// A value on the pickle machine's stack.
enum PickleValue {
    case none
    case bool(Bool)
    case integer(Int)
    case float(Double)
    case text(String)
    /// Index into the arena's sequences.
    case tuple(Int)
    /// Index into the arena's sequences.
    case list(Int)
    /// Index into the arena's dictionaries.
    case dictionary(Int)
    /// An allowed class or function.
    case global(PickleGlobal)
    /// An object without a meaning here, whose attributes are dropped.
    case inert
    /// Index into the arena's storages.
    case storage(Int)
    /// Index into the arena's tensors.
    case tensor(Int)
    /// A TorchScript module: index into the arena's objects.
    case object(Int)

    /// What to call the value in a message.
    var kind: String {
        switch self {
        case .none: return "None"
        case .bool: return "a truth value"
        case .integer: return "an integer"
        case .float: return "a float"
        case .text: return "a string"
        case .tuple: return "a tuple"
        case .list: return "a list"
        case .dictionary: return "a dictionary"
        case .global(let global): return global.name
        case .inert: return "an inert object"
        case .storage: return "a storage"
        case .tensor: return "a tensor"
        case .object: return "a module"
        }
    }
}

/// A reference to a storage: which one, its element type and how many elements the pickle says it has.
struct PickleStorage: Equatable {
    let key: String
    let type: ElementType
    let elementCount: Int
}

/// A tensor as the pickle describes it; nothing here has been checked against the storage yet.
struct PickleTensor {
    let storage: PickleStorage
    let offset: Int  // elements
    let shape: [Int]
    let strides: [Int]  // elements
}

/// Everything a pickle made, and the value it ended with.
struct PickleArena {
    var sequences: [[PickleValue]] = []
    var dictionaries: [[(key: PickleValue, value: PickleValue)]] = []
    var storages: [PickleStorage] = []
    var tensors: [PickleTensor] = []
    /// The state of each TorchScript module, once BUILD has set it.
    var objects: [PickleValue] = []
}
