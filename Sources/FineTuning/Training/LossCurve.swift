// The loss over a run as a picture: SVG by hand, no library, light and dark backgrounds alike.

/// Training loss (running mean) and validation losses against steps.
public struct LossCurve: Sendable {
    private let training: [(step: Int, loss: Double)]
    private let validation: [(step: Int, loss: Double)]

    /// A curve of the records of a run.
    public init(_ records: [TrainingRecord]) {
        var mean: Double?
        var points: [(Int, Double)] = []
        for record in records where record.event == "step" {
            guard let loss = record.loss else { continue }
            let smoothed = mean.map { 0.95 * $0 + 0.05 * loss } ?? loss
            mean = smoothed
            points.append((record.step, smoothed))
        }
        let every = max(1, points.count / 800)
        training = points.enumerated().filter { $0.offset % every == 0 }.map { $0.element }
        validation = records.compactMap { record in
            record.event == "validation" ? record.validationLoss.map { (record.step, $0) } : nil
        }
    }

    /// The picture.
    public var svg: String {
        let (width, height, margin) = (720.0, 360.0, 48.0)
        let steps = Double(max(1, (training + validation).map(\.step).max() ?? 1))
        let losses = (training + validation).map(\.loss)
        let low = ((losses.min() ?? 0) * 10).rounded(.down) / 10
        let high = max(low + 0.1, min(losses.max() ?? 1, low + 3))
        func point(_ entry: (step: Int, loss: Double)) -> String {
            let x = margin + (width - 2 * margin) * Double(entry.step) / steps
            let y = height - margin - (height - 2 * margin) * (min(entry.loss, high) - low) / (high - low)
            return "\(Self.short(x)),\(Self.short(y))"
        }
        var lines: [String] = []
        for part in 0...4 {
            let value = low + (high - low) * Double(part) / 4
            let y = height - margin - (height - 2 * margin) * Double(part) / 4
            lines.append(
                "<line x1=\"\(margin)\" y1=\"\(Self.short(y))\" x2=\"\(width - margin)\" y2=\"\(Self.short(y))\" "
                    + "stroke=\"#8884\"/><text x=\"\(margin - 6)\" y=\"\(Self.short(y + 4))\" text-anchor=\"end\">"
                    + "\(Self.short(value))</text>")
        }
        for part in 0...4 {
            let x = margin + (width - 2 * margin) * Double(part) / 4
            lines.append(
                "<text x=\"\(Self.short(x))\" y=\"\(height - margin + 18)\" text-anchor=\"middle\">"
                    + "\(Int(steps * Double(part) / 4))</text>")
        }
        let dots = validation.map { entry in
            let place = point(entry).split(separator: ",")
            return "<circle cx=\"\(place[0])\" cy=\"\(place[1])\" r=\"3\" fill=\"#e4572e\"/>"
        }
        return """
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Int(width)) \(Int(height))" \
            font-family="sans-serif" font-size="12" fill="#888">
            <title>Loss against steps</title>
            \(lines.joined(separator: "\n"))
            <polyline fill="none" stroke="#2e86ab" stroke-width="1.5" points="\
            \(training.map(point).joined(separator: " "))"/>
            <polyline fill="none" stroke="#e4572e" stroke-width="1" stroke-dasharray="4 3" points="\
            \(validation.map(point).joined(separator: " "))"/>
            \(dots.joined(separator: "\n"))
            <text x="\(width - margin)" y="20" text-anchor="end">blue: training (running mean), \
            red: validation; nats a token</text>
            </svg>

            """
    }

    private static func short(_ value: Double) -> String {
        let scaled = (value * 100).rounded() / 100
        return "\(scaled)"
    }
}
