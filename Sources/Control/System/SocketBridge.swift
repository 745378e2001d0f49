// The only place of this library where C's socket calls are made (unix(7), socket(7), sd_listen_fds(3), sd_notify(3)).
//
// Invariants: every socket is made with CLOEXEC; an address never exceeds `sun_path`; no call raises SIGPIPE.
// Failure modes: every call that fails becomes a `Failure` or an error number, by which the caller words its own.

import Diagnostics
import Glibc
import NIOCore

/// Who is at the other end of a Unix socket, as the kernel recorded it when the connection was made (SO_PEERCRED).
public struct PeerCredentials: Sendable, Equatable {
    /// The process that connected.
    public let processID: Int32
    /// Its effective user.
    public let userID: UInt32
    /// Its effective group.
    public let groupID: UInt32
}

/// Unix sockets through C.
enum SocketBridge {
    /// The memory of `struct ucred`, which Glibc's module map hides behind _GNU_SOURCE.
    struct RawCredentials: Sendable {
        var processID: Int32 = 0
        var userID: UInt32 = 0
        var groupID: UInt32 = 0
    }

    /// What a call on a socket gave: a value, or the error number.
    enum Outcome {
        case done(Int)
        case failed(Int32)
    }

    /// The longest path of a socket in bytes: `sun_path` has 108, with the terminating zero (unix(7)).
    static let pathLimit = 107

    // MARK: Addresses

    /// The address of a path, or of an abstract name when it begins with `@` and `abstract` is allowed.
    ///
    /// - Throws: `configuration_invalid` when it is empty, too long, or holds a zero byte.
    static func address(_ path: String, abstract: Bool = false) throws(Failure) -> (sockaddr_un, socklen_t) {
        var bytes = Array(path.utf8)
        guard !bytes.isEmpty, !bytes.contains(0) else {
            throw Failure(.configurationInvalid, path, "is not the path of a socket")
        }
        guard bytes.count <= pathLimit else {
            throw Failure(
                .configurationInvalid, path,
                "has \(bytes.count) bytes, more than the \(pathLimit) that the path of a Unix socket can have",
                hint: "Use a shorter directory, as in /run/memvpd.")
        }
        let isAbstract = abstract && bytes[0] == UInt8(ascii: "@")
        if isAbstract { bytes[0] = 0 }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: bytes) }
        // An abstract name is as long as the address says; a path ends at its zero byte, which is counted.
        let header = MemoryLayout<sockaddr_un>.size - MemoryLayout.size(ofValue: address.sun_path)
        return (address, socklen_t(header + bytes.count + (isAbstract ? 0 : 1)))
    }

    // MARK: Making and connecting

    static func makeSocket(datagram: Bool = false) throws(Failure) -> Int32 {
        let kind = datagram ? Int32(SOCK_DGRAM.rawValue) : Int32(SOCK_STREAM.rawValue)
        let descriptor = socket(AF_UNIX, kind | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else {
            throw Failure(.inputOutput, "socket", "cannot be made: \(FileBridge.errorText(errno))")
        }
        return descriptor
    }

    static func bind(_ descriptor: Int32, _ address: (sockaddr_un, socklen_t)) -> Outcome {
        unsafe call(address) { unsafe Glibc.bind(descriptor, $0, $1) }
    }

    static func connect(_ descriptor: Int32, _ address: (sockaddr_un, socklen_t)) -> Outcome {
        unsafe call(address) { unsafe Glibc.connect(descriptor, $0, $1) }
    }

    static func listen(_ descriptor: Int32, backlog: Int32) -> Outcome {
        Glibc.listen(descriptor, backlog) == 0 ? .done(0) : .failed(errno)
    }

    private static func call(
        _ address: (sockaddr_un, socklen_t), _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Outcome {
        var storage = address.0
        let result = unsafe withUnsafePointer(to: &storage) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, address.1) }
        }
        return result == 0 ? .done(0) : .failed(errno)
    }

    // MARK: Options

    static func setNonBlocking(_ descriptor: Int32) {
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    }

    static func setCloseOnExec(_ descriptor: Int32) {
        _ = fcntl(descriptor, F_SETFD, fcntl(descriptor, F_GETFD) | FD_CLOEXEC)
    }

    /// Bounds a blocking connect or send (SO_SNDTIMEO, socket(7)).
    static func setSendTimeout(_ descriptor: Int32, milliseconds: Int) {
        var limit = timeval(tv_sec: milliseconds / 1000, tv_usec: (milliseconds % 1000) * 1000)
        _ = unsafe setsockopt(
            descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    /// Sets the mode that bind(2) will give to the socket's name, before the name exists: the kernel takes it from the
    /// socket itself and cuts it by the umask, so there is no instant at which the name is more open than asked.
    static func setModeBeforeBind(_ descriptor: Int32, _ mode: UInt32) -> Outcome {
        fchmod(descriptor, mode) == 0 ? .done(0) : .failed(errno)
    }

    /// A socket option of type `int`; `nil` when the descriptor is not a socket.
    static func option(_ descriptor: Int32, _ name: Int32) -> Int32? {
        var value: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        return unsafe getsockopt(descriptor, SOL_SOCKET, name, &value, &length) == 0 ? value : nil
    }

    /// Who connected to `channel`; `nil` when it is not a socket.
    static func peerCredentials(_ channel: any Channel) -> EventLoopFuture<PeerCredentials?> {
        guard let provider = channel as? any SocketOptionProvider else {
            return channel.eventLoop.makeSucceededFuture(nil)
        }
        // The type is what makes this safe: the kernel writes exactly these twelve bytes.
        let future: EventLoopFuture<RawCredentials> = provider.unsafeGetSocketOption(
            level: SocketOptionLevel(SOL_SOCKET), name: SocketOptionName(SO_PEERCRED))
        return future.map { PeerCredentials(processID: $0.processID, userID: $0.userID, groupID: $0.groupID) }
    }

    // MARK: Sending and receiving

    /// Sends what fits now, or blocks within the send timeout; never SIGPIPE.
    static func send(_ descriptor: Int32, _ bytes: ArraySlice<UInt8>, wait: Bool = false) -> Outcome {
        let flags = Int32(MSG_NOSIGNAL) | (wait ? 0 : Int32(MSG_DONTWAIT))
        let count = unsafe bytes.withUnsafeBytes { unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, flags) }
        return count >= 0 ? .done(count) : .failed(errno)
    }

    /// Receives what is there into `buffer`; zero bytes mean the peer has finished.
    static func receive(_ descriptor: Int32, into buffer: inout [UInt8]) -> Outcome {
        let count = unsafe buffer.withUnsafeMutableBytes {
            unsafe recv(descriptor, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT))
        }
        return count >= 0 ? .done(count) : .failed(errno)
    }

    /// Waits until `events` (`POLLIN`, `POLLOUT`) or the time has passed, which gives 0 (poll(2)).
    static func wait(_ descriptor: Int32, for events: Int32, milliseconds: Int32) -> Outcome {
        var entry = pollfd(fd: descriptor, events: Int16(events), revents: 0)
        let count = unsafe poll(&entry, 1, milliseconds)
        return count >= 0 ? .done(Int(count)) : .failed(errno)
    }

    // MARK: Environment and clock

    static func environment(_ name: String) -> String? {
        guard let value = unsafe getenv(name) else { return nil }
        return unsafe String(cString: value)
    }

    /// Takes a variable out of the environment; call before another thread may read that (getenv(3) is not safe against it).
    static func removeFromEnvironment(_ name: String) { _ = unsafe unsetenv(name) }

    /// CLOCK_MONOTONIC in microseconds, as sd_notify(3) wants it with RELOADING=1.
    static func monotonicMicroseconds() -> UInt64 {
        var now = timespec()
        _ = unsafe clock_gettime(CLOCK_MONOTONIC, &now)
        return UInt64(now.tv_sec) * 1_000_000 + UInt64(now.tv_nsec) / 1000
    }
}
