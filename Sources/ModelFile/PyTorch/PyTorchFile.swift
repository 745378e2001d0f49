// A file of torch.save or torch.jit.save: the table of its tensors, read without executing anything.
//
// Invariant: every tensor of the table has been held against its storage and the storage against the file.
// Failure modes: `model_invalid` for damage; `model_unsupported` for an opcode, global or layout that tensor tables do not
// need, by name.

public import Diagnostics
public import Tensor

/// A PyTorch checkpoint: legacy stream, zip archive or TorchScript archive.
///
/// Nested dictionaries, lists and modules are read as one table with dotted names (`model.module.fc1.weight`); values
/// that are not tensors are passed over.
public final class PyTorchFile: TensorContainer {
    /// The three layouts.
    public enum Layout: Sendable, Equatable {
        /// torch.save before 1.6, or with `_use_new_zipfile_serialization=False`.
        case legacy
        /// torch.save.
        case archive
        /// torch.jit.save.
        case torchScript
    }

    /// The mapped file.
    public let mapping: MappedFile
    /// How the file is laid out.
    public let layout: Layout
    /// The tensors in pickled order and by name.
    public let tensors: TensorTable

    /// Opens and checks a file.
    ///
    /// - Throws: `model_missing`, `permission_denied` or `input_output` when it cannot be opened; `model_invalid`,
    ///   `model_unsupported` as above.
    public init(path: String) throws(Failure) {
        let mapping = try MappedFile(path: path)
        let contents = try PyTorchContents(parsing: mapping.bytes, path: path)
        self.mapping = mapping
        layout = contents.layout
        tensors = try TensorTable(contents.entries, path: path)
    }
}

/// The parts of a PyTorch file.
struct PyTorchContents {
    let layout: PyTorchFile.Layout
    private(set) var entries: [TensorEntry] = []

    /// Parses a whole file's bytes.
    init(parsing bytes: RawSpan, path: String) throws(Failure) {
        let state: StateDictionary
        let storages: [String: Range<Int>]
        let start = bytes.copy(0..<min(bytes.byteCount, LegacyStream.magic.count))
        if start == LegacyStream.magic {
            let stream = try LegacyStream(parsing: bytes, path: path)
            layout = .legacy
            storages = stream.storages
            state = try StateDictionary(stream.root, arena: stream.arena, path: path)
        } else if start.starts(with: [0x50, 0x4b, 0x03, 0x04]) {
            let records = try ArchiveRecords(parsing: bytes, path: path)
            layout = records.isScript ? .torchScript : .archive
            storages = records.storages
            state = try StateDictionary(records.root, arena: records.arena, path: path)
        } else {
            throw Failure(
                .modelInvalid, path, "is neither a zip file nor a stream of torch.save",
                hint: "Check that this is a PyTorch checkpoint.")
        }
        for (name, tensor) in state.tensors {
            guard let storage = storages[tensor.storage.key] else {
                throw Failure(
                    .modelInvalid, "\(path): tensor \(name)", "uses storage \(tensor.storage.key), which is not there",
                    hint: "Copy the file again.")
            }
            entries.append(try TensorPlacement.entry(name, tensor, storage: storage, path: path))
        }
    }
}
