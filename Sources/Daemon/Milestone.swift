// A number that only grows, and whoever waits until it has come so far, for a while.
//
// Invariants: a continuation is resumed by whoever takes it out of `waiting`, under the lock, and so once; the numbers of `reach` come
// in order, from one caller at a time.

internal import Synchronization

/// How far work has come that is given and done in order.
final class Milestone: Sendable {
    private struct State {
        var reached: UInt64 = 0
        var waiting: [UInt64: (until: UInt64, continuation: CheckedContinuation<Void, Never>)] = [:]
        var nextKey: UInt64 = 0
    }

    private let state = Mutex(State())

    /// How many wait now.
    var waiters: Int { state.withLock { $0.waiting.count } }

    /// It is at `number`; whoever waits for that or less goes on.
    func reach(_ number: UInt64) {
        let through = state.withLock { state in
            state.reached = number
            let keys = state.waiting.filter { $0.value.until <= number }.keys
            return keys.compactMap { state.waiting.removeValue(forKey: $0)?.continuation }
        }
        for continuation in through { continuation.resume() }
    }

    /// Waits until it is at `number`, or for so long; whether it is.
    func wait(for number: UInt64, within patience: Duration) async -> Bool {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.wait(for: number) }
            group.addTask { _ = try? await Task.sleep(for: patience) }
            _ = await group.next()
            group.cancelAll()
        }
        return state.withLock { $0.reached >= number }
    }

    /// Waits until it is at `number`, or the task is cancelled.
    private func wait(for number: UInt64) async {
        let key = state.withLock { state in
            state.nextKey += 1
            return state.nextKey
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let mayPass = state.withLock { state in
                    if state.reached >= number || Task.isCancelled { return true }
                    state.waiting[key] = (number, continuation)
                    return false
                }
                if mayPass { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.waiting.removeValue(forKey: key) }?.continuation.resume()
        }
    }
}
