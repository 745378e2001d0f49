// Archives: our own, those of tar(1), and hostile ones.

import Diagnostics
import Foundation
import Testing

@testable import ModelFile

/// A tar entry as an attacker would write it; the checksum is right unless it is given.
private struct RawEntry {
    var name: [UInt8]
    var type: UInt8
    var size: String?
    var checksum: String?
    var body: [UInt8]
    var prefix = ""

    init(_ name: String, type: Character = "0", size: String? = nil, checksum: String? = nil, body: String = "") {
        self.name = Array(name.utf8)
        self.type = type.asciiValue ?? 0
        self.size = size
        self.checksum = checksum
        self.body = Array(body.utf8)
    }

    var bytes: [UInt8] {
        var header = [UInt8](repeating: 0, count: 512)
        func put(_ text: [UInt8], _ offset: Int) {
            for (index, byte) in text.enumerated() { header[offset + index] = byte }
        }
        func octal(_ value: Int, _ digits: Int) -> String {
            let text = String(value, radix: 8)
            return String(repeating: "0", count: digits - text.count) + text
        }
        put(name, 0)
        put(Array((size ?? octal(body.count, 11)).utf8), 124)
        put(Array("        ".utf8), 148)
        header[156] = type
        put(Array("ustar\u{0}00".utf8), 257)
        put(Array(prefix.utf8), 345)
        put(Array((checksum ?? octal(header.reduce(0) { $0 + Int($1) }, 6) + "\u{0} ").utf8), 148)
        return header + body + [UInt8](repeating: 0, count: (512 - body.count % 512) % 512)
    }
}

private let end = [UInt8](repeating: 0, count: 1_024)

/// A pax record with its own length in front.
private func record(_ text: String) -> String {
    let length = (text.utf8.count + 2...text.utf8.count + 6).first { "\($0) \(text)\n".utf8.count == $0 } ?? 0
    return "\(length) \(text)\n"
}

@Suite("Tar archives")
struct TarTests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func open(_ entries: [RawEntry], end: [UInt8] = end) throws -> TarArchive {
        try TarArchive(path: directory.file(entries.flatMap(\.bytes) + end))
    }

    @Test("what is written is read, and the same files give the same bytes")
    func roundTrip() throws {
        let files: [(String, [UInt8])] = [
            ("m/empty", []), ("m/one", [7]), ("m/block", [UInt8](repeating: 1, count: 512)),
            ("m/sub/more", [UInt8](repeating: 2, count: 513)),
        ]
        for name in ["a", "b"] {
            let writer = try TarWriter(path: "\(directory.path)/\(name)")
            for (name, bytes) in files { try writer.add(name, RawSpan(_elements: bytes.span)) }
            #expect(!FileManager.default.fileExists(atPath: "\(directory.path)/\(name)"))
            try writer.finish()
        }
        #expect(
            try Data(contentsOf: URL(fileURLWithPath: "\(directory.path)/a"))
                == Data(contentsOf: URL(fileURLWithPath: "\(directory.path)/b")))
        let archive = try TarArchive(path: "\(directory.path)/a")
        #expect(archive.entries.map(\.name) == files.map(\.0))
        #expect(archive.entries.map(archive.copy) == files.map(\.1))
        #expect(try directory.contents() == ["a", "b"])
        let long = try TarWriter(path: "\(directory.path)/c")
        expectFailure(.modelUnsupported, "too long") {
            try long.add(String(repeating: "n", count: 101), RawSpan(_elements: [UInt8]().span))
        }
    }

    @Test("tar(1) reads what is written here, and what it writes in each of its formats is read")
    func outsider() throws {
        let tar = "/bin/tar"
        try #require(FileManager.default.isExecutableFile(atPath: tar))
        func run(_ arguments: [String]) throws {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: tar)
            process.arguments = arguments
            try process.run()
            process.waitUntilExit()
            try #require(process.terminationStatus == 0, "\(arguments)")
        }
        let bytes = (0..<70_000).map { UInt8(truncatingIfNeeded: $0 * 7) }
        let ours = "\(directory.path)/ours.tar"
        let writer = try TarWriter(path: ours)
        try writer.add("top/sub/file", RawSpan(_elements: bytes.span))
        try writer.finish()
        try run(["-xf", ours, "-C", directory.path])
        #expect(try [UInt8](Data(contentsOf: URL(fileURLWithPath: "\(directory.path)/top/sub/file"))) == bytes)
        for format in ["gnu", "oldgnu", "pax", "ustar"] {
            for (argument, name) in [("top", "top/sub/file"), ("./top", "top/sub/file")] {
                let theirs = "\(directory.path)/\(format).tar"
                try run(["--format=\(format)", "-cf", theirs, "-C", directory.path, argument])
                let archive = try TarArchive(path: theirs)
                #expect(archive.entries.map(\.name) == [name], "\(format)")
                #expect(archive.entries.map(archive.copy) == [bytes], "\(format)")
            }
        }
    }

    @Test("names that lead elsewhere are refused")
    func names() throws {
        for (name, part) in [
            ("/etc/passwd", "absolute"), ("../x", "upwards"), ("a/../../x", "upwards"), ("a/..", "upwards"),
            ("a//b", "empty"), ("", "empty"), ("a/./b", "empty"), ("a\u{1}b", "printable"), ("./", "empty"),
        ] {
            expectFailure(.modelInvalid, part) { _ = try open([RawEntry(name)]) }
            // A directory with such a name is refused too: it would be made.
            if !["", "./"].contains(name) {
                expectFailure(.modelInvalid, part) { _ = try open([RawEntry(name, type: "5")]) }
            }
        }
        var split = RawEntry("passwd")
        split.prefix = "/etc"
        expectFailure(.modelInvalid, "absolute") { _ = try open([split]) }
        split.prefix = "folder"
        #expect(try open([split]).entries.map(\.name) == ["folder/passwd"])
        var foreign = RawEntry("a")
        foreign.name = [0x61, 0xff]
        expectFailure(.modelInvalid, "printable") { _ = try open([foreign]) }
        expectFailure(.modelInvalid, "twice") { _ = try open([RawEntry("a"), RawEntry("./a")]) }
        #expect(try open([RawEntry("./", type: "5"), RawEntry("./a/", type: "5"), RawEntry("a/b")]).entries.count == 1)
    }

    @Test("links, devices and unknown entries are refused", arguments: ["1", "2", "3", "4", "6", "L", "K", "S", "V"])
    func types(_ type: Character) {
        expectFailure(.modelUnsupported, "entry a") { _ = try open([RawEntry("a", type: type)]) }
    }

    @Test("sizes beyond the archive and numbers that are none are refused")
    func sizes() {
        for size in ["77777777777", "00000000001", "00000001000"] {
            expectFailure(.modelInvalid, "entry a") { _ = try open([RawEntry("a", size: size)], end: []) }
        }
        for size in ["99999999999", "-0000000001", "           ", "\u{7f}2345678901"] {
            expectFailure(.modelInvalid, "octal") { _ = try open([RawEntry("a", size: size)]) }
        }
        var binary = RawEntry("a").bytes
        binary[124] = 0x80
        let sum = binary.enumerated().reduce(0) { $0 + ((148..<156).contains($1.offset) ? 32 : Int($1.element)) }
        for (index, digit) in ("0" + String(sum, radix: 8) + "\u{0} ").utf8.enumerated() { binary[148 + index] = digit }
        expectFailure(.modelInvalid, "octal") { _ = try TarArchive(path: directory.file(binary + end)) }
        expectFailure(.modelInvalid, "directory with") { _ = try open([RawEntry("a", type: "5", body: "x")]) }
    }

    @Test("damage is found: checksums, cut ends, other formats")
    func damage() throws {
        expectFailure(.modelInvalid, "damaged header") { _ = try open([RawEntry("a", checksum: "0000001\u{0}")]) }
        expectFailure(.modelInvalid, "cut short") { _ = try open([RawEntry("a")], end: []) }
        expectFailure(.modelInvalid, "cut short") { _ = try open([RawEntry("a", body: "x")], end: [0, 0]) }
        expectFailure(.modelInvalid, "no tar header") {
            _ = try TarArchive(path: directory.file([UInt8](repeating: 65, count: 2_048)))
        }
        for (magic, program) in [([0x1f, 0x8b], "gunzip"), ([0x28, 0xb5, 0x2f, 0xfd], "unzstd")] as [([UInt8], String)]
        {
            expectFailure(.modelUnsupported, program) {
                _ = try TarArchive(path: directory.file(magic + [UInt8](repeating: 0, count: 600)))
            }
        }
        let many = (0...TarArchive.limit).map { RawEntry("f\($0)") }
        expectFailure(.modelInvalid, "entries") { _ = try open(many) }
    }

    @Test("extended headers may tell times, and nothing that would rename or resize")
    func extensions() throws {
        let times = RawEntry("PaxHeaders/a", type: "x", body: record("mtime=1.5") + record("atime=2"))
        #expect(try open([times, RawEntry("a")]).entries.map(\.name) == ["a"])
        for key in ["path=/etc/passwd", "linkpath=x", "size=1", "hdrcharset=BINARY", "GNU.sparse.name=x"] {
            expectFailure(.modelUnsupported, "extended header") {
                _ = try open([RawEntry("p", type: "x", body: record("mtime=1") + record(key)), RawEntry("a")])
            }
        }
        for body in ["99 mtime=1\n", "0 a=b\n", "2 a=b\n", "x a=b\n", "-5 a=b\n", "11", "99999999999999999999 a=b\n"] {
            expectFailure(.modelInvalid, "damaged extended") {
                _ = try open([RawEntry("p", type: "g", body: body), RawEntry("a")])
            }
        }
    }

    @Test("an extended header has at most a megabyte: it is copied, and one of gigabytes costs nothing on a disk")
    func largeExtensions() throws {
        let times = record("mtime=123456")
        try #require(TarArchive.largestExtension % times.utf8.count == 0)
        let most = String(repeating: times, count: TarArchive.largestExtension / times.utf8.count)
        for type: Character in ["x", "g"] {
            #expect(try open([RawEntry("p", type: type, body: most), RawEntry("a")]).entries.map(\.name) == ["a"])
            expectFailure(.modelInvalid, "entry p", "extended header of 1048592 bytes") {
                _ = try open([RawEntry("p", type: type, body: most + times), RawEntry("a")])
            }
        }
    }

    @Test("no change of bytes makes the reader trap, and what it accepts lies in the archive")
    func mutations() throws {
        let good =
            [RawEntry("m/a", body: "hello"), RawEntry("x", type: "x", body: record("mtime=1")), RawEntry("m/b")]
            .flatMap(\.bytes) + end
        var random = SeededGenerator(state: 9)
        var refused = 0
        for _ in 0..<3_000 {
            var bytes = good
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            if Bool.random(using: &random) {
                bytes = Array(bytes.prefix(Int.random(in: 1...bytes.count, using: &random)))
            }
            let path = try directory.file(bytes)
            do throws(Failure) {
                for entry in try TarArchive(path: path).entries {
                    #expect(entry.range.upperBound <= bytes.count && !entry.name.hasPrefix("/"))
                }
            } catch {
                refused += 1
                #expect([.modelInvalid, .modelUnsupported].contains(error.code))
            }
        }
        #expect(refused > 1_000)
    }
}
