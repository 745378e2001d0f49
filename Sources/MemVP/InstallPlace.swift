// Where a bundle is installed: a directory of its own beside the target, then the target.
//
// Invariants: the target is at every moment nothing, the old bundle whole or the new one whole (where the file system cannot
// exchange two names, nothing for the time of one rename); the old one is kept as TARGET.old, TARGET.old-2, …
// Nothing but a bundle makes way: what somebody else keeps there is no model.
// Failure modes: `cannot_create`, `permission_denied`, `no_space`, `input_output`.

internal import Diagnostics
internal import FoundationEssentials

/// The way of a new directory to its name.
struct InstallPlace {
    /// Where it will stand.
    let target: String
    /// Where it is made: on the same file system.
    let partial: String
    private let replaces: Bool

    /// Makes the directory beside the target.
    ///
    /// - Throws: `cannot_create` when something other than an empty directory stands at `path` and is no bundle, or
    ///   not to be replaced.
    init(_ path: String, replace: Bool) throws(Failure) {
        var target = path
        while target.count > 1, target.hasSuffix("/") { target.removeLast() }
        replaces = try Self.isInUse(target, replace: replace)
        let slash = target.lastIndex(of: "/")
        let parent = slash.map { $0 == target.startIndex ? "/" : String(target[..<$0]) } ?? "."
        let name = slash.map { String(target[target.index(after: $0)...]) } ?? target
        do {
            try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true)
        } catch {
            throw Failure(.cannotCreate, parent, "cannot be made", hint: "Check the permissions of its parent.")
        }
        self.target = target
        partial = "\(parent)/.\(name).partial-\(String(UInt64.random(in: .min ... .max), radix: 36))"
        try DirectoryBridge.make(partial)
    }

    /// Whether a bundle stands at `target` that is to be replaced; false where nothing or an empty directory does.
    private static func isInUse(_ target: String, replace: Bool) throws(Failure) -> Bool {
        let files = FileManager.default
        var isDirectory = false
        guard files.fileExists(atPath: target, isDirectory: &isDirectory) else { return false }
        guard isDirectory else {
            throw Failure(
                .cannotCreate, target, "exists already",
                hint: "It is no directory. Remove it, or install elsewhere with --to.")
        }
        if (try? files.contentsOfDirectory(atPath: target))?.isEmpty == true { return false }
        guard files.fileExists(atPath: "\(target)/model.yaml") else {
            throw Failure(
                .cannotCreate, target, "is a directory that holds something else than a model",
                hint: "Move what is there away, or install elsewhere with --to.")
        }
        guard replace else {
            throw Failure(
                .cannotCreate, target, "exists already",
                hint: "--replace keeps what is there as \(backup(of: target)); --to installs elsewhere.")
        }
        return true
    }

    /// The first free name to keep what stands at `target` under.
    private static func backup(of target: String) -> String {
        var number = 1
        while true {
            let backup = number == 1 ? "\(target).old" : "\(target).old-\(number)"
            if !DirectoryBridge.exists(backup) { return backup }
            number += 1
        }
    }

    /// Puts the finished directory in place; returns where the one that it replaced stands now.
    ///
    /// - Parameters:
    ///   - exchange: exchanges two names, or says that the file system cannot; tests give others.
    ///   - exchanged: called when the two have exchanged their names, for tests that fail there.
    /// - Throws: `temporary` while another program changes the old one, what the file system says; the new directory is then removed, and the old one where it was, or the hint says where both
    ///   are.
    func settle(
        exchange: (String, String) throws(Failure) -> Bool = DirectoryBridge.exchange,
        exchanged: () throws(Failure) -> Void = {}
    ) throws(Failure) -> String? {
        // Whoever changes the old one meanwhile would go on in the new one, by its name.
        let lock = replaces ? try orClear { () throws(Failure) in try DirectoryBridge.lock(target) } : nil
        defer { if let lock { DirectoryBridge.unlock(lock) } }
        var backup: String?
        if !replaces {
            try orClear { () throws(Failure) in try DirectoryBridge.rename(partial, to: target) }
        } else if try orClear({ () throws(Failure) in try exchange(partial, target) }) {
            backup = try keepExchanged(exchanged)
        } else {
            backup = try orClear { () throws(Failure) in try keep(target) }
            do throws(Failure) {
                try DirectoryBridge.rename(partial, to: target)
            } catch {
                clear()
                if let backup, (try? DirectoryBridge.rename(backup, to: target)) == nil {
                    throw error.advising("The old one stands at \(backup).")
                }
                throw error
            }
        }
        do throws(Failure) { try DirectoryBridge.syncParent(of: target) } catch {
            let old = backup.map { ", the old one at \($0)" } ?? ""
            throw error.advising("The new one is in place\(old); only that a power cut leaves it there is not sure.")
        }
        return backup
    }

    /// Removes what was not settled. Never called once the two names are exchanged: the old one has this name then.
    func clear() { try? FileManager.default.removeItem(atPath: partial) }

    private func orClear<Result>(_ work: () throws(Failure) -> Result) throws(Failure) -> Result {
        do throws(Failure) { return try work() } catch {
            clear()
            throw error
        }
    }

    /// Gives the old directory, which the exchange has left at `partial`, a backup's name, or the place that it had.
    private func keepExchanged(_ exchanged: () throws(Failure) -> Void) throws(Failure) -> String {
        do throws(Failure) {
            try exchanged()
            return try keep(partial)
        } catch {
            guard (try? DirectoryBridge.exchange(partial, target)) == true else {
                throw error.advising("The new one is in place, and the old one stands at \(partial).")
            }
            clear()
            throw error
        }
    }

    /// Renames what stands at `path` to the first free backup name.
    private func keep(_ path: String) throws(Failure) -> String {
        let backup = Self.backup(of: target)
        try DirectoryBridge.rename(path, to: backup)
        return backup
    }
}
