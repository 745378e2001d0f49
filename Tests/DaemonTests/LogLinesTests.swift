// One event, one line: also where a message has several, and where a name would like to make some.

import Control
import Diagnostics
import Foundation
import Logging
import Specification
import Spool
import Testing

@testable import Daemon

@Suite("Lines of the log")
struct LogLinesTests {
    private func text(_ message: String) -> String {
        let bytes = LogLines(logLevel: .info, format: .text).line(.notice, message, ["job": "7"])
        return String(decoding: bytes, as: UTF8.self)
    }

    private func logged(_ failure: Failure) -> [String] {
        let lines = Lines()
        let catalog = MetricCatalog(build: { BuildInformation(version: "1", kernels: "scalar", model: "m") })
        Reporter(catalog: catalog, log: Logger(label: "test") { _ in lines }, names: .show).handle(.trouble(failure))
        return lines.all
    }

    @Test("the faults of a spec are parts of one line; the line feed of a name is neither a line nor a fault")
    func faults() throws {
        let name = "x.yaml\n  9:9: forged"
        var failure: Failure?
        do {
            _ = try TaskSpec(yaml: Array("colour: red\n\"pri\\nority\": 1\ntask: caption\n".utf8), named: name)
        } catch {
            failure = error
        }
        let fault = try #require(failure)
        let line = try #require(logged(fault).first)
        #expect(line.hasPrefix("\(name): has 2 faults; 1:1: unknown key \"colour\"."), "\(line)")
        #expect(line.contains("; 2:1: unknown key \"pri\\nority\"."), "\(line)")
        let text = text(line)
        #expect(text.hasPrefix("notice: x.yaml\u{FFFD}  9:9: forged: has 2 faults; 1:1: "), "\(text)")
        #expect(text.hasSuffix(" job=7\n") && text.split(separator: "\n").count == 1, "\(text)")
    }

    @Test("as JSON each event is one object on one line, whatever its message has")
    func json() throws {
        let bytes = LogLines(logLevel: .info, format: .json).line(.notice, "a\nb\u{1B}", ["job": "7"])
        #expect(bytes.last == UInt8(ascii: "\n") && bytes.count { $0 == UInt8(ascii: "\n") } == 1)
        var object = try #require(try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: String])
        let time = object.removeValue(forKey: "time")
        #expect(time?.hasSuffix("Z") == true)
        #expect(object == ["level": "notice", "message": "a\nb\u{1B}", "job": "7"])
    }

    @Test("no control character of a message reaches a terminal")
    func controls() {
        #expect(text("a\nb\r\u{1B}[2Jc") == "notice: a\u{FFFD}b\u{FFFD}\u{FFFD}[2Jc job=7\n")
    }
}
