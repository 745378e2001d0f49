// Progress for people, and time as numbers.
//
// Invariant: progress is written to standard error, and on a terminal only.

/// A line of progress that rewrites itself: what is being done, how much of it, how fast, how long it will take.
struct ToolboxProgress {
    private let isShown = ToolboxTerminal.isWatched
    private let start = ContinuousClock.now
    private var lastPercent = -1
    private var lastDone = -1
    private var stage = ""
    private var stageStart = ContinuousClock.now

    /// Shows that `part` (0 ... 1) of `stage` is done, and how fast it goes: `total` is the whole of the stage in `unit`s.
    mutating func show(_ stage: String, _ part: Double, of total: Double = 100, _ unit: String = "%") {
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
        ToolboxTerminal.write("\r\u{1b}[K" + Self.line(stage, part, of: total, unit, after: spent))
    }

    /// One line: bar, part done, rate and time left; the last two once there is something to reckon with.
    static func line(
        _ stage: String, _ part: Double, of total: Double, _ unit: String, after seconds: Double
    ) -> String {
        let part = max(0, min(1, part))
        let filled = Int(part * 20)
        let bar = String(repeating: "#", count: filled) + String(repeating: "-", count: 20 - filled)
        let line = "\(stage) [\(bar)] \(Int(part * 100)) %"
        guard part > 0.02, part < 1, seconds > 0 else { return line }
        let rate = ToolboxTime.rounded(part * total / seconds, 1)
        return "\(line), \(rate) \(unit)/s, \(Int((seconds / part * (1 - part)).rounded(.up))) s left"
    }

    /// Shows that `done` of `total` are done, and how fast it goes.
    mutating func show(_ stage: String, _ done: Int, of total: Int, unit: String) {
        guard isShown, stage != self.stage || done > lastDone else { return }
        if stage != self.stage {
            self.stage = stage
            stageStart = .now
        }
        lastDone = done
        let spent = ToolboxTime.seconds(stageStart.duration(to: .now))
        guard done > 0, spent > 0 else { return }
        let rate = Double(done) / spent
        let left = done < total ? ", \(Int((Double(total - done) / rate).rounded(.up))) s left" : ""
        ToolboxTerminal.write(
            "\r\u{1b}[K\(stage): \(done) of \(total) \(unit), \(ToolboxTime.rounded(rate, 1)) a second\(left)")
    }

    /// Shows a line in words of its own.
    func show(line: String) {
        if isShown { ToolboxTerminal.write("\r\u{1b}[K" + line) }
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
