// Lines of standard input: what comes in pieces, too long, damaged or not at all.

import Diagnostics
import Foundation
import Testing

@testable import Commands

@Suite("Lines of standard input")
struct InputLinesTests {
    private let pipe = Pipe()

    private func lines(limit: Int = 100) -> InputLines {
        InputLines(pipe.fileHandleForReading.fileDescriptor, limit: limit)
    }

    private func write(_ text: String) { pipe.fileHandleForWriting.write(Data(text.utf8)) }

    private func end() throws { try pipe.fileHandleForWriting.close() }

    private func cause(_ line: InputLines.Line?) -> String? {
        guard case .failure(let failure) = line else { return nil }
        return "\(failure.object): \(failure.cause)"
    }

    @Test("lines come whole and in order, blank ones too; the last needs no line feed")
    func order() throws {
        write("a\n\nb c\nlast")
        try end()
        let lines = lines()
        for text in ["a", "", "b c", "last"] { #expect(try lines.next()?.get() == text) }
        #expect(try lines.next() == nil)
        #expect(try lines.next() == nil)
    }

    @Test("ready is what can be had without waiting: no part of a line, but the end")
    func readiness() throws {
        let lines = lines()
        #expect(!lines.isReady)
        write("on")
        #expect(!lines.isReady)
        write("e\ntwo")
        #expect(lines.isReady)
        #expect(try lines.next()?.get() == "one")
        #expect(!lines.isReady)
        try end()
        #expect(lines.isReady)
        #expect(try lines.next()?.get() == "two")
        #expect(lines.isReady)
        #expect(try lines.next() == nil)
    }

    @Test("a line that is too long is one line of output, held no further, and the next is read")
    func tooLong() throws {
        let lines = lines(limit: 10)
        write(String(repeating: "x", count: 10) + "\n" + String(repeating: "y", count: 11))
        #expect(try lines.next()?.get() == String(repeating: "x", count: 10))
        #expect(lines.isReady)
        #expect(cause(try lines.next()) == "standard input:2: is longer than 10 bytes")
        write(String(repeating: "y", count: 50_000))
        #expect(!lines.isReady)
        write("\nnext\n" + String(repeating: "z", count: 11) + "\n")
        #expect(try lines.next()?.get() == "next")
        #expect(cause(try lines.next()) == "standard input:4: is longer than 10 bytes")
        try end()
        #expect(try lines.next() == nil)
    }

    @Test("bytes that are no UTF-8 are not mended, which would name another photo")
    func encoding() throws {
        pipe.fileHandleForWriting.write(Data([0x61, 0xFF, 0x0A, 0x62, 0x0A]))
        let lines = lines()
        #expect(cause(try lines.next()) == "standard input:1: is not UTF-8")
        #expect(try lines.next()?.get() == "b")
    }

    @Test("an error of reading is not the end")
    func faults() throws {
        let directory = try FileHandle(forReadingFrom: FileManager.default.temporaryDirectory)
        let lines = InputLines(directory.fileDescriptor)
        #expect(lines.isReady)
        let failure = #expect(throws: Failure.self) { try lines.next() }
        #expect(failure?.code == .inputOutput && failure?.object == "standard input")
    }
}
