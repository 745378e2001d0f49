// What files hold reaches a terminal as text alone, and a result without a JSON form costs its own record alone.

import Diagnostics
import Foundation
import ModelFile
import Specification
import Testing

@testable import Commands
@testable import MemVP

@Suite("Foreign text on its way out")
struct HarmlessOutputTests {
    private static func answer(_ text: String, confidence: Double = 0.5) -> Answer {
        Answer(
            id: "c", task: .caption, prompt: "p", text: text, confidence: confidence, finish: "stop", adapter: "a",
            tokens: [])
    }

    @Test("inspect shows keys, names and values without control characters; as JSON it shows them as they are")
    func inspect() throws {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("memvp-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        let metadata: [(String, GGUFValue)] = [
            ("general.architecture", .string("x\u{1B}[31m")), ("a\u{1B}]0;t\u{7}\nb", .string("\u{202E}v")),
        ]
        let writer = try GGUFWriter(
            path: path, metadata: metadata,
            tensors: [TensorDeclaration(name: "t\u{1B}[1m", type: .float32, shape: [1])])
        let values: [Float] = [1]
        try writer.write(values.span)
        try writer.finish()
        let report = try ToolboxFileReport(path)
        let lines = report.text.split(separator: "\n")
        #expect(lines.count == 4)
        #expect(report.text == lines.joined(separator: "\n").harmlessLines)
        #expect(report.text.contains(#"  a\u{1b}]0;t\u{7}\nb = "#) && report.text.contains(#"  t\u{1b}[1m  F32"#))
        #expect(try ToolboxJSON.line(report).lowercased().contains(#""name":"t\u001b[1m""#))
    }

    @Test("a photo's name and an answer are text; a failure is one line whatever its file is called")
    func photos() {
        let line = ToolboxPhotoOptions.line("a\u{1B}[31m\n.jpg", Self.answer("a\u{1B}dog"), isNamed: true)
        #expect(line == #"a\u{1b}[31m\n.jpg: a\u{1b}dog"#)
        #expect(ToolboxPhotoOptions.line("a", Self.answer("a dog"), isNamed: false) == "a dog")
        let failure = Failure(.notFound, "a\u{1B}\nmemvp: b", "does not exist")
        #expect(ToolboxTerminal.shown(failure) == #"a\u{1b}\nmemvp: b: does not exist [not_found]"#)
    }

    @Test(
        "a result that JSON cannot hold is an error in its own record, with image and id",
        arguments: [Double.nan, .infinity])
    func records(confidence: Double) throws {
        let answer = Self.answer("a", confidence: confidence)
        let line = try ToolboxRecord(image: "i", id: .number(7), answer: answer, kernels: "k", warnings: []).line()
        #expect(line.hasPrefix(#"{"error":{"code":"internal_error","message":"JSON: cannot hold"#), "\(line)")
        #expect(line.hasSuffix(#""id":7,"image":"i"}"#), "\(line)")
        let sound = try ToolboxRecord(image: "i", answer: Self.answer("a"), kernels: "k", warnings: []).line()
        #expect(sound.contains(#""confidence":0.5"#) && !sound.contains("error"))
    }
}
