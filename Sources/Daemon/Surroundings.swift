// What is around the daemon: what systemd passed to it, and the files beside the spool. Tests bring their own.

internal import Control
internal import Diagnostics
internal import FoundationEssentials
internal import Synchronization

/// What the daemon is given when it is made.
struct Surroundings: Sendable {
    /// Tells systemd.
    let notifier: SystemdNotifier
    /// Sockets that listen already.
    let sockets: [SocketRole: ListeningSocket]
    /// Looks at the outbox.
    var outbox = OutboxLook()
    /// How long a look at the spool is waited for.
    var spool = SpoolLook.Patience()
    /// Writes the metrics' textfile: where, and what. Waits for the disk.
    var writeTextfile: @Sendable (_ path: String, _ text: String) throws(Failure) -> Void = {
        (path, text) throws(Failure) in try TextfileWriter(path: path).write(text)
    }

    /// What systemd passed, taken out of the environment. Call once, before anything of ours runs beside it.
    ///
    /// - Throws: `configuration_invalid` when it is not what systemd writes.
    static func take() throws(Failure) -> Surroundings {
        Surroundings(notifier: try SystemdNotifier(), sockets: try SocketActivation.take())
    }
}

/// What keeps outcomes from the outbox, as far as can be told without waiting for its disk.
final class OutboxLook: Sendable {
    private let thread = SideThread()
    /// As of the last look that came back. Before the first one nothing is known: the spool has opened the directory.
    private let known = Mutex<String?>(nil)
    private let patience: Duration
    private let look: @Sendable (String) -> String?

    /// - Parameters:
    ///   - patience: how long a look is waited for.
    ///   - look: finds out why nothing can be put into a directory; nil when it can.
    init(
        patience: Duration = .seconds(2),
        look: @escaping @Sendable (String) -> String? = OutboxLook.obstacle(toWriting:)
    ) {
        (self.patience, self.look) = (patience, look)
    }

    /// Why nothing can be put into the outbox; nil when it can. Of a look that does not come back soon the last one's answer.
    func obstacle(at directory: String) async -> String? {
        await thread.run(within: patience) { [self] in
            let found = look(directory)
            known.withLock { $0 = found }
        }
        return known.withLock { $0 }
    }

    /// Looks at once, for as long as that takes.
    static func obstacle(toWriting directory: String) -> String? {
        var isDirectory = false
        let files = FileManager.default
        guard files.fileExists(atPath: directory, isDirectory: &isDirectory) else { return "does not exist" }
        guard isDirectory else { return "is not a directory" }
        return files.isWritableFile(atPath: directory) ? nil : "is not writable"
    }
}
