// Where paths lead: symbolic links followed, `.`, `..` and doubled slashes gone. realpath(3) is the unsafe code of this file.
//
// Invariant: all paths of one file have one real path; only hard links are files of their own. Failure modes: none; what is not
// there has no real path, and is known by its path alone.

internal import FoundationEssentials
internal import Glibc

/// Paths as the file system sees them.
public enum RealPath {
    /// The path of what `path` leads to; nil where nothing is, or nothing that this user reaches.
    public static func existing(_ path: String) -> String? {
        guard let found = unsafe realpath(path, nil) else { return nil }
        defer { unsafe free(found) }
        return unsafe String(validatingCString: found)
    }

    /// Whether it is rights that keep this user from seeing what is there, or whether anything is.
    static func isOutOfReach(_ path: String) -> Bool {
        guard let found = unsafe realpath(path, nil) else { return errno == EACCES }
        unsafe free(found)
        return false
    }

    /// What a file is known by, however its path is spelled: its real path; of one that is not there its absolute path, tidied.
    public static func identity(_ path: String) -> String { existing(path) ?? absolute(path) }

    /// Where a file stands or would be made: the folders above it that are there are real ones.
    public static func place(_ path: String) -> String {
        if let real = existing(path) { return real }
        // Not even the working directory may be there any more.
        guard path != ".", path != "/" else { return absolute(path) }
        let slash = path.utf8.lastIndex(of: UInt8(ascii: "/"))
        let name = slash.map { String(path[path.utf8.index(after: $0)...]) } ?? path
        return tidy("\(place(folder(of: path)))/\(name)")
    }

    /// The folder that a path names a file of; `.` where it names none.
    public static func folder(of path: String) -> String {
        let slash = path.utf8.lastIndex(of: UInt8(ascii: "/"))
        return slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
    }

    /// The path from the root on, by its letters alone.
    static func absolute(_ path: String) -> String {
        tidy(path.hasPrefix("/") ? path : "\(FileManager.default.currentDirectoryPath)/\(path)")
    }

    /// The path without `.`, doubled slashes and what `..` takes back, by its letters alone.
    static func tidy(_ path: String) -> String {
        let isAbsolute = path.hasPrefix("/")
        var parts: [Substring] = []
        for part in path.split(separator: "/") where part != "." {
            if part != ".." {
                parts.append(part)
            } else if let last = parts.last, last != ".." {
                parts.removeLast()
            } else if !isAbsolute {
                parts.append(part)
            }
        }
        return (isAbsolute ? "/" : "") + parts.joined(separator: "/")
    }
}
