// The HTTP/1.1 server on the Unix sockets: accepts, has requests answered, shuts down in order.
//
// Invariants: NIO runs on one thread of its own, handlers on Swift's pool, each as a child of `run()`; at most
// `limits.connections` requests per socket are in flight, which bounds the stream between the two.
// `beginShutdown` closes the listeners first; requests in flight are answered for up to `limits.shutdown`, then cut.
// Failure modes: a socket that cannot be served fails `run()`; a fault of one connection ends that connection only.

public import Diagnostics
public import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// Serves routers on listening sockets.
public final class ControlServer: Sendable {
    private enum Phase {
        case initial
        case running(ConnectionRegistry, AsyncStream<Event>.Continuation)
        case stopped
    }

    private enum Event: Sendable {
        case request(PendingRequest)
        case shutdown
    }

    private let listeners: [(socket: ListeningSocket, router: Router)]
    private let limits: ServerLimits
    private let logger: Logger
    private let onResponse: @Sendable (SocketRole, Int) -> Void
    // Guards the phase: it goes one way, initial → running → stopped, or at once to stopped.
    private let phase = Mutex(Phase.initial)

    /// Makes a server; nothing happens before `run()`.
    ///
    /// - Parameters:
    ///   - listeners: The sockets, each with what it serves. The server releases them when it ends.
    ///   - onResponse: Told the socket and HTTP status of every answer, on the server's thread.
    public init(
        _ listeners: [(socket: ListeningSocket, router: Router)], limits: ServerLimits = ServerLimits(), logger: Logger,
        onResponse: @escaping @Sendable (SocketRole, Int) -> Void = { _, _ in }
    ) {
        self.listeners = listeners
        self.limits = limits
        self.logger = logger
        self.onResponse = onResponse
    }

    /// Serves until `beginShutdown()` or until its task is cancelled, which cuts requests in flight short.
    ///
    /// - Throws: `input_output` when a socket cannot be served; `internal_error` when it is called twice.
    public func run() async throws(Failure) {
        let (events, continuation) = AsyncStream.makeStream(of: Event.self)
        let registry = ConnectionRegistry { continuation.finish() }
        let starts = try start(registry, continuation)
        defer { for listener in listeners { listener.socket.release() } }
        guard starts else { return }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        var failure: Failure?
        do throws(Failure) {
            try await listen(registry, group, submit: { continuation.yield(.request($0)) })
            await withTaskCancellationHandler {
                await serve(events, registry)
            } onCancel: {
                beginShutdown()
            }
        } catch {
            failure = error
        }
        beginShutdown()
        registry.closeConnections()
        await registry.waitUntilClosed()
        // Its only failure is a second shutdown of the same group.
        try? await group.shutdownGracefully()
        phase.withLock { $0 = .stopped }
        if let failure { throw failure }
    }

    /// Stops accepting and lets requests in flight be answered within `limits.shutdown`. Returns at once; `run()` returns
    /// when all is over. May be called at any time, from any thread, more than once.
    public func beginShutdown() {
        let running = phase.withLock { phase -> (ConnectionRegistry, AsyncStream<Event>.Continuation)? in
            guard case .running(let registry, let continuation) = phase else {
                phase = .stopped
                return nil
            }
            return (registry, continuation)
        }
        for listener in listeners { listener.socket.removeName() }
        guard let (registry, continuation) = running, registry.quiesce() else { return }
        continuation.yield(.shutdown)
    }

    // MARK: Steps of run

    /// Goes from initial to running; `false` when the shutdown came first.
    private func start(
        _ registry: ConnectionRegistry, _ continuation: AsyncStream<Event>.Continuation
    ) throws(Failure) -> Bool {
        let previous = phase.withLock { phase in
            defer { if case .initial = phase { phase = .running(registry, continuation) } }
            return phase
        }
        switch previous {
        case .initial: return true
        case .stopped: return false
        case .running: throw Failure(.internalError, "control server", "was started twice")
        }
    }

    /// Has every request answered by a task of its own. Ends when the stream does, and that is when no connection is left:
    /// what still runs then works for nobody.
    private func serve(_ events: AsyncStream<Event>, _ registry: ConnectionRegistry) async {
        await withDiscardingTaskGroup { tasks in
            for await event in events {
                switch event {
                case .request(let pending):
                    tasks.addTask { pending.reply(await pending.router.respond(to: pending.request)) }
                case .shutdown:
                    tasks.addTask { await self.cutAfterGrace(registry) }
                }
            }
            tasks.cancelAll()
        }
    }

    private func cutAfterGrace(_ registry: ConnectionRegistry) async {
        do { try await Task.sleep(for: limits.shutdown) } catch { return }  // Cancelled: all were answered in time.
        let cut = registry.closeConnections()
        if cut > 0 { logger.warning("connections cut at shutdown", metadata: ["count": "\(cut)"]) }
    }

    private func listen(
        _ registry: ConnectionRegistry, _ group: MultiThreadedEventLoopGroup,
        submit: @escaping @Sendable (PendingRequest) -> Void
    ) async throws(Failure) {
        for (socket, router) in listeners {
            let environment = ConnectionHandler.Environment(
                socket: socket.role, router: router, limits: limits, permits: RequestPermits(limit: limits.connections),
                logger: logger, submit: submit, onResponse: onResponse)
            guard let descriptor = socket.take() else {
                throw Failure(.internalError, socket.origin, "is served already")
            }
            do {
                let bootstrap = Self.bootstrap(group, registry, environment)
                registry.add(listener: try await bootstrap.withBoundSocket(descriptor).get())
            } catch {
                throw Failure(.inputOutput, socket.origin, "cannot be served: \(error)")
            }
        }
    }

    private static func bootstrap(
        _ group: MultiThreadedEventLoopGroup, _ registry: ConnectionRegistry,
        _ environment: ConnectionHandler.Environment
    ) -> ServerBootstrap {
        ServerBootstrap(group: group)
            .serverChannelOption(.maxMessagesPerRead, value: 1)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    // When descriptors run out, accepting pauses instead of spinning.
                    try channel.pipeline.syncOperations.addHandler(AcceptBackoffHandler())
                    try channel.pipeline.syncOperations.addHandler(
                        ConnectionGate(limit: environment.limits.connections))
                }
            }
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { channel in
                guard registry.add(connection: channel) else {
                    return channel.eventLoop.makeFailedFuture(ChannelError.ioOnClosedChannel)
                }
                return SocketBridge.peerCredentials(channel).flatMapThrowing { peer in
                    var limits = NIOHTTPDecoderLimitConfiguration()
                    limits.maxHeaderFieldSize = environment.limits.headerBytes
                    limits.maxHeaderListSize = environment.limits.headerBytes
                    limits.maxHeaderFieldCount = 100
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.configureHTTPServerPipeline(
                        withPipeliningAssistance: true, withErrorHandling: false, withOutboundHeaderValidation: true,
                        withEncoderConfiguration: .init(), withDecoderLimitConfiguration: limits)
                    try pipeline.addHandler(ConnectionHandler(environment, peer: peer))
                }
            }
    }
}
