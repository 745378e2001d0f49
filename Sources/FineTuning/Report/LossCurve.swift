// The loss of a run over its steps, drawn as SVG: a pale line of what each step had, a strong one smoothed, and the
// validation losses as points.
//
// Invariant: any losses give a well-formed drawing of a size that does not grow with the run; none gives one that says so.
// What is no number, or beyond all losses that a model has, is left out: the axis has no finite span with it.

/// Draws losses.
enum LossCurve {
    private static let width = 760.0
    private static let height = 320.0
    private static let left = 56.0
    private static let right = 16.0
    private static let top = 16.0
    private static let bottom = 44.0
    /// Points of a line at most: more than the drawing has columns shows nothing more.
    private static let pointLimit = 1_500

    /// The greatest loss that is drawn, of either sign. Chance has ln of the vocabulary, some 11.
    private static let largest = 1e6

    /// The drawing as an element `svg`, which also stands alone as a file.
    static func svg(_ log: TrainingLog) -> String {
        svg(training: log.training, validation: log.validation)
    }

    /// The drawing of losses.
    static func svg(training: [TrainingLog.Point], validation: [TrainingLog.Point]) -> String {
        let open = """
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Int(width)) \(Int(height))" role="img" \
            aria-label="Loss over steps" font-family="system-ui, sans-serif" font-size="12" fill="#666">
            """
        let (training, validation) = (drawn(training), drawn(validation))
        let all = training + validation
        guard let first = all.map(\.step).min(), let last = all.map(\.step).max(), let low = all.map(\.loss).min(),
            let high = all.map(\.loss).max()
        else { return open + "<text x=\"24\" y=\"40\">No losses were logged.</text></svg>" }
        // The first steps' losses would flatten all others, so the axis ends at what nearly all stay below.
        let sorted = all.map(\.loss).sorted()
        let most = sorted[min(sorted.count - 1, sorted.count * 99 / 100)]
        let ceiling = max(min(high, most * 1.15), low + 1e-6)
        let steps = Scale(from: Double(first), to: Double(max(last, first + 1)), start: left, end: width - right)
        let losses = Scale(from: low - 0.05 * (ceiling - low), to: ceiling, start: height - bottom, end: top)
        var parts = [open, axes(steps, losses)]
        parts.append(line(thinned(training), steps, losses, "#2f6fb0", width: 1, opacity: 0.3))
        parts.append(line(thinned(smoothed(training)), steps, losses, "#2f6fb0", width: 2, opacity: 1))
        parts.append(line(thinned(validation), steps, losses, "#c0561a", width: 1.5, opacity: 1))
        for point in thinned(validation) {
            parts.append(
                "<circle cx=\"\(text(steps.at(Double(point.step))))\" cy=\"\(text(losses.at(point.loss)))\" r=\"3\" "
                    + "fill=\"#c0561a\"/>")
        }
        parts.append(legend(hasValidation: !validation.isEmpty))
        parts.append("</svg>")
        return parts.joined(separator: "\n")
    }

    private static func drawn(_ points: [TrainingLog.Point]) -> [TrainingLog.Point] {
        points.filter { abs($0.loss) <= largest }
    }

    /// A running mean that forgets over a fiftieth of the run.
    static func smoothed(_ points: [TrainingLog.Point]) -> [TrainingLog.Point] {
        // The first points are averaged as they come, or the curve would hang on the first of all.
        let window = max(1, Double(points.count) / 50)
        var mean = 0.0
        return points.enumerated().map { index, point in
            mean += (point.loss - mean) / min(Double(index + 1), window)
            return TrainingLog.Point(step: point.step, loss: mean)
        }
    }

    private static func thinned(_ points: [TrainingLog.Point]) -> [TrainingLog.Point] {
        guard points.count > pointLimit else { return points }
        let stride = (points.count + pointLimit - 1) / pointLimit
        return points.indices.filter { $0 % stride == 0 || $0 == points.count - 1 }.map { points[$0] }
    }

    private static func line(
        _ points: [TrainingLog.Point], _ steps: Scale, _ losses: Scale, _ colour: String, width: Double, opacity: Double
    ) -> String {
        guard points.count > 1 else { return "" }
        let places = points.map { "\(text(steps.at(Double($0.step)))),\(text(losses.at($0.loss)))" }
        return "<polyline fill=\"none\" stroke=\"\(colour)\" stroke-width=\"\(width)\" stroke-opacity=\"\(opacity)\" "
            + "stroke-linejoin=\"round\" points=\"\(places.joined(separator: " "))\"/>"
    }

    private static func axes(_ steps: Scale, _ losses: Scale) -> String {
        var parts: [String] = []
        for loss in losses.ticks(5) {
            let y = text(losses.at(loss))
            parts.append(
                "<line x1=\"\(text(left))\" x2=\"\(text(width - right))\" y1=\"\(y)\" y2=\"\(y)\" stroke=\"#8884\"/>"
                    + "<text x=\"\(text(left - 8))\" y=\"\(y)\" dy=\"4\" text-anchor=\"end\">\(label(loss))</text>")
        }
        for step in steps.ticks(8) where step == step.rounded() {
            let x = text(steps.at(step))
            parts.append(
                "<text x=\"\(x)\" y=\"\(text(height - bottom + 18))\" text-anchor=\"middle\">\(label(step))</text>")
        }
        parts.append(
            "<text x=\"\(text(width - right))\" y=\"\(text(height - 8))\" text-anchor=\"end\">step</text>"
                + "<text x=\"\(text(left))\" y=\"\(text(height - 8))\">loss in nats a token</text>")
        return parts.joined(separator: "\n")
    }

    private static func legend(hasValidation: Bool) -> String {
        let x = width - right - 120
        var text = "<text x=\"\(Self.text(x))\" y=\"26\" fill=\"#2f6fb0\">training</text>"
        if hasValidation { text += "<text x=\"\(Self.text(x + 58))\" y=\"26\" fill=\"#c0561a\">validation</text>" }
        return text
    }

    /// A coordinate to a tenth of a pixel.
    private static func text(_ value: Double) -> String { "\((value * 10).rounded() / 10)" }

    private static func label(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15
            ? "\(Int(value))" : "\((value * 1e4).rounded() / 1e4)"
    }

    /// Values to coordinates.
    private struct Scale {
        let from: Double
        let to: Double
        let start: Double
        let end: Double

        /// The coordinate of a value, kept within the drawing.
        func at(_ value: Double) -> Double {
            let part = min(max((value - from) / (to - from), 0), 1)
            return start + part * (end - start)
        }

        /// About `count` round values in the range.
        func ticks(_ count: Int) -> [Double] {
            let rough = (to - from) / Double(count)
            guard rough > 0, rough.isFinite else { return [] }
            var unit = 1.0
            while unit > rough { unit /= 10 }
            while unit * 10 <= rough { unit *= 10 }
            let step = unit * (rough / unit > 5 ? 10 : rough / unit > 2 ? 5 : rough / unit > 1 ? 2 : 1)
            let first = (from / step).rounded(.up)
            return (0...count * 2).map { (first + Double($0)) * step }.filter { $0 <= to }
        }
    }
}
