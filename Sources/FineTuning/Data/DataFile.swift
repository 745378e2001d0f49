// Files that data sets name, read whole and within limits, and files that are made of them, written whole or not at all.

internal import Diagnostics
internal import Files
internal import FoundationEssentials
internal import Vision

/// Files on disk.
enum DataFile {
    /// The bytes of a photo that a row names, as many as serving would take: a row may name anything.
    ///
    /// - Throws: `not_found`, `unreadable`, `not_regular_file`, `image_too_large`.
    static func photo(_ path: String) throws(Failure) -> [UInt8] {
        try InputFile.read(path, limit: ImageLimits().maxBytes, tooLarge: .imageTooLarge)
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
        // As the kernel follows it: by its letters alone none/../photo.jpg would be there.
        let attributes = RealPath.existing(path).flatMap { try? FileManager.default.attributesOfItem(atPath: $0) }
        return switch attributes?[.type] as? FileAttributeType {
        case .typeRegular?: nil
        case nil: RealPath.isOutOfReach(path) ? "stands where this user may not look" : "is missing"
        default: "is not a regular file"
        }
    }
}
