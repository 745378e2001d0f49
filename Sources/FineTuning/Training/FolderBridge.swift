// mkdir(2) for a directory and those above it: what Foundation says of a failure is no text for people. With
// RealPathBridge.swift the only unsafe code of this module.
//
// Failure modes: the error number of the first directory that could not be made.

internal import Glibc
internal import SystemPackage

/// System calls on directories.
enum FolderBridge {
    /// Makes a directory, and those above it that are not there; one that is there is kept.
    ///
    /// - Throws: what mkdir(2) says. A file in the place of the directory itself is left to whoever opens it.
    static func make(_ path: String) throws(Errno) {
        let above = path.utf8.indices.dropFirst().filter { path.utf8[$0] == UInt8(ascii: "/") }
        for end in above + [path.endIndex] {
            let result = unsafe mkdir(String(path[..<end]), 0o777)
            let number = errno
            guard result == 0 || number == EEXIST else { throw Errno(rawValue: number) }
        }
    }
}
