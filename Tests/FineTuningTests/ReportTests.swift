// The report: what it reads of a log, what it draws, and that nothing from outside gets into its markup.

import Foundation
import FoundationXML
import Testing

@testable import FineTuning
@testable import Vision

@Suite("Training logs")
struct ReportLogTests {
    @Test("of several records of a step the last counts; broken lines are counted; numbers are finite")
    func records() {
        let log = TrainingLog(
            bytes: Array(
                """
                {"event": "start", "seed": 7, "base": "b<i>", "rate": 0.5, "resumed": true, "list": [1]}
                {"event": "step", "step": 1, "loss": 4.5, "seconds": 1}
                {"event": "step", "step": 2, "loss": 4.25, "learning_rate": 0.1, "tokens": 13}
                {"event": "validation", "step": 2, "loss": 4}
                {"event": "step", "step": 2, "loss": 3.5, "validation_loss": 3.75, "seconds": 2.5}
                {"event": "sample", "step": 2, "caption": "a dog."}
                {"event": "step", "step": 2.5, "loss": 9}
                {"event": "step", "step": 3, "loss": null}
                {"event": "step", "step": 4, "lo
                """.utf8))
        #expect(log.training == [.init(step: 1, loss: 4.5), .init(step: 2, loss: 3.5)])
        #expect(log.validation == [.init(step: 2, loss: 3.75)])
        #expect(log.seconds == 2.5)
        #expect(log.badLines == 1)
        #expect(log.facts.map(\.name) == ["base", "rate", "resumed", "seed"])
        #expect(log.facts.map(\.value) == ["b<i>", "0.5", "yes", "7"])
    }

    @Test(
        "every log gives a well-formed drawing of bounded size",
        arguments: [0, 1, 2, 100, 50_000])
    func drawing(steps: Int) throws {
        let training = (0..<steps).map { TrainingLog.Point(step: $0, loss: 6 / (1 + Double($0) / 10)) }
        let validation = training.filter { $0.step % 25 == 1 }
        let svg = LossCurve.svg(training: training, validation: validation)
        #expect(XMLParser(data: Data(svg.utf8)).parse())
        #expect(svg.utf8.count < 250_000)
        #expect(!svg.contains("nan") && !svg.contains("inf"))
        #expect(svg.contains("polyline") == (steps > 1))
        #expect(svg.contains("No losses") == (steps == 0))
    }

    @Test("losses that are all the same, and a lone outlier, are drawn within the frame")
    func extremes() {
        let flat = LossCurve.svg(training: [.init(step: 5, loss: 2), .init(step: 6, loss: 2)], validation: [])
        #expect(XMLParser(data: Data(flat.utf8)).parse())
        #expect(!flat.contains("nan"))
        let points = (1...300).map { TrainingLog.Point(step: $0, loss: $0 == 1 ? 1e9 : 2) }
        let svg = LossCurve.svg(training: points, validation: [])
        #expect(!svg.contains("1000000000"))
        #expect(LossCurve.smoothed(points.suffix(20)).allSatisfy { $0.loss == 2 })
    }

    @Test("losses without a finite span between them are left out, and the others are drawn as if alone")
    func beyond() {
        let sound = (10...60).map { TrainingLog.Point(step: $0, loss: 60 / Double($0)) }
        let wild = [1e308, -1e308, .nan, .infinity, 1e7].map { TrainingLog.Point(step: 1, loss: $0) }
        let alone = LossCurve.svg(training: sound, validation: sound)
        #expect(LossCurve.svg(training: wild + sound, validation: sound + wild) == alone)
        #expect(LossCurve.svg(training: wild, validation: []).contains("No losses"))
        let large = [1e6, -1e6].enumerated().map { TrainingLog.Point(step: $0.offset, loss: $0.element) }
        #expect(!LossCurve.svg(training: large, validation: large).contains("nan"))
    }
}

@Suite("Reports")
struct ReportPageTests {
    @Test("markup, quotes and control characters are escaped")
    func escaping() {
        #expect(
            HTMLText.escaped("<a href=\"x\" b='y'>&\u{1B}\u{7F}\u{9B}")
                == "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;   ")
        #expect(HTMLText.isolated("\u{202E}x") == "<bdi>\u{202E}x</bdi>")
    }

    @Test("numbers keep their zeros")
    func numbers() {
        #expect(HTMLText.number(0.5, 4) == "0.5000")
        #expect(HTMLText.number(12.345, 1) == "12.3")
        #expect(HTMLText.number(0.0004, 2) == "0.00")
        #expect(HTMLText.number(-1.5, 1) == "−1.5")
        #expect(HTMLText.number(3, 0) == "3")
        #expect(HTMLText.number(.nan, 1) == "–")
    }

    @Test("only JPEG and PNG are embedded")
    func types() {
        #expect(HTMLText.address(ofPhoto: [0xFF, 0xD8, 0xFF, 0xE0])?.hasPrefix("data:image/jpeg;base64,") == true)
        #expect(
            HTMLText.address(ofPhoto: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A])?.hasPrefix("data:image/png;")
                == true)
        #expect(HTMLText.address(ofPhoto: Array("<svg onload='x'>".utf8)) == nil)
    }

    /// A page on hostile data; the log's bytes and the photo's name carry markup.
    private func page(_ folder: borrowing DataFolder, photos limit: Int = 24) throws -> String {
        let hostile = "<script>alert('x')</script>\"&"
        let log = TrainingLog(
            bytes: Array(
                """
                {"event": "start", "<script>": "<script>alert(1)</script>"}
                {"event": "step", "step": 1, "loss": 4.5}
                {"event": "step", "step": 2, "loss": 4}
                {"event": "validation", "step": 2, "loss": 4}
                """.utf8))
        var contents = ReportContents(title: hostile, facts: [(hostile, hostile)], log: log)
        let photos = (0..<10).map { index in
            CaptionEvaluation.Photo(
                image: "\(folder.path)/images/\(index == 0 ? "missing" : "a").jpg", imageName: hostile,
                caption: "\(hostile)\(index)", references: [hostile], ciderD: Double(index))
        }
        contents.captions = [
            .init(
                name: hostile,
                seeing: CaptionEvaluation(
                    scores: CaptionScores(photos.map { CaptionSample(caption: $0.caption, references: $0.references) }),
                    photos: photos, badRows: [BadRow(file: "f", line: 1, reason: "is bad")]), blind: nil, unreadRows: 4)
        ]
        let questions = (0..<6).map { index in
            AnswerEvaluation.Question(
                image: "\(folder.path)/images/b.jpg", imageName: "b.jpg", question: "\(hostile)\(index)",
                given: hostile, expected: hostile, accuracy: index % 2 == 0 ? 1 : 0, type: hostile)
        }
        let scores = AnswerScores([AnswerSample(given: hostile, expected: hostile, type: hostile)])
        contents.answers = [
            .init(
                name: hostile, seeing: AnswerEvaluation(scores: scores, questions: questions, badRows: []), blind: nil,
                unreadRows: 7)
        ]
        contents.photos = limit
        return ReportPage.html(contents)
    }

    @Test("rows that could not be read count as bad beside those that could not be evaluated; no photos means none")
    func counts() throws {
        let folder = try DataFolder()
        try Data([0xFF, 0xD8, 0xFF, 0xE0, 1, 2]).write(to: URL(fileURLWithPath: "\(folder.path)/images/a.jpg"))
        let shown = try page(folder)
        #expect(shown.contains("10 photos, 5 bad rows.") && shown.contains(">7 bad rows."))
        #expect(shown.contains("<figure>"))
        #expect(try !page(folder, photos: 0).contains("<figure>"))
    }

    @Test("a page on hostile data has no markup of theirs, and loads nothing")
    func hostile() throws {
        let folder = try DataFolder()
        try Data([0xFF, 0xD8, 0xFF, 0xE0, 1, 2]).write(to: URL(fileURLWithPath: "\(folder.path)/images/a.jpg"))
        let page = try page(folder)
        #expect(!page.contains("<script"))
        #expect(!page.contains("alert('"))
        #expect(page.contains("&lt;script&gt;alert(&#39;x&#39;)"))
        #expect(page.contains("default-src 'none'"))
        let addresses = page.components(separatedBy: "src=\"").dropFirst()
        #expect(addresses.count == 9)
        #expect(addresses.allSatisfy { $0.hasPrefix("data:image/jpeg;base64,") })
        #expect(!page.contains("href="))
        #expect(page.contains("is not shown"))
        #expect(page.components(separatedBy: "✓").count == 4)
        #expect(page.components(separatedBy: "✗").count == 4)
    }

    @Test("a photo as cameras make them is shown as a small copy; one that is none says why it is not")
    func copies() throws {
        let folder = try DataFolder()
        var state: UInt32 = 1
        let noise = (0..<3 * 1_200 * 900).map { _ -> UInt8 in
            state = state &* 1_664_525 &+ 1_013_904_223
            return UInt8(state >> 24)
        }
        let photo = try JPEGBridge.encode(RGBImage(width: 1_200, height: 900, pixels: noise), quality: 95)
        #expect(photo.count > ReportPage.photoLimit)
        try Data(photo).write(to: URL(fileURLWithPath: "\(folder.path)/images/a.jpg"))
        try Data(photo.prefix(600 << 10)).write(to: URL(fileURLWithPath: "\(folder.path)/images/b.jpg"))
        let page = try page(folder)
        let shown = page.components(separatedBy: "src=\"data:image/jpeg;base64,").dropFirst()
        #expect(shown.count == 9)
        let copy = try #require(shown.first?.split(separator: "\"").first.flatMap { Data(base64Encoded: String($0)) })
        let seen = try PhotoDecoder.decode([UInt8](copy), for: .max)
        #expect((seen.width, seen.height) == (640, 480))
        #expect(page.contains("is not shown: the JPEG data ends before the picture does"))
    }

    @Test("photos that are too large, or too many, are named instead of shown")
    func bounded() throws {
        let folder = try DataFolder()
        var photo = [UInt8](repeating: 0, count: 500 << 10)
        photo.replaceSubrange(0..<3, with: [0xFF, 0xD8, 0xFF])
        try Data(photo).write(to: URL(fileURLWithPath: "\(folder.path)/images/a.jpg"))
        try Data(photo + photo).write(to: URL(fileURLWithPath: "\(folder.path)/images/b.jpg"))
        func shown(_ names: [String]) -> Int {
            let questions = names.enumerated().map { index, name in
                AnswerEvaluation.Question(
                    image: "\(folder.path)/images/\(name).jpg", imageName: name, question: "\(index)", given: "x",
                    expected: "x", accuracy: 1, type: "t")
            }
            var contents = ReportContents(title: "t", facts: [], log: nil)
            contents.photos = 100
            contents.answers = [
                .init(
                    name: "n",
                    seeing: AnswerEvaluation(scores: AnswerScores([]), questions: questions, badRows: []), blind: nil)
            ]
            return ReportPage.html(contents).components(separatedBy: "<img ").count - 1
        }
        #expect(shown(["a", "b"]) == 1)
        #expect(shown(Array(repeating: "a", count: 40)) == (16 << 20) / (500 << 10))
    }

    @Test("the page is well-formed but for its void elements")
    func wellFormed() throws {
        let folder = try DataFolder()
        var page = try page(folder)
        page = page.replacingOccurrences(of: "<!DOCTYPE html>", with: "")
        for void in ["<meta [^>]*>", "<img [^>]*>"] {
            page = page.replacingOccurrences(of: void, with: "", options: .regularExpression)
        }
        #expect(XMLParser(data: Data(page.utf8)).parse())
    }
}
