// Making the threads that compute, and what is said where the system has none.

import Diagnostics
import Foundation
import Tensor
import Testing

@Suite("Compute threads")
struct ComputeTests {
    @Test("as many threads as asked for, one at least", arguments: [(-1, 1), (0, 1), (1, 1), (3, 3)])
    func count(_ asked: Int, _ made: Int) throws {
        #expect(try Compute(kernels: Kernels.choose(forced: nil), threads: asked).threads == made)
    }

    /// In a process of its own: limits belong to the process.
    @Test("threads that the system refuses are a failure that says so, not a crash")
    func refusal() async {
        await #expect(processExitsWith: .success) {
            let kernels = try Kernels.choose(forced: nil)
            // 64 MiB more than there are: enough for the failure, not for the stacks of 255 threads.
            let pages = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).prefix { $0 != " " }
            let bytes = try #require(UInt(pages)) * UInt(sysconf(Int32(_SC_PAGESIZE))) + (64 << 20)
            var limit = rlimit(rlim_cur: rlim_t(bytes), rlim_max: rlim_t(bytes))
            try #require(unsafe setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0)
            let failure = try #require(throws: Failure.self) { _ = try Compute(kernels: kernels, threads: 256) }
            #expect(failure.code == .unavailable && failure.hint.contains("threads"))
        }
    }
}
