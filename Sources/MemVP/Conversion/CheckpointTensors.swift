// Tensors of a published checkpoint, asked for by name: what is missing, misshapen, unexpected or not a number is
// `model_invalid`, naming file and tensor.
//
// Invariant: reading one tensor leaves no page of the file resident, so a conversion's memory does not grow with its input.

internal import Diagnostics
internal import ModelFile
internal import Tensor

/// Reads tensors of one file.
struct CheckpointTensors {
    let file: any TensorContainer

    /// The names, in file order.
    var names: [String] { file.tensors.names }

    /// The entry of a tensor that must be there.
    func entry(_ name: String) throws(Failure) -> TensorEntry {
        guard let entry = file.tensors[name] else {
            throw Failure(
                .modelInvalid, "\(file.path): tensor \(name)", "is not among the file's \(file.tensors.count) tensors",
                hint: "Check that this is the right file, or copy it again.")
        }
        return entry
    }

    /// The entry of a tensor that must be there with this shape.
    func entry(_ name: String, _ shape: [Int]) throws(Failure) -> TensorEntry {
        let found = try entry(name)
        guard found.shape == shape else {
            throw Failure(
                .modelInvalid, "\(file.path): tensor \(name)",
                "has the shape \(found.shape) where \(shape) is needed",
                hint: "Check that the files belong together.")
        }
        guard found.type.isFloatingPoint else {
            throw Failure(.modelInvalid, "\(file.path): tensor \(name)", "holds \(found.type.rawValue), not floats")
        }
        return found
    }

    /// The elements of an entry of this file, or of some of its rows.
    func values(_ entry: TensorEntry, rows: Range<Int>? = nil) throws(Failure) -> [Float] {
        defer { file.mapping.release() }
        let values = try file.floats(of: entry, rows: rows ?? 0..<entry.rows)
        guard values.allSatisfy(\.isFinite) else {
            throw Failure(
                .modelInvalid, "\(file.path): tensor \(entry.name)", "holds a value that is not finite",
                hint: "Copy the file again, or get it from where it was made.")
        }
        return values
    }

    /// Refuses tensors that no part of the model accounts for: a file with them is of another model.
    func refuse(unless isKnown: (String) -> Bool) throws(Failure) {
        guard let stray = names.first(where: { !isKnown($0) }) else { return }
        throw Failure(
            .modelInvalid, "\(file.path): tensor \(stray)", "is not part of this model",
            hint: "Check that this is the right file.")
    }
}
