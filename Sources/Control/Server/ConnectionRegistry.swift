// Which channels are open, so that a shutdown can end them and knows when the last one is gone.
//
// Invariants: once `closing`, no connection is added; `finished` is called once, when the server is closing and no channel
// is left. Safe from any thread.

import NIOCore
import Synchronization

/// The open channels of a server.
final class ConnectionRegistry: Sendable {
    private struct State {
        var listeners: [any Channel] = []
        var connections: [ObjectIdentifier: any Channel] = [:]
        var closing = false
        var finished = false
    }

    private let state = Mutex(State())
    private let finished: @Sendable () -> Void

    init(finished: @escaping @Sendable () -> Void) { self.finished = finished }

    /// How many connections are open.
    var count: Int { state.withLock { $0.connections.count } }

    /// Notes a listening channel; closes it when the shutdown has begun.
    func add(listener: any Channel) {
        let closing = state.withLock { state in
            state.listeners.append(listener)
            return state.closing
        }
        listener.closeFuture.whenComplete { _ in self.remove(listener: listener) }
        if closing { listener.close(promise: nil) }
    }

    /// Notes a connection; `false` when the shutdown has begun and it is to be closed.
    func add(connection: any Channel) -> Bool {
        let accepted = state.withLock { state in
            guard !state.closing else { return false }
            state.connections[ObjectIdentifier(connection)] = connection
            return true
        }
        if accepted {
            connection.closeFuture.whenComplete { _ in self.remove(connection: connection) }
        }
        return accepted
    }

    /// Begins the shutdown: idle connections close, the others close after the answer they owe, listeners close. `false`
    /// when it had begun before.
    func quiesce() -> Bool {
        let channels = state.withLock { state -> ([any Channel], [any Channel])? in
            guard !state.closing else { return nil }
            state.closing = true
            return (state.listeners, Array(state.connections.values))
        }
        guard let (listeners, connections) = channels else { return false }
        // Listeners last: nobody else closes them, so the event loop lives at least until this function is through.
        for connection in connections { connection.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent()) }
        for listener in listeners { listener.close(promise: nil) }
        finishIfDone()
        return true
    }

    /// Closes the connections that are still open; returns how many those were.
    @discardableResult
    func closeConnections() -> Int {
        let connections = state.withLock { Array($0.connections.values) }
        for connection in connections { connection.close(promise: nil) }
        return connections.count
    }

    /// Returns when every channel is closed. Goes on waiting when its task is cancelled.
    func waitUntilClosed() async {
        let channels = state.withLock { $0.listeners + Array($0.connections.values) }
        // A close future never fails.
        for channel in channels { try? await channel.closeFuture.get() }
    }

    private func remove(listener: any Channel) {
        state.withLock { state in state.listeners.removeAll { $0 === listener } }
        finishIfDone()
    }

    private func remove(connection: any Channel) {
        state.withLock { state in _ = state.connections.removeValue(forKey: ObjectIdentifier(connection)) }
        finishIfDone()
    }

    private func finishIfDone() {
        let done = state.withLock { state in
            guard state.closing, state.listeners.isEmpty, state.connections.isEmpty, !state.finished else {
                return false
            }
            state.finished = true
            return true
        }
        if done { finished() }
    }
}
