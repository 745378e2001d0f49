// What a client can take from the daemon, at most.

/// Bounds of the server; per socket where that makes a difference.
public struct ServerLimits: Sendable, Equatable {
    /// Bytes of the request line and all header fields.
    public var headerBytes = 16 << 10
    /// Bytes of a body.
    public var bodyBytes = 64 << 10
    /// Connections of one socket that are open at once; further ones wait in the kernel's queue of 128.
    public var connections = 64
    /// How long a connection may stay without a whole request head.
    public var idle: Duration = .seconds(30)
    /// How long a body may take to arrive once the head is there.
    public var request: Duration = .seconds(10)
    /// How long a handler may take; `reload` waits within it.
    public var handler: Duration = .seconds(120)
    /// How long a client may take to read an answer.
    public var write: Duration = .seconds(30)
    /// How long the rest of a refused request is read and dropped, so that the client sees why it was refused.
    public var linger: Duration = .seconds(2)
    /// How long requests in flight may go on after the shutdown has begun.
    public var shutdown: Duration = .seconds(5)

    /// The limits of the daemon.
    public init() {}
}
