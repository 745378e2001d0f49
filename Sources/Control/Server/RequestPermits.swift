// How many requests of one socket may be with their handlers at once.
//
// Invariant: `taken` is the number of permits out; it passes `limit` only for the moment in which a refusal is found.

import Synchronization

/// Counts the requests of one socket that are with their handlers. Connections do not bound them: one that is closed by its
/// client leaves its handler at work.
final class RequestPermits: Sendable {
    private let limit: Int
    private let taken = Atomic(0)

    init(limit: Int) { self.limit = max(1, limit) }

    /// Takes a permit, if there is one.
    func take() -> Bool {
        guard taken.add(1, ordering: .relaxed).newValue > limit else { return true }
        giveBack()
        return false
    }

    func giveBack() { taken.subtract(1, ordering: .relaxed) }
}
