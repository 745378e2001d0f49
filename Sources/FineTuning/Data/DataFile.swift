// Files that data sets name, read whole and within limits, and files that are made of them, written whole or not at all.

internal import Diagnostics
internal import FoundationEssentials
internal import ModelFile

/// Files on disk.
enum DataFile {
    /// The bytes of a photo that a row names, or of another regular file of at most `limit` bytes.
    ///
    /// - Throws: `not_found`, `unreadable`, `not_regular_file`; `image_too_large` over the limit.
    static func read(_ path: String, limit: Int) throws(Failure) -> [UInt8] {
        try InputFile.read(path, limit: limit, tooLarge: .imageTooLarge)
    }

    /// Puts a file in its place, whole or not at all. One that stood there leaves it its owner and mode.
    ///
    /// - Throws: `cannot_create`, `permission_denied`, `no_space`, `input_output`.
    static func write(_ bytes: [UInt8], to path: String) throws(Failure) {
        let file = try OutputFile(path: path)
        if let access = FileAccess(of: path) { file.grant(access) }
        try file.write(bytes)
        try file.commit()
    }

    /// What is wrong with a file that should be there, in words; nil for a regular file.
    static func fault(_ path: String) -> String? {
        let file = URL(filePath: path).resolvingSymlinksInPath().path
        let attributes = try? FileManager.default.attributesOfItem(atPath: file)
        return switch attributes?[.type] as? FileAttributeType {
        case .typeRegular?: nil
        case nil: "is missing"
        default: "is not a regular file"
        }
    }
}
