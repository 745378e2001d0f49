// Faults of chosen calls that come and go: what a disk with a bad spot does, or a system that is short of something.

import Synchronization
import SystemPackage

@testable import Spool

/// Calls that fail while it is on.
final class Fault: Sendable {
    private let left: Mutex<Int>
    private let errno: Errno
    private let picks: @Sendable (FileOperation, String) -> Bool

    /// - Parameter times: how often; as a rule until it is lifted.
    init(
        _ errno: Errno, times: Int = .max, _ picks: @escaping @Sendable (FileOperation, String) -> Bool
    ) {
        left = Mutex(times)
        (self.errno, self.picks) = (errno, picks)
    }

    /// Makes the next calls fail, so many.
    func strike(times: Int) { left.withLock { $0 = times } }

    func lift() { strike(times: 0) }

    var saboteur: Saboteur {
        Saboteur(
            .init(refuses: { [self] operation, location in
                guard picks(operation, "\(location)") else { return nil }
                return left.withLock { left in
                    guard left > 0 else { return nil }
                    left -= 1
                    return .fails(errno)
                }
            }))
    }
}
