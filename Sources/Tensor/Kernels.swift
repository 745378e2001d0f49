// The kernel path of this process: chosen at start, forced with MEMVP_KERNELS, named in every answer.

internal import CKernels
public import Diagnostics

/// A set of kernels that this machine can run.
@safe public struct Kernels: @unchecked Sendable {
    /// The name in answers and in MEMVP_KERNELS: scalar, avx2, avx512vnni or neon.
    public let name: String
    let table: UnsafePointer<mk_table>

    /// The names of all paths that exist, slowest first.
    public static let names = ["scalar", "avx2", "avx512vnni", "neon"]

    /// The path named `forced`, or the fastest that this machine runs.
    ///
    /// - Throws: `usage` when the name is unknown, `unavailable` when this machine cannot run that path.
    public static func choose(forced: String?) throws(Failure) -> Kernels {
        guard let forced, !forced.isEmpty else { return try named(index: Int(mk_best_path().rawValue)) }
        guard let index = names.firstIndex(of: forced) else {
            throw Failure(
                .usage, "MEMVP_KERNELS=\(forced)", "names no kernel path",
                hint: "Use one of \(names.joined(separator: ", ")).")
        }
        return try named(index: index)
    }

    /// Every path that this machine can run, slowest first; tests hold them against each other.
    public static var available: [Kernels] {
        names.indices.compactMap { index in try? named(index: index) }
    }

    private static func named(index: Int) throws(Failure) -> Kernels {
        guard let table = unsafe mk_table_for(mk_path(rawValue: UInt32(index))) else {
            throw Failure(
                .unavailable, "MEMVP_KERNELS=\(names[index])", "this machine cannot run these kernels",
                hint: "Leave MEMVP_KERNELS unset to take the fastest that it can.")
        }
        return unsafe Kernels(name: names[index], table: table)
    }
}
