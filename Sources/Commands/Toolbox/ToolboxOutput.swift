// Where commands put what they make.
//
// Invariants: nothing that a command reads is what it writes, however the two paths are spelled, and nothing but
// `convert adapter` and `promote` writes into a bundle. Both are found out before the work. Failure modes: `cannot_create`,
// `usage`; those of OutputFile.

internal import Diagnostics
internal import Files
internal import FineTuning
internal import FoundationEssentials

/// Files that `--out` and `--answers` name.
enum ToolboxOutput {
    /// Whether the file can be made and loses nothing that the command reads.
    ///
    /// - Parameters:
    ///   - option: the option that names it.
    ///   - inputs: the files that the command reads.
    ///   - bundle: the bundle that it runs.
    /// - Throws: as `spare`; `cannot_create`, also for a directory, `permission_denied`, `no_space`.
    static func check(
        _ path: String, of option: String = "--out", reading inputs: [String], bundle: String? = nil
    ) throws(Failure) {
        try spare(inputs, bundle: bundle, from: path, of: option)
        do throws(Failure) {
            try OutputFile.check(path)
        } catch {
            // To `OutputFile` a directory is a wrong input; here it is in the way of an output.
            guard error.code == .notRegularFile else { throw error }
            throw Failure(.cannotCreate, error.object, error.cause, hint: error.hint)
        }
    }

    /// Whether the file is none that the command reads; one that is not there yet is none.
    ///
    /// - Throws: `cannot_create` naming what would be lost; `usage` for an empty path.
    static func spare(
        _ inputs: [String], bundle: String? = nil, from path: String, of option: String = "--out"
    ) throws(Failure) {
        guard !path.isEmpty else { throw Failure(.usage, option, "is empty", hint: "Name the file to write.") }
        let place = RealPath.place(path)
        if let bundle, isWithin(bundle, path, place) {
            throw Failure(
                .cannotCreate, path, "lies in the bundle \(bundle), which it would damage",
                hint: "Write it elsewhere; memvp convert adapter and memvp promote put adapters into bundles.")
        }
        guard FileManager.default.fileExists(atPath: path) else { return }
        // /dev/stdout may lead to a regular file, but it is the link that would be replaced.
        let link = (try? FileManager.default.destinationOfSymbolicLink(atPath: path)) ?? ""
        let folder = RealPath.place(RealPath.folder(of: path))
        let isDevice = folder == "/dev" || "\(folder)/".hasPrefix("/proc/") || link.hasPrefix("/proc/")
        guard !isDevice else {
            throw Failure(
                .cannotCreate, path, "is no regular file, and would be replaced by one", hint: "Name a file to write.")
        }
        let type = (try? FileManager.default.attributesOfItem(atPath: place))?[.type] as? FileAttributeType
        guard type == .typeRegular || type == .typeDirectory else {
            throw Failure(
                .cannotCreate, path, "is no regular file, and would be replaced by one",
                hint: "Name a file to write.")
        }
        guard let input = inputs.first(where: { RealPath.existing($0) == place }) else { return }
        throw Failure(
            .cannotCreate, path, "is what the command reads (\(input)), and would be replaced",
            hint: "Name another file with \(option).")
    }

    /// Whether a file would stand in a bundle, or take the place of a file that a bundle has by a link.
    private static func isWithin(_ bundle: String, _ path: String, _ place: String) -> Bool {
        // What has no model.yaml is no bundle, which its reader says better.
        guard FileManager.default.fileExists(atPath: "\(bundle)/model.yaml"), let root = RealPath.existing(bundle)
        else { return false }
        let folder = RealPath.place(RealPath.folder(of: path))
        if place.hasPrefix("\(root)/") || "\(folder)/".hasPrefix("\(root)/") { return true }
        return [root, "\(root)/adapters"].contains { folder in
            let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
            return names.contains { RealPath.existing("\(folder)/\($0)") == place }
        }
    }
}
