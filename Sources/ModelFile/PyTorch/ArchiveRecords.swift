// What PyTorch puts into its zip files: ROOT/data.pkl, ROOT/data/KEY for each storage, and for TorchScript
// ROOT/constants.pkl and ROOT/code, of which only the presence of the first matters here.

import Diagnostics

/// A parsed PyTorch archive.
struct ArchiveRecords {
    let root: PickleValue
    let arena: PickleArena
    /// Whether the archive holds a TorchScript module.
    let isScript: Bool
    /// Where each storage's elements stand in the file, by key.
    private(set) var storages: [String: Range<Int>] = [:]

    /// Parses a whole file's bytes, which begin as a zip file.
    init(parsing bytes: RawSpan, path: String) throws(Failure) {
        let archive = try ZipArchive(parsing: bytes, path: path)
        let folder = archive.names.first.flatMap { $0.split(separator: "/").first } ?? ""
        guard archive.has("\(folder)/data.pkl") else {
            throw Failure(
                .modelInvalid, path, "is a zip file without \(folder)/data.pkl", hint: "Files of torch.save are read.")
        }
        try ArchiveRecords.checkByteOrder(archive, "\(folder)/byteorder", bytes, path)
        isScript = archive.has("\(folder)/constants.pkl")
        let pickle = try archive.range(of: "\(folder)/data.pkl", in: bytes)
        let part = bytes.extracting(0..<pickle.upperBound)
        var machine = PickleMachine(
            ByteCursor(part, path: path, part: "data.pkl", position: pickle.lowerBound), isScript: isScript)
        root = try machine.run()
        arena = machine.arena
        for storage in arena.storages { try place(storage, archive, "\(folder)/data/\(storage.key)", bytes, path) }
    }

    private mutating func place(
        _ storage: PickleStorage, _ archive: ZipArchive, _ name: String, _ bytes: RawSpan, _ path: String
    ) throws(Failure) {
        let range: Range<Int>
        if let known = storages[storage.key] { range = known } else { range = try archive.range(of: name, in: bytes) }
        let (needed, overflow) = storage.elementCount.multipliedReportingOverflow(by: storage.type.blockBytes)
        guard !overflow, needed == range.count else {
            throw Failure(
                .modelInvalid, "\(path): zip entry \(name)",
                "has \(range.count) bytes where its tensors say \(storage.elementCount) elements of "
                    + storage.type.rawValue,
                hint: "Copy the file again.")
        }
        storages[storage.key] = range
    }

    /// Files of PyTorch before 2.1 have no such record and are little-endian.
    private static func checkByteOrder(
        _ archive: ZipArchive, _ name: String, _ bytes: RawSpan, _ path: String
    ) throws(Failure) {
        guard archive.has(name) else { return }
        guard bytes.copy(try archive.range(of: name, in: bytes)) == Array("little".utf8) else {
            throw Failure(
                .modelUnsupported, "\(path): \(name)", "does not say little-endian",
                hint: "Save the file on a little-endian machine.")
        }
    }
}
