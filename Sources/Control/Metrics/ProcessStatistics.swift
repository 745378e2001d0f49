// What the kernel says of this process, under Prometheus's standard names (process_…), read from /proc/self.
//
// Failure modes: where /proc is not mounted or a field does not parse, the value is `nil` and its metric is left out.

import Glibc

/// Readings of /proc/self (proc(5)).
enum ProcessStatistics {
    /// Resident set size in bytes: the second field of /proc/self/statm, in pages.
    static func residentBytes() -> Double? { pages(1) }

    /// Virtual memory size in bytes: the first field of /proc/self/statm, in pages.
    static func virtualBytes() -> Double? { pages(0) }

    /// User and system time in seconds: fields 14 and 15 of /proc/self/stat, in clock ticks.
    static func processorSeconds() -> Double? {
        guard let fields = statFields(), fields.count > 12, let user = Double(fields[11]),
            let system = Double(fields[12])
        else { return nil }
        return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    /// When the process began, in seconds since 1970: field 22 of /proc/self/stat after the boot, which two clocks tell. The unit hides
    /// /proc/stat (ProcSubset=pid).
    static func startSeconds() -> Double? {
        guard let fields = statFields(), fields.count > 19, let ticks = Double(fields[19]) else { return nil }
        let boot = FileBridge.seconds(of: CLOCK_REALTIME) - FileBridge.seconds(of: CLOCK_BOOTTIME)
        return boot + ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    /// Open file descriptors, without the one used to count them.
    static func openDescriptors() -> Double? {
        FileBridge.entryCount("/proc/self/fd").map { Double(max(0, $0 - 1)) }
    }

    /// The limit on open file descriptors (getrlimit(2), soft).
    static func maximumDescriptors() -> Double? { FileBridge.descriptorLimit().map { Double($0) } }

    private static func pages(_ index: Int) -> Double? {
        guard let text = FileBridge.readText("/proc/self/statm", limit: 4096) else { return nil }
        let fields = text.split(separator: " ")
        guard fields.count > index, let count = Double(fields[index]) else { return nil }
        return count * Double(sysconf(Int32(_SC_PAGESIZE)))
    }

    /// The fields of /proc/self/stat from the third on: the second is the command in brackets and may hold anything.
    private static func statFields() -> [Substring]? {
        guard let text = FileBridge.readText("/proc/self/stat", limit: 4096), let end = text.lastIndex(of: ")")
        else { return nil }
        return text[text.index(after: end)...].split(separator: " ")
    }
}
