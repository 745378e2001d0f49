// Ranges of a file that must not overlap: no container we read shares bytes between its parts on purpose.

import Diagnostics

/// Checks of named byte ranges.
enum ByteRanges {
    /// Refuses parts that share bytes.
    ///
    /// - Throws: `model_invalid` naming the file and both parts.
    static func refuseOverlaps(_ parts: [(name: String, range: Range<Int>)], path: String) throws(Failure) {
        let sorted = parts.filter { !$0.range.isEmpty }.sorted { $0.range.lowerBound < $1.range.lowerBound }
        for (first, second) in zip(sorted, sorted.dropFirst())
        where second.range.lowerBound < first.range.upperBound {
            throw Failure(
                .modelInvalid, "\(path): \(second.name)",
                "starts at byte \(second.range.lowerBound), inside \(first.name)",
                hint: "Copy or convert the file again.")
        }
    }
}
