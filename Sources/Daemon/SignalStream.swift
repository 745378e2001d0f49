// The signals that steer the daemon, as a stream: SIGTERM and SIGINT end it, SIGHUP reloads it.
//
// Invariant: their default actions are taken away before the sources start, so none of them ends the process any more.

internal import Dispatch
internal import Glibc

/// Watches for signals as long as it lives.
final class SignalStream: Sendable {
    enum Signal: Sendable {
        case end, reload
    }

    let stream: AsyncStream<Signal>
    // Never changed after init; kept so that the sources live.
    private nonisolated(unsafe) let sources: [any DispatchSourceSignal]

    init() {
        let (stream, continuation) = AsyncStream.makeStream(of: Signal.self)
        self.stream = stream
        let meanings: [(Int32, Signal)] = [(SIGTERM, .end), (SIGINT, .end), (SIGHUP, .reload)]
        unsafe sources = meanings.map { number, meaning in
            ThreadBridge.ignore(signal: number)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { continuation.yield(meaning) }
            source.resume()
            return source
        }
    }

    /// What a test says in the place of signals.
    init(_ stream: AsyncStream<Signal>) {
        self.stream = stream
        unsafe sources = []
    }
}
