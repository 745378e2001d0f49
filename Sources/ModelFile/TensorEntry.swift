// What all containers know of a tensor, and the table that finds it by name.
//
// Invariant: an entry of a `TensorTable` has been checked against its file: its bytes lie inside it, shape and strides
// cannot lead outside them, and names are unique.

import Diagnostics

/// A tensor of a container: its name, element type, shape and place in the file.
public struct TensorEntry: Sendable, Equatable {
    /// The name it is stored under.
    public let name: String
    /// How its elements are stored.
    public let type: ElementType
    /// Its dimensions in row-major order, the fastest last; empty for a scalar.
    public let shape: [Int]
    /// Elements between neighbours along each dimension, where they are not stored in row-major order (PyTorch only).
    public let strides: [Int]?
    /// Its bytes, counted from the start of the file.
    public let byteRange: Range<Int>

    init(name: String, type: ElementType, shape: [Int], strides: [Int]? = nil, byteRange: Range<Int>) {
        self.name = name
        self.type = type
        self.shape = shape
        self.strides = strides
        self.byteRange = byteRange
    }

    /// Where its bytes start in the file: what a mapping at a fixed place needs.
    public var offset: Int { byteRange.lowerBound }
    /// The last dimension; 1 for a scalar.
    public var columns: Int { shape.last ?? 1 }
    /// The product of the other dimensions; 1 for scalars and vectors.
    public var rows: Int { shape.dropLast().reduce(1, *) }
    /// The number of elements.
    public var count: Int { rows * columns }
}

/// The tensors of a container, in file order and by name.
public struct TensorTable: Sendable {
    /// The entries in the order the file lists them.
    public let entries: [TensorEntry]
    private let indices: [String: Int]

    /// Indexes entries that have been checked one by one; names that occur twice are refused.
    init(_ entries: [TensorEntry], path: String) throws(Failure) {
        var indices: [String: Int] = [:]
        indices.reserveCapacity(entries.count)
        for (index, entry) in entries.enumerated() {
            guard indices.updateValue(index, forKey: entry.name) == nil else {
                throw Failure(
                    .modelInvalid, "\(path): tensor \(entry.name)", "is there twice",
                    hint: "Copy or convert the file again.")
            }
        }
        self.entries = entries
        self.indices = indices
    }

    /// The entry of that name.
    public subscript(name: String) -> TensorEntry? { indices[name].map { entries[$0] } }

    /// The names in file order.
    public var names: [String] { entries.map(\.name) }
    /// How many tensors there are.
    public var count: Int { entries.count }
}
