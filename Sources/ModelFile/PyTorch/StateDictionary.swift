// A pickled state dictionary, or a TorchScript module tree, as a flat list of named tensors.
//
// Invariant: a pickle is a graph, and a hostile one may hold cycles or share one part a billion times; depth, visits and
// name lengths are bounded. Failure modes: `model_invalid`, `model_unsupported`, naming file and place.

import Diagnostics

/// Flattening of nested dictionaries, lists and modules: names are joined by dots, other values are passed over.
struct StateDictionary {
    private static let deepest = 64
    private static let mostVisits = 1 << 18
    private static let longestName = 512

    /// The tensors in the order they were pickled.
    private(set) var tensors: [(name: String, tensor: PickleTensor)] = []

    private let arena: PickleArena
    private let path: String
    private var visits = 0

    /// Walks from the value that the pickle ended with.
    init(_ root: PickleValue, arena: PickleArena, path: String) throws(Failure) {
        self.arena = arena
        self.path = path
        switch root {
        case .dictionary, .object, .list, .tuple: try visit(root, "", depth: 0)
        default:
            throw Failure(.modelUnsupported, path, "holds \(root.kind), not a table of tensors")
        }
    }

    private mutating func visit(_ value: PickleValue, _ name: String, depth: Int) throws(Failure) {
        visits += 1
        guard depth < StateDictionary.deepest, visits < StateDictionary.mostVisits,
            name.utf8.count <= StateDictionary.longestName
        else {
            throw Failure(
                .modelInvalid, "\(path): \(name.prefix(80))", "is nested too deeply, too often or under too long a name"
            )
        }
        switch value {
        case .tensor(let index): tensors.append((name, arena.tensors[index]))
        case .dictionary(let index):
            for (key, value) in arena.dictionaries[index] { try visitItem(key, value, name, depth) }
        case .tuple(let index), .list(let index):
            for (index, item) in arena.sequences[index].enumerated() {
                try visit(item, join(name, String(index)), depth: depth + 1)
            }
        case .object(let index): try visit(arena.objects[index], name, depth: depth + 1)
        case .none, .bool, .integer, .float, .text, .global, .inert, .storage: break
        }
    }

    private mutating func visitItem(
        _ key: PickleValue, _ value: PickleValue, _ name: String, _ depth: Int
    ) throws(Failure) {
        switch key {
        case .text(let text): try visit(value, join(name, text), depth: depth + 1)
        case .integer(let number): try visit(value, join(name, String(number)), depth: depth + 1)
        default:
            throw Failure(.modelUnsupported, "\(path): \(name)", "has a dictionary key that is \(key.kind)")
        }
    }

    private func join(_ name: String, _ part: String) -> String { name.isEmpty ? part : "\(name).\(part)" }
}
