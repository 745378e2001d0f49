// pthread_create(3) as a call with a closure: the only unsafe code of this module.

internal import Glibc

enum ThreadBridge {
    private final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    /// Runs the body on a detached thread of its own; false when there is none to be had.
    static func start(_ body: @escaping @Sendable () -> Void) -> Bool {
        let box = unsafe Unmanaged.passRetained(Body(body))
        var thread = pthread_t()
        let result = unsafe pthread_create(
            &thread, nil,
            { argument in
                guard let argument = unsafe argument else { return nil }
                unsafe Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            }, box.toOpaque())
        guard result == 0 else {
            unsafe box.release()
            return false
        }
        pthread_detach(thread)
        return true
    }

    /// Leaves a signal to whoever waits for it (signal(7)): its default action is taken away.
    static func ignore(signal number: Int32) { _ = signal(number, SIG_IGN) }
}
