// Standard error, flushing and progress: the tool's only calls to C.
//
// Invariant: what a program reads goes to standard output, everything for people's eyes to standard error; progress is
// written on a terminal only.

internal import Diagnostics
internal import Glibc

/// Where messages for people go.
enum ToolboxTerminal {
    /// Writes text to standard error; a failure to do so has nowhere to be told.
    static func write(_ text: String) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let written = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(2, $0.baseAddress, $0.count) }
            guard written > 0 else { return }
            bytes = bytes.dropFirst(written)
        }
    }

    /// Writes a failure to standard error.
    static func complain(_ failure: Failure) { write("memvp: \(failure)\n") }

    /// Prints one line and hands it to the reader at once: whoever sent the record may be waiting for it.
    static func printRecord(_ line: String) {
        print(line)
        fflush(nil)
    }

    /// Whether somebody is looking.
    static var isWatched: Bool { isatty(2) == 1 }
}

/// A line of progress that rewrites itself: what is being done, how much of it, how long it will take.
struct ToolboxProgress {
    private let isShown = ToolboxTerminal.isWatched
    private let start = ContinuousClock.now
    private var lastPercent = -1
    private var stage = ""
    private var stageStart = ContinuousClock.now

    /// Shows that `part` (0 ... 1) of `stage` is done.
    mutating func show(_ stage: String, _ part: Double) {
        guard isShown else { return }
        if stage != self.stage {
            self.stage = stage
            stageStart = .now
            lastPercent = -1
        }
        let percent = Int(max(0, min(1, part)) * 100)
        guard percent != lastPercent else { return }
        lastPercent = percent
        let spent = ToolboxTime.seconds(stageStart.duration(to: .now))
        let left = part > 0.02 && part < 1 ? ", \(Int((spent / part * (1 - part)).rounded(.up))) s left" : ""
        ToolboxTerminal.write("\r\u{1b}[K\(stage): \(percent) %\(left)")
    }

    /// Clears the line.
    func end() {
        if isShown { ToolboxTerminal.write("\r\u{1b}[K") }
    }
}

/// Durations as numbers.
enum ToolboxTime {
    /// A duration in seconds.
    static func seconds(_ duration: Duration) -> Double { duration / .seconds(1) }

    /// Runs `work`; returns how many seconds it took.
    static func measure(_ work: () throws -> Void) rethrows -> Double {
        let start = ContinuousClock.now
        try work()
        return seconds(start.duration(to: .now))
    }

    /// The middle value, the lower of two; 0 for none.
    static func median(_ values: [Double]) -> Double {
        values.isEmpty ? 0 : values.sorted()[(values.count - 1) / 2]
    }

    /// Rounded to `places` decimals, for people and for JSON alike.
    static func rounded(_ value: Double, _ places: Int) -> Double {
        var factor = 1.0
        for _ in 0..<places { factor *= 10 }
        return (value * factor).rounded() / factor
    }
}
