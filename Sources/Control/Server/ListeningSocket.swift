// A Unix socket that is ready to be accepted from: adopted from systemd, or bound here when the daemon is run by hand.
//
// Invariants: the name never has a wider mode than asked for, at no instant, and nothing changes it once the socket listens;
// what is not a socket is never removed; what another daemon listens on is never taken; on release only the very name that
// was bound here is removed (same device and inode).
// Failure modes: every refusal names the path and what stands there.

public import Diagnostics
import Glibc
import Synchronization

/// A listening Unix stream socket and the name that goes with it.
public final class ListeningSocket: Sendable {
    /// What is served on it.
    public let role: SocketRole
    /// Where it came from, for messages: its path, or its name in systemd.
    public let origin: String

    private let bound: (path: String, identity: FileIdentity)?
    private let nameStands = Atomic(true)
    // Guards the descriptor: open and ours while it is not nil.
    private let descriptor: Mutex<Int32?>

    private init(role: SocketRole, origin: String, descriptor: Int32, bound: (String, FileIdentity)?) {
        self.role = role
        self.origin = origin
        self.bound = bound
        self.descriptor = Mutex(descriptor)
    }

    deinit { release() }

    /// Binds and listens at `path`, replacing a socket that nobody listens on any more.
    ///
    /// - Parameters:
    ///   - path: Where the socket goes; its directory must be there. At most 107 bytes.
    ///   - mode: The permission bits of its name.
    /// - Throws: `configuration_invalid` for a path that cannot be a socket's, `cannot_create` when something else stands
    ///   there or another process listens, `temporary` when another process binds in that directory just now,
    ///   `permission_denied` or `input_output` as the kernel says.
    public static func bind(_ role: SocketRole, path: String, mode: UInt32 = 0o660) throws(Failure) -> ListeningSocket {
        let address = try SocketBridge.address(path)
        // Two daemons that start at once would each find the other's socket not yet listening and remove it.
        let lock = try FileBridge.lockDirectory(FileBridge.split(path).directory)
        defer { FileBridge.unlockDirectory(lock) }
        try clearStale(path, address)
        let descriptor = try SocketBridge.makeSocket()
        do throws(Failure) {
            guard case .done = SocketBridge.setModeBeforeBind(descriptor, mode) else {
                throw Failure(.inputOutput, path, "the socket cannot be given its mode: \(FileBridge.errorText(errno))")
            }
            if case .failed(let number) = SocketBridge.bind(descriptor, address) { throw bindFailure(path, number) }
            let identity = try finish(descriptor, path, mode)
            return ListeningSocket(role: role, origin: path, descriptor: descriptor, bound: (path, identity))
        } catch {
            close(descriptor)
            throw error
        }
    }

    /// Takes over a descriptor that systemd passed.
    ///
    /// - Throws: `configuration_invalid` unless it is a Unix stream socket that listens.
    static func adopt(_ role: SocketRole, descriptor: Int32, name: String) throws(Failure) -> ListeningSocket {
        let hint = "The unit \(name) must say ListenStream= with a path."
        guard let domain = SocketBridge.option(descriptor, SO_DOMAIN) else {
            throw Failure(.configurationInvalid, name, "descriptor \(descriptor) is not a socket", hint: hint)
        }
        guard domain == AF_UNIX, SocketBridge.option(descriptor, SO_TYPE) == Int32(SOCK_STREAM.rawValue) else {
            throw Failure(
                .configurationInvalid, name, "descriptor \(descriptor) is not a Unix stream socket", hint: hint)
        }
        guard SocketBridge.option(descriptor, SO_ACCEPTCONN) == 1 else {
            throw Failure(
                .configurationInvalid, name, "descriptor \(descriptor) does not listen",
                hint: "The unit \(name) must say Accept=no.")
        }
        SocketBridge.setCloseOnExec(descriptor)
        return ListeningSocket(role: role, origin: name, descriptor: descriptor, bound: nil)
    }

    /// Hands the descriptor over; the caller closes it. `nil` when it was taken before.
    func take() -> Int32? {
        descriptor.withLock { descriptor in
            defer { descriptor = nil }
            return descriptor
        }
    }

    /// Removes the name if it was bound here and is still the same, and closes the descriptor unless it was taken.
    public func release() {
        removeName()
        if let descriptor = take() { close(descriptor) }
    }

    /// Removes the name if it was bound here and is still the same. To be called while the socket is open: it keeps its inode
    /// from being given to another file, which could then not be told from it.
    func removeName() {
        guard let bound, nameStands.exchange(false, ordering: .relaxed),
            let now = try? FileBridge.status(bound.path), now.identity == bound.identity
        else { return }
        // Nothing is lost when this fails: the next start replaces a socket that nobody listens on.
        try? FileBridge.remove(bound.path)
    }

    // MARK: Steps of bind

    /// Removes a socket that nobody listens on; refuses anything else that stands at `path`.
    private static func clearStale(_ path: String, _ address: (sockaddr_un, socklen_t)) throws(Failure) {
        guard let present = try FileBridge.status(path) else { return }
        guard present.kind == S_IFSOCK else {
            throw Failure(
                .cannotCreate, path, "stands there already and is not a socket",
                hint: "Move it away, or name another path under sockets.")
        }
        let probe = try SocketBridge.makeSocket()
        defer { close(probe) }
        // A full backlog would make a blocking connect wait; here it answers EAGAIN, which is a sign of life too.
        SocketBridge.setNonBlocking(probe)
        switch SocketBridge.connect(probe, address) {
        case .failed(ECONNREFUSED): try FileBridge.remove(path)
        case .failed(ENOENT): break
        case .done, .failed(EAGAIN):
            throw Failure(
                .cannotCreate, path, "another process is listening there",
                hint: "Stop it first: systemctl stop memvpd memvpd-control.socket memvpd-metrics.socket.")
        case .failed(let number):
            throw Failure(
                .cannotCreate, path, "belongs to another program: \(FileBridge.errorText(number))",
                hint: "Remove it yourself, or name another path under sockets.")
        }
    }

    /// From bind(2) to listen(2): until the latter nobody can connect, so the mode is right before anybody could.
    private static func finish(_ descriptor: Int32, _ path: String, _ mode: UInt32) throws(Failure) -> FileIdentity {
        do throws(Failure) {
            guard let made = try FileBridge.status(path) else {
                throw Failure(.cannotCreate, path, "was removed while it was being set up")
            }
            // The umask may have narrowed the mode; it can only be widened here, up to what was asked.
            if made.mode != mode { try FileBridge.setMode(path, mode) }
            if case .failed(let number) = SocketBridge.listen(descriptor, backlog: 128) {
                throw Failure(.inputOutput, path, "cannot be listened on: \(FileBridge.errorText(number))")
            }
            return made.identity
        } catch {
            try? FileBridge.remove(path)
            throw error
        }
    }

    private static func bindFailure(_ path: String, _ number: Int32) -> Failure {
        let cause = "the socket cannot be bound: \(FileBridge.errorText(number))"
        switch number {
        case EACCES, EPERM, EROFS:
            return Failure(.permissionDenied, path, cause, hint: "Check the owner and mode of the directory.")
        default: return Failure(.cannotCreate, path, cause)
        }
    }
}
